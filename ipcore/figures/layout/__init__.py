"""Sheets of panels in inches, texts that take up measured room, legends outside of the data.

Positions are computed, not fitted: the size of every panel is known before anything is drawn, so that labels
beside lines can be kept from touching. Figures import this package when they draw, since it needs matplotlib.
"""

from ipcore.figures.layout.beside import labels_beside
from ipcore.figures.layout.legends import legend_handle
from ipcore.figures.layout.sheets import Margins, Sheet, sheet
from ipcore.figures.layout.targets import AnyFigure, Target, canvas, target_of, too_small, whole
from ipcore.figures.layout.texts import inches, text_width
from ipcore.figures.layout.ticks import (
    Ticks,
    fitting,
    linear_ticks,
    log_ticks,
    room_for,
    set_ticks,
    width_ticks,
)

__all__ = [
    "AnyFigure",
    "Margins",
    "Sheet",
    "Target",
    "Ticks",
    "canvas",
    "fitting",
    "inches",
    "labels_beside",
    "legend_handle",
    "linear_ticks",
    "log_ticks",
    "room_for",
    "set_ticks",
    "sheet",
    "target_of",
    "text_width",
    "too_small",
    "whole",
    "width_ticks",
]
