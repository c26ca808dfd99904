"""Names of fields: the field's, in any case, with spaces, and the short ones of the literature."""

import pytest

from iplab.display.sorting import in_order
from iplab.errors import InvalidRequestError
from iplab.specs.vocabulary import OTHER_NAMES, field_named, meant

RUN = ("index", "parameterization", "hidden_layers", "width", "base_learning_rate", "final_test_loss")
ROW = ("parameterization", "hidden_layers", "width", "base_learning_rate", "runs", "test_loss")


@pytest.mark.parametrize(
    ("name", "known", "field"),
    [
        ("width", RUN, "width"),
        ("Base learning rate", RUN, "base_learning_rate"),
        ("label", RUN, "parameterization"),
        ("L", ROW, "hidden_layers"),
        ("loss", ROW, "test_loss"),
        ("loss", RUN, "final_test_loss"),
        ("test loss", RUN, "final_test_loss"),
        ("final_test_loss", ROW, "test_loss"),
        ("seeds", ROW, "runs"),
        ("run", RUN, "index"),
        ("colour", RUN, None),
        ("", RUN, None),
    ],
)
def test_a_name_means_a_field(name, known, field):
    assert field_named(name, known) == field


def test_every_other_name_ends_at_a_field_of_its_kind():
    for name in OTHER_NAMES:
        assert field_named(name, {OTHER_NAMES[name]}) == OTHER_NAMES[name]


def test_the_nearest_is_meant():
    assert meant("widht", RUN) == "width"
    assert meant("lable", RUN) == "parameterization"
    assert meant("xyzzy", RUN) is None


def test_several_keys_and_rows_without_a_value():
    rows = [{"width": w, "test_loss": loss} for w, loss in ((64, 2.0), (128, None), (64, 1.0), (128, 3.0))]
    ordered = in_order(rows, "-width, loss", ("width", "test_loss"), dict.__getitem__)
    assert [(row["width"], row["test_loss"]) for row in ordered] == [
        (128, 3.0),
        (128, None),
        (64, 1.0),
        (64, 2.0),
    ]
    assert in_order(rows, "", ("width",), dict.__getitem__) == rows
    with pytest.raises(InvalidRequestError, match="did you mean width"):
        in_order(rows, "wdith", ("width",), dict.__getitem__)
