"""Updates of experiments and studies as a message and a field mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from google.protobuf import field_mask_pb2

if TYPE_CHECKING:
    from iplab.v1 import experiment_pb2, study_pb2


def set_masked(
    message: experiment_pb2.Experiment | study_pb2.Study,
    labels: Mapping[str, str | None] | None,
    **values: str | int | None,
) -> field_mask_pb2.FieldMask:
    """Set the fields to change; return their paths.

    Args:
        message: Gets the new values.
        labels: New values of these labels, None for those to be removed; others stay.
        **values: Values of other fields; None: it stays.
    """
    mask = field_mask_pb2.FieldMask()
    for field, value in values.items():
        if value is not None:
            setattr(message, field, value)
            mask.paths.append(field)
    for key, text in (labels or {}).items():
        mask.paths.append(f"labels.{key}")
        if text is not None:
            message.labels[key] = text
    return mask
