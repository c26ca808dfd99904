from itertools import pairwise

import matplotlib as mpl
import pytest

from ipcore.figures import style
from tests.ipcore.figures.looking import lightness, seen


@pytest.mark.parametrize("count", [2, 3, 4, 6, 8])
def test_an_ordered_family_goes_from_dark_to_light_in_grey(count):
    greys = [lightness(style.ordered(i, count).colour) for i in range(count)]
    assert greys == sorted(greys)
    assert min(b - a for a, b in pairwise(greys)) >= 55 / (count + 1)
    assert greys[-1] < 85  # stands out from white paper


def test_neighbouring_groups_differ_in_grey_marker_and_dashes():
    looks = [style.group(i) for i in range(5)]
    for one, other in pairwise(looks):
        assert abs(lightness(one.colour) - lightness(other.colour)) > 12
        assert one.marker != other.marker
        assert one.dashes != other.dashes


@pytest.mark.parametrize("kind", ["protan", "deutan"])
def test_groups_differ_for_colour_blind_readers(kind):
    colours = [seen(style.group(i).colour, kind) for i in range(5)]
    distances = [
        sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5
        for i, one in enumerate(colours)
        for other in colours[:i]
    ]
    assert min(distances) > 0.1


def test_text_in_any_colour_has_contrast():
    looks = [*(style.ordered(i, 5) for i in range(5)), *(style.group(i) for i in range(7)), style.apart()]
    # WCAG's 4.5 : 1 on white is a lightness of at most 50.
    assert all(lightness(look.ink) <= 50.5 for look in looks)


def test_a_users_settings_change_nothing_and_come_back():
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        with style.style():
            assert mpl.rcParams["font.size"] == style.SMALL
            assert mpl.rcParams["axes.facecolor"] == "white"
        assert mpl.rcParams["font.size"] == 30
