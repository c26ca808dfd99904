"""The state of a fake service: experiments, their runs and events. Thread-safe by one lock."""

from __future__ import annotations

import itertools
import re
import threading
import time
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

from iplab.testing import made_up
from iplab.testing.errors import Refused, not_in_the_fake, wrong
from iplab.v1 import experiment_pb2, run_pb2, spec_pb2

_RUN = run_pb2.RunState
_EXPERIMENT = experiment_pb2.ExperimentState
ENDED: Final = frozenset(
    {_EXPERIMENT.Value(f"EXPERIMENT_STATE_{it}") for it in ("SUCCEEDED", "FAILED", "CANCELLED")}
)
_AXES: Final = ("widths", "hidden_layers", "activations", "seeds", "base_learning_rates", "parameterizations")
_COUNTED: Final = ("queued", "running", "succeeded", "diverged", "failed", "cancelled")


@dataclass
class Held:
    """An experiment of the fake service.

    Attributes:
        message: As in answers, except for its counts.
        request: Request id and content of its creation.
    """

    message: experiment_pb2.Experiment
    runs: list[run_pb2.Run]
    request: tuple[str, bytes]
    events: list[experiment_pb2.ExperimentEvent] = field(default_factory=list)

    def answer(self) -> experiment_pb2.Experiment:
        """A copy of its message, with counts and steps."""
        copy = experiment_pb2.Experiment()
        copy.CopyFrom(self.message)
        copy.sequence = len(self.events)
        copy.counts.total = len(self.runs)
        for name in _COUNTED:
            state = _RUN.Value(f"RUN_STATE_{name.upper()}")
            setattr(copy.counts, name, sum(run.state == state for run in self.runs))
        copy.committed_steps = sum(run.committed_steps for run in self.runs)
        return copy


class World:
    """Experiments by id, oldest first.

    Attributes:
        changed: Notified with every event.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.held: dict[str, Held] = {}

    def knows(self, name: str) -> bool:
        """Whether there is an experiment of this name."""
        return name.removeprefix("experiments/") in self.held

    def get(self, name: str) -> Held:
        """The experiment of a name ("experiments/e" or a name below it). Raises Refused."""
        id = name.removeprefix("experiments/").partition("/")[0]
        if id not in self.held:
            raise Refused("NOT_FOUND", f"there is no experiment {id!r}")
        return self.held[id]

    def create(self, id: str, asked: experiment_pb2.Experiment, request_id: str, *, only_check: bool) -> Held:
        """Add an experiment with its runs queued. Raises Refused."""
        request = (request_id, id.encode() + asked.SerializeToString(deterministic=True))
        for held in self.held.values():
            if request_id and held.request[0] == request_id:
                if held.request != request:
                    raise Refused("REQUEST_ID_REUSED", "the request id was used with another request")
                return held
        if problems := _problems(asked.spec):
            raise wrong(problems)
        if id in self.held:
            raise Refused("ALREADY_EXISTS", f"experiment {id!r} exists already; choose another id")
        id = id or f"e{uuid.uuid4().hex[:10]}"
        message = experiment_pb2.Experiment()
        message.CopyFrom(asked)
        message.name = "" if only_check else f"experiments/{id}"
        message.uid, message.project = uuid.uuid4().hex, asked.project or "default"
        message.warnings.append("a fake service: nothing is trained, and all numbers are made up")
        message.create_time.GetCurrentTime()
        for entry in message.spec.grid.parameterizations:
            entry.label = entry.label or re.sub(r"[^a-z0-9._-]", "-", entry.preset)
        held = Held(message, _expanded(f"experiments/{id}", message.spec), request)
        message.total_steps = len(held.runs) * message.spec.steps
        if only_check:
            return held
        with self.changed:
            self.held[id] = held
            self._experiment_state(held, "QUEUED")
        return held

    def play(self, held: Held, fail: Collection[int] = (), diverge: Collection[int] = ()) -> None:
        """Play the queued runs to their end."""
        with self.changed:
            waiting = [run for run in held.runs if run.state == _RUN.RUN_STATE_QUEUED]
            if not waiting:
                return
            self._runs_state(held, waiting, "RUNNING")
            self._experiment_state(held, "RUNNING")
            for pack, members in itertools.groupby(waiting, lambda run: run.pack):
                runs = list(members)
                first = runs[0]
                for committed in (0, first.steps):
                    event = self._event(held).pack_progressed
                    event.pack, event.hidden_layers, event.width = pack, first.hidden_layers, first.width
                    event.activation, event.runs, event.steps = first.activation, len(runs), first.steps
                    event.committed_steps = committed
            for name, chosen in (
                ("FAILED", [run for run in waiting if run.index in fail]),
                ("DIVERGED", [run for run in waiting if run.index in diverge]),
                ("SUCCEEDED", [run for run in waiting if run.index not in {*fail, *diverge}]),
            ):
                for run in chosen:
                    _end(run, held.message.spec, name)
                self._runs_state(held, chosen, name)
            failed = any(run.state == _RUN.RUN_STATE_FAILED for run in held.runs)
            self._experiment_state(held, "FAILED" if failed else "SUCCEEDED")

    def cancel(self, held: Held) -> None:
        """End the queued runs and the experiment as cancelled."""
        with self.changed:
            waiting = [run for run in held.runs if run.state == _RUN.RUN_STATE_QUEUED]
            if waiting:
                self._runs_state(held, waiting, "CANCELLED")
                self._experiment_state(held, "CANCELLED")

    def _event(self, held: Held) -> experiment_pb2.ExperimentEvent:
        event = experiment_pb2.ExperimentEvent(sequence=len(held.events) + 1)
        event.time.GetCurrentTime()
        held.events.append(event)
        self.changed.notify_all()
        return event

    def _runs_state(self, held: Held, runs: Iterable[run_pb2.Run], name: str) -> None:
        runs = list(runs)
        for run in runs:
            run.state = _RUN.Value(f"RUN_STATE_{name}")
            (run.start_time if name == "RUNNING" else run.end_time).GetCurrentTime()
        if runs:
            event = self._event(held).runs_state_changed
            event.state = _RUN.Value(f"RUN_STATE_{name}")
            event.run_indices.extend(run.index for run in runs)

    def _experiment_state(self, held: Held, name: str) -> None:
        held.message.state = _EXPERIMENT.Value(f"EXPERIMENT_STATE_{name}")
        if name == "RUNNING":
            held.message.start_time.GetCurrentTime()
        elif held.message.state in ENDED:
            held.message.end_time.GetCurrentTime()
        self._event(held).experiment_state_changed.state = held.message.state


def _end(run: run_pb2.Run, spec: spec_pb2.ExperimentSpec, name: str) -> None:
    """Fill in the results or the failure of a run that ends in this state."""
    run.committed_steps = run.steps if name != "FAILED" else 0
    if name == "SUCCEEDED":
        made_up.summarize(run, spec)
    elif name == "DIVERGED":
        run.summary.diverged_step = run.steps
    else:
        run.failure.reason = run_pb2.FailureReason.FAILURE_REASON_TRAINING_ERROR
        run.failure.message = "the fake service was told to let this run fail"


def _problems(spec: spec_pb2.ExperimentSpec) -> dict[str, str]:
    """Missing fields. The real service checks much more."""
    found = {name: "must be at least 1, not 0" for name in ("batch_size", "steps") if getattr(spec, name) < 1}
    if not spec.dataset:
        found["dataset"] = "is empty; name a dataset"
    entries = spec.grid.parameterizations
    own = bool(entries) and all(entry.base_learning_rates for entry in entries)
    for axis in _AXES:
        if not getattr(spec.grid, axis) and not (axis == "base_learning_rates" and own):
            found[f"grid.{axis}"] = "is empty; give at least one"
    if spec.grid.infinite_width:
        raise not_in_the_fake("networks of infinite width")
    return {f"experiment.spec.{name}": text for name, text in found.items()}


def _expanded(name: str, spec: spec_pb2.ExperimentSpec) -> list[run_pb2.Run]:
    """Runs in the order of a real service: the seed varies fastest, the depth slowest. One pack a network."""
    grid = spec.grid
    networks = itertools.product(grid.hidden_layers, grid.widths, grid.activations)
    points = (
        (number, network, entry.label, rate, seed)
        for number, network in enumerate(networks)
        for entry in grid.parameterizations
        for rate in entry.base_learning_rates or grid.base_learning_rates
        for seed in grid.seeds
    )
    return [
        run_pb2.Run(
            name=f"{name}/runs/r{index:05d}",
            index=index,
            parameterization=label,
            hidden_layers=depth,
            width=width,
            activation=activation,
            base_learning_rate=rate,
            seed=seed,
            state=_RUN.RUN_STATE_QUEUED,
            pack=f"p{number:04d}",
            steps=spec.steps,
        )
        for index, (number, (depth, width, activation), label, rate, seed) in enumerate(points)
    ]


def now_ms() -> int:
    """Milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000_000
