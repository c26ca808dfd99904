"""Errors of the theory. They carry the field that is wrong so that every caller can point at it."""

from __future__ import annotations


class TheoryError(ValueError):
    """A parameterization that cannot be built or analysed.

    Attributes:
        field: Path of the wrong value below the object it was given in ("c[2]"), or "" for the whole.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field
