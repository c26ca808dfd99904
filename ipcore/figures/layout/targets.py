"""What a picture is drawn into: a new figure, or a figure or axes of the user's."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from ipcore.figures.picture import PictureError

AnyFigure = Figure | SubFigure
Target = Axes | AnyFigure | None


def target_of(ax: object, figure: object) -> Target:
    """What `Picture.draw` was given.

    Raises:
        PictureError: Both, or something else.
    """
    if ax is not None and figure is not None:
        raise PictureError("ax and figure are both given; give one of them")
    if not isinstance(ax, Axes | None):
        what = "a figure: give it as figure=" if isinstance(ax, AnyFigure) else _kind(ax)
        raise PictureError(f"ax is {what}; ax= takes one Axes of matplotlib, as axes[0]")
    if not isinstance(figure, AnyFigure | None):
        what = "Axes: give them as ax=" if isinstance(figure, Axes) else _kind(figure)
        raise PictureError(f"figure is {what}; figure= takes a Figure or SubFigure of matplotlib")
    own = figure if ax is None else ax.figure
    if own is not None and own.get_layout_engine() is not None:
        whole(own).draw_without_rendering()  # an automatic layout moves axes and subfigures only now
    return figure if ax is None else ax


def whole(part: AnyFigure) -> Figure:
    """The figure that a subfigure belongs to."""
    return part if isinstance(part, Figure) else whole(part.figure)


def canvas(target: AnyFigure | None, size: tuple[float, float]) -> tuple[AnyFigure, tuple[float, float]]:
    """The figure to draw into, and its width and height in inches.

    Args:
        target: The user's; None: a new one.
        size: Of a new one.
    """
    if target is None:
        return Figure(figsize=size), size
    dpi = target.get_dpi()
    return target, (target.bbox.width / dpi, target.bbox.height / dpi)


def too_small(needed: tuple[float, float], given: tuple[float, float]) -> PictureError:
    """The error about a figure of the user's that has no room for the picture; sizes in inches."""
    least, has = (f"{wide:.1f} x {tall:.1f}" for wide, tall in (needed, given))
    return PictureError(
        f"figure has {has} inches and this picture needs about {least} (width x height): make the figure "
        "larger, as by figsize="
    )


def _kind(given: object) -> str:
    return f"a {type(given).__name__}"
