"""The runs of a ladder: how many seeds it trains at which widths, look by look.

At a look of n seeds the smallest width has 8 n runs, the next 2 n, the others n: the best split of costs that
grow like m^2 (40 % less variance for 3 % more cost). *Moving* doubles all widths; runs are reused. Only
complete looks count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ipcore.catalogue.widths import INFINITE_WIDTH
from ipcore.studies.decision import Request
from ipcore.studies.line import Ledger, Trainee

_SHARES: Final = (8, 2)


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the data: a number of seeds in one window of widths.

    Attributes:
        window: How often the widths have moved.
        seeds: n.
    """

    window: int
    seeds: int


@dataclass(frozen=True, slots=True)
class Design:
    """The runs of every look.

    Attributes:
        trainees: Networks that are trained at the same widths and seeds.
        rates: Base rate of each.
        first_widths: Widths before they have moved, ascending.
        multiple: Runs that make one seed (2: pairs).
        shares: Runs per seed of a look at the smallest widths; one at all others.
        beside_limit: Whether every seed is trained at infinite width too.
        times_wider: Networks this many times wider than the widest of a look, with deferred weights, take
            the place of infinite width; 0: the limit is computed.
    """

    trainees: tuple[Trainee, ...]
    rates: tuple[float, ...]
    first_widths: tuple[int, ...]
    multiple: int = 1
    shares: tuple[int, ...] = _SHARES
    beside_limit: bool = False
    times_wider: int = 0

    def widths(self, look: Look) -> tuple[int, ...]:
        """m, ascending."""
        return tuple(width << look.window for width in self.first_widths)

    def reference(self, look: Look) -> int:
        """The width of the networks that others are compared with."""
        return self.widths(look)[-1] * self.times_wider or INFINITE_WIDTH

    def counts(self, look: Look) -> tuple[int, ...]:
        """Seeds of each width."""
        more = (*self.shares, *[1] * len(self.first_widths))
        return tuple(look.seeds * share for share in more[: len(self.first_widths)])

    def requests(self, look: Look) -> tuple[Request, ...]:
        """All runs of a look, measured or not."""
        counts = dict(zip(self.widths(look), self.counts(look), strict=True))
        reference = self.reference(look)
        if self.beside_limit:
            counts[reference] = max(counts.values())
        return tuple(
            trainee.request(
                width,
                (rate,),
                tuple(range(count * self.multiple)),
                deferred=width == reference and self.times_wider > 0,
            )
            for width, count in counts.items()
            for trainee, rate in zip(self.trainees, self.rates, strict=True)
        )

    def complete(self, ledger: Ledger, look: Look) -> bool:
        """Whether all runs of a look have ended, and none has failed."""
        # From the widest network on, which has the fewest runs.
        for request in reversed(self.requests(look)):
            for run in request.runs():
                outcome = ledger.runs.get(run)
                if outcome is None or outcome.failed:
                    return False
        return True

    def price(self, ledger: Ledger, reached: Look, wanted: Look) -> float:
        """Cost of what a look needs beyond one that is complete, in units of m^2; with limits in seconds."""
        if self.beside_limit:
            return ledger.cost(ledger.missing(self.requests(wanted))) or 0.0
        have = dict(zip(self.widths(reached), self.counts(reached), strict=True))
        return sum(
            max(0, count - have.get(width, 0)) * float(width) ** 2
            for width, count in zip(self.widths(wanted), self.counts(wanted), strict=True)
        )
