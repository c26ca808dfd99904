"""Converts a stored spec and its runs to what the trainer takes: `ipcore.config` and resources."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from ipcore import theory
from ipcore.catalogue import KNOWN_OPTIMIZERS, OPTIMIZERS
from ipcore.catalogue.settings import settings
from ipcore.catalogue.widths import INFINITE_WIDTH
from ipcore.config import Calibration, OptimizerSettings, PackConfig, Probes, RunConfig, Schedule
from ipcore.probes.quantities import with_companions
from iplab.v1 import spec_pb2 as pb
from ipserver.request.defaults import fill
from ipserver.request.fields import fields_of, rule_of
from ipserver.request.models import model_of, parameterization_depth
from ipserver.request.resources import ResourceRequest
from ipserver.store.records.networks import NetworkShape
from ipserver.store.records.runs import NewRun, RunRecord


def pack_config(spec: pb.ExperimentSpec, run: RunRecord | NewRun | NetworkShape) -> PackConfig:
    """The configuration that `run` shares with all runs of its pack.

    Args:
        spec: Valid, with its defaults filled in.
        run: Any run of the pack, or the shape of its networks.
    """
    # An axis of the grid overrides a field of the spec with the same name.
    settings = {
        **_values(spec, PackConfig),
        **_values(spec.record, PackConfig),
        **NetworkShape.values_of(run),
    }
    if settings["width"] == INFINITE_WIDTH:
        settings |= _limit(spec)
    config = PackConfig(
        optimizer=spec.optimizer.name,
        schedule=pack_schedule(spec),
        probes=_probes(spec) if spec.record.HasField("probes") else None,
        model=model_of(spec),
        **settings,
    )
    if config.infinite_width or not _defers(spec, config):
        return config
    return replace(config, deferred=True)


def _limit(spec: pb.ExperimentSpec) -> dict[str, Any]:
    """Settings of a run of infinite width, which has particles instead of a width."""
    asked = pb.InfiniteWidth()
    asked.CopyFrom(spec.infinite_width)
    fill(asked)
    return {"infinite_width": True, "width": asked.particles, "replicas": asked.replicas}


# Values of `deferred_weights` that ask for deferred weights.
DEFERRING: Final = ("cheaper", "always")


def _defers(spec: pb.ExperimentSpec, config: PackConfig) -> bool:
    """Whether networks of a configuration have deferred weights, which need hidden matrices."""
    if spec.deferred_weights == "cheaper":
        return config.hidden_layers > 1 and config.width >= spec.deferred_width
    return spec.deferred_weights == "always"


def pack_schedule(spec: pb.ExperimentSpec) -> Schedule:
    """The schedule of a spec with its defaults."""
    return Schedule(**_values(spec.schedule, Schedule)) if spec.HasField("schedule") else Schedule()


def _probes(spec: pb.ExperimentSpec) -> Probes:
    asked = Probes(**_values(spec.record.probes, Probes))
    return with_companions(asked, spec.optimizer.name, model_of(spec))


def _values(message: Message, owner: type) -> dict[str, Any]:
    """Settings of a dataclass by name, from the fields that the message has set.

    The message has no default for settings that its choice does not use; the dataclass's own default applies.
    """
    found = {}
    kind: Any = type(message)
    for name, field in _common(kind, owner):
        value = getattr(message, name)
        if field.is_repeated:
            found[name] = tuple(value)
        elif message.HasField(name) if field.has_presence else value or not rule_of(field).left_out:
            found[name] = value
    return found


@functools.cache
def _common(message: Any, owner: Any) -> tuple[tuple[str, FieldDescriptor], ...]:
    """The fields that a message shares by name with a dataclass."""
    fields = fields_of(message)
    return tuple(
        (name, field) for name, field in fields.items() if not field.message_type and name in settings(owner)
    )


def run_config(spec: pb.ExperimentSpec, run: RunRecord | NewRun) -> RunConfig:
    """The configuration of one run: exponents at its depth, base rate, seed, calibration, optimizer settings.

    Args:
        spec: Valid, with its defaults filled in.
        run: A run expanded from it.
    """
    entry = next(entry for entry in spec.grid.parameterizations if entry.label == run.parameterization)
    calibration = None
    if entry.HasField("calibration"):
        calibration = Calibration(**_values(entry.calibration, Calibration))
    return RunConfig(
        parameterization=parameterization(
            entry, parameterization_depth(spec, run.hidden_layers), spec.optimizer.name
        ),
        base_learning_rate=run.base_learning_rate,
        seed=run.seed,
        calibration=calibration,
        settings=OptimizerSettings(**optimizer_settings(spec.optimizer)),
    )


def optimizer_settings(optimizer: pb.Optimizer) -> dict[str, Any]:
    """The settings that an optimizer uses, by name, with defaults for those that a spec leaves out.

    >>> optimizer_settings(pb.Optimizer(name="momentum", momentum=0.5))
    {'momentum': 0.5, 'weight_decay': 0.0}
    """
    return {
        name: getattr(optimizer, name) if optimizer.HasField(name) else setting.default  # type: ignore[arg-type]
        for name, setting in OPTIMIZERS[optimizer.name].settings.items()
    }


def parameterization(
    entry: pb.ParameterizationSpec, hidden_layers: int, optimizer: str
) -> theory.Parameterization:
    """The exponents of one point of the parameterization axis at a depth.

    Args:
        entry: Preset or exponents.
        hidden_layers: L of a perceptron (`ipserver.request.models.parameterization_depth`).
        optimizer: Name in the catalogue; presets have separate rates for Adam.

    Raises:
        TheoryError: The preset is unknown or not defined with this optimizer or at this depth, or the
            exponents do not fit the depth.
    """
    if entry.WhichOneof("scheme") == "preset":
        return _preset(entry.preset, hidden_layers, optimizer)
    return custom(entry.exponents, hidden_layers, optimizer)


@functools.lru_cache(maxsize=128)
def _preset(name: str, hidden_layers: int, optimizer: str) -> theory.Parameterization:
    """A preset's exponents, which all runs of a pack ask for."""
    return theory.preset(name, hidden_layers, optimizer=optimizer)


def custom(given: pb.Exponents, hidden_layers: int, optimizer: str) -> theory.Parameterization:
    """Explicit exponents. With Adam, d defaults to 0: the framework's constant epsilon.

    >>> zeros = pb.Exponents(a="000", b="000", c="000")
    >>> custom(zeros, 1, "sgd").phases[0].d, [str(d) for d in custom(zeros, 1, "adam").phases[0].d]
    (None, ['0', '0'])

    Raises:
        TheoryError: As `ipcore.theory.custom`.
    """
    d = epsilon_exponents(given.d, optimizer)
    return theory.custom(hidden_layers, given.a, given.b, given.c, given.c_first_step, d, given.d_first_step)


def epsilon_exponents(given: Sequence[str | Fraction], optimizer: str) -> Sequence[str | Fraction]:
    """The list d of a spec, or its default with this optimizer."""
    known = KNOWN_OPTIMIZERS.get(optimizer)
    return given or (["0"] * 3 if known is not None and known.has_epsilon else [])


def exponents(value: theory.Parameterization) -> pb.Exponents:
    """Explicit exponents, one entry per layer. Those of the first step are empty if all steps have the same.

    The message has no fields for biases, means and re-weightings.

    >>> list(exponents(theory.preset("ip-llr", 2)).c_first_step)
    ['-3/2', '-2', '-3/2']
    """

    def texts(row: tuple[Fraction, ...]) -> list[str]:
        return [theory.format_exponent(entry) for entry in row]

    first, later = value.phase_at(0), value.phases[-1]
    return pb.Exponents(
        a=texts(value.a),
        b=texts(value.b),
        c=texts(later.c),
        c_first_step=texts(first.c) if first.c != later.c else [],
        d=texts(later.d or ()),
        d_first_step=texts(first.d or ()) if first.d != later.d else [],
    )


def resource_request(spec: pb.ExperimentSpec) -> ResourceRequest:
    """The resources of one pack of a spec with defaults."""
    return ResourceRequest(spec.resources.cpus, spec.resources.gpus, dict(spec.resources.custom))
