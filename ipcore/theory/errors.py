"""Errors of the theory. They carry the wrong fields, so that every caller can point at them."""

from __future__ import annotations

from typing import Final

from ipcore.errors import Brief

_LONGEST: Final = 60
_MOST: Final = 20  # problems that a message lists


class TheoryError(Brief, ValueError):
    """A parameterization that cannot be built or analysed.

    Attributes:
        field: Path of the first wrong value below the object it was given in ("c[2]"), or "" for the whole.
        problems: All wrong values as (field, what is wrong); the message has the first 20 of them.

    >>> str(TheoryError("must be an integer, not 1.0", "hidden_layers"))
    'hidden_layers: must be an integer, not 1.0'
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field
        self.problems: tuple[tuple[str, str], ...] = ((field, message),)

    @property
    def text(self) -> str:
        """The problems, for callers that state the field: without the field if there is only one."""
        return self.problems[0][1] if len(self.problems) == 1 else str(self)

    def below(self, old: str, new: str) -> TheoryError:
        """The same error for values that the caller knows by another name.

        >>> str(TheoryError("must be between 1/2 and 1", "alignment.forward[0]").below("alignment", "least"))
        'least.forward[0]: must be between 1/2 and 1'
        """
        moved = TheoryError(*self.args)
        moved.problems = tuple(
            (new + field.removeprefix(old) if field.startswith(old) else field, text)
            for field, text in self.problems
        )
        moved.field = moved.problems[0][0]
        return moved

    def __str__(self) -> str:
        shown = [_named(field, text) for field, text in self.problems[:_MOST]]
        more = len(self.problems) - _MOST
        return "; ".join([*shown, f"and {more:,} more"] if more > 0 else shown)


def _named(field: str, text: str) -> str:
    """With the field in front, unless the text says it ("unknown preset 'mupp'")."""
    return text if not field or text.startswith(f"unknown {field} ") else f"{field}: {text}"


class Findings:
    """Collects problems, so that one error names all of them.

    >>> findings = Findings()
    >>> with findings.noted():
    ...     raise TheoryError("must be at least 1, not 0", "steps")
    >>> with findings.noted():
    ...     raise TheoryError("unknown loss 'hinge'", "loss")
    >>> findings.check()
    Traceback (most recent call last):
    ...
    ipcore.theory.errors.TheoryError: steps: must be at least 1, not 0; unknown loss 'hinge'
    """

    def __init__(self) -> None:
        self._problems: list[tuple[str, str]] = []

    def noted(self) -> Findings:
        """Keep a TheoryError that the block raises, and continue after it."""
        return self

    def __enter__(self) -> None:
        """Begin a block, which may lie in another one."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        """Keep the error; anything else is raised."""
        if not isinstance(error, TheoryError):
            return False
        self._problems.extend(error.problems)
        return True

    def check(self) -> None:
        """Raise an error if there are problems.

        Raises:
            TheoryError: With all problems.
        """
        if not self._problems:
            return
        field, message = self._problems[0]
        error = TheoryError(message, field)
        error.problems = tuple(self._problems)
        raise error


def shown(value: object) -> str:
    """A wrong value for a message, cut where it is long.

    >>> shown("0" * 10_000)
    "'0000000000000000000000000000000000000000 ... (10002 characters)"
    >>> shown(10**5_000)
    'a number of more than 4300 digits'
    """
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write out integers of so many digits
        return "a number of more than 4300 digits"
    return text if len(text) <= _LONGEST else f"{text[:41]} ... ({len(text)} characters)"
