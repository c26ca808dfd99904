"""Fair share: among packs of equal priority, those of the project with the smallest share come first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from ipserver.store.records.board import Claim, Queued
from ipserver.store.shapes import amounts_of


def fair_order(queued: Iterable[Queued], claims: Iterable[Claim], total: Mapping[str, float]) -> list[Queued]:
    """Waiting experiments, most urgent first.

    A project's share is the largest part of any resource that its leased packs hold (dominant resource
    fairness, Ghodsi et al. 2011). Shares are computed again for each start, so projects with waiting packs of
    equal priority converge to equal shares.

    Args:
        queued: The waiting experiments.
        claims: The leased packs; packs that are marked to make room are not counted.
        total: Amounts of the cluster, by name.
    """
    held: dict[str, Counter[str]] = {}
    for claim in claims:
        if not claim.leaving:
            held.setdefault(claim.project, Counter()).update(amounts_of(claim.shape))
    share = {
        project: max(
            (amount / total[name] for name, amount in amounts.items() if total.get(name)), default=0.0
        )
        for project, amounts in held.items()
    }
    return sorted(
        queued, key=lambda it: (-it.priority, share.get(it.project, 0.0), it.create_time, it.experiment)
    )
