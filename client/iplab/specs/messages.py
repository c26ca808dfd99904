"""From plain values to the JSON form of a message, by the message's descriptor."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from ipcore.errors import nearest
from iplab.specs.problems import Problems
from iplab.specs.values import (
    INTEGERS,
    REALS,
    is_infinite,
    is_text,
    real_of,
    shown,
    text_of,
    truth_of,
    whole_of,
)
from iplab.specs.vocabulary import OTHER_NAMES
from iplab.v1.experiment_pb2 import Experiment

ROOT: Final = Experiment.DESCRIPTOR

# Whole numbers as options of the command line take them: "8..15".
_RANGE: Final = re.compile(r"\s*([0-9]{1,9})\s*\.\.\s*([0-9]{1,9})\s*")
_LONGEST_RANGE: Final = 20
# The list that may contain infinity, which has its own field in the message.
_WIDTHS: Final = "iplab.v1.Grid.widths"
# Names that a spec may use; the rest of Experiment is set by the service.
INPUT: Final = ("display_name", "labels", "notes", "priority", "project", "spec")
# Fields that a bare name in place of a mapping probably means: the first of these that the message has.
_NAMING: Final = ("preset", "name")
# Common names of the id, which is not part of a spec.
_IDS: Final = ("name", "id", "experiment_id", "experiment", "run_name")


def message_of(value: object, kind: Descriptor, path: str, problems: Problems) -> dict[str, object]:
    """Fields of a message by name, without those that do not fit, which are added to `problems`."""
    if not isinstance(value, Mapping):
        what = "an empty document" if value is None else shown(value)
        names = _names(kind)
        naming = next((name for name in _NAMING if name in names), None)
        write = f"write {{{naming}: {shown(value)}}}; " if naming and isinstance(value, str) else ""
        problems.add(path, f"{what} is not a mapping; {write}it may have {', '.join(names)}")
        return {}
    plain: dict[str, object] = {}
    for key, given_entry in value.items():
        below = f"{path}.{key}" if path else str(key)
        target = kind.fields_by_name.get(str(key)) or kind.fields_by_camelcase_name.get(str(key))
        widths = target is not None and target.full_name == _WIDTHS
        entry = _finite(given_entry, below, plain, problems) if widths else given_entry
        if target is None or target.name not in _names(kind):
            name = str(key)
            message, meant = (
                ("unknown field", f"{path}.{name}") if problems.many else _unknown(name, kind, path)
            )
            nearest = meant.rpartition(".")[2]
            # The field that was meant may be given too.
            problems.add(below, message, below if nearest != key and nearest in value else meant)
        elif target.name in plain:
            problems.add(below, f"is {target.name}, given twice; keep one")
        elif (plain_entry := _field(entry, target, below, problems)) is not None:
            plain[target.name] = plain_entry
    for group in kind.oneofs:
        given = [member.name for member in group.fields if member.name in plain]
        if len(given) > 1:
            problems.add(path, f"has {' and '.join(given)}; keep one of them")
            for extra in given[1:]:
                del plain[extra]
    return plain


def _finite(widths: object, path: str, plain: dict[str, object], problems: Problems) -> object:
    """The finite widths of a list; infinity among them is the field `infinite_width`."""
    if isinstance(widths, str | bytes | Mapping) or not hasattr(widths, "__iter__"):
        return widths
    entries = list(widths)
    infinite = [i for i, entry in enumerate(entries) if is_infinite(entry)]
    if infinite:
        plain["infinite_width"] = True
    if infinite and infinite[0] != len(entries) - 1:
        problems.add(f"{path}[{infinite[0]}]", "inf must be the last width, given once; move it to the end")
    return [entry for entry in entries if not is_infinite(entry)]


def _names(kind: Descriptor) -> Sequence[str]:
    """Names that a spec may use; the rest of Experiment is set by the service."""
    return INPUT if kind is ROOT else [entry.name for entry in kind.fields]


def _unknown(name: str, kind: Descriptor, path: str) -> tuple[str, str]:
    """The problem with an unknown field at `path`, and the path that was meant."""
    if kind is ROOT and name in _IDS:
        return "unknown field; the id is given when it is submitted (--id, experiment_id=)", name
    if kind is ROOT and name in kind.fields_by_name:
        return "is set by the service; leave it out", name
    here = f"{path}.{name}" if path else name
    if name == "<<":
        return "merging (<<) is not supported; write the fields out", here
    known = _names(kind)
    elsewhere = _places(ROOT, "")
    near = nearest(name, known)
    # A field with exactly this name elsewhere is preferred to a similar name here, except for its plural.
    if near and (name not in elsewhere or near == f"{name}s"):
        return f"unknown field; did you mean {near}?", f"{path}.{near}" if path else near
    # Users name axes of the grid as tables do, or by shorter names.
    far = name if name in elsewhere else nearest(OTHER_NAMES.get(name.lower(), name), elsewhere)
    if not far:
        return f"unknown field; allowed here: {', '.join(known)}", here
    hint = f"it belongs at {elsewhere[far]}" if far == name else f"did you mean {elsewhere[far]}?"
    return f"unknown field here; {hint}", elsewhere[far]


def _places(kind: Descriptor, path: str) -> dict[str, str]:
    """Paths of all fields by name; for equal names, the shallowest path."""
    entries = [kind.fields_by_name[name] for name in _names(kind)]
    found = {entry.name: f"{path}.{entry.name}" if path else entry.name for entry in entries}
    for entry in entries:
        nested = entry.message_type
        if nested and not nested.GetOptions().map_entry:
            found = _places(nested, found[entry.name] + ("[]" if entry.is_repeated else "")) | found
    return found


def _field(value: object, target: FieldDescriptor, path: str, problems: Problems) -> object:
    if target.message_type and target.message_type.GetOptions().map_entry:
        return _map(value, target.message_type, path, problems)
    if target.is_repeated:
        if value is None:
            return None
        if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__iter__"):
            problems.add(path, f"{shown(value)} is not a list; write {_as_list(value, target)}")
            return None
        singles = (_single(entry, target, f"{path}[{i}]", problems) for i, entry in enumerate(value))
        return [_stand_in(target) if single is None else single for single in singles]
    if value is None:
        if target.message_type:
            problems.add(path, "is empty; write {} for its defaults, or leave it out")
        return None
    return _single(value, target, path, problems)


def _as_list(value: object, target: FieldDescriptor) -> str:
    """How to write a list in place of a single value.

    >>> from iplab.v1.spec_pb2 import Grid
    >>> widths = Grid.DESCRIPTOR.fields_by_name["widths"]
    >>> _as_list(64, widths), _as_list("0..2", widths), _as_list("64, 128", widths)
    ('[64] for a single value', '[0, 1, 2]', '[64, 128]')
    """
    text = value if isinstance(value, str) and target.type in INTEGERS else ""
    ends = _RANGE.fullmatch(text)
    if ends and 0 <= int(ends[2]) - int(ends[1]) < _LONGEST_RANGE:
        return str(list(range(int(ends[1]), int(ends[2]) + 1)))
    if "," in text:
        return f"[{text}]"
    return f"[{shown(value)}] for a single value"


def _stand_in(target: FieldDescriptor) -> object:
    """Value that no other entry has, in place of a wrong one, so that the others keep their positions."""
    if target.type in INTEGERS:
        least, most = INTEGERS[target.type]
        return least or most
    if target.type == FieldDescriptor.TYPE_BOOL:
        return False
    return "NaN" if target.type in REALS else ""


def _map(value: object, kind: Descriptor, path: str, problems: Problems) -> dict[str, object] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        problems.add(path, f"{shown(value)} is not a mapping of names to values")
        return None
    for key in value:
        if not is_text(key):
            problems.add(path, f"the key {shown(key)} is not text; quote it")
    target = kind.fields_by_name["value"]
    singles = {
        str(key): _single(entry, target, f"{path}.{key}", problems)
        for key, entry in value.items()
        if is_text(key)
    }
    return {key: single for key, single in singles.items() if single is not None}


def _single(value: object, target: FieldDescriptor, path: str, problems: Problems) -> object:
    """One value of the field's type in protobuf's JSON form; None after a problem."""
    if target.message_type:
        return message_of(value, target.message_type, path, problems)
    if target.type in INTEGERS:
        return whole_of(value, target, path, problems)
    if target.type in REALS:
        return real_of(value, path, problems)
    if target.type == FieldDescriptor.TYPE_BOOL:
        return truth_of(value, path, problems)
    return text_of(value, target, path, problems)
