"""Figures: the same code for command line, notebooks, documentation, MLflow and web.

A figure is a small frozen dataclass, a `Picture`: it draws itself (`draw`, `save`, in a notebook by itself),
says in a caption what was measured, by how many seeds and what it means, and has the numbers behind it as
CSV. The data need numpy; drawing needs matplotlib (`pip install 'iplab[plot]'`).

- `PowerLaws`: sizes against the width: coordinate checks, stationarity, equivalence, calibrated rates, drift
  of the best rate, distances to a limit. `report_pictures` makes those of a report.
- `RateCurves`: loss against the base learning rate.
- `Courses`: values over updates or layers: learning curves, ranks, alignment, kernel movement, functions.
- `PhaseDiagram`: theory's regions over two exponents, and measured points.
"""

from ipcore.figures.courses import Course, CoursePanel, Courses, Moment
from ipcore.figures.intervals import Mean, mean
from ipcore.figures.phases import MeasuredPoint, PhaseDiagram
from ipcore.figures.picture import FORMATS, Picture, PictureError
from ipcore.figures.powers import Law, LawPanel, PowerLaws, Size
from ipcore.figures.rates import AtRate, RateCurve, RateCurves, RatePanel
from ipcore.figures.reports import REPORT_KINDS, report_pictures
from ipcore.figures.reports.names import layer_name
from ipcore.figures.series import Role

__all__ = [
    "FORMATS",
    "REPORT_KINDS",
    "AtRate",
    "Course",
    "CoursePanel",
    "Courses",
    "Law",
    "LawPanel",
    "Mean",
    "MeasuredPoint",
    "Moment",
    "PhaseDiagram",
    "Picture",
    "PictureError",
    "PowerLaws",
    "RateCurve",
    "RateCurves",
    "RatePanel",
    "Role",
    "Size",
    "layer_name",
    "mean",
    "report_pictures",
]
