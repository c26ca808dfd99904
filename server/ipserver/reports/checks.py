"""Converts specs to arguments of `ipcore.analysis`, and its reports to messages."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from fractions import Fraction
from typing import Any, TypeVar, cast

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from ipcore import theory
from ipcore.analysis import Report, Subject, Trained
from iplab.v1 import report_pb2 as pb
from iplab.v1 import spec_pb2
from ipserver.request.convert import parameterization
from ipserver.request.limit_studies import not_compared
from ipserver.request.models import model_of
from ipserver.request.predict import MAX_PREDICTED_LAYERS, block_matrices, normalization, not_covered
from ipserver.store.records.runs import RunRecord

M = TypeVar("M", bound=Message)


def exponents(spec: spec_pb2.ExperimentSpec, name: str, hidden_layers: int) -> theory.Parameterization:
    """Exponents of a label of the experiment, or else of a preset.

    Args:
        spec: Valid, with its defaults filled in.
        name: A label or a preset.
        hidden_layers: L of a perceptron (`ipserver.request.models.parameterization_depth`).

    Raises:
        TheoryError: It is neither, or the preset is not defined at this depth.
    """
    labels = {entry.label: entry for entry in spec.grid.parameterizations}
    entry = labels.get(name) or spec_pb2.ParameterizationSpec(label=name, preset=name)
    return parameterization(entry, hidden_layers, spec.optimizer.name)


def trained(spec: spec_pb2.ExperimentSpec) -> Trained:
    """The settings of training that the analysis needs.

    Args:
        spec: Valid, with its defaults filled in.
    """
    return Trained(
        widths=tuple(spec.grid.widths),
        optimizer=spec.optimizer.name,
        loss=spec.loss,
        exponents=functools.partial(exponents, spec),
        epsilon=spec.optimizer.epsilon,
        weight_decay=spec.optimizer.weight_decay,
        probes=frozenset(spec.record.probes.quantities),
        probed_layers=tuple(spec.record.probes.layers),
        caps={
            entry.label: entry.calibration.cap
            for entry in spec.grid.parameterizations
            if entry.HasField("calibration")
        },
        not_covered=not_covered(spec),
        max_hidden_layers=MAX_PREDICTED_LAYERS,
        block_matrices=block_matrices(model_of(spec)),
        normalization=normalization(model_of(spec)),
        not_compared=not_compared(spec),
    )


def subjects(spec: spec_pb2.ExperimentSpec, references: Mapping[str, str]) -> Callable[[RunRecord], Subject]:
    """The subject of each run of a spec.

    Args:
        spec: Valid.
        references: Intended parameterization by label: another label or a preset.
    """
    model = model_of(spec)

    def subject_of(run: RunRecord) -> Subject:
        return Subject(
            parameterization=run.parameterization,
            reference=references.get(run.parameterization, run.parameterization),
            hidden_layers=run.hidden_layers,
            activation=run.activation,
            base_learning_rate=run.base_learning_rate,
            layers=model.layers(run.hidden_layers),
        )

    return subject_of


def report_message(name: str, report: Report) -> pb.Report:
    """The message of a report; `name` is "experiments/{id}"."""
    return to_message(report, pb.Report, name=name)


def to_message(value: Any, message: type[M], **more: object) -> M:
    """Convert a dataclass to a message with fields of the same names.

    Args:
        value: A dataclass of numbers, text, enums (by name), exact exponents (as text), other dataclasses,
            tuples of these, and None for unset fields.
        message: Class of the message.
        **more: Further fields of the message.
    """
    return message(**_values(value, cast(Descriptor, message.DESCRIPTOR)), **more)


def _values(value: Any, kind: Descriptor) -> dict[str, object]:
    """The arguments of a message's constructor."""
    known = kind.fields_by_name
    given = {field.name: getattr(value, field.name) for field in fields(value)}
    return {name: _value(one, known[name]) for name, one in given.items() if one is not None}


def _value(value: Any, field: FieldDescriptor) -> object:
    if isinstance(value, tuple):
        return [_value(one, field) for one in value]
    if is_dataclass(value):
        return _values(value, cast(Descriptor, field.message_type))
    if field.enum_type is not None:
        return _number(value, field.enum_type)
    return theory.format_exponent(value) if isinstance(value, Fraction) else value


def _number(value: Enum | str, kind: EnumDescriptor) -> int:
    """The number of an enum's value, given its name without the prefix."""
    prefix = kind.values_by_number[0].name.removesuffix("UNSPECIFIED")
    name = value.name if isinstance(value, Enum) else value
    return kind.values_by_name[f"{prefix}{name}"].number
