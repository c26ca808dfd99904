"""The kinds of check: which apply to what was measured, and what they find.

To add a kind, write a file beside these with a `Kind`, name it below, and add its value to CheckKind in
`proto/iplab/v1/report.proto`.
"""

from collections.abc import Collection
from typing import Final

from ipcore.analysis.case import Kind
from ipcore.analysis.kinds.alignment import ALIGNMENT
from ipcore.analysis.kinds.calibrated_rates import CALIBRATED_RATES
from ipcore.analysis.kinds.coordinates import COORDINATES
from ipcore.analysis.kinds.isolated_updates import ISOLATED_UPDATES
from ipcore.analysis.kinds.limit import LIMIT
from ipcore.analysis.kinds.rate_transfer import RATE_TRANSFER
from ipcore.analysis.kinds.stationarity import STATIONARITY

# Checks of runs that differ only in width and seed, in the order of a report.
OF_ONE_RATE: Final[tuple[Kind, ...]] = (
    CALIBRATED_RATES,
    COORDINATES,
    STATIONARITY,
    LIMIT,
    ISOLATED_UPDATES,
    ALIGNMENT,
)
# Checks of runs that differ in the base learning rate too.
OVER_RATES: Final[tuple[Kind, ...]] = (RATE_TRANSFER,)
KINDS: Final = (*OF_ONE_RATE, *OVER_RATES)


def wanted(asked: Collection[str]) -> tuple[Kind, ...]:
    """All kinds except those that are checked only on request and were not requested.

    Args:
        asked: Names of kinds.

    >>> [kind.name for kind in KINDS if kind not in wanted([])], wanted(["ALIGNMENT"]) == KINDS
    (['ALIGNMENT'], True)
    """
    return tuple(kind for kind in KINDS if not kind.asked or kind.name in asked)


__all__ = ["KINDS", "OF_ONE_RATE", "OVER_RATES", "wanted"]
