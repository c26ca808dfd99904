"""Numbers as text, for tables, summaries and pictures. `--json` prints all digits."""

from __future__ import annotations

import math
from numbers import Integral, Real

# Numbers from the first on are written as 1.235e+06, numbers below the second as 1.235e-05.
_LARGE, _SMALL = 1e6, 1e-4
# Means between these have four decimals, so that columns of accuracies and losses are aligned.
_ALIGNED = 0.01, 10.0
SETTING_DIGITS = 6


def number(value: Real | float, digits: int = 4) -> str:
    """A number with `digits` significant digits, without trailing zeros; scientific if it is large or small.

    Whole numbers have all their digits; below 1e6 all digits before the point are kept.

    >>> [number(x) for x in (0.93704, 2.5, 12345.678, 5127289328727264067584.0, 1.5e-60, -0.0)]
    ['0.937', '2.5', '12346', '5.127e+21', '1.5e-60', '0']
    >>> number(float("nan")), number(float("-inf")), number(1437), number(0.0078125, 6)
    ('nan', '-inf', '1437', '0.0078125')
    """
    if isinstance(value, Integral):
        return str(int(value))
    value = float(value)
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    text = f"{value:.{digits}g}"
    if abs(float(text)) >= _LARGE or abs(value) < _SMALL:
        mantissa, mark, exponent = f"{value:.{digits - 1}e}".partition("e")
        return f"{_stripped(mantissa)}{mark}{exponent}"
    places = digits - 1 - math.floor(math.log10(abs(float(text))))
    return _stripped(f"{value:.{max(0, places)}f}")


def counted(count: int, noun: str) -> str:
    """A count with its noun.

    >>> counted(1, "run"), counted(16, "step")
    ('1 run', '16 steps')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def decimals(value: float, places: int) -> str:
    """A number of order 1 with a fixed number of decimals, for columns; a large one as by `number`.

    >>> decimals(-0.5, 2), decimals(-0.001, 2), decimals(3e21, 2)
    ('-0.50', '0.00', '3e+21')
    """
    if not math.isfinite(value) or abs(value) >= _LARGE:
        return number(value)
    text = f"{value:.{places}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def mean_and_deviation(mean: float, deviation: float | None) -> str:
    """A mean and its standard deviation, unless that is None.

    >>> mean_and_deviation(0.93704, 0.04461), mean_and_deviation(0.937, None)
    ('0.9370 ± 0.0446', '0.9370')
    >>> mean_and_deviation(5.1273e21, 8.9e20), mean_and_deviation(2.3026, 1.2e-7)
    ('5.127e+21 ± 8.9e+20', '2.3026 ± 1.2e-07')
    """
    aligned = mean == 0 or _ALIGNED[0] <= abs(mean) < _ALIGNED[1]
    text = decimals(mean, 4) if aligned else number(mean)
    if deviation is None:
        return text
    fine = 0 < deviation < _SMALL
    return f"{text} ± {decimals(deviation, 4) if aligned and not fine else number(deviation)}"


def with_interval(value: float, low: float | None, high: float | None) -> str:
    """A number of order 1 with an interval, four decimals each; a small or large one as by `number`.

    >>> with_interval(0.0528, -0.124, 0.22961), with_interval(0.5, None, None)
    ('0.0528 (-0.1240 .. 0.2296)', '0.5000')
    >>> with_interval(2e-5, -1.234e-5, 5e-5), with_interval(310.0, 120.04, 500.0)
    ('2e-05 (-1.23e-05 .. 5e-05)', '310 (120 .. 500)')
    """
    most = max(abs(x) for x in (value, low, high) if x is not None)
    aligned = most == 0 or _ALIGNED[0] <= most < _ALIGNED[1]
    middle, *ends = (decimals(x, 4) if aligned else number(x, 3) for x in (value, low, high) if x is not None)
    return f"{middle} ({' .. '.join(ends)})" if ends else middle


def _stripped(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
