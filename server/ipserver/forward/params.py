"""A run's parameters in MLflow: the spec, flattened for this run.

MLflow truncates values after 6,000 characters, possibly inside an element: 1/25 would become 1/2. A longer
value is split over several parameters ("a", "a.2", "a.3") of whole elements; all but the last end in " ...".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from fractions import Fraction

from ipcore.catalogue.settings import settings
from ipcore.catalogue.widths import width_of
from ipcore.config import PackConfig
from ipcore.theory import RatePhase
from iplab.v1.spec_pb2 import ExperimentSpec, Model, Probes, Schedule
from ipserver.request.convert import optimizer_settings, pack_config, resource_request, run_config
from ipserver.store.records.runs import NewRun, RunRecord

# MLflow's limit of a value's length.
_LONGEST = 6000
_MORE = " ..."


def run_params(spec: ExperimentSpec, run: RunRecord | NewRun) -> dict[str, str]:
    """Parameters by name; exponents as exact rationals, first layer to last.

    Args:
        spec: The experiment's spec with defaults filled in.
        run: A run of the experiment.
    """
    pack, own, resources = pack_config(spec, run), run_config(spec, run), resource_request(spec)
    params = {
        "dataset": pack.dataset,
        "loss": pack.loss,
        "parameterization": run.parameterization,
        "preset": _preset(spec, run.parameterization),
        "hidden_layers": str(pack.hidden_layers),
        "width": str(width_of(run.width)),
        "activation": pack.activation,
        "bias": pack.bias,
        "optimizer": pack.optimizer,
        "base_learning_rate": repr(own.base_learning_rate),
        "seed": str(own.seed),
        "batch_size": str(pack.batch_size),
        "steps": str(pack.steps),
        "evaluation_interval": str(pack.evaluation_interval),
        "metrics_interval": str(pack.metrics_interval),
        "weights": pack.weights,
        "a": _exponents(own.parameterization.a),
        "b": _exponents(own.parameterization.b),
        "precision": pack.precision,
        "resources": f"cpus={_number(resources.cpus)} gpus={_number(resources.gpus)}",
    }
    params |= {name: repr(value) for name, value in optimizer_settings(spec.optimizer).items()}
    params |= _rates(own.parameterization.phases, "")
    if (biases := own.parameterization.biases) is not None:
        params |= {"bias_a": _exponents(biases.a), "bias_b": _exponents(biases.b)}
        params |= _rates(biases.phases, "bias_")
    if own.parameterization.mean is not None:
        params["mean"] = _exponents(own.parameterization.mean, "centred")
    for later in own.parameterization.reweightings:
        params[f"k_from_step_{later.start}"] = _exponents(later.k, "removed")
    if spec.HasField("schedule"):
        params["schedule"] = f"{spec.schedule.name} {_fields(spec.schedule)}".rstrip()
    if spec.HasField("model"):
        params["model"] = f"{spec.model.name} {_fields(spec.model)}".rstrip()
    if spec.record.HasField("probes"):
        params["probes"] = _fields(spec.record.probes)
    if own.calibration:
        params["calibration"] = (
            f"readout_target={_number(own.calibration.readout_target)} cap={_number(own.calibration.cap)}"
        )
    if pack.infinite_width:
        params["particles"] = str(pack.width)
    params |= _other_settings(pack, params)
    return {key: part for name, value in params.items() for key, part in fitting(name, value)}


def _preset(spec: ExperimentSpec, label: str) -> str:
    """The published parameterization behind a label, or "custom" for one given by its exponents."""
    entry = next(entry for entry in spec.grid.parameterizations if entry.label == label)
    return entry.preset or "custom"


def _other_settings(pack: PackConfig, named: Collection[str]) -> dict[str, str]:
    """All other settings that differ from their defaults."""
    return {
        name: str(value)
        for name, setting in settings(PackConfig).items()
        if name not in named and (value := getattr(pack, name)) != setting.default
    }


def fitting(name: str, value: str, longest: int = _LONGEST) -> Iterator[tuple[str, str]]:
    """Split a parameter into several of at most `longest` characters each, without cutting elements.

    >>> list(fitting("a", "1/2 1/3 1/4", longest=11))
    [('a', '1/2 1/3 1/4')]
    >>> list(fitting("a", "1/2 1/3 1/4 1/5", longest=11))
    [('a', '1/2 1/3 ...'), ('a.2', '1/4 1/5')]
    """
    number = 1
    while len(value) > longest:
        # Split at the last possible place. A single element that is too long is not shown.
        room = longest - len(_MORE)
        end = value.rfind(" ", 0, room + 1)
        if end < 0:
            element, _, value = value.partition(" ")
            part = f"({len(element)} characters: see spec.json)"
        else:
            part, value = value[:end], value[end + 1 :]
        yield (name if number == 1 else f"{name}.{number}"), part + (_MORE if value else "")
        number += 1
        if not value:
            return
    yield (name if number == 1 else f"{name}.{number}"), value


def _number(value: float) -> str:
    """The shortest text that reads back as exactly this number.

    >>> _number(1.0), _number(0.1), _number(0.123456789)
    ('1', '0.1', '0.123456789')
    """
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _rates(phases: Iterable[RatePhase], prefix: str) -> dict[str, str]:
    params = {}
    for phase in phases:
        params[f"{prefix}c_from_step_{phase.start}"] = _exponents(phase.c)
        if phase.d is not None:
            params[f"{prefix}d_from_step_{phase.start}"] = _exponents(phase.d)
    return params


def _fields(message: Schedule | Probes | Model) -> str:
    """The fields that are set: "warmup_steps=5 final_fraction=0"."""
    texts = []
    for field, value in message.ListFields():
        if field.name != "name":
            entries = [value] if isinstance(value, int | float | str) else value
            texts.append(
                f"{field.name}={','.join(_number(x) if isinstance(x, float) else str(x) for x in entries)}"
            )
    return " ".join(texts)


def _exponents(values: Iterable[Fraction | None], missing: str = "") -> str:
    return " ".join(missing if value is None else str(value) for value in values)
