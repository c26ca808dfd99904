"""One step's operations, launched at once where the device can: CUDA graphs.

An update of a pack of small networks is some sixty kernels of a few microseconds each. Launched one by one,
they wait for Python. A graph is recorded once and launched as a whole. This requires that the operations read
and write the same tensors every time and do not branch on values. What changes from step to step (batch,
rates) is written into those tensors before each launch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import torch

Operations = Callable[[], None]

_log = logging.getLogger(__name__)
# Times that operations run one by one before they are recorded: libraries choose their kernels and take their
# workspaces at first use, which a recording must not.
WARM_UP: Final = 3


class Graph(Protocol):
    """Recorded operations."""

    def replay(self) -> None:
        """Launch them."""


def record(operations: Operations, device: torch.device) -> Graph:
    """Record operations of a CUDA device, without running them.

    Raises:
        RuntimeError: One of them cannot be recorded.
    """
    graph = torch.cuda.CUDAGraph()
    # A recording captures only what is launched on the current device.
    with torch.cuda.device(device), torch.cuda.graph(graph):
        operations()
    return graph


class Replay:
    """Runs operations repeatedly; from the `WARM_UP` + 1st time on as a recorded graph, if possible.

    Args:
        operations: What to run; the module's docstring states the requirements.
        recorder: `record` for CUDA; None: run them one by one, as on the CPU.
    """

    def __init__(self, operations: Operations, recorder: Callable[[Operations], Graph] | None) -> None:
        self._operations, self._recorder = operations, recorder
        self._runs = 0
        self._graph: Graph | None = None

    def __call__(self) -> None:
        """Run them once more."""
        if self._recorder is not None and self._runs == WARM_UP:
            self._record(self._recorder)
        self._runs += 1
        if self._graph is not None:
            self._graph.replay()
        else:
            self._operations()

    def _record(self, recorder: Callable[[Operations], Graph]) -> None:
        try:
            self._graph = recorder(self._operations)
        except RuntimeError:
            # Slower, but correct: recording runs nothing.
            _log.warning("the step cannot be recorded; its kernels are launched one by one", exc_info=True)


def replay_on(device: torch.device, operations: Operations) -> Replay:
    """A replay of operations on a device: recorded on CUDA, plain elsewhere."""
    return Replay(operations, partial(record, device=device) if device.type == "cuda" else None)
