"""Typed events of an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from ipcore.catalogue.widths import width_of
from iplab.results.reading import computed, read
from iplab.results.states import ExperimentState, RunState
from iplab.v1 import experiment_pb2


@dataclass(frozen=True, slots=True)
class Event:
    """An event.

    Attributes:
        sequence: 1, 2, 3, ... within the experiment.
        time: When it was committed (UTC).
    """

    sequence: int
    time: datetime


@dataclass(frozen=True, slots=True)
class StateChanged(Event):
    """The experiment changed its state."""

    state: ExperimentState


@dataclass(frozen=True, slots=True)
class RunsChanged(Event):
    """Some runs changed to the same state together.

    Attributes:
        run_indices: Their indices in the grid, ascending.
    """

    state: RunState
    run_indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PackProgressed(Event):
    """A pack (runs trained together) was planned (committed step 0) or committed a slice.

    Attributes:
        pack: Its id, unique in the experiment.
        hidden_layers: L.
        width: m; math.inf for a limit.
        runs: Number of its runs.
        committed_steps: Updates committed, of `steps`.
    """

    pack: str
    hidden_layers: int
    width: float = field(metadata=computed(lambda m: width_of(m.width)))
    activation: str
    runs: int
    committed_steps: int
    steps: int


@dataclass(frozen=True, slots=True)
class Extended(Event):
    """Seeds, widths or base learning rates were added to the grid.

    Attributes:
        first_run_index: Index of the first new run.
        runs: Number of new runs.
    """

    seeds: tuple[int, ...]
    widths: tuple[int, ...]
    base_learning_rates: tuple[float, ...]
    first_run_index: int
    runs: int


@dataclass(frozen=True, slots=True)
class Updated(Event):
    """The display name, labels, notes or priority of the experiment were changed.

    Attributes:
        fields: Names of the changed fields: "display_name", "labels", "notes", "priority".
        display_name: The new display name, if it was changed.
        labels: All labels, if they were changed.
        priority: The new priority, if it was changed.
    """

    fields: tuple[str, ...]
    display_name: str
    labels: Mapping[str, str] = field(metadata=computed(lambda m: dict(m.labels)))
    priority: int


@dataclass(frozen=True, slots=True)
class Notice(Event):
    """A message for users, such as about a retry or a missing resource."""

    message: str


# Class of event by the name of the message's field.
_KINDS: Final[Mapping[str, type[Event]]] = {
    "experiment_state_changed": StateChanged,
    "runs_state_changed": RunsChanged,
    "pack_progressed": PackProgressed,
    "notice": Notice,
    "experiment_extended": Extended,
    "experiment_updated": Updated,
}


def event_of(message: experiment_pb2.ExperimentEvent) -> Event:
    """Convert one event. A kind that this version does not know becomes a plain `Event`."""
    event = read(Event, message)
    kind = message.WhichOneof("event")
    if kind is None or kind not in _KINDS:
        return event
    return read(_KINDS[kind], getattr(message, kind), sequence=event.sequence, time=event.time)
