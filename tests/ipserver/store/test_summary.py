"""Consequences of the declaration of a summary's values."""

from __future__ import annotations

from google.protobuf.descriptor import FieldDescriptor

from iplab.v1.run_pb2 import RunSummary
from ipserver.api.filters import RUN_FIELDS
from ipserver.store.summary import RULES, VALUES
from ipserver.store.transactions import comparisons

TYPES = {FieldDescriptor.TYPE_DOUBLE: float, FieldDescriptor.TYPE_INT32: int}


def test_the_message_has_the_same_values() -> None:
    """In the same order, of the same type, and all optional."""
    message = {entry.name: TYPES[entry.type] for entry in RunSummary.DESCRIPTOR.fields}
    assert list(message.items()) == list(VALUES.items())
    assert all(entry.has_presence for entry in RunSummary.DESCRIPTOR.fields)


def test_a_filter_may_name_every_value() -> None:
    assert VALUES.items() <= RUN_FIELDS.items()
    assert set(RUN_FIELDS) == set(comparisons.RUN_FIELDS)


def test_a_value_without_a_rule_is_a_step() -> None:
    assert {name for name, kind in VALUES.items() if kind is int} == set(VALUES) - set(RULES)
