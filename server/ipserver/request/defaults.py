"""Fills the defaults into a spec, so that what is stored and hashed says everything.

A part that is not given and then does nothing (schedule, validation set, weight decay, probes, precision)
stays out: so a spec of before that part existed keeps its hash.
"""

from __future__ import annotations

import hashlib
import re

from ipcore.catalogue import OPTIMIZERS, canonical_name
from iplab.v1 import spec_pb2 as pb

LOSS = "cross_entropy"
BIAS = "first"
OPTIMIZER = "sgd"
METRICS_INTERVAL = 10
WEIGHTS = "final"
CPUS = 1.0
GPUS = 0.0
READOUT_TARGET = 1.0
CAP = 1000.0
SCHEDULE = "constant"
PRECISION = "fp32"
FINAL_FRACTION = 0.0
DECAY = 0.1
PROBE_EXAMPLES = 64


def with_defaults(spec: pb.ExperimentSpec) -> pb.ExperimentSpec:
    """A copy of a spec with every default of spec.proto written out.

    A label that is not given becomes the preset's name. Fields without a default stay as they are.

    >>> with_defaults(pb.ExperimentSpec(dataset="digits")).optimizer.name
    'sgd'
    """
    filled = pb.ExperimentSpec()
    filled.CopyFrom(spec)
    filled.dataset = canonical_name(spec.dataset)
    filled.loss = spec.loss or LOSS
    filled.bias = spec.bias or BIAS
    filled.optimizer.name = spec.optimizer.name or OPTIMIZER
    optimizer = OPTIMIZERS.get(filled.optimizer.name)
    for name, setting in optimizer.settings.items() if optimizer else ():
        if setting.default and not spec.optimizer.HasField(name):  # type: ignore[arg-type] # a literal
            setattr(filled.optimizer, name, setting.default)
    if spec.HasField("schedule"):
        _fill_schedule(filled.schedule)
    if spec.record.HasField("probes"):
        filled.record.probes.examples = spec.record.probes.examples or PROBE_EXAMPLES
    filled.record.metrics_interval = spec.record.metrics_interval or METRICS_INTERVAL
    filled.record.weights = spec.record.weights or WEIGHTS
    if not spec.resources.HasField("cpus"):
        filled.resources.cpus = CPUS
    if not spec.resources.HasField("gpus"):
        filled.resources.gpus = GPUS
    for entry in filled.grid.parameterizations:
        entry.label = entry.label or default_label(entry.preset)
        if entry.HasField("calibration"):
            if not entry.calibration.HasField("readout_target"):
                entry.calibration.readout_target = READOUT_TARGET
            if not entry.calibration.HasField("cap"):
                entry.calibration.cap = CAP
    return filled


def _fill_schedule(schedule: pb.Schedule) -> None:
    schedule.name = schedule.name or SCHEDULE
    if schedule.name in {"linear", "cosine"} and not schedule.HasField("final_fraction"):
        schedule.final_fraction = FINAL_FRACTION
    if schedule.name == "step" and not schedule.HasField("decay"):
        schedule.decay = DECAY


def default_label(preset: str) -> str:
    """A preset's name as a label: "up:1/4" becomes "up-1-4"."""
    return re.sub(r"[^a-z0-9._-]", "-", preset)


def spec_hash(filled: pb.ExperimentSpec) -> str:
    """SHA-256, in hexadecimal, of a spec whose defaults are filled in."""
    return hashlib.sha256(filled.SerializeToString(deterministic=True)).hexdigest()
