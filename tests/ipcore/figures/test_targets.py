"""Pictures in axes, figures and subfigures of the user's."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from ipcore.figures import (
    AtRate,
    Course,
    CoursePanel,
    Courses,
    Law,
    LawPanel,
    Moment,
    PhaseDiagram,
    PictureError,
    PowerLaws,
    RateCurve,
    RateCurves,
    RatePanel,
    Size,
)
from ipcore.figures.cells import Group, Intervals, Row
from ipcore.theory import phases, preset
from tests.ipcore.figures.looking import faults_of


def rates(panels=1):
    curves = [
        RateCurve(f"m = {m}", tuple(AtRate(r, 0.3 + (r - 1 / m) ** 2, 0.2, 0.5) for r in (0.25, 0.5, 1.0)))
        for m in (64, 256, 1024)
    ]
    shown = tuple(RatePanel(f"preset {n}", tuple(curves)) for n in range(panels))
    return RateCurves("final test loss", shown, panels, "Test loss", 4)


def courses():
    lines = [
        Course(name, tuple(Moment(x, y * x + 1, y * x + 0.9, y * x + 1.2) for x in range(0, 400, 40)))
        for name, y in (("mup", 0.01), ("sp", 0.02))
    ]
    return Courses("validation loss", (CoursePanel("width 64", tuple(lines)),), 1, "Loss", 4)


def laws(panels=1):
    law = [
        Law(f"h{n}", tuple(Size(m, n * m**-0.5) for m in (64, 256, 1024)), slope=-0.5, verdict="agrees")
        for n in (1, 2, 3)
    ]
    shown = tuple(LawPanel(f"step {n}", tuple(law)) for n in range(panels))
    return PowerLaws("|h|", shown, min(2, panels), "Sizes", 3)


def cells():
    rows = [
        Row(f"change of h{n}", 0.1 * n, 0.1 * n - 0.05, 0.1 * n + 0.05, 0, 0, 0.1, "agrees") for n in (1, 2)
    ]
    return Intervals("exponent of the width", (Group("mup", tuple(rows)),), "Slopes")


ONE_PANEL = {"rates": rates(), "courses": courses(), "laws": laws(), "cells": cells()}
MAP = PhaseDiagram(phases(preset("mup", 2), {"a_last": ("0", "3/2"), "c": ("-2", "1")}), "mup")


@pytest.mark.parametrize("beside", ONE_PANEL)
@pytest.mark.parametrize("kind", ONE_PANEL)
def test_two_pictures_in_axes_side_by_side_cover_nothing(kind, beside):
    figure = Figure(figsize=(6.8, 2.8), layout="constrained")
    axes = figure.subplots(1, 2)
    assert ONE_PANEL[kind].draw(ax=axes[0]) is figure
    ONE_PANEL[beside].draw(ax=axes[1])
    axes[0].set_title("a) a title of the user's", loc="left")
    assert faults_of(figure) == []


@pytest.mark.parametrize("layout", [None, "constrained"])
@pytest.mark.parametrize("many", [rates(2), laws(4)], ids=["rates", "laws"])
def test_pictures_of_several_panels_fill_subfigures(many, layout):
    figure = Figure(figsize=(6.8, 8.5), layout=layout)
    top, bottom = figure.subfigures(2, 1, height_ratios=(2, 1))
    assert many.draw(figure=top) is figure
    cells().draw(figure=bottom)
    assert faults_of(figure) == []
    assert [len(part.axes) for part in (top, bottom)] == [len(many.panels), 1]


@pytest.mark.parametrize("picture", [rates(2), laws(3), courses(), cells()], ids=lambda p: type(p).__name__)
def test_a_figure_of_its_own_size_is_filled_as_a_new_one_is(picture):
    new = picture.draw()
    given = Figure(figsize=new.get_size_inches())
    picture.draw(figure=given)
    places = [[axes.get_position().bounds for axes in figure.axes] for figure in (new, given)]
    assert np.allclose(*places, atol=1e-6)


def test_a_map_of_phases_in_axes_has_all_its_labels():
    axes = Figure(figsize=(4, 4)).subplots()
    MAP.draw(ax=axes)
    labels = [sorted(text.get_text() for text in each.texts) for each in (axes, MAP.draw().axes[0])]
    assert labels[0] == labels[1]
    assert {"trivial", "unstable", "ntk"} <= set(labels[0])


def test_axes_show_what_a_figure_of_its_own_shows():
    mine = Figure().subplots()
    rates().draw(ax=mine)
    own = rates().draw().axes[0]
    for axes in (mine, own):
        assert axes.get_xlim() == own.get_xlim()
        assert [line.get_ydata().tolist() for line in axes.lines] == [
            line.get_ydata().tolist() for line in own.lines
        ]
    assert (mine.get_xlabel(), mine.get_ylabel()) == ("base learning rate η", "final test loss")
    assert mine.get_title(loc="left") == "preset 0"
    assert [text.get_text() for text in mine.get_legend().get_texts()] == ["m = 64", "m = 256", "m = 1024"]


def test_it_keeps_its_style_and_leaves_the_users_settings():
    with mpl.rc_context({"font.size": 20, "xtick.major.size": 9}):
        figure = Figure(figsize=(4, 3))
        axes = figure.subplots()
        rates().draw(ax=axes)
        figure.draw_without_rendering()  # outside of the style, where matplotlib makes the ticks
        assert mpl.rcParams["font.size"] == 20
    texts = [*axes.get_xticklabels(), *axes.get_yticklabels(), axes.xaxis.label, axes.yaxis.label]
    assert {text.get_fontsize() for text in texts} == {7.0, 8.0}
    assert axes.xaxis.get_major_ticks()[0].get_tick_padding() < 9
    assert not axes.spines["top"].get_visible()


def _given():
    figure = Figure(figsize=(3, 2))
    return figure, figure.subplots(1, 2)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        (
            lambda figure, axes: {"ax": axes},
            r"ax is a ndarray; ax= takes one Axes of matplotlib, as axes\[0\]",
        ),
        (lambda figure, axes: {"ax": figure}, "ax is a figure: give it as figure="),
        (lambda figure, axes: {"figure": axes[0]}, "figure is Axes: give them as ax="),
        (lambda figure, axes: {"figure": 3}, "figure is a int; figure= takes a Figure or SubFigure"),
        (lambda figure, axes: {"figure": figure, "ax": axes[0]}, "ax and figure are both given; give one"),
        (lambda figure, axes: {"ax": axes[0]}, "has 4 panels and ax= takes one: give a figure or subfigure"),
        (
            lambda figure, axes: {"figure": figure},
            "figure has 3.0 x 2.0 inches and this picture needs about 2.6 x 3.2",
        ),
    ],
)
def test_what_it_cannot_be_drawn_into_is_refused(keywords, message):
    with pytest.raises(PictureError, match=message):
        laws(4).draw(**keywords(*_given()))


def test_in_a_notebook_a_placed_picture_is_its_caption_because_the_figure_is_shown_too():
    picture, axes = rates(), _given()[1]
    assert picture.placed_in(None, None) is picture
    placed = picture.placed_in(axes[0], None)
    assert axes[0].lines
    assert placed == picture
    assert placed._repr_html_() == f"<p>{picture.caption}</p>"
    assert placed.csv() == picture.csv()
