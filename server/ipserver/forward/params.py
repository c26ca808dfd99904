"""A run's parameters as MLflow shows them: the spec, flattened to this run."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from ipcore.theory import RatePhase
from iplab.v1.spec_pb2 import ExperimentSpec, Probes, Schedule
from ipserver.spec.convert import optimizer_settings, pack_config, resource_request, run_config
from ipserver.store.records import NewRun, RunRecord


def run_params(spec: ExperimentSpec, run: RunRecord | NewRun) -> dict[str, str]:
    """Parameters by name; exponents as exact rationals, first layer to last.

    Args:
        spec: The experiment's, defaults filled in.
        run: A run of it.
    """
    pack, own, resources = pack_config(spec, run), run_config(spec, run), resource_request(spec)
    params = {
        "dataset": pack.dataset,
        "loss": pack.loss,
        "parameterization": run.parameterization,
        "hidden_layers": str(pack.hidden_layers),
        "width": str(pack.width),
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
        "resources": f"cpus={resources.cpus:g} gpus={resources.gpus:g}",
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
    if pack.validation_size:
        params["validation_size"] = str(pack.validation_size)
    if spec.record.HasField("probes"):
        params["probes"] = _fields(spec.record.probes)
    if own.calibration:
        params["calibration"] = (
            f"readout_target={own.calibration.readout_target:g} cap={own.calibration.cap:g}"
        )
    return params


def _rates(phases: Iterable[RatePhase], prefix: str) -> dict[str, str]:
    params = {}
    for phase in phases:
        params[f"{prefix}c_from_step_{phase.start}"] = _exponents(phase.c)
        if phase.d is not None:
            params[f"{prefix}d_from_step_{phase.start}"] = _exponents(phase.d)
    return params


def _fields(message: Schedule | Probes) -> str:
    """The fields that are set: "warmup_steps=5 final_fraction=0"."""
    texts = []
    for field, value in message.ListFields():
        if field.name != "name":
            entries = [value] if isinstance(value, int | float) else value
            texts.append(
                f"{field.name}={','.join(f'{x:g}' if isinstance(x, float) else str(x) for x in entries)}"
            )
    return " ".join(texts)


def _exponents(values: Iterable[Fraction | None], missing: str = "") -> str:
    return " ".join(missing if value is None else str(value) for value in values)
