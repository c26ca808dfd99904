"""A run's parameters as MLflow shows them: the spec, flattened to this run."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from iplab.v1.spec_pb2 import ExperimentSpec
from ipserver.spec.convert import pack_config, resource_request, run_config
from ipserver.store.records import RunRecord


def run_params(spec: ExperimentSpec, run: RunRecord) -> dict[str, str]:
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
        "resources": f"cpus={resources.cpus:g} gpus={resources.gpus:g}",
    }
    for phase in own.parameterization.phases:
        params[f"c_from_step_{phase.start}"] = _exponents(phase.c)
    if own.calibration:
        params["calibration"] = (
            f"readout_target={own.calibration.readout_target:g} cap={own.calibration.cap:g}"
        )
    return params


def _exponents(values: Iterable[Fraction]) -> str:
    return " ".join(str(value) for value in values)
