"""Exponent tables as papers and packages print them, each in its own gauge.

`published` builds a parameterization from a table; `in_gauge_of` writes any parameterization in a table's
gauge. Fan-in, fan-out and n of the tables are the width m where they grow with it, and constants elsewhere.
The rates of Everett et al. are those of full alignment as they mean it: updates are aligned with their
inputs, but W_0^{L+1} is not with what the hidden layers learn (`analyze` counts it as aligned). We computed
them from that assumption.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ipcore.theory.building import custom
from ipcore.theory.checks import check_depth
from ipcore.theory.errors import TheoryError
from ipcore.theory.gauge import gauge_of
from ipcore.theory.names import check_name
from ipcore.theory.parameterization import Parameterization

Three = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """Exponents in print: first | hidden | last.

    Attributes:
        name: Name for `published`.
        source: Paper and table.
        a: Multipliers.
        b: Initial standard deviations (half the exponent of a printed variance).
        sgd: Rates with SGD; None: the table has none, or not as exponents alone.
        adam: Rates with Adam; likewise.
    """

    name: str
    source: str
    a: Three
    b: Three
    sgd: Three | None
    adam: Three | None


_TP4: Final = "Yang & Hu, arXiv:2011.14522, table 1"
_TP5: Final = "Yang et al. (Tensor Programs V), arXiv:2203.03466"
_EVERETT: Final = (
    "Everett et al., arXiv:2407.05872, table 1 (multipliers and variances); rates: full alignment, computed"
)
_ZEROS: Final = ("0", "0", "0")
_TABLES: Final = (
    PublishedTable("tp4-sp", _TP4, _ZEROS, ("0", "1/2", "1/2"), _ZEROS, None),
    PublishedTable("tp4-sp-1/m", _TP4, _ZEROS, ("0", "1/2", "1/2"), ("1", "1", "1"), None),
    PublishedTable("tp4-ntk", _TP4, ("0", "1/2", "1/2"), _ZEROS, _ZEROS, None),
    PublishedTable("tp4-mup", _TP4, ("-1/2", "0", "1/2"), ("1/2", "1/2", "1/2"), _ZEROS, None),
    PublishedTable(
        "tp5-table-3", f"{_TP5}, table 3", _ZEROS, ("0", "1/2", "1"), ("-1", "0", "1"), ("0", "1", "1")
    ),
    PublishedTable(
        "tp5-table-8",
        f"{_TP5}, table 8",
        ("0", "0", "1"),
        ("0", "1/2", "0"),
        ("-1", "0", "-1"),
        ("0", "1", "0"),
    ),
    PublishedTable(
        "mup-package",
        "github.com/microsoft/mup: MuReadout, MuSGD, MuAdam",
        ("0", "0", "1"),
        ("0", "1/2", "0"),
        ("-1", "0", "-1"),
        ("0", "1", "0"),
    ),
    PublishedTable(
        "everett-standard",
        _EVERETT,
        _ZEROS,
        ("0", "1/2", "1/2"),
        ("-1/2", "1/2", "1"),
        ("0", "1", "1"),
    ),
    PublishedTable(
        "everett-ntk", _EVERETT, ("0", "1/2", "1/2"), _ZEROS, ("-1/2", "-1/2", "0"), ("0", "1/2", "1/2")
    ),
    PublishedTable(
        "everett-mup", _EVERETT, ("-1/2", "0", "1/2"), ("1/2", "1/2", "1/2"), _ZEROS, ("1/2", "1", "1/2")
    ),
    PublishedTable("everett-mfp", _EVERETT, ("0", "1/2", "1"), _ZEROS, ("-1", "-1", "-1"), ("0", "1/2", "0")),
    PublishedTable(
        "spectral",
        "Yang, Simon & Bernstein, arXiv:2310.17813 (spectral parametrization)",
        _ZEROS,
        ("0", "1/2", "1"),
        ("-1", "0", "1"),
        None,
    ),
    PublishedTable(
        "haas-sp",
        "Haas et al., arXiv:2505.22491 (edge of controlled divergence)",
        _ZEROS,
        ("0", "1/2", "1/2"),
        ("1/2", "1/2", "1/2"),
        ("1", "1", "1"),
    ),
    PublishedTable(
        "hajjar-ip", "Hajjar et al., arXiv:2110.15596", ("0", "1", "1"), _ZEROS, ("-1", "-2", "-1"), None
    ),
)
TABLES: Final[dict[str, PublishedTable]] = {table.name: table for table in _TABLES}


def published(name: str, hidden_layers: int, optimizer: str = "sgd") -> Parameterization:
    """A parameterization as a published table has it.

    Args:
        name: Key of `TABLES`.
        hidden_layers: L, 1..10,000.
        optimizer: "sgd" or "adam": which column of rates.

    Raises:
        TheoryError: Unknown name, L outside its range, or a table without rates for this optimizer.

    >>> from ipcore.theory.gauge import equivalent
    >>> equivalent(published("tp5-table-3", 3, "adam"), published("tp5-table-8", 3, "adam"), "adam")
    True
    """
    check_name(name, TABLES, "table")
    check_name(optimizer, ("sgd", "adam"), "optimizer")
    check_depth(hidden_layers)
    table = TABLES[name]
    c = table.sgd if optimizer == "sgd" else table.adam
    if c is None:
        raise TheoryError(
            f"table {name!r} has no rates for {optimizer!r} here; complete(a, b) gives the largest stable "
            "ones",
            "table",
        )
    return custom(hidden_layers, a=table.a, b=table.b, c=c)


def in_gauge_of(name: str, parameterization: Parameterization, optimizer: str = "sgd") -> Parameterization:
    """A parameterization with the multipliers of a published table, and b and c to match.

    Args:
        name: Key of `TABLES`.
        parameterization: Any.
        optimizer: Key of `OPTIMIZERS`; its gauge.

    Raises:
        TheoryError: Unknown name or optimizer, or no parameterization.

    >>> from ipcore.theory.presets import preset
    >>> mup = preset("mup", 2, optimizer="adam")
    >>> [str(c) for c in in_gauge_of("tp5-table-8", mup, "adam").c_at(0)]
    ['0', '1', '0']
    """
    check_name(name, TABLES, "table")
    return gauge_of(parameterization, TABLES[name].a, optimizer=optimizer)
