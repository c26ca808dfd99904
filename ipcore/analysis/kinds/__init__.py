"""The kinds of check: which apply to what was measured, and what they find.

To add a kind, write a file beside these with a `Kind`, name it below, and add its value to CheckKind in
`proto/iplab/v1/report.proto`.
"""

from typing import Final

from ipcore.analysis.case import Kind
from ipcore.analysis.kinds.calibrated_rates import CALIBRATED_RATES
from ipcore.analysis.kinds.coordinates import COORDINATES
from ipcore.analysis.kinds.rate_transfer import RATE_TRANSFER
from ipcore.analysis.kinds.stationarity import STATIONARITY

# Of runs that differ in width and seed only, in the order in which a report has them.
OF_ONE_RATE: Final[tuple[Kind, ...]] = (CALIBRATED_RATES, COORDINATES, STATIONARITY)
# Of runs that differ in the base learning rate too.
OVER_RATES: Final[tuple[Kind, ...]] = (RATE_TRANSFER,)
KINDS: Final = (*OF_ONE_RATE, *OVER_RATES)
# All that has to be read for them.
QUANTITIES: Final = frozenset(quantity for kind in KINDS for quantity in kind.reads)

__all__ = ["KINDS", "OF_ONE_RATE", "OVER_RATES", "QUANTITIES"]
