import math

import pytest

from ipcore.figures import Course, CoursePanel, Courses, Law, LawPanel, Moment, PowerLaws, Role, Size
from tests.ipcore.figures.looking import faults


def course(name, *, role=Role.GROUP, points=40, scale=1.0, diverged=()):
    values = [scale * math.exp(-step / 30) for step in range(points)]
    moments = tuple(Moment(10 * step, v, 0.8 * v, 1.2 * v) for step, v in enumerate(values))
    return Course(name, moments, role, diverged)


def curves(panels=3, lines=4, **more):
    shown = tuple(
        CoursePanel(
            f"tanh, m = {64 * 2**i}", tuple(course(f"method {k}", scale=k + 1.0) for k in range(lines))
        )
        for i in range(panels)
    )
    return Courses("test loss", shown, 3, "Test loss over updates", 5, **more)


@pytest.mark.parametrize(("panels", "lines"), [(1, 1), (1, 7), (3, 4), (12, 3)])
@pytest.mark.parametrize("logarithmic", [True, False])
def test_nothing_is_cut_off_or_covered(panels, lines, logarithmic):
    assert faults(curves(panels, lines, logarithmic=logarithmic)) == []


def test_where_seeds_diverged_a_line_leads_up_to_a_cross():
    picture = Courses("loss", (CoursePanel("", (course("sp", diverged=(105.0,)),)),), 1, "Loss", 3)
    axes = picture.draw().axes[0]
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    low, high = axes.get_ylim()
    top = low + 0.95 * (high - low)
    assert [line.get_xdata()[0] for line in crosses] == [105.0]
    assert [line.get_ydata()[0] for line in crosses] == pytest.approx([top])
    (up,) = (line for line in axes.lines if len(line.get_xdata()) == 2)
    assert list(up.get_xdata()) == [100.0, 105.0]
    assert list(up.get_ydata()) == pytest.approx([math.exp(-10 / 30), top])
    assert "Lines up to a cross: a seed diverged there" in picture.caption
    assert [row["diverged"] for row in picture.rows()] == [0] * 11 + [1] * 29


def test_a_line_without_points_shows_where_its_seeds_diverged():
    panel = CoursePanel("", (course("mup"), Course("sp", (), diverged=(3.0, 3.0, 7.0))))
    axes = Courses("loss", (panel,), 1, "Loss", 3).draw().axes[0]
    assert [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "x"] == [3.0, 7.0]


def test_functions_of_one_variable_have_their_target_in_black():
    grid = [x / 20 - 1 for x in range(41)]
    target = Course("target", tuple(Moment(x, math.sin(4 * x)) for x in grid), Role.LIMIT)
    learned = [
        Course(f"m = {m}", tuple(Moment(x, math.sin(4 * x) * (1 - 8 / m)) for x in grid), Role.ORDERED)
        for m in (32, 128, 512)
    ]
    picture = Courses(
        "f(x)", (CoursePanel("mup", (*learned, target)),), 1, "Functions learned", 4, horizontal="input x"
    )
    assert faults(picture) == []
    black = [line for line in picture.draw().axes[0].lines if line.get_color() == "#000000"]
    assert len(black) == 1


def test_distances_to_a_limit_stand_beside_their_slope_and_the_limit_is_a_black_line():
    widths = (64, 256, 1024)
    law = Law("rms |f − f∞|", tuple(Size(m, m**-0.5) for m in widths), -0.5)
    limit = Law("limit", tuple(Size(m, 0.01) for m in widths), role=Role.LIMIT)
    picture = PowerLaws("distance", (LawPanel("", (law, limit)),), 1, "Distances", 8)
    assert faults(picture) == []
    black = [
        line
        for line in picture.draw().axes[0].lines
        if line.get_color() == "#000000" and len(line.get_xdata()) == 3
    ]
    assert len(black) == 1
