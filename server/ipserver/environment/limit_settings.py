"""Settings of the limits: one per field of `iplab.v1.Limits`, with the default and range declared there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field, create_model
from pydantic_settings import BaseSettings

from iplab.v1 import options_pb2
from iplab.v1.catalog_service_pb2 import Limits

LIMITS: Final = tuple(field.name for field in Limits.DESCRIPTOR.fields)


def _fields() -> dict[str, Any]:
    fields = {}
    for field in Limits.DESCRIPTOR.fields:
        rule = field.GetOptions().Extensions[options_pb2.rule]
        most = int(rule.most) if rule.HasField("most") else None
        allowed = Field(int(rule.default_number), ge=int(rule.least), le=most, description=rule.meaning)
        fields[field.name] = (int, allowed)
    return fields


if TYPE_CHECKING:
    LimitSettings = BaseSettings
else:
    LimitSettings = create_model("LimitSettings", __base__=BaseSettings, **_fields())
