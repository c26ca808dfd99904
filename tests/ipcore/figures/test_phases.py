from fractions import Fraction

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ipcore.figures import MeasuredPoint, PhaseDiagram
from ipcore.theory import phases, preset
from tests.ipcore.figures.looking import faults


@pytest.fixture(scope="module")
def found():
    return phases(preset("mup", 2), {"a_last": ("0", "3/2"), "c": ("-2", "1")})


def test_measured_points_are_drawn_and_explained(found):
    points = (
        MeasuredPoint((Fraction(1), Fraction(-1)), agrees=True),
        MeasuredPoint((Fraction(1, 4), Fraction(1, 2)), "grows", agrees=False),
        MeasuredPoint((Fraction(5, 4), Fraction(0)), agrees=None),
    )
    picture = PhaseDiagram(found, "mup", points, seeds=4)
    assert (
        "Measured with 4 seeds: dots agree with theory, crosses do not, rings are undecided."
        in picture.caption
    )
    kinds = [row["kind"] for row in picture.rows()]
    assert kinds.count("measured") == 3
    assert not [fault for fault in faults(picture) if "covers" not in fault]


def test_corners_at_the_upper_edge_do_not_cover_the_title(found):
    figure = PhaseDiagram(found).draw()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axes,) = figure.axes
    title = axes.title if axes.title.get_text() else axes._left_title
    below = title.get_window_extent(canvas.get_renderer()).y0
    corners = [line for line in axes.lines if line.get_marker() in {"o", "D"}]
    assert corners
    for line in corners:
        radius = line.get_markersize() / 2 * figure.dpi / 72
        assert axes.transData.transform(line.get_xydata())[:, 1].max() + radius <= below


def test_corners_are_exact_in_csv(found):
    rows = [row for row in PhaseDiagram(found).rows() if row["kind"].startswith("area")]
    assert all(Fraction(row["a"]) == Fraction(row["a"]).limit_denominator(64) for row in rows)
    assert {row["c"] for row in rows} >= {"-2", "1"}
