"""Fills the defaults into a spec, so that the stored and hashed spec is complete.

Optional parts without effect by default (schedule, weight decay, probes, precision, model) stay unset where
`FieldRule.left_out` says so, so that specs older than such a part keep their hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from ipcore.catalogue import canonical_name
from ipcore.catalogue.widths import INFINITE_WIDTH
from ipcore.limits.cost import deferring_width
from ipcore.models import MLP, MODELS, model_to
from iplab.v1 import spec_pb2 as pb
from ipserver.request.fields import default_of, fields_of, rule_of, used_settings


def with_defaults(spec: pb.ExperimentSpec) -> pb.ExperimentSpec:
    """A copy of a spec with every default written out.

    The label defaults to the preset's name. A grid with infinite width records the outputs that the check of
    distances to the limit needs. Networks without matrices (infinite width, deferred weights) keep no weights
    unless the spec asks for them. `deferred_weights: cheaper` gets the width from which it applies. Fields
    without a default are unchanged.

    >>> with_defaults(pb.ExperimentSpec(dataset="digits")).optimizer.name
    'sgd'
    """
    filled = pb.ExperimentSpec()
    filled.CopyFrom(spec)
    filled.dataset = canonical_name(spec.dataset)
    if not spec.record.weights and (spec.grid.infinite_width or spec.deferred_weights):
        filled.record.weights = "none"
    fill(filled)
    if spec.HasField("model"):
        _fill_model(filled.model)
    for entry in filled.grid.parameterizations:
        entry.label = entry.label or default_label(entry.preset)
    if filled.grid.infinite_width and filled.steps > 0 and not filled.record.HasField("probes"):
        _record_outputs(filled)
    if filled.deferred_weights == "cheaper" and not filled.deferred_width:
        filled.deferred_width = _deferred_width(filled)
    return filled


def _deferred_width(spec: pb.ExperimentSpec) -> int:
    """The width from which deferred weights train faster. It is stored, so that reruns use the same one."""
    examples = max(spec.steps, 1) * max(spec.batch_size, 1)
    return min(deferring_width(examples, gpu=spec.resources.gpus > 0), INFINITE_WIDTH)


def _record_outputs(spec: pb.ExperimentSpec) -> None:
    """Record the outputs after 1, 10, 100, ... updates, to compare networks with their limit."""
    steps = [10**power for power in range(9) if 10**power < spec.steps]
    spec.record.probes.quantities.append("outputs")
    spec.record.probes.steps.extend([*steps, spec.steps])
    fill(spec.record.probes)


def fill(message: Message) -> None:
    """Fill a message and its submessages in field order: a name comes first and decides what else is used."""
    for field in fields_of(message).values():
        if field.message_type is not None:
            _fill_part(message, field)
            continue
        default, used = default_of(field), used_settings(message)
        given = message.HasField(field.name) if field.has_presence else bool(getattr(message, field.name))
        if given or default is None or (used is not None and field.name not in ("name", *used)):
            continue
        if default or field.has_presence:
            setattr(message, field.name, default)


def _fill_part(message: Message, field: FieldDescriptor) -> None:
    part = getattr(message, field.name)
    if isinstance(part, Mapping):
        return
    if field.is_repeated:
        for entry in part:
            fill(entry)
    elif message.HasField(field.name) or not rule_of(field).left_out:
        fill(part)


def _fill_model(model: pb.Model) -> None:
    model.name = model.name or MLP.name
    if model.name in MODELS:
        given, known = {descriptor.name for descriptor, _ in model.ListFields()}, fields_of(model)
        for name, value in model_to(MODELS[model.name]()).items():
            if name not in given and not rule_of(known[name]).left_out:
                setattr(model, name, value)


def default_label(preset: str) -> str:
    """A preset's name as a label: "up:1/4" becomes "up-1-4"."""
    return re.sub(r"[^a-z0-9._-]", "-", preset)


def spec_hash(filled: pb.ExperimentSpec) -> str:
    """SHA-256, in hexadecimal, of a spec whose defaults are filled in."""
    return hashlib.sha256(filled.SerializeToString(deterministic=True)).hexdigest()
