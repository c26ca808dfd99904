"""Input of a kind of check: runs that are judged together, their measurements, and what theory says."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from ipcore import theory
from ipcore.analysis.coordinate_check import Key
from ipcore.analysis.output_distance import Outputs
from ipcore.analysis.report import Report, Subject
from ipcore.analysis.samples import Samples
from ipcore.catalogue import OPTIMIZERS

T = TypeVar("T")

Sizes = Mapping[Key, Mapping[tuple[int, int], float]]
"""Metrics of layers by (quantity, layer, step), then by (width, seed)."""

OutputsByStep = Mapping[int, Mapping[tuple[int, int], Outputs]]
"""Outputs on the test set by step, then by (width, seed)."""

_UNSTABLE_STEPS: Final = 20


@dataclass(frozen=True, slots=True)
class Run:
    """One run: the values that checks use.

    Attributes:
        width: m.
        seed: Seed of its randomness.
        base_learning_rate: eta.
        diverged: Whether its training loss became infinite or NaN.
        final_test_loss: None if it has not ended.
        calibrated_rates: First base rates by layer; () without calibration.
        limit_error: For infinite width: the particles' own error of f, relative to |f|, if it is known.
    """

    width: int
    seed: int
    base_learning_rate: float
    diverged: bool
    final_test_loss: float | None
    calibrated_rates: tuple[float, ...] = ()
    limit_error: float | None = None


@dataclass(frozen=True, slots=True)
class Trained:
    """The settings that an experiment's runs share.

    Attributes:
        widths: Widths of the grid.
        optimizer: Name.
        epsilon: The optimizer's epsilon; 0 if it has none.
        weight_decay: lambda >= 0.
        loss: Name.
        probes: Quantities that were recorded ("coordinates").
        probed_layers: Layers that were probed; () means all.
        caps: Cap of calibration, by label of the parameterizations that are calibrated.
        exponents: Function of a label of the experiment or the name of a preset, and of the number of hidden
            layers of a perceptron with as many matrices as the network. Returns a parameterization or raises
            TheoryError.
        not_covered: Why theory does not cover such networks; None: it may.
        max_hidden_layers: Networks with more matrices than such a perceptron are not analysed.
        block_matrices: Matrices per residual block; 0: there are no blocks.
        normalization: Normalization of preactivations, by its name in the catalogue.
        not_compared: Why outputs are not compared with infinite width, by label.
    """

    widths: tuple[int, ...]
    optimizer: str
    loss: str
    exponents: Callable[[str, int], theory.Parameterization]
    epsilon: float = 0.0
    weight_decay: float = 0.0
    probes: frozenset[str] = frozenset({"coordinates"})
    probed_layers: tuple[int, ...] = ()
    caps: Mapping[str, float] = field(default_factory=dict)
    not_covered: str | None = None
    max_hidden_layers: int = 100
    block_matrices: int = 0
    normalization: str = "none"
    not_compared: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_epsilon(self) -> bool:
        """Whether the optimizer adds epsilon to sizes of gradients."""
        return OPTIMIZERS[self.optimizer].has_epsilon

    def analyze(
        self,
        name: str,
        hidden_layers: int,
        activation: str,
        epsilon: tuple[str, ...] = (),
        alignment: tuple[theory.Alignment, ...] = (),
    ) -> theory.Analysis | str:
        """The analysis, or why there is none.

        Args:
            name: For `exponents`.
            hidden_layers: For `exponents`.
            activation: Name.
            epsilon: "negligible" or "dominating" for each layer; (): as in the limit.
            alignment: Lower and upper bounds on it; () means derived.
        """
        if self.not_covered is not None:
            return f"theory does not cover it: {self.not_covered}"
        if hidden_layers > self.max_hidden_layers:
            return f"not analysed: more than {self.max_hidden_layers} hidden layers"
        try:
            analyze = functools.partial(
                theory.analyze,
                self.exponents(name, hidden_layers),
                optimizer=self.optimizer,
                activation=activation,
                loss=self.loss,
                epsilon=epsilon or None,
                alignment=alignment or None,
                block_matrices=self.block_matrices,
                normalization=self.normalization,
            )
            found = analyze()
            # The analysis stops where something grows, but the later steps are needed too.
            return analyze(steps=_UNSTABLE_STEPS) if found.regime is theory.Regime.UNSTABLE else found
        except theory.TheoryError as error:
            return f"theory does not cover it: {error.text}"


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurements of an experiment so far.

    Attributes:
        runs: By subject, in the grid's order.
        sizes: By subject, the quantities that kinds of check read (`Kind.reads`), those of the first steps
            included even if these are not checked.
        steps: Steps at which coordinates are checked, ascending.
        unfinished: Runs that have not ended.
        truncated: Whether there were too many values to read.
        limits: Runs of infinite width by subject; they are not among `runs`.
        outputs: Outputs by subject, step, and (width, seed), limits among them at `INFINITE_WIDTH`.
    """

    runs: Mapping[Subject, tuple[Run, ...]]
    sizes: Mapping[Subject, Sizes]
    steps: tuple[int, ...]
    unfinished: int = 0
    truncated: bool = False
    limits: Mapping[Subject, tuple[Run, ...]] = field(default_factory=dict)
    outputs: Mapping[Subject, OutputsByStep] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """Runs that are judged together.

    Attributes:
        subject: The settings that they share.
        trained: How they were trained.
        runs: At all widths and seeds; over base learning rates, at all of these too.
        steps: Steps at which coordinates are checked; () over base learning rates.
        samples: The measurements; NaN where a run lacks a size at a checked step.
        analyze: From the epsilon of every layer and bounds on alignment (() for both means what theory says
            itself) to an analysis of the subject's reference, or why there is none (`Trained.analyze`).
        tolerance: For hidden layers.
        limits: Runs of infinite width, at all seeds.
        outputs: Outputs of `runs` and `limits`, by step.
    """

    subject: Subject
    trained: Trained
    runs: tuple[Run, ...]
    steps: tuple[int, ...]
    samples: Mapping[Key, Samples]
    analyze: Callable[[tuple[str, ...], tuple[theory.Alignment, ...]], theory.Analysis | str]
    tolerance: float
    limits: tuple[Run, ...] = ()
    outputs: OutputsByStep = field(default_factory=dict)
    _shared: dict[Callable[[Any], object], object] = field(default_factory=dict, repr=False)

    @property
    def analysis(self) -> theory.Analysis | str:
        """The analysis in the limit, or why there is none."""
        return self.analyze((), ())

    @property
    def cap(self) -> float | None:
        """The cap of calibration; None if the runs were not calibrated."""
        return self.trained.caps.get(self.subject.parameterization)

    @property
    def calibrated(self) -> bool:
        """Whether the first rates were calibrated."""
        return self.cap is not None

    def once(self, compute: Callable[[Case], T]) -> T:
        """`compute(self)`, computed once for all kinds of check that share it."""
        if compute not in self._shared:
            self._shared[compute] = compute(self)
        return self._shared[compute]  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of check. All kinds: `ipcore.analysis.kinds`.

    Attributes:
        name: A value of the proto's CheckKind without its prefix.
        applies: Whether the runs of a case can be checked, even without a prediction. If a probe is needed,
            it is called only for runs that recorded it.
        find: Checks, conclusions and notes of a case that it applies to; notes do not name the subject. That
            theory does not cover a case is noted elsewhere.
        probe: Quantity of `record.probes` that it needs, if any.
        missing: The note where that was not recorded.
        reads: Metrics that it needs of `Measured.sizes`.
        everywhere: Those of `reads` that every run has if one run has them: NaN where one is missing.
        asked: Whether it is checked only on request.
    """

    name: str
    applies: Callable[[Case], bool]
    find: Callable[[Case], Report]
    probe: str = ""
    missing: str = ""
    reads: tuple[str, ...] = ()
    everywhere: tuple[str, ...] = ()
    asked: bool = False
