"""Updates and deletion of studies of the fake service: masks, etags and times."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from google.protobuf.field_mask_pb2 import FieldMask

from iplab.testing.errors import Refused, wrong
from iplab.testing.world import now_ms
from iplab.v1 import study_pb2

_UPDATABLE: Final = ("display_name", "labels", "notes", "priority")
_ONE_LABEL: Final = "labels."
# How long a deleted study can be undeleted.
_KEPT_MS: Final = 30 * 86_400_000


def etag_of(study: study_pb2.Study) -> str:
    """Etag of all fields that an update can change."""
    told = [study.uid, study.display_name, sorted(study.labels.items()), study.priority, study.notes]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def update(study: study_pb2.Study, given: study_pb2.Study, mask: FieldMask) -> bool:
    """Change the fields of a mask; return whether a value changed. Raises Refused."""
    id = study.name.rpartition("/")[2]
    if given.etag not in ("", etag_of(study)):
        text = f"study {id!r} was changed since it had the etag {given.etag!r}"
        raise Refused("ETAG_MISMATCH", f"{text}; read it again before you change it")
    before = etag_of(study)
    for path in _paths(given, mask):
        key = path.removeprefix(_ONE_LABEL)
        if path == "labels":
            study.labels.clear()
            study.labels.update(given.labels)
        elif key == path:
            setattr(study, path, getattr(given, path))
        elif key in given.labels:
            study.labels[key] = given.labels[key]
        else:
            study.labels.pop(key, None)
    return etag_of(study) != before


def _paths(given: study_pb2.Study, mask: FieldMask) -> tuple[str, ...]:
    """The paths to change. Raises Refused if some cannot be changed, or there are none."""
    asked = tuple(dict.fromkeys(mask.paths))
    if asked == ("*",):
        return _UPDATABLE
    if bad := [path for path in asked if path not in _UPDATABLE and not path.startswith(_ONE_LABEL)]:
        raise wrong({"update_mask": f"unknown path {bad[0]!r}; what may be updated: {', '.join(_UPDATABLE)}"})
    paths = asked or tuple(path for path in _UPDATABLE if getattr(given, path))
    if not paths:
        raise wrong({"update_mask": "is empty, and nothing is given that could be updated"})
    return paths


def delete(study: study_pb2.Study) -> None:
    """Delete a study. Raises Refused if it has not ended."""
    if not study.HasField("end_time"):
        state = study_pb2.StudyState.Name(study.state).removeprefix("STUDY_STATE_")
        raise wrong({"name": f"it is {state}; cancel it, and delete it when it has ended"})
    if not study.HasField("delete_time"):
        study.delete_time.GetCurrentTime()
        study.purge_time.FromMilliseconds(now_ms() + _KEPT_MS)


def undelete(study: study_pb2.Study) -> None:
    """Restore a deleted study."""
    study.ClearField("delete_time")
    study.ClearField("purge_time")


def purge(study: study_pb2.Study) -> None:
    """Set the purge time of a deleted study to now. Raises Refused if it is not deleted."""
    if not study.HasField("delete_time"):
        raise wrong({"name": "it is not deleted; delete it first, then it can be purged"})
    study.purge_time.GetCurrentTime()
