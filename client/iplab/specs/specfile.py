"""Specs from YAML, JSON, a dict or a message to a typed `Experiment`.

A spec is the JSON form of `iplab.v1.Experiment`: display_name, labels, notes, priority, project, spec. This
module checks its form (names and types, all problems at once); the service checks the values. A value of a
wrong type is left out of the message, so that the service can check the rest.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from google.protobuf import json_format

from ipcore.errors import nearest
from iplab.errors import SpecError, Violation
from iplab.specs.messages import ROOT, message_of
from iplab.specs.problems import Problems
from iplab.specs.yamltext import Document, Lines, parse_json, parse_yaml
from iplab.v1.experiment_pb2 import Experiment

SpecSource = str | os.PathLike[str] | Mapping[str, object] | Experiment

# Maximum number of files of a folder that are compared with a missing file's name.
_FILES: Final = 1000
_ENDINGS: Final = frozenset({".yaml", ".yml", ".json"})


@dataclass(frozen=True, slots=True)
class LoadedSpec:
    """A spec and its source, so that the service's violations can be shown at their lines.

    Attributes:
        message: The typed form, without the values that do not fit their fields.
        source: The file's name; "" if it is not a file.
        lines: Line of each value by its path; empty if unknown.
        violations: Unknown fields and values of wrong types; if any, the message must not be submitted.
        gaps: Paths in the message at which something is missing because of them.
    """

    message: Experiment
    source: str = ""
    lines: Lines = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()
    gaps: frozenset[str] = frozenset()

    def checked(self) -> Experiment:
        """The message. Raises SpecError if there are violations."""
        if self.violations:
            raise self.error()
        return self.message

    def error(self, violations: Sequence[Violation] = ()) -> SpecError:
        """Its own violations and the service's, in the order of the file.

        Args:
            violations: The service's, for this message (paths of the request: "experiment.spec..."). Those
                caused by the gaps are left out.
        """
        theirs = [(v.field.removeprefix("experiment."), v.message) for v in violations]
        added = [
            Violation(path, text, _line(path, self.lines))
            for path, text in theirs
            if not any(_caused(path, gap) for gap in self.gaps)
        ]
        return SpecError(sorted((*self.violations, *added), key=lambda one: one.line), self.source)


def load_spec(source: SpecSource) -> Experiment:
    """A typed experiment from a file, a dict or a message.

    Args:
        source: Path of a YAML file (or JSON, if its name ends in .json), a dict of the same form, or an
            `iplab.v1.experiment_pb2.Experiment` (copied).

    Raises:
        SpecError: Unreadable or malformed file, unknown fields (nearest name given), values of a wrong type;
            all at once.

    >>> spec = load_spec({"spec": {"dataset": "digits", "grid": {"widths": [64, 128]}}})
    >>> list(spec.spec.grid.widths)
    [64, 128]
    >>> load_spec({"spec": {"grid": {"widths": [64, "inf"]}}}).spec.grid.infinite_width
    True
    """
    return read_spec(source).checked()


def read_spec(source: SpecSource) -> LoadedSpec:
    """As `load_spec`, with the lines of the values; values of wrong types are in `violations`."""
    if isinstance(source, Experiment):
        copy = Experiment()
        copy.CopyFrom(source)
        return LoadedSpec(copy)
    if isinstance(source, Mapping):
        return _typed(Document(source), "")
    try:
        path = Path(source)
    except TypeError:
        message = f"{source!r} is not a spec; give the path of a file or a dict"
        raise SpecError([Violation("", message)]) from None
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)) + _nearest_file(path)
        raise SpecError([Violation("", f"cannot read the spec: {reason}")], str(path)) from error
    except UnicodeDecodeError as error:
        raise SpecError([Violation("", f"not UTF-8 text: {error}")], str(path)) from error
    return parse_spec(text, str(path))


def _nearest_file(path: Path) -> str:
    """Suggestion for a missing file: the nearest name in its folder."""
    try:
        names = [] if path.exists() else [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    # Names are compared without their endings, which all specs share.
    stems = {Path(name).stem: name for name in names[:_FILES] if Path(name).suffix in _ENDINGS}
    close = stems.get(nearest(path.stem, stems))
    return f"; did you mean {path.parent / close}?" if close else ""


def parse_spec(text: str, source: str) -> LoadedSpec:
    """As `read_spec`, from the text of a file named `source`."""
    parse = parse_json if source.endswith(".json") else parse_yaml
    return _typed(parse(text, source), source)


def _typed(document: Document, source: str) -> LoadedSpec:
    problems = Problems()
    plain = message_of(document.value, ROOT, "", problems)
    message = json_format.ParseDict(plain, Experiment())
    violations = [Violation(path, text, _line(path, document.lines)) for path, text in problems.found]
    if problems.unnamed:
        violations.append(Violation("", f"{problems.unnamed:,} more fields are wrong"))
    return LoadedSpec(message, source, document.lines, tuple(violations), frozenset(problems.gaps))


def _caused(path: str, gap: str) -> bool:
    """Whether the service may object at `path` only because something is missing at `gap`.

    Entries of lists are replaced, not left out, so that the list around them is as the user wrote it. Other
    missing values also cause violations of the fields around them ("is required").
    """
    return _within(path, gap) or (not gap.endswith("]") and _within(gap, path))


def _within(path: str, outer: str) -> bool:
    return not outer or path == outer or path.startswith((f"{outer}.", f"{outer}["))


def _line(path: str, lines: Lines) -> int:
    """Line of the value, or of the nearest value around it."""
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path, 0) if path else 0
