"""Tables on narrow terminals and in notebooks: ids and intervals."""

import io
import re

import pytest
from rich.console import Console

from iplab.display import html
from iplab.display.fitting import abbreviations, fitted
from iplab.display.tables import Ranged, table_of
from iplab.results.summary import Spread

LONG = "a-second-experiment-with-a-long-identifier"


def compared(names=("first", LONG)):
    """The table of `iplab diff`."""
    headings = ["parameterization", "width", "base learning rate", *names, "difference (95 %)"]
    rows = [
        (
            label,
            width,
            rate,
            Spread(0.2486, 0.0216, 2),
            Spread(0.3014, 0.002, 2),
            Ranged(value, -1.3214, 0.2293),
        )
        for label, width, rate, value in (("mup", 16, 0.02, 0.0528), ("ip-llr", 1024, 0.0625, -0.8610))
    ]
    return table_of(headings, rows, "final test accuracy")


def drawn(table, width):
    output = io.StringIO()
    Console(file=output, width=width).print(table)
    return [line.rstrip() for line in output.getvalue().splitlines()]


@pytest.mark.parametrize("width", [80, 120])
def test_a_comparison_has_one_line_a_row_whatever_the_ids_are(width):
    table = compared()
    narrow, needed = fitted(table, width)
    assert needed <= width
    *head, _, one, other = drawn(narrow, width)
    assert re.fullmatch(r"mup .* 0\.0528 \(-1\.3214 \.\. 0\.2293\)", one)
    assert re.fullmatch(r"ip-llr .* -0\.8610 \(-1\.3214 \.\. 0\.2293\)", other)
    # The id is broken after its hyphens.
    assert head[-2].endswith("-")
    assert "identifier" in head[-1]
    assert LONG not in abbreviations(table, narrow).values()


def test_at_sixty_columns_an_interval_goes_below_its_number():
    narrow, needed = fitted(compared(("one", "other")), 60)
    assert needed <= 60
    assert sum("(-1.3214 .. 0.2293)" in line for line in drawn(narrow, 60)) == 2


def test_at_last_an_interval_breaks_at_its_spaces_and_a_name_anywhere():
    narrow, needed = fitted(table_of(["x" * 30, "difference"], [[1.5, Ranged(0.5, -0.25, 1.25)]]), 24)
    assert needed <= 24
    assert [part for line in drawn(narrow, 24)[-3:] for part in line.split()] == [
        "1.5", "0.5000", "(-0.2500", "..", "1.2500)"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "space"),
    [
        (LONG, "nowrap"),
        ("e" * 63, "nowrap"),
        ("2026-11-28 16:27", "nowrap"),
        ("the best rate moves by " * 3, "normal"),
    ],
)
def test_in_notebooks_ids_stay_on_one_line_and_sentences_wrap(cell, space):
    assert f"white-space:{space}'>{cell}</td>" in html.table_html(("a",), [(cell,)])
