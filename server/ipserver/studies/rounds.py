"""Translates a planner's requests into experiments. Pure functions of the study and its earlier rounds.

A *block* is an experiment of a study: one subject at one width, with a grid of rates and seeds. A request
extends a block if it adds only rates or only seeds, and creates a new block otherwise, so that no other runs
are trained. An action is a request to the service, with an id of its own, stored as JSON.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from google.protobuf import json_format

from ipcore import studies, theory
from ipcore.catalogue.widths import INFINITE_WIDTH, width_of
from iplab.v1 import experiment_service_pb2 as service_pb2
from iplab.v1 import spec_pb2
from iplab.v1 import study_pb2 as pb
from ipserver import names
from ipserver.errors import ServiceError
from ipserver.request.convert import custom, exponents
from ipserver.request.limit_checks import pairs
from ipserver.request.measured import probe_of, recorded_step
from ipserver.request.models import parameterization_depth
from ipserver.request.question import subjects
from ipserver.request.study import LABEL
from ipserver.store.records.studies import NewRound, RoundRecord, StudyRecord

# Request ids are functions of the study's uid, the round and the action.
_NAMESPACE: Final = uuid.UUID("6d4f1a52-5f0c-4c39-9d0f-1a52c9e0b7d1")
_MOVED: Final = "moved"

Action = Mapping[str, Any]


class Untrainable(ServiceError):
    """Raised for a request that no spec can express."""


@dataclass(frozen=True, slots=True)
class Block:
    """An experiment of a study.

    Attributes:
        experiment: Its id.
        subject: Key of `Results.runs`.
        steps: Number of updates of its runs.
    """

    experiment: str
    subject: str
    width: int
    steps: int
    rates: tuple[float, ...]
    seeds: tuple[int, ...]

    def grown(self, request: studies.Request) -> Block | None:
        """The block extended by the runs of a request; None if this would add other runs too."""
        if (self.subject, self.width, self.steps) != (request.subject, request.width, request.steps):
            return None
        if set(self.rates) == set(request.rates) and not {*self.seeds} & {*request.seeds}:
            return replace(self, seeds=(*self.seeds, *request.seeds))
        if set(self.seeds) == set(request.seeds) and not {*self.rates} & {*request.rates}:
            return replace(self, rates=(*self.rates, *request.rates))
        return None


def next_round(study: StudyRecord, spec: pb.StudySpec, decision: studies.RunNext) -> NewRound:
    """The round that trains the runs that the planner asks for.

    Args:
        study: The study with its earlier rounds.
        spec: The study's spec.
        decision: The planner's requests.

    Raises:
        Untrainable: A spec cannot express a request.
    """
    number = len(study.rounds) + 1
    known = list(blocks(study.rounds))
    actions: list[Action] = []
    for request in decision.requests:
        request_id = str(uuid.uuid5(_NAMESPACE, f"{study.uid}/{number}/{len(actions)}"))
        for i, block in enumerate(known):
            if (grown := block.grown(request)) is not None:
                known[i] = grown
                actions.append(_extension(block, grown, request_id))
                break
        else:
            name = names.study_experiment(study.id, study.uid, len(known) + 1)
            block = Block(name, request.subject, request.width, request.steps, request.rates, request.seeds)
            known.append(block)
            message = _creation(study, spec, block, request, decision.metrics, request_id)
            actions.append(_action(block, "create", message))
    return NewRound(number, decision.why, tuple(actions), sum(1 for _ in decision.runs()))


def blocks(rounds: Iterable[RoundRecord]) -> Iterator[Block]:
    """The experiments of a study after all actions of these rounds."""
    found: dict[str, Block] = {}
    for one in rounds:
        for action in one.actions:
            found[action["experiment"]] = Block(
                experiment=action["experiment"],
                subject=action["subject"],
                width=action["width"],
                steps=action["steps"],
                rates=tuple(action["rates"]),
                seeds=tuple(action["seeds"]),
            )
    yield from found.values()


def request_of(action: Action) -> service_pb2.CreateExperimentRequest | service_pb2.ExtendExperimentRequest:
    """The request to the service that an action stands for."""
    if "create" in action:
        return json_format.ParseDict(action["create"], service_pb2.CreateExperimentRequest())
    return json_format.ParseDict(action["extend"], service_pb2.ExtendExperimentRequest())


def _extension(block: Block, grown: Block, request_id: str) -> Action:
    message = service_pb2.ExtendExperimentRequest(
        name=names.experiment_name(block.experiment),
        seeds=grown.seeds[len(block.seeds) :],
        base_learning_rates=grown.rates[len(block.rates) :],
        request_id=request_id,
    )
    return _action(grown, "extend", message)


def _action(block: Block, verb: str, message: Any) -> Action:
    """The action as JSON, with the resulting block."""
    return {
        "experiment": block.experiment,
        "subject": block.subject,
        "width": block.width,
        "steps": block.steps,
        "rates": list(block.rates),
        "seeds": list(block.seeds),
        verb: json_format.MessageToDict(message, preserving_proto_field_name=True),
    }


def _creation(
    study: StudyRecord,
    spec: pb.StudySpec,
    block: Block,
    request: studies.Request,
    metrics: Sequence[studies.Metric],
    request_id: str,
) -> service_pb2.CreateExperimentRequest:
    message = service_pb2.CreateExperimentRequest(experiment_id=block.experiment, request_id=request_id)
    experiment = message.experiment
    experiment.display_name = f"study {study.id}: {block.subject}, width {width_of(block.width)}"[:200]
    experiment.labels.update({**study.labels, LABEL: study.id})
    experiment.priority = study.priority
    own = experiment.spec
    own.CopyFrom(spec.base)
    if not own.HasField("schedule"):  # a schedule is a function of all steps
        needed = max(map(recorded_step, metrics), default=0)
        own.steps = min(own.steps, max(request.steps, needed))
    own.evaluation_interval = own.steps
    grid = own.grid
    for axis in (
        "parameterizations",
        "widths",
        "infinite_width",
        "hidden_layers",
        "activations",
        "base_learning_rates",
        "seeds",
    ):
        grid.ClearField(axis)
    entry, hidden_layers = _entry(spec, request)
    grid.parameterizations.append(entry)
    if block.width == INFINITE_WIDTH:
        grid.infinite_width = True
    else:
        grid.widths.append(block.width)
        own.ClearField("infinite_width")
    if request.deferred:
        own.deferred_weights = "always"
    grid.hidden_layers.append(hidden_layers)
    grid.activations.append(request.activation)
    grid.base_learning_rates.extend(block.rates)
    grid.seeds.extend(block.seeds)
    _probe(own, metrics)
    _keep(own, metrics)
    return message


def _entry(spec: pb.StudySpec, request: studies.Request) -> tuple[spec_pb2.ParameterizationSpec, int]:
    """The entry of a spec for a request's parameterization, and the number of hidden layers."""
    base = spec.base
    depths = {parameterization_depth(base, depth): depth for depth in base.grid.hidden_layers}
    hidden_layers = depths[request.exponents.hidden_layers]
    entry = spec_pb2.ParameterizationSpec()
    for subject in subjects(spec):
        if str(subject) == request.subject:
            entry.CopyFrom(next(e for e in base.grid.parameterizations if e.label == subject.label))
            break
    else:
        entry.label = _MOVED
        entry.exponents.CopyFrom(exponents(request.exponents))
        if not _same(entry, request, base.optimizer.name):
            raise Untrainable(
                f"{request.subject} cannot be trained: a spec cannot express its exponents (biases, means, "
                "or changes after the first step); choose a parameterization without them"
            )
    entry.ClearField("base_learning_rates")
    if request.calibrated and not entry.HasField("calibration"):
        entry.calibration.SetInParent()
    return entry, hidden_layers


def _same(entry: spec_pb2.ParameterizationSpec, request: studies.Request, optimizer: str) -> bool:
    try:
        return custom(entry.exponents, request.exponents.hidden_layers, optimizer) == request.exponents
    except theory.TheoryError:
        return False


def _probe(spec: spec_pb2.ExperimentSpec, metrics: Sequence[studies.Metric]) -> None:
    """Set the probes that record these metrics."""
    own = metrics if pairs(spec) else [one for one in metrics if one.quantity != studies.PAIRED]
    probed = [(probe, metric) for metric in own if (probe := probe_of(metric))]
    steps = sorted({step for _, metric in probed if (step := recorded_step(metric)) <= spec.steps})
    if probed and steps:
        spec.record.probes.quantities.extend(dict.fromkeys(probe for probe, _ in probed))
        spec.record.probes.steps.extend(steps)


def _keep(spec: spec_pb2.ExperimentSpec, metrics: Sequence[studies.Metric]) -> None:
    """Keep the weights from which outputs are computed (`ipserver.studies.outputs`), and no others."""
    steps = {metric.step for metric in metrics if metric.quantity == studies.OUTPUTS}
    spec.record.weights, spec.record.weights_interval = "none", 0
    for step in steps:
        if step in (0, spec.steps):
            spec.record.weights = "initial_and_final"
        else:
            spec.record.weights, spec.record.weights_interval = "every", step
