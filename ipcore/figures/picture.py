"""Base class of figures: frozen data that draws itself, with a caption and the numbers behind it.

The data need numpy alone; matplotlib, an extra, is imported when something is drawn.
"""

from __future__ import annotations

import csv
import html
import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from ipcore.errors import Brief

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from ipcore.figures.layout import AnyFigure, Target

FORMATS: Final = (".svg", ".png", ".pdf", ".csv")
_DPI: Final = 300  # of PNG; journals ask for this
_SCREEN_DPI: Final = 150
# No time of writing in the file: the same data give the same bytes.
_METADATA: Final[Mapping[str, dict[str, Any]]] = {
    ".svg": {"Date": None, "Creator": "iplab"},
    ".png": {"Software": "iplab"},
    ".pdf": {"CreationDate": None, "ModDate": None, "Creator": "iplab", "Producer": "iplab"},
}
_CAPTION: Final = {".svg": "Description", ".png": "Description", ".pdf": "Subject"}


class PictureError(Brief, ValueError):
    """Nothing to draw, or a file of an unknown kind; the message says which there are."""


@dataclass(frozen=True, slots=True)
class Picture(ABC):
    """A figure as data. Drawing is a pure function of it: the same data give the same figure.

    Attributes:
        placed: Whether it was drawn into a figure of the user's (`placed_in`).
    """

    placed: bool = field(default=False, kw_only=True, compare=False, repr=False)

    @property
    @abstractmethod
    def caption(self) -> str:
        """What was measured, by how many seeds, and what it means."""

    @abstractmethod
    def rows(self) -> Iterable[Mapping[str, object]]:
        """The numbers behind the figure: one mapping of columns to values for each mark."""

    @abstractmethod
    def _draw(self, target: Target) -> AnyFigure:
        """Draw it inside of the style, and return the figure or subfigure that has its panels."""

    def draw(self, *, ax: Axes | None = None, figure: Figure | SubFigure | None = None) -> Figure:
        """Draw it: by default into a new matplotlib figure, at most 6.8 inches wide.

        It keeps its style, for white paper and letters of at least 7 points, whatever the settings of
        matplotlib are; change it by the methods of the axes.

        Args:
            ax: Axes for a picture of one panel. Its legend stands below them, texts beside lines at their
                right; `layout="constrained"` of the figure makes room for these.
            figure: A figure or subfigure (`Figure.subfigures`) that it fills, with any number of panels.

        Returns:
            The whole figure.

        Raises:
            ImportError: matplotlib is missing; `pip install 'iplab[plot]'`.
            PictureError: There is nothing to draw; it has several panels and `ax` is given; `figure` is too
                small (the message says what it needs).
        """
        with _style():
            from ipcore.figures.layout import target_of, whole  # noqa: PLC0415 - an extra

            return whole(self._draw(target_of(ax, figure)))

    def placed_in(self, ax: Axes | None, figure: Figure | SubFigure | None) -> Self:
        """Draw it into one of the user's, if one is given. Arguments and errors as `draw`.

        Returns:
            Itself; after drawing a copy of which a notebook shows the caption alone, because it shows the
            user's figure too.
        """
        if ax is None and figure is None:
            return self
        self.draw(ax=ax, figure=figure)
        return replace(self, placed=True)

    def csv(self) -> str:
        """The numbers behind the figure as CSV with a header; empty cells where there is none."""
        rows = list(self.rows())
        columns = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def save(self, file: str | Path) -> Path:
        """Write a file, in the format of its ending; the caption is among its metadata.

        Args:
            file: Ends in .svg, .png (300 dpi), .pdf (fonts embedded), or .csv (the numbers).

        Returns:
            Its path.

        Raises:
            PictureError: Another ending, or nothing to draw.
            ImportError: As `draw`; .csv does not need matplotlib.
            OSError: It cannot be written.
        """
        path = Path(file)
        if path.suffix.lower() not in FORMATS:
            raise PictureError(f"{file} must end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
        path.write_bytes(self.encoded(path.suffix.lower()))
        return path

    def encoded(self, kind: str, *, dpi: int = _DPI) -> bytes:
        """The bytes of a file.

        Args:
            kind: Its ending, one of `FORMATS`.
            dpi: Dots per inch of .png.
        """
        if kind == ".csv":
            return self.csv().encode()
        figure, buffer = self.draw(), io.BytesIO()
        metadata = _METADATA[kind] | {_CAPTION[kind]: self.caption}
        with _style():
            figure.savefig(buffer, format=kind[1:], dpi=dpi, metadata=metadata)
        if kind != ".svg":
            return buffer.getvalue()
        lines = (line.rstrip() for line in buffer.getvalue().decode().splitlines())
        return ("\n".join(lines) + "\n").encode()

    def _repr_html_(self) -> str:
        """In a notebook: the picture above its caption; the caption alone if it is in the user's figure."""
        if self.placed:
            return f"<p>{html.escape(self.caption)}</p>"
        from base64 import b64encode  # noqa: PLC0415 - notebooks alone

        png = b64encode(self.encoded(".png", dpi=2 * _SCREEN_DPI)).decode()
        width = round(self.draw().get_figwidth() * _SCREEN_DPI)
        text = html.escape(self.caption)
        return (
            f'<figure style="margin:0;max-width:{width}px;background:white">'
            f'<img style="width:100%" alt="{text}" src="data:image/png;base64,{png}">'
            f'<figcaption style="color:#333;padding:0.3em">{text}</figcaption></figure>'
        )


def _style() -> Any:
    try:
        from ipcore.figures.style import style  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'iplab[plot]'") from error
    return style()
