"""Checks arguments of the SDK's methods: errors say which types and names are valid."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from numbers import Integral, Real
from typing import TYPE_CHECKING, Final, TypeVar

from ipcore.errors import Brief
from iplab.errors import InvalidRequestError, Violation

Number = TypeVar("Number", int, float)

# Similarity between 0 and 1 above which a name is suggested; difflib's default .6 suggests "labels" for
# "best".
_SIMILAR: Final = 0.65


class UnknownAttributeError(Brief, AttributeError):
    """An object of the SDK has no attribute of this name."""


class Handle:
    """Base class of the SDK's objects: errors about unknown attributes suggest similar names."""

    __slots__ = ()

    if not TYPE_CHECKING:  # type checkers would accept every attribute

        def __getattr__(self, name: str) -> object:
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            if not name.startswith("_"):
                known = [each for each in dir(type(self)) if not each.startswith("_")]
                if near := _near(name, known):
                    message += f"; did you mean {' or '.join(map(repr, near))}?"
                else:
                    methods = [each for each in known if callable(getattr(type(self), each))]
                    message += f"; its methods: {', '.join(methods)}"
            raise UnknownAttributeError(message, name=name, obj=self)


def _near(name: str, known: Iterable[str]) -> list[str]:
    """At most two names: first those with this prefix ("best": "best_rates"), then similar ones."""
    known = list(known)
    begin = [each for each in known if each.startswith(name)]
    similar = difflib.get_close_matches(name, known, n=2, cutoff=_SIMILAR)
    return list(dict.fromkeys([*begin, *similar]))[:2]


def name_of(kind: str, collection: str, given: str) -> str:
    """The name of a resource, from its id or its name.

    Args:
        kind: Kind of resource, for the message.
        collection: Prefix of its name, "experiments/".
        given: The id or name.

    Raises:
        InvalidRequestError: It is not text.

    >>> name_of("experiment", "experiments/", "mine")
    'experiments/mine'
    """
    if not isinstance(given, str):
        raise _wrong(kind, f"{given!r} is not text; write the id of one, as 'mine'")
    return given if given.startswith(collection) else f"{collection}{given}"


def names_of(given: str | Iterable[str]) -> list[str]:
    """A list of names from one or several.

    >>> names_of("train_loss"), names_of(("a", "b"))
    (['train_loss'], ['a', 'b'])
    """
    return [given] if isinstance(given, str) else list(given)


def numbers_of(field: str, kind: type[Number], given: Iterable[Number]) -> list[Number]:
    """Check a list of numbers.

    Args:
        field: Name of the argument in messages.
        kind: int or float.
        given: The argument.

    Raises:
        InvalidRequestError: It is not a list, or an entry is not such a number.

    >>> numbers_of("seeds", int, range(2))
    [0, 1]
    """
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise _wrong(field, f"{given!r} is not a list; write [{given}]")
    found = list(given)
    wanted, words = (Integral, "a whole number") if kind is int else (Real, "a number")
    for one in found:
        if not isinstance(one, wanted) or isinstance(one, bool):
            raise _wrong(field, f"{one!r} is not {words}")
    return [kind(one) for one in found]


def seconds_of(field: str, given: object) -> float | None:
    """Check a time in seconds; None means no limit.

    Raises:
        InvalidRequestError: It is not a number.
    """
    if given is None:
        return None
    if isinstance(given, Real):
        return float(given)
    raise _wrong(field, f"{given!r} is not a number of seconds")


def _wrong(field: str, message: str) -> InvalidRequestError:
    return InvalidRequestError([Violation(field, message)])
