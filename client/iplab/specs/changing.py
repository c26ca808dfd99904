"""Changes to a spec by path: "spec.steps", "grid.widths", "grid.parameterizations[0].preset"."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

from iplab.errors import SpecError, Violation
from iplab.specs.messages import INPUT
from iplab.specs.plain import to_plain
from iplab.specs.yamltext import parse_yaml
from iplab.v1.experiment_pb2 import Experiment

_STEP: Final = re.compile(r"([A-Za-z_][\w-]*)((?:\[\d+\])*)")
# Fields that describe one experiment and are not copied to another.
_ITS_OWN: Final = frozenset({"notes"})


def spec_of(message: Experiment, changes: Mapping[str, object] | None = None) -> dict[str, object]:
    """An experiment's spec as `client.create` takes it, with changes.

    Args:
        message: The experiment.
        changes: New values by path; "spec." before a path may be left out. None removes a field.

    Raises:
        SpecError: Paths that do not exist, all of them. The service checks the values.

    >>> spec_of(Experiment(display_name="a"), {"steps": 20, "labels.team": "b", "display_name": None})
    {'labels': {'team': 'b'}, 'priority': 0, 'spec': {'steps': 20}}
    """
    plain = to_plain(message)
    kept = {name: plain[name] for name in INPUT if name in plain and name not in _ITS_OWN}
    spec: dict[str, Any] = copy.deepcopy(_given(kept))
    wrong = []
    for path, value in (changes or {}).items():
        try:
            _set(spec, path, value)
        except LookupError as error:
            wrong.append(Violation(path, str(error.args[0])))
    if wrong:
        raise SpecError(wrong)
    return spec


def value_of(text: str) -> object:
    """The value of a YAML text, as in a spec's file. Raises SpecError."""
    return parse_yaml(text, "").value if text.strip() else None


def _set(spec: dict[str, Any], path: str, value: object) -> None:
    """Set a value. Raises LookupError with the reason if the path does not exist."""
    steps = _steps(path)
    if steps[0] not in INPUT:
        steps = ["spec", *steps]
    holder: Any = spec
    for step, following in pairwise(steps):
        if isinstance(step, int):
            holder = _entry(holder, step)
        else:
            if not isinstance(holder, dict):
                raise LookupError(f"what is before {step!r} has no fields")
            holder = holder.setdefault(step, [] if isinstance(following, int) else {})
    last = steps[-1]
    if isinstance(last, int):
        _entry(holder, last)
        if value is None:
            del holder[last]
        else:
            holder[last] = value
    elif not isinstance(holder, dict):
        raise LookupError(f"what is before {last!r} has no fields")
    elif value is None:
        holder.pop(last, None)
    else:
        holder[last] = value


def _entry(holder: Any, position: int) -> Any:
    if not isinstance(holder, list) or position >= len(holder):
        number = len(holder) if isinstance(holder, list) else 0
        raise LookupError(f"there is no entry [{position}]; there are {number}, counted from 0")
    return holder[position]


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    for part in path.split("."):
        found = _STEP.fullmatch(part.strip())
        if found is None:
            raise LookupError("is not a path; write it as grid.parameterizations[0].preset")
        steps += [found[1], *map(int, re.findall(r"\d+", found[2]))]
    return steps


def _given(value: Any) -> Any:
    """A plain message without unset fields. Empty messages stay, since their presence may have a meaning."""
    if isinstance(value, Mapping):
        given = {name: _given(inner) for name, inner in value.items()}
        return {name: inner for name, inner in given.items() if inner not in (None, "", [])}
    return [_given(inner) for inner in value] if isinstance(value, list) else value
