"""Measurements of a study so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

Value = float | tuple[float, ...]


class Run(NamedTuple):
    """A run of a study.

    Attributes:
        subject: `str(Subject)`; a question's own subjects have names beside it (`Request.subject`).
        width: m.
        rate: Base learning rate, exactly as it was asked for.
        seed: From 0 on.
    """

    subject: str
    width: int
    rate: float
    seed: int


class Metric(NamedTuple):
    """A number, or a vector, that a run records.

    Attributes:
        quantity: A name in `ipcore.probes.quantities` ("h", "h_change", "isolated_change"), or one of those
            below.
        layer: l, from 1; 0 where none is meant.
        step: Updates done; for isolated updates the step t whose rates are used: the probe
            `isolated_updates` records them at the state after that update, t + 1.
    """

    quantity: str
    layer: int = 0
    step: int = 0


FINAL_LOSS: Final = Metric("final_test_loss")
FIRST_LOSS: Final = Metric("initial_test_loss")
FINAL_ACCURACY: Final = Metric("final_test_accuracy")
CALIBRATED: Final = "calibrated_rate"  # by layer
FINAL_LIMIT_ERROR: Final = Metric("final_limit_error")  # of infinite width
SKETCH: Final = "output_sketch"  # f_t on the test set, the vector that the probe `outputs` records
PAIRED: Final = "paired_sketch"  # f_t - g_t there, the vector that the probe `paired_outputs` records
OUTPUTS: Final = "outputs"  # f_t at the inputs of the probe, one vector: all outputs of all inputs
ISOLATED: Final = "isolated_change"  # mean |dh^l| after one update of matrix l alone
ISOLATED_BIAS: Final = "isolated_bias_change"  # the same of the biases of layer l alone


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a run.

    Attributes:
        values: Recorded values; of a diverged run those recorded before.
        diverged: Its loss became infinite or NaN: a result.
        core_seconds: Its cost; None: unknown.
        failed: Why it could not be trained at all ("" : it was); a run that failed is not asked for again.
    """

    values: Mapping[Metric, Value] = field(default_factory=dict)
    diverged: bool = False
    core_seconds: float | None = None
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Results:
    """All runs that have ended, whether a round is complete or not.

    Attributes:
        runs: By run.
        elapsed_seconds: Wall time since the study started; counts against `Budget.wall_seconds`.
    """

    runs: Mapping[Run, Outcome] = field(default_factory=dict)
    elapsed_seconds: float = 0.0

    @property
    def core_seconds(self) -> float:
        """Spent so far, as far as it is known."""
        return sum(outcome.core_seconds or 0.0 for outcome in self.runs.values())
