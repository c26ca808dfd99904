from dataclasses import replace

import pytest

from ipcore.figures import AtRate, RateCurve, RateCurves, RatePanel
from tests.ipcore.figures.looking import faults


def curve(name, best, *, rates=tuple(2.0**k for k in range(-6, 1)), diverged_from=0.5, **more):
    points = tuple(
        AtRate(rate, None, diverged=2)
        if rate >= diverged_from
        else AtRate(rate, loss := 0.1 + (rate / best - 1) ** 2, 0.9 * loss, 1.1 * loss)
        for rate in rates
    )
    return RateCurve(name, points, best, best / 1.1, best * 1.1, **more)


def picture(panels=2, curves=4, **more):
    return RateCurves(
        "test loss",
        tuple(
            RatePanel(f"mup, L = {i}", tuple(curve(f"m = {64 * 2**k}", 0.1 / (k + 1)) for k in range(curves)))
            for i in range(panels)
        ),
        3,
        "Test loss",
        4,
        **more,
    )


@pytest.mark.parametrize(("panels", "curves"), [(1, 1), (1, 8), (2, 4), (5, 3), (12, 10)])
@pytest.mark.parametrize("logarithmic", [True, False])
def test_nothing_is_cut_off_or_covered(panels, curves, logarithmic):
    assert faults(picture(panels, curves, logarithmic=logarithmic)) == []


def test_rates_that_diverged_are_crosses_where_they_lie_above_all_curves():
    axes = picture(1, 2).draw().axes[0]
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert [list(line.get_xdata()) for line in crosses] == [[0.5, 1.0]] * 2
    low, high = axes.get_ylim()
    top = max(max(line.get_ydata()) for line in axes.lines if line.get_marker() == "o")
    lowest = min(line.get_ydata()[0] for line in crosses)
    assert top < low * (high / low) ** (lowest - 0.02)


def test_grids_that_hardly_overlap_have_axes_of_their_own():
    far = RatePanel("sp", (curve("m = 64", 2.0**-12, rates=tuple(2.0**-k for k in range(9, 14))),))
    near = RatePanel("mup", (curve("m = 64", 0.1),))
    axes = RateCurves("test loss", (far, near), 2, "Test loss", 4).draw().axes
    assert axes[0].get_xlim()[1] < axes[1].get_xlim()[0]
    assert axes[0].get_ylim() == axes[1].get_ylim()


def test_the_limit_is_black_with_a_star_and_takes_no_colour_from_the_widths():
    widths = tuple(curve(f"m = {m}", 0.1) for m in (64, 128))
    limit = replace(curve("m = ∞", 0.08), limit=True)
    with_limit, without = (
        RateCurves("loss", (RatePanel("", curves),), 1, "Loss", 4) for curves in ((*widths, limit), widths)
    )
    assert faults(with_limit) == []
    drawn, plain = (
        [line for line in picture.draw().axes[0].lines if len(line.get_xdata()) == 5]
        for picture in (with_limit, without)
    )
    assert (drawn[-1].get_color(), drawn[-1].get_marker()) == ("#000000", "*")
    assert [line.get_color() for line in drawn[:-1]] == [line.get_color() for line in plain]
    assert "Black dots" in with_limit.caption


def test_a_best_rate_at_the_edge_is_hollow_and_said():
    edge = RateCurves("loss", (RatePanel("", (curve("m = 64", 0.25, edge=True),)),), 1, "Loss", 4)
    assert "may lie beyond" in edge.caption
    marks = [line for line in edge.draw().axes[0].lines if line.get_color() == "black"]
    assert [mark.get_markerfacecolor() for mark in marks] == ["white"]


def test_where_every_rate_diverged_there_are_crosses_alone():
    lost = RateCurves(
        "loss", (RatePanel("", (RateCurve("m = 64", curve("", 0.1, diverged_from=0).points),)),), 1, "Loss", 4
    )
    assert faults(lost) == []
    assert "Crosses" in lost.caption
    assert "there is no mean to show" in lost.caption
    axes = lost.draw().axes[0]
    assert list(axes.get_yticks()) == [], "a scale without data"
    assert [text.get_text() for text in axes.texts] == ["at every rate a seed diverged"]


def test_csv_has_every_rate():
    rows = list(picture(2, 4).rows())
    assert len(rows) == 2 * 4 * 7
    assert rows[-1]["diverged"] == 2
    assert rows[-1]["value"] is None
