"""Settings declared at fields: what they are, and what is wrong with values."""

from dataclasses import dataclass
from typing import Annotated

from ipcore.catalogue.choices import BIASES
from ipcore.catalogue.rules import Interval, OneOf
from ipcore.catalogue.settings import settings, type_problems, value_problems


@dataclass(frozen=True)
class Example:
    count: Annotated[int, Interval(1), "how many"]
    share: Annotated[float, Interval(0, 1, "[)")] = 0.5
    bias: Annotated[str, OneOf("bias", BIASES)] = "first"
    marks: Annotated[tuple[int, ...], Interval(0, 9)] = ()
    other: object = None


def test_a_field_says_what_it_is():
    found = settings(Example)
    assert list(found) == ["count", "share", "bias", "marks"]
    assert (found["count"].meaning, found["count"].default, found["share"].default) == ("how many", None, 0.5)
    assert str(found["share"]) == "share: at least 0 and less than 1; default 0.5"


def test_all_wrong_fields_are_named_at_once():
    assert list(type_problems(Example(True, "0.5", marks=(1, "2")))) == [
        ("count", "must be a whole number, not True"),
        ("share", "must be a real number, not '0.5'"),
        ("marks[1]", "must be a whole number, not '2'"),
    ]
    assert list(type_problems(Example(1, marks=7))) == [("marks", "must be a list, not 7")]
    wrong = Example(0, 1.0, "x", (3, 10))
    assert [field for field, _ in value_problems(wrong)] == ["count", "share", "bias", "marks[1]"]
    assert [field for field, _ in value_problems(wrong, only={"share"})] == ["share"]
