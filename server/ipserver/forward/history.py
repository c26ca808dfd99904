"""Metric points that MLflow does not hold yet, read once for all runs of a pack with equal progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ipcore.probes.outputs import is_sketch
from ipserver.store import Store, segments
from ipserver.store.records.forwarding import ForwardTask

# Bounds the memory of a forwarder that is far behind; the rest follows in the next pass.
_SEGMENTS = 256

Point = tuple[str, float, int, int]
"""(metric, value, time in ms, step)."""


@dataclass(frozen=True, slots=True)
class News:
    """A run's unsent points.

    Attributes:
        points: In order.
        newest: Id of the newest segment read, or of the newest segment sent if there is no newer one.
        complete: Whether the pack has no segments after `newest`.
    """

    points: list[Point]
    newest: int
    complete: bool


class History:
    """Recorded points of packs, read during one pass.

    The last reading is cached, so ask for runs of one pack and segment consecutively.

    Args:
        store: The store that holds the segments.
        before: Called before every segment; may raise to end a long reading.
    """

    def __init__(self, store: Store, before: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._before = before
        self._key: tuple[str, str, int] | None = None
        self._blocks: list[segments.Points] = []
        self._newest = 0

    def news(self, task: ForwardTask) -> News:
        """The run's next batch of unsent points, without sketches of outputs."""
        key = task.experiment.id, task.run.pack, task.after_segment
        if key != self._key:
            self._read(*key)
        points: list[Point] = []
        for block in self._blocks:
            self._before()
            # Single sketches of outputs mean nothing, and a run may have hundreds of them.
            sketches = [i for i, name in enumerate(block.metrics) if is_sketch(name)]
            own = block.select((block.run == task.run.index) & ~np.isin(block.metric, sketches))
            columns = zip(own.metric, own.value, own.time_ms, own.step, strict=True)
            points += [(own.metrics[m], float(v), int(time_ms), int(step)) for m, v, time_ms, step in columns]
        return News(points, self._newest, complete=len(self._blocks) < _SEGMENTS)

    def _read(self, experiment: str, pack: str, after: int) -> None:
        history = self._store.segments(experiment, packs=[pack], first_step=0, last_step=None, after=after)
        self._key, self._blocks, self._newest = None, [], after
        for segment in islice(history, _SEGMENTS):
            self._before()
            self._blocks.append(segments.decode(segment.data))
            self._newest = segment.id
        self._key = experiment, pack, after
