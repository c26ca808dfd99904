"""What does not fit in a spec."""

from __future__ import annotations

import re
from typing import Final

# Wrong fields that are named, and how many of them with a suggestion.
_MAX_PROBLEMS: Final = 50

_SUGGESTIONS: Final = 20


class Problems:
    """Wrong fields, and the paths at which the message is therefore incomplete."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        self.gaps: set[str] = set()
        self.unnamed = 0

    @property
    def many(self) -> bool:
        """Whether there are too many to add suggestions to further ones."""
        return len(self.found) > _SUGGESTIONS

    def add(self, path: str, message: str, gap: str | None = None) -> None:
        """One wrong field; `gap` is what was meant, if that has another path."""
        if len(self.found) < _MAX_PROBLEMS:
            self.found.append((path, message))
        else:
            self.unnamed += 1
            return
        # The service knows fields by one of their two names.
        self.gaps.add(re.sub("(?<=[a-z])[A-Z]", lambda m: f"_{m[0].lower()}", path if gap is None else gap))
