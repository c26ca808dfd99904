"""`iplab phases`, without a service, and its picture."""

import json
from fractions import Fraction

import pytest
from click.testing import CliRunner

from iplab.cli import main

PLANE = ("--preset", "mup", "--free", "b_last=-1:1", "--free", "c=-2:1")


def call(*arguments):
    return CliRunner().invoke(main, ["phases", *arguments])


def test_text_first_json_for_programs():
    text = call(*PLANE)
    assert text.exit_code == 0
    assert text.stdout.startswith("mup, 3 hidden layers, sgd, relu, cross_entropy\n")
    assert "line (-1/2, 0) to (0, -1), without (0, -1)" in text.stdout
    plain = json.loads(call(*PLANE, "--json").stdout)
    assert [(f["name"], f["low"], f["high"]) for f in plain["free"]] == [
        ("b_last", "-1", "1"),
        ("c", "-2", "1"),
    ]
    by_hand = call("--a", "0,1/2,1", "--b", "0,0,0", "--c", "0,0,0", *PLANE[2:], "--json")
    assert json.loads(by_hand.stdout)["areas"] == plain["areas"]


def test_decimals_are_said_to_be_exact():
    found = call("--preset", "mup", "--free", "b_last=-1:0.333", "--free", "c=-2:1")
    assert "note: '0.333' is taken as exactly 333/1000; write '1/3' if that is meant" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--preset", "mup"), "2 free exponents, not 0"),
        (("--preset", "mup", "--free", "c"), "write NAME=LOW:HIGH"),
        (("--preset", "mup", "--free", "c=1"), "write NAME=LOW:HIGH"),
        (("--preset", "mup", "--free", "c=0:1", "--free", "c=0:2"), "given twice"),
        (("--preset", "mup", "--free", "c=0:1e3", "--free", "a_1=0:2"), "free[c]"),
        (("--preset", "mup", "--a", "0,0,0", "--free", "c=0:1", "--free", "a_1=0:2"), "not both"),
        (("--free", "c=0:1", "--free", "a_1=0:2"), "missing: --a, --b, --c"),
        ((*PLANE, "--plot", "map.gif"), "must end in .svg, .png, .pdf or .csv"),
    ],
)
def test_wrong_usage(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_picture_labels_all_there_is_where_it_is(tmp_path):
    pytest.importorskip("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from ipcore.figures import PhaseDiagram
    from ipcore.theory import phases, preset

    found = phases(preset("mup", 3), {"b_last": ("-1", "1"), "c": ("-2", "1")})
    figure = PhaseDiagram(found, "mup").draw()
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    assert [text.get_text() for text in figure.texts] == ["$b_{4}$ (last matrix)", "$c$ (all matrices)"]
    names = [text.get_text().replace("\n", " ") for text in axes.texts]
    areas = ["controlled divergence", "trivial", "unstable"]
    lines = ["kernel", "feature learning (layers 1..3)", "controlled divergence (layers 1..3)"]
    assert sorted(names) == sorted([*areas, *lines, "mup, mup-yang-hu"])
    frame = axes.get_window_extent()
    boxes = []
    for text, name in zip(axes.texts, names, strict=True):
        if text.get_rotation() == 0:
            box = text.get_window_extent()
            assert frame.x0 <= box.x0 < box.x1 <= frame.x1
            assert not any(box.overlaps(other) for other in boxes)
            boxes.append(box)
        if name in areas:
            x, y = axes.transData.inverted().transform(axes.transAxes.transform(text.get_position()))
            assert found.at(Fraction(x), Fraction(y)).regime.replace("_", " ") == name


@pytest.mark.parametrize("kind", ["svg", "png", "pdf"])
def test_the_picture_is_saved(tmp_path, kind):
    pytest.importorskip("matplotlib")
    file = tmp_path / f"map.{kind}"
    assert call(*PLANE, "--plot", str(file)).stderr == f"saved {file}\n"
    assert file.stat().st_size > 5_000
