"""Single values in protobuf's JSON form."""

from __future__ import annotations

import re
import reprlib
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Number, Rational, Real
from typing import Final

from google.protobuf.descriptor import FieldDescriptor

from iplab.specs.problems import Problems
from iplab.v1.spec_pb2 import Exponents

INTEGERS: Final = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
}

REALS: Final = {FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT}

# Bounded for wrong values of any depth and length.
_REPR: Final = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 60

# Numbers of more digits are mistakes; writing them out would fill the memory.
_MAX_DIGITS: Final = 400


def whole_of(value: object, target: FieldDescriptor, path: str, problems: Problems) -> int | None:
    """A whole number in the range of the field's type; None after a problem."""
    least, most = INTEGERS[target.type]
    number = _number(value)
    finite = number is not None and Decimal(number).is_finite()  # as a float it might be infinite
    if number is not None and finite and not -(2**64) <= number <= 2**64:
        whole = 2**65 if number > 0 else -(2**65)  # out of range too, without writing all digits out
    elif number is None or number != (whole := int(number) if finite else 0):
        problems.add(path, f"{shown(value)} is not a whole number")
        return None
    if least <= whole <= most:
        return whole
    if least < 0:
        # The type's range is not stated, since the service allows far less.
        problems.add(path, f"{shown(value)} is too {'large' if whole > 0 else 'small'} for this field")
    else:
        problems.add(path, f"{shown(value)} is out of range; it must lie between {least} and {most}")
    return None


def real_of(value: object, path: str, problems: Problems) -> float | str | None:
    """A number, or protobuf's word for one that JSON does not have; None after a problem."""
    number = _number(value)
    if number is None:
        problems.add(path, f"{shown(value)} is not a number")
        return None
    # JSON has no such numbers; these are protobuf's words for them.
    words = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
    return words.get(str(float(number)), float(number))


def truth_of(value: object, path: str, problems: Problems) -> bool | None:
    """True or False; None after a problem."""
    if isinstance(value, bool):
        return value
    problems.add(path, f"{shown(value)} is neither true nor false")
    return None


def text_of(value: object, target: FieldDescriptor, path: str, problems: Problems) -> object:
    """Text, or an exponent given as a number as exact text; None after a problem."""
    if is_text(value):
        return value
    if target.containing_type is not Exponents.DESCRIPTOR:
        problems.add(path, f"{shown(value)} is not text; quote it")
    elif (exact := _exponent(value)) is not None:
        return exact
    else:
        problems.add(path, f"{shown(value)} is not an exponent; write 1, -5/2 or 0.5")
    return None


def is_infinite(value: object) -> bool:
    """Whether a value is, or spells, positive infinity.

    >>> is_infinite("inf"), is_infinite(float("inf")), is_infinite("-inf"), is_infinite(64)
    (True, True, False, False)
    """
    number = _number(value)
    return number is not None and str(number).lower() in ("inf", "infinity")


def is_text(value: object) -> bool:
    """Whether a value is text without lone surrogates, which have no UTF-8 form."""
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def _number(value: object) -> Decimal | float | None:
    """The number that `value` is or spells, by the rules of protobuf's JSON form; else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            return Decimal(value)
        except ArithmeticError:
            return None
    if isinstance(value, Integral):
        whole = int(value)
        if whole.bit_length() > 4 * _MAX_DIGITS:  # as large, without writing all digits out
            whole = 10**_MAX_DIGITS if whole > 0 else -(10**_MAX_DIGITS)
        return Decimal(whole)
    return value if isinstance(value, Decimal) else float(value) if isinstance(value, Real) else None


def _exponent(value: object) -> str | None:
    """An exponent given as a number, exactly: 1 -> "1", 0.5 -> "0.5", Fraction(-5, 2) -> "-5/2"."""
    if isinstance(value, bool):
        return None
    if isinstance(value, Rational):
        top, bottom = int(value.numerator), int(value.denominator)
        if max(top.bit_length(), bottom.bit_length()) > 4 * _MAX_DIGITS:
            return None
        return str(Fraction(top, bottom))
    if isinstance(value, Real):
        value = Decimal(repr(float(value)))  # the shortest decimal that is this float: 0.1, not 0.1000...0555
    if not isinstance(value, Decimal) or (value.is_finite() and abs(value.adjusted()) > _MAX_DIGITS):
        return None
    return format(value, "f")


def shown(value: object) -> str:
    """A value in messages, in at most 60 characters."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Integral) and int(value).bit_length() > 4 * _MAX_DIGITS:
        return "a number of more than 400 digits"
    text = "null" if value is None else str(value) if isinstance(value, Number) else _REPR.repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
