"""What happens to an experiment, as typed events, followed across interruptions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from ipcore.catalogue.widths import width_of
from iplab.connection.transport import Transport, pause
from iplab.errors import ServerError, TimedOutError, UnavailableError, WatchOverflowError
from iplab.results.reading import computed, member, read
from iplab.results.states import ExperimentState, RunState
from iplab.v1 import experiment_pb2, experiment_service_pb2

_FIRST_DELAY, _LAST_DELAY = 0.1, 2.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

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
        run_indices: Their positions in the grid, ascending.
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
    """What describes the experiment, or its priority, was changed.

    Attributes:
        fields: What was changed: "display_name", "labels", "notes", "priority".
        display_name: The new one, if it was changed.
        labels: All labels, if they were changed.
        priority: The new one, if it was changed.
    """

    fields: tuple[str, ...]
    display_name: str
    labels: Mapping[str, str] = field(metadata=computed(lambda m: dict(m.labels)))
    priority: int


@dataclass(frozen=True, slots=True)
class Notice(Event):
    """A message for people: a retry, or a resource that is awaited."""

    message: str


def watch(
    transport: Transport,
    name: str,
    after: int = 0,
    timeout: float | None = None,
    patience: float = 60.0,
) -> Iterator[Event]:
    """Events of an experiment, in order and without gaps, until it is terminal.

    A stream that breaks (service restarted, watcher too slow) is taken up again after the last event.

    Args:
        transport: Channel to the service.
        name: "experiments/{experiment}".
        after: Events with a greater sequence come.
        timeout: Seconds until TimedOutError; None: no limit.
        patience: Seconds without the service until UnavailableError.

    Raises:
        NotFoundError: No such experiment.
        TimedOutError: Still not terminal after `timeout`.
        UnavailableError: The service stayed away longer than `patience`.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    last, delay = after, _FIRST_DELAY
    lost: float | None = None  # since when the service has been away
    while True:
        left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
        request = experiment_service_pb2.WatchExperimentRequest(name=name, after_sequence=last)
        try:
            if lost is not None:
                # A watch without news looks the same as one without a service: ask for something.
                _newest(transport, name)
                lost, delay = None, _FIRST_DELAY
            for answer in transport.stream(transport.experiments.WatchExperiment, request, timeout=left):
                for message in answer.events:
                    if message.sequence <= last:
                        continue
                    if message.sequence != last + 1:
                        raise ServerError(f"{name}: event {message.sequence} came after event {last}")
                    last = message.sequence
                    yield event_of(message)
            # The service ends a stream at the terminal event; a proxy may end one at any time.
            now = _newest(transport, name)
            if member(ExperimentState, now, "state").terminal and last >= now.sequence:
                return
        except WatchOverflowError:
            delay = _FIRST_DELAY
        except TimedOutError:
            if left is None:
                raise
            raise TimedOutError(f"{name} has not ended within {timeout:g} s") from None
        except UnavailableError:
            lost = time.monotonic() if lost is None else lost
            if time.monotonic() - lost > patience:
                raise
        pause(delay)
        delay = min(2 * delay, _LAST_DELAY)


def _newest(transport: Transport, name: str) -> experiment_pb2.Experiment:
    request = experiment_service_pb2.GetExperimentRequest(name=name)
    return transport.call(transport.experiments.GetExperiment, request)


# By the name of the field that holds them.
_KINDS: Final[Mapping[str, type[Event]]] = {
    "experiment_state_changed": StateChanged,
    "runs_state_changed": RunsChanged,
    "pack_progressed": PackProgressed,
    "notice": Notice,
    "experiment_extended": Extended,
    "experiment_updated": Updated,
}


def event_of(message: experiment_pb2.ExperimentEvent) -> Event:
    """The typed form of one event; a kind that this version does not know becomes a plain `Event`."""
    event = read(Event, message)
    kind = message.WhichOneof("event")
    if kind is None or kind not in _KINDS:
        return event
    return read(_KINDS[kind], getattr(message, kind), sequence=event.sequence, time=event.time)
