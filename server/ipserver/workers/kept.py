"""Idle workers kept for the next pack, because a new process takes seconds to load torch.

A kept worker holds its resources. So none is kept where another worker may need them and would never start.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Generic, TypeVar

from ipserver.request.resources import ResourceRequest

Actor = TypeVar("Actor")


class Kept(Generic[Actor]):
    """Workers without a pack, each with its size and node.

    Args:
        end: Ends a worker.
    """

    def __init__(self, end: Callable[[Actor], None]) -> None:
        self._end = end
        self._kept: list[tuple[Actor, ResourceRequest, str]] = []

    def sizes(self) -> Collection[tuple[ResourceRequest, str]]:
        """Size and node of each."""
        return [(size, node) for _, size, node in self._kept]

    def take(self, asked: ResourceRequest, node: str) -> Actor | None:
        """Take a worker of this size on this node; if there is none, end others there to make room."""
        for place, (actor, size, home) in enumerate(self._kept):
            if size == asked and home == node:
                del self._kept[place]
                return actor
        self._end_where(lambda home: not node or home == node)
        return None

    def keep(self, actor: Actor, size: ResourceRequest, node: str, starting: Collection[str]) -> None:
        """Keep an idle worker, or end it if its resources may be needed.

        Args:
            actor: The worker.
            size: Resources that it holds.
            node: Its node.
            starting: Nodes on which workers are being started; "" stands for any node.
        """
        if node in starting or "" in starting:
            self._end(actor)
        else:
            self._kept.append((actor, size, node))

    def trim(self, but: int = 0) -> None:
        """End all but `but` workers, most recently kept first."""
        for actor, _, _ in self._kept[but:]:
            self._end(actor)
        del self._kept[but:]

    def _end_where(self, where: Callable[[str], bool]) -> None:
        ended = [entry for entry in self._kept if where(entry[2])]
        self._kept = [entry for entry in self._kept if not where(entry[2])]
        for actor, _, _ in ended:
            self._end(actor)
