"""The problems of a spec's form."""

from __future__ import annotations

import re
from typing import Final

# Largest number of wrong fields that are named, and of those with a suggestion.
_MAX_PROBLEMS: Final = 50

_SUGGESTIONS: Final = 20


class Problems:
    """Wrong fields, and the paths at which they leave the message incomplete."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        self.gaps: set[str] = set()
        self.unnamed = 0

    @property
    def many(self) -> bool:
        """Whether there are too many for further ones to get suggestions."""
        return len(self.found) > _SUGGESTIONS

    def add(self, path: str, message: str, gap: str | None = None) -> None:
        """Add a wrong field; `gap` is the path that was meant, if it is another one."""
        if len(self.found) < _MAX_PROBLEMS:
            self.found.append((path, message))
        else:
            self.unnamed += 1
            return
        # The service uses only the snake_case names of fields.
        self.gaps.add(re.sub("(?<=[a-z])[A-Z]", lambda m: f"_{m[0].lower()}", path if gap is None else gap))
