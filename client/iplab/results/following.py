"""Follows an experiment's events across interruptions, for the sync and the async client."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from iplab.connection.resuming import Resuming
from iplab.connection.transport import Transport, pause
from iplab.errors import IplabError, ServerError
from iplab.results.events import Event, event_of
from iplab.results.reading import member
from iplab.results.states import ExperimentState
from iplab.v1 import experiment_pb2, experiment_service_pb2


class Following(Resuming):
    """State of a watch of an experiment. The caller makes the calls, in the order of `watch` below.

    Args:
        name: "experiments/{experiment}".
        after: Only events with a greater sequence.
        timeout: Seconds until TimedOutError; None: no limit.
        patience: Seconds without the service until UnavailableError.
        say: Called with a message when the service stops answering, and when it answers again.
    """

    def __init__(
        self,
        name: str,
        after: int = 0,
        timeout: float | None = None,
        patience: float = 60.0,
        say: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(name, timeout, patience, say)
        self._last = after

    def get(self) -> experiment_service_pb2.GetExperimentRequest:
        """Request of the experiment's present state."""
        return experiment_service_pb2.GetExperimentRequest(name=self._name)

    def request(self) -> experiment_service_pb2.WatchExperimentRequest:
        """Request of the events after the last one."""
        return experiment_service_pb2.WatchExperimentRequest(name=self._name, after_sequence=self._last)

    def take(self, answer: experiment_service_pb2.WatchExperimentResponse) -> Iterator[Event]:
        """The new events of an answer.

        Raises:
            ServerError: An event is missing.
        """
        for message in answer.events:
            if message.sequence <= self._last:
                continue
            if message.sequence != self._last + 1:
                raise ServerError(f"{self._name}: event {message.sequence} came after event {self._last}")
            self._last = message.sequence
            yield event_of(message)

    def ended(self, now: experiment_pb2.Experiment) -> bool:
        """Whether all events have arrived when a stream has ended, since a proxy may end it at any time."""
        return member(ExperimentState, now, "state").terminal and self._last >= now.sequence


def watch(
    transport: Transport,
    name: str,
    after: int = 0,
    timeout: float | None = None,
    patience: float = 60.0,
    say: Callable[[str], None] | None = None,
) -> Iterator[Event]:
    """Events of an experiment, in order and without gaps, until it is terminal.

    An interrupted stream (service restarted, watcher too slow) is continued after the last event.

    Args:
        transport: Channel to the service.
        name: "experiments/{experiment}".
        after: Only events with a greater sequence.
        timeout: Seconds until TimedOutError; None: no limit.
        patience: Seconds without the service until UnavailableError.
        say: Called with a message when the service stops answering, and when it answers again.

    Raises:
        NotFoundError: There is no such experiment.
        TimedOutError: It has not ended within `timeout`.
        UnavailableError: The service did not answer for longer than `patience`.
    """
    following, methods = Following(name, after, timeout, patience, say), transport.experiments
    while True:
        try:
            if following.lost:
                transport.call(methods.GetExperiment, following.get())
                following.found()
            for answer in transport.stream(
                methods.WatchExperiment, following.request(), timeout=following.left()
            ):
                yield from following.take(answer)
            if following.ended(transport.call(methods.GetExperiment, following.get())):
                return
        except IplabError as error:
            following.survive(error)
        pause(following.delay())
