"""Looks up rules and defaults of request fields where they are declared.

Fields that describe training are declared in `ipcore.catalogue` and `ipcore.config`, under the names of the
messages. Fields that only requests have carry a proto option (`iplab/v1/options.proto`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from ipcore.catalogue.rules import Interval
from ipcore.catalogue.settings import Setting, settings
from ipcore.config import Calibration, OptimizerSettings, PackConfig, Probes, RunConfig, Schedule
from iplab.v1 import options_pb2
from iplab.v1.catalog_service_pb2 import Limits

# The class that declares the fields of a message under the same names.
_DECLARED: Final[Mapping[str, type]] = {
    "ExperimentSpec": PackConfig,
    "Recording": PackConfig,
    "Optimizer": OptimizerSettings,
    "Schedule": Schedule,
    "Probes": Probes,
    "Calibration": Calibration,
    "InfiniteWidth": PackConfig,
}
# The grid's axis for each field of `NetworkShape`.
NETWORK_AXES: Final[Mapping[str, str]] = {
    "hidden_layers": "hidden_layers",
    "width": "widths",
    "activation": "activations",
}
# Fields that are declared elsewhere, or under another name.
_ELSEWHERE: Final[Mapping[str, tuple[type, str]]] = {
    "Optimizer.name": (PackConfig, "optimizer"),
    **{f"Grid.{field}": (PackConfig, axis) for axis, field in NETWORK_AXES.items()},
    "InfiniteWidth.particles": (PackConfig, "width"),
    "Grid.base_learning_rates": (RunConfig, "base_learning_rate"),
    "Grid.seeds": (RunConfig, "seed"),
    "ParameterizationSpec.base_learning_rates": (RunConfig, "base_learning_rate"),
}


def fields_of(message: Message | type[Message]) -> Mapping[str, FieldDescriptor]:
    """The fields of a message by name, in the order of the proto."""
    kind: Any = message if isinstance(message, type) else type(message)
    return _fields(kind)


@cache
def _fields(kind: Any) -> Mapping[str, FieldDescriptor]:
    return {field.name: cast(FieldDescriptor, field) for field in kind.DESCRIPTOR.fields}


@cache
def setting_of(field: FieldDescriptor) -> Setting | None:
    """The declaration of a field of a spec, or None."""
    place = _place(field)
    if place in _ELSEWHERE:
        owner, name = _ELSEWHERE[place]
        return settings(owner)[name]
    message, _, name = place.partition(".")
    return settings(_DECLARED[message]).get(name) if message in _DECLARED else None


@cache
def rule_of(field: FieldDescriptor) -> options_pb2.FieldRule:
    """The field's option; empty if it has none."""
    return field.GetOptions().Extensions[options_pb2.rule]


@cache
def default_of(field: FieldDescriptor) -> Any:
    """The default of a field, or None."""
    rule = rule_of(field)
    if rule.left_out:
        return None
    if rule.HasField("default_number"):
        return _whole(rule.default_number)
    setting = setting_of(field)
    return None if setting is None or setting.repeated else setting.default


def used_settings(message: Message) -> Mapping[str, object] | None:
    """The settings that the named catalogue entry uses, for messages that name an entry with settings.

    None for every other message; empty if the name is unknown.
    """
    if (entries := _entries(message)) is None:
        return None
    entry = entries.get(getattr(message, "name", ""))
    return {} if entry is None else entry.settings


def has_unknown_name(message: Message) -> bool:
    """Whether the message names an unknown catalogue entry, and therefore its settings cannot be checked."""
    entries = _entries(message)
    return entries is not None and getattr(message, "name", "") not in entries


def users_of(message: Message, name: str) -> list[str]:
    """Names of the catalogue entries that use a setting of the message."""
    return [entry.name for entry in (_entries(message) or {}).values() if name in entry.settings]


def value_problem(field: FieldDescriptor, value: Any, limits: Limits) -> str:
    """Why a value (or an entry of a list) breaks its declaration, option or limit; "" if it is valid."""
    setting, rule = setting_of(field), rule_of(field)
    least = rule.least if rule.HasField("least") else -math.inf
    most = rule.most if rule.HasField("most") else math.inf
    if (limit := _limits().get(_place(field))) is not None:
        most = getattr(limits, limit)
        declared = [entry for entry in setting.rules if isinstance(entry, Interval)] if setting else []
        least = max([least, *(entry.least for entry in declared)])
    bounded = most < math.inf or least > -math.inf
    if bounded and (text := Interval(_whole(least), _whole(most)).problem(value)):
        return text
    return setting.problem(value) if setting is not None else ""


def _entries(message: Message) -> Mapping[str, Any] | None:
    """The catalogue's table in which a message names an entry, if its entries have settings."""
    kind: Any = type(message)
    return _table(kind)


@cache
def _table(kind: Any) -> Mapping[str, Any] | None:
    field = _fields(kind).get("name")
    setting = None if field is None else setting_of(field)
    choice = None if setting is None else setting.choice
    if choice is None or not all(hasattr(entry, "settings") for entry in choice.names.values()):
        return None
    return choice.names


def _place(field: FieldDescriptor) -> str:
    """Key of a field in the tables above, such as "ExperimentSpec.steps"."""
    return ".".join(field.full_name.split(".")[-2:])


def _whole(value: float) -> float:
    """A whole bound as int, so that messages show it without a decimal point: options hold doubles."""
    return int(value) if math.isfinite(value) and value == int(value) else value


@cache
def _limits() -> Mapping[str, str]:
    """Name of the limit that bounds each field."""
    return {place: name for name, field in fields_of(Limits).items() for place in rule_of(field).bounds}
