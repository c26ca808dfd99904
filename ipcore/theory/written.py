"""Results of the theory as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text


class Written:
    """Rich and notebooks show the text of a result; both would print a dataclass field by field."""

    __slots__ = ()

    def __rich__(self) -> Text:
        from rich.text import Text  # noqa: PLC0415 - rich asks for it

        return Text(str(self))  # a plain str would be read as markup, and lose its brackets

    def _repr_html_(self) -> str:
        from html import escape  # noqa: PLC0415 - notebooks alone

        return f"<pre style='white-space:pre-wrap'>{escape(str(self))}</pre>"
