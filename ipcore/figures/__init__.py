"""Figures: the one code for command line, notebooks, documentation, MLflow and web.

A figure is a small frozen dataclass, a `Picture`: it draws itself (`draw`, `save`, in a notebook by itself),
says in a caption what was measured, by how many seeds and what it means, and has the numbers behind it as
CSV.
The data need numpy; drawing needs matplotlib (`pip install 'iplab[plot]'`).
"""

from ipcore.figures.picture import FORMATS, Picture, PictureError
from ipcore.figures.powers import Law, LawPanel, PowerLaws, Role, Size
from ipcore.figures.rates import AtRate, RateCurve, RateCurves, RatePanel

__all__ = [
    "FORMATS",
    "AtRate",
    "Law",
    "LawPanel",
    "Picture",
    "PictureError",
    "PowerLaws",
    "RateCurve",
    "RateCurves",
    "RatePanel",
    "Role",
    "Size",
]
