"""Checks arguments of the SDK's methods: errors say which types and names are valid."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Final, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from ipcore.errors import Brief
from iplab.errors import InvalidRequestError, Violation

Number = TypeVar("Number", int, float)
MessageT = TypeVar("MessageT", bound=Message)

_TYPES: Final[Mapping[int, str]] = {
    FieldDescriptor.CPPTYPE_STRING: "text",
    FieldDescriptor.CPPTYPE_BOOL: "True or False",
    FieldDescriptor.CPPTYPE_FLOAT: "a number",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_INT32: "a whole number of 32 bits",
    FieldDescriptor.CPPTYPE_INT64: "a whole number of 64 bits",
    FieldDescriptor.CPPTYPE_MESSAGE: "a dict of texts",  # labels; users give no other messages
}
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
                elif fields := getattr(type(self), "__dataclass_fields__", None):
                    message += f"; it has: {', '.join(fields)}"
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


def filled(kind: type[MessageT], **values: object) -> MessageT:
    """A message with values that the user gave.

    Args:
        kind: Its type.
        **values: By field; None: unset.

    Raises:
        InvalidRequestError: Values have wrong types; names all of them.
    """
    wrong = []
    for name, value in values.items():
        try:
            kind(**{name: value})
        except (TypeError, ValueError):
            field = kind.DESCRIPTOR.fields_by_name[name]
            words = _TYPES[field.cpp_type]
            listed = field.is_repeated and field.message_type is None
            wanted = f"a list, each entry {words}" if listed else words
            wrong.append(Violation(name, f"{value!r} is not {wanted}"))
    if wrong:
        raise InvalidRequestError(wrong)
    return kind(**values)


def names_of(field: str, given: str | Iterable[str]) -> list[str]:
    """A list of names from one or several.

    Raises:
        InvalidRequestError: It is neither a text nor a list.

    >>> names_of("names", "train_loss"), names_of("names", ("a", "b"))
    (['train_loss'], ['a', 'b'])
    """
    if isinstance(given, str):
        return [given]
    if not isinstance(given, Iterable):
        raise _wrong(field, f"{given!r} is neither a name nor a list of names")
    return list(given)


def index_of(given: object) -> int | None:
    """A whole number from 0 on, which may be one of NumPy's as in frames; None if it is something else."""
    if isinstance(given, bool) or not isinstance(given, Integral):
        return None
    return int(given) if int(given) >= 0 else None


def count_of(field: str, given: object) -> int | None:
    """Check a maximum number of items; None means no limit.

    Raises:
        InvalidRequestError: It is not a whole number from 0 on.
    """
    if given is None:
        return None
    if (count := index_of(given)) is not None:
        return count
    raise _wrong(field, f"{given!r} is not a whole number from 0 on; None: no limit")


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
