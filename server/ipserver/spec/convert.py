"""From a stored spec and its runs to what trains: `ipcore.config` and resources."""

from __future__ import annotations

from fractions import Fraction

from ipcore import theory
from ipcore.config import Calibration, PackConfig, RunConfig
from iplab.v1 import spec_pb2 as pb
from ipserver.dispatch.jobs import ResourceRequest
from ipserver.store.records import NewRun, RunRecord


def pack_config(spec: pb.ExperimentSpec, run: RunRecord | NewRun) -> PackConfig:
    """What `run` shares with every run of its pack.

    Args:
        spec: Valid, with its defaults filled in.
        run: Any run of the pack.
    """
    return PackConfig(
        dataset=spec.dataset,
        hidden_layers=run.hidden_layers,
        width=run.width,
        activation=run.activation,
        batch_size=spec.batch_size,
        steps=spec.steps,
        loss=spec.loss,
        bias=spec.bias,
        optimizer=spec.optimizer.name,
        metrics_interval=spec.record.metrics_interval,
        evaluation_interval=spec.evaluation_interval,
        weights=spec.record.weights,
        weights_interval=spec.record.weights_interval,
    )


def run_config(spec: pb.ExperimentSpec, run: RunRecord | NewRun) -> RunConfig:
    """What is `run`'s own: exponents at its depth, base rate, seed, calibration.

    Args:
        spec: Valid, with its defaults filled in.
        run: A run expanded from it.
    """
    entry = next(entry for entry in spec.grid.parameterizations if entry.label == run.parameterization)
    calibration = None
    if entry.HasField("calibration"):
        calibration = Calibration(entry.calibration.readout_target, entry.calibration.cap)
    return RunConfig(
        parameterization=parameterization(entry, run.hidden_layers),
        base_learning_rate=run.base_learning_rate,
        seed=run.seed,
        calibration=calibration,
    )


def parameterization(entry: pb.ParameterizationSpec, hidden_layers: int) -> theory.Parameterization:
    """The exponents of one point of the parameterization axis at a depth.

    Raises:
        TheoryError: An unknown preset, or exponents that do not fit the depth.
    """
    if entry.WhichOneof("scheme") == "preset":
        return theory.preset(entry.preset, hidden_layers)
    given = entry.exponents
    return theory.custom(hidden_layers, given.a, given.b, given.c, given.c_first_step)


def exponents(value: theory.Parameterization) -> pb.Exponents:
    """Exponents written out, one entry per layer; `c_first_step` is empty if the rates do not change.

    >>> list(exponents(theory.preset("ip-llr", 2)).c_first_step)
    ['-3/2', '-2', '-3/2']
    """

    def texts(row: tuple[Fraction, ...]) -> list[str]:
        return [theory.format_exponent(entry) for entry in row]

    first, later = value.c_at(0), value.phases[-1].c
    return pb.Exponents(
        a=texts(value.a),
        b=texts(value.b),
        c=texts(later),
        c_first_step=texts(first) if first != later else [],
    )


def resource_request(spec: pb.ExperimentSpec) -> ResourceRequest:
    """What one pack of a spec with defaults may use."""
    return ResourceRequest(spec.resources.cpus, spec.resources.gpus, dict(spec.resources.custom))
