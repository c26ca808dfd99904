"""Results of the theory as text for people."""

from __future__ import annotations


class Written:
    """Rich and notebooks show the text of a result; both would print a dataclass field by field."""

    __slots__ = ()

    def __rich__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from html import escape  # noqa: PLC0415 - notebooks alone

        return f"<pre style='white-space:pre-wrap'>{escape(str(self))}</pre>"
