"""Updates of experiments and studies as a message and a field mask."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf import field_mask_pb2
from google.protobuf.message import Message

from iplab.errors import InvalidRequestError, Violation
from iplab.given import filled


def set_masked(
    message: Message,
    labels: Mapping[str, str | None] | None,
    **values: str | int | None,
) -> field_mask_pb2.FieldMask:
    """Set the fields to change; return their paths.

    Args:
        message: An experiment or a study, which gets the new values.
        labels: New values of these labels, None for those to be removed; others stay.
        **values: Values of other fields; None: it stays.

    Raises:
        InvalidRequestError: Values have wrong types.
    """
    message.MergeFrom(filled(type(message), **values))
    mask = field_mask_pb2.FieldMask(paths=[field for field, value in values.items() if value is not None])
    if not isinstance(labels, Mapping | None):
        raise InvalidRequestError(
            [Violation("labels", f"{labels!r} is not a dict; write {{'team': 'theory'}}")]
        )
    for key, text in (labels or {}).items():
        mask.paths.append(f"labels.{key}")
        if text is not None:
            message.MergeFrom(filled(type(message), labels={key: text}))
    return mask
