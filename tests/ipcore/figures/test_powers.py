from fractions import Fraction

import pytest

from ipcore.figures import Law, LawPanel, PowerLaws, Role, Size
from tests.ipcore.figures.looking import faults

WIDTHS = (64, 128, 256, 512, 1024)


def law(name, exponent, *, scale=1.0, role=Role.ORDERED, **more):
    sizes = tuple(
        Size(m, scale * m**exponent, 0.9 * scale * m**exponent, 1.1 * scale * m**exponent) for m in WIDTHS
    )
    more.setdefault("slope", exponent)
    more.setdefault("theory", Fraction(exponent).limit_denominator(100))
    return Law(name, sizes, role=role, **more)


def sizes_of(layers, steps, subjects=1):
    """As a coordinate check draws them."""
    panels = [
        LawPanel(
            f"change, step {step}",
            (
                *(law(f"h{i}", -i / 2, scale=10.0**step, verdict="agrees") for i in range(1, layers + 1)),
                law("f", 0.0, role=Role.APART, verdict="undecided", upper_bound=True),
            ),
        )
        for _ in range(subjects)
        for step in range(steps)
    ]
    headings = tuple(f"a rather long name {i}, L = {layers}, relu, base rate 0.125" for i in range(subjects))
    return PowerLaws("size", tuple(panels), steps, "Sizes", 3, headings=headings)


@pytest.mark.parametrize(
    ("layers", "steps", "subjects"), [(1, 1, 1), (3, 4, 2), (8, 4, 1), (12, 2, 1), (2, 3, 6)]
)
def test_nothing_is_cut_off_or_covered(layers, steps, subjects):
    assert faults(sizes_of(layers, steps, subjects)) == []


@pytest.mark.parametrize("scale", [1e-30, 1e-4, 0.5, 1.0, 1e12])
@pytest.mark.parametrize("exponent", [0.0, 0.01, 3.0])
def test_any_range_of_values_has_at_least_two_labelled_ticks(scale, exponent):
    picture = PowerLaws("size", (LawPanel("", (law("f", exponent, scale=scale),)),), 1, "Sizes", 3)
    assert faults(picture) == []
    axes = picture.draw().axes[0]
    low, high = axes.get_ylim()
    assert sum(low <= tick <= high for tick in axes.yaxis.get_majorticklocs()) >= 2


def test_theory_is_a_line_with_its_exponent_through_the_middle_of_the_data():
    axes = PowerLaws("size", (LawPanel("", (law("h", -0.5),)),), 1, "Sizes", 3).draw().axes[0]
    line = next(line for line in axes.lines if line.get_marker() == "None" and len(line.get_xdata()) == 2)
    (x0, x1), (y0, y1) = line.get_data()
    assert y0 == pytest.approx(x0**-0.5)
    assert y1 == pytest.approx(x1**-0.5)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"verdict": "agrees"}, "−0.50 (−1/2) ✓"),
        ({"verdict": "disagrees", "theory": Fraction(0)}, "−0.50 (0) ✗"),
        ({"verdict": "undecided", "upper_bound": True}, "−0.50 (≤ −1/2) ?"),
        ({"verdict": "not yet", "theory_high": Fraction(1, 2)}, "−0.50 (−1/2 .. 1/2) …"),
        ({"theory": None}, "−0.50"),
        ({"slope": None}, "(−1/2)"),
    ],
)
def test_the_numbers_beside_a_line(more, text):
    assert law("h", -0.5, **more).exponents == text


def test_the_caption_explains_only_the_marks_that_are_there():
    caption = sizes_of(2, 1).caption
    assert "✓ agrees with theory" in caption
    assert "? undecided" in caption
    assert "✗" not in caption


def test_panels_of_a_row_share_their_axis_and_rows_do_not():
    one, other = (LawPanel("", (law("h", 0.0, scale=scale),)) for scale in (1.0, 1e6))
    compared = PowerLaws("size", (one, other), 2, "Sizes", 3).draw().axes
    assert compared[0].get_ylim() == compared[1].get_ylim()
    apart = PowerLaws("size", (one, other), 1, "Sizes", 3, headings=("one", "other")).draw().axes
    assert apart[0].get_ylim() != apart[1].get_ylim()
