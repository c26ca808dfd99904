"""The limit of a network at m = infinity, or why none is computed. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from ipcore.catalogue.widths import TIMES_WIDER

DEFERRED: Final = (
    f"train it with deferred weights (in a spec deferred_weights: always) at a width at least {TIMES_WIDER} "
    "times the largest one compared"
)
Reason = Literal[
    "activation",
    "calibration",
    "constant",
    "decay",
    "initial_weights",
    "model",
    "optimizer",
    "unstable",
    "unknown",
]


@dataclass(frozen=True, slots=True)
class Limit:
    """The limit of a network at m = infinity.

    Attributes:
        kind: "particles": neurons that move, a random sample of them; "kernel": a kernel that does not move,
            in closed form.
        first: Whether each layer 1..L+1 learns at step 0.
        later: Whether it learns from step 1 on.
        carries: Whether its gradient of step 0 is as large as later ones, so that a velocity carries it on.
            IP-LLR's is smaller by a power of the width, which only the large first rate makes up for.
        keeps_initial: Particles: whether step 0 is muP's, with h_0 of order 1 (HP, HPZ), or h_0 vanishes
            (IP-LLR). Calibration depends on it.
        revives: Particles: whether the remainder of the initial matrix of layer L turns ReLU neurons on that
            are off on all of batch 0.
        starts_at_zero: Whether f_0 = 0; a kernel's f_0 may be a Gaussian process instead.
        sentence: A description in one sentence.
        notes: Cautions about its numbers.
    """

    kind: Literal["particles", "kernel"]
    first: tuple[bool, ...]
    later: tuple[bool, ...]
    carries: tuple[bool, ...]
    keeps_initial: bool
    revives: bool
    starts_at_zero: bool
    sentence: str
    notes: tuple[str, ...] = ()

    @property
    def is_paired(self) -> bool:
        """Whether networks come near it only if it starts from their own f_0: a kernel with a random f_0."""
        return self.kind == "kernel" and not self.starts_at_zero


@dataclass(frozen=True, slots=True)
class NoLimit:
    """Why no limit is computed.

    Attributes:
        reason: The reason in a word.
        sentence: The reason in a sentence that says what to do instead.
        wider: Whether a far wider network with deferred weights takes the place of the limit.
    """

    reason: Reason
    sentence: str
    wider: bool = False
