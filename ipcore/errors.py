"""Errors of ipcore. Their messages say what is wrong, what is allowed and what to do.

Exception
├── IpcoreError
│   ├── ConfigError      a pack or run that cannot be trained (also a ValueError)
│   ├── DataError        a dataset that is missing or damaged
│   ├── CheckpointError  a checkpoint that is torn, foreign or of another pack
│   ├── WeightsError     a weight file that is torn or not of this format
│   ├── AnalysisError    measurements that cannot answer the question (also a ValueError)
│   └── QuestionError    a study that cannot be made (also a ValueError)
└── ValueError
    └── TheoryError      a parameterization that cannot be built (`ipcore.theory`, standard library only)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Final

# Characters of a name that are compared with known names.
_LONGEST: Final = 200


# A notebook shows no frames of these packages.
_HIDDEN: Final = {"iplab", "ipcore", "IPython", "grpc", "contextlib"}


class Brief(BaseException):
    """Base of exceptions that a notebook shows as the caller's own lines and the message."""

    def _render_traceback_(self) -> list[str]:
        """IPython asks for it; `%debug` and `traceback.print_exc()` still have every frame."""
        import traceback  # noqa: PLC0415 - notebooks alone

        frames = [frame for frame, _ in traceback.walk_tb(self.__traceback__)]
        lines = []
        for frame, at in zip(frames, traceback.extract_tb(self.__traceback__), strict=True):
            if str(frame.f_globals.get("__name__")).partition(".")[0] not in _HIDDEN:
                cell = "ipykernel_" in at.filename or at.filename.startswith("<ipython-input")
                lines.append(f"{'line' if cell else f'{at.filename}, line'} {at.lineno}: {at.line}")
        return [*lines, f"{type(self).__name__}: {self}".removesuffix(": ")]


class IpcoreError(Brief, Exception):
    """Base of the errors that training, data and files raise."""


class ConfigError(IpcoreError, ValueError):
    """A pack or run that cannot be trained.

    Attributes:
        problems: One sentence for every wrong field.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[type[ConfigError], tuple[tuple[str, ...]]]:
        # Exceptions rebuild themselves from `args`, which holds the joined text.
        return (type(self), (self.problems,))


class DataError(IpcoreError):
    """A dataset that is unknown, missing or damaged."""


class CheckpointError(IpcoreError):
    """A checkpoint that cannot be resumed: torn, foreign, or of another pack."""


class WeightsError(IpcoreError):
    """A weight file that is torn or does not have this format."""


class AnalysisError(IpcoreError, ValueError):
    """Measurements that cannot answer the question: too few widths, sizes that are not > 0, no runs left."""


class QuestionError(IpcoreError, ValueError):
    """A question that cannot be studied.

    Attributes:
        problems: All that is wrong as (field, text); "budget.runs" is a field.
    """

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {text}" for field, text in problems))
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[type[QuestionError], tuple[tuple[tuple[str, str], ...]]]:
        # As in `ConfigError`.
        return (type(self), (self.problems,))


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that was probably meant; "": none is near. Only the start of a long name is read.

    >>> nearest("rellu", ["relu", "tanh"]), nearest("sine", ["relu", "tanh"])
    ('relu', '')
    """
    # The time grows with the length, and no name has megabytes.
    return next(iter(difflib.get_close_matches(name[:_LONGEST], list(known), n=1)), "")


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """A sentence on an unknown name, with the nearest known one.

    >>> unknown("activation", "rellu", ["relu", "tanh"])
    "unknown activation 'rellu'; did you mean 'relu'? There are: relu, tanh"
    """
    names = list(known)
    near = nearest(name, names)
    hint = f"did you mean {near!r}? There are: " if near else "there are: "
    return f"unknown {kind} {name!r}; {hint}{', '.join(names)}"
