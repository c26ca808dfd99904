"""From what an experiment measured to a report: which checks apply, and their results as messages."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from ipcore import theory
from ipcore.analysis import (
    CoordinateReport,
    Judgement,
    Prediction,
    Samples,
    Slope,
    Verdict,
    check_calibrated_rates,
    check_coordinates,
    check_rate_transfer,
    check_stationarity,
    measure_coordinates,
    predicted_drift,
    predictions_at,
)
from ipcore.analysis.slopes import MIN_WIDTHS
from ipcore.analysis.verdicts import TOLERANCE
from ipcore.catalogue import OPTIMIZERS
from ipcore.errors import AnalysisError
from iplab.v1 import report_pb2 as pb
from iplab.v1 import spec_pb2
from ipserver.api.measured import Group, Measured, Sizes
from ipserver.request.convert import parameterization
from ipserver.request.models import model_of, parameterization_depth
from ipserver.request.predict import MAX_PREDICTED_LAYERS, not_covered
from ipserver.store.records import RunRecord
from ipserver.store.states import RunState

# Somebody waits for the answer: a check takes about a millisecond and 300 bytes.
MAX_CHECKS: Final = 5_000
MIN_RATES: Final = 3
_MAX_NOTES: Final = 100
_UNSTABLE_STEPS: Final = 20
_CAPPED: Final = 1 - 1e-6

NO_PROBES: Final = (
    "coordinates and stationarity are not checked: nothing was recorded for them; add "
    "record.probes {quantities: [coordinates], steps: [0, 1, 2, 3]} to the spec"
)


@dataclass(slots=True)
class _Draft:
    """A report in the making."""

    checks: list[pb.Check] = field(default_factory=list)
    conclusions: list[pb.Conclusion] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Checker:
    """Checks the groups of one experiment.

    Args:
        spec: Valid, with its defaults filled in.
        references: What was intended, by label: another label or a preset.
        tolerance: For hidden layers; twice that for the output and for calibrated rates.
    """

    def __init__(
        self, spec: spec_pb2.ExperimentSpec, references: Mapping[str, str], tolerance: float = TOLERANCE
    ) -> None:
        self._spec = spec
        self._references = references
        self._tolerance = tolerance
        self._entries = {entry.label: entry for entry in spec.grid.parameterizations}
        # The same for all base rates.
        self._analyze = functools.lru_cache(maxsize=None)(self._analysis)

    def reference(self, label: str) -> str:
        """What a label is held against."""
        return self._references.get(label, label)

    def scheme(self, name: str, hidden_layers: int) -> theory.Parameterization:
        """Exponents of a label of the experiment, or else of a preset.

        Raises:
            TheoryError: Neither, or not at this depth.
        """
        entry = self._entries.get(name) or spec_pb2.ParameterizationSpec(label=name, preset=name)
        depth = parameterization_depth(self._spec, hidden_layers)
        return parameterization(entry, depth, self._spec.optimizer.name)

    def _layers(self, hidden_layers: int) -> int:
        """Weight matrices of a network; the last layer is the output."""
        return model_of(self._spec).layers(hidden_layers)

    def report(self, name: str, measured: Measured) -> pb.Report:
        """Everything that can be checked, and notes on what cannot."""
        draft = _Draft()
        if measured.unfinished:
            draft.notes.append(
                f"{measured.unfinished} runs have not ended; only what is committed is checked"
            )
        if measured.truncated:
            draft.notes.append("there are too many points; choose fewer steps")
        if not measured.steps:
            draft.notes.append(NO_PROBES)
        elif 0 not in measured.steps:
            draft.notes.append(
                "step 0 is not checked: with sizes at initialization a wrong multiplier is found in its own "
                "layer; add 0 to record.probes.steps"
            )
        if self._spec.optimizer.weight_decay and measured.steps:
            draft.notes.append(
                "changes are not checked: weight decay moves every layer by a part of its initial size, "
                "which the predictions leave out"
            )
        widths = sorted(self._spec.grid.widths)
        if len(widths) < MIN_WIDTHS:
            draft.notes.append(
                f"a slope needs at least {MIN_WIDTHS} widths, the experiment has "
                f"{', '.join(map(str, widths))}: give grid.widths more"
            )
            return pb.Report(name=name, notes=draft.notes)
        for group, runs in measured.runs.items():
            if len(draft.checks) >= MAX_CHECKS:
                draft.notes.append(f"only the first {MAX_CHECKS} checks are made; choose fewer steps")
                break
            sizes = self._with_gaps(measured, group) if group in measured.sizes else {}
            self._check_group(draft, group, runs, sizes, measured.steps)
        self._check_transfer(draft, measured)
        notes = list(dict.fromkeys(draft.notes))
        if (more := len(notes) - _MAX_NOTES) > 0:
            notes = [*notes[:_MAX_NOTES], f"{more} more notes are left out"]
        return pb.Report(name=name, checks=draft.checks, conclusions=draft.conclusions, notes=notes)

    def _check_group(
        self, draft: _Draft, group: Group, runs: tuple[RunRecord, ...], sizes: Sizes, steps: tuple[int, ...]
    ) -> None:
        label, hidden_layers, activation, rate = group
        subject = self._subject(label, hidden_layers, activation, rate)
        where = _where(subject)
        calibrated = self._entries[label].HasField("calibration")
        if not (steps or calibrated):
            return
        if all(run.state is RunState.DIVERGED for run in runs):
            draft.notes.append(f"{where}: every run diverged; lower the base rate")
        analysis = self._analyze(self.reference(label), hidden_layers, activation)
        if isinstance(analysis, str):
            draft.notes.append(f"{where}: {analysis}")
            if not_covered(self._spec) is not None:
                self._measure_sizes(draft, subject, sizes)
            return
        if calibrated:
            self._check_rates(draft, subject, analysis, runs)
        if steps:
            self._check_sizes(draft, subject, analysis, sizes, steps)

    def _check_sizes(
        self,
        draft: _Draft,
        subject: pb.CheckSubject,
        analysis: theory.Analysis,
        sizes: Sizes,
        steps: tuple[int, ...],
    ) -> None:
        where = _where(subject)
        if not sizes:
            draft.notes.append(f"{where}: no run has recorded coordinates yet at the steps that are checked")
            return
        calibrated = self._entries[subject.parameterization].HasField("calibration")
        short = calibrated and any(not layer.aligned for layer in analysis.alignment)
        if short:
            draft.notes.append(
                f"{where}: changes are not checked: calibration makes up for missing alignment, so first "
                "updates are larger than the exponents say; see the calibrated rates"
            )
        if short or self._spec.optimizer.weight_decay:
            steps = tuple(step for step in steps if step == 0)
        samples = {key: Samples.of(values) for key, values in sizes.items()}
        predictions = self._with_epsilon(draft, subject, samples, steps)
        found = check_coordinates(
            samples,
            analysis,
            tolerance=self._tolerance,
            readout_tolerance=2 * self._tolerance,
            predictions=predictions,
            steps=steps,
        )
        draft.notes.extend(f"{where}: {note}" for note in found.notes)
        draft.checks.extend(_coordinates(subject, found))
        draft.conclusions.append(
            pb.Conclusion(subject=subject, verdict=_verdict(found.verdict), sentence=found.conclusion)
        )
        last = max(steps, default=0)
        output = ("h_change", self._layers(subject.hidden_layers), last)
        if last == 0 or output not in samples:
            return
        slope = next((c for c in found.coordinates if (c.quantity, c.layer, c.step) == output), None)
        try:
            still = check_stationarity(
                samples[output],
                predictions.get(last, Prediction(analysis)),
                last,
                tolerance=self._tolerance,
                slope=None if slope is None else Judgement(slope.verdict, slope.why),
            )
        except AnalysisError:
            return  # the coordinate check has a note on it
        check = _check(pb.CHECK_KIND_STATIONARITY, subject, still.fit, still.verdict, still.sentence)
        check.quantity, check.layer, check.step = output
        check.tolerance = still.tolerance
        draft.checks.append(check)

    def _with_epsilon(
        self,
        draft: _Draft,
        subject: pb.CheckSubject,
        samples: Mapping[tuple[str, int, int], Samples],
        steps: tuple[int, ...],
    ) -> dict[int, Prediction]:
        """With Adam, what theory predicts with the epsilon that the measured gradients leave."""
        if not OPTIMIZERS[self._spec.optimizer.name].has_epsilon:
            return {}

        def analyze(epsilon: tuple[str, ...]) -> theory.Analysis:
            found = self._analyze(
                self.reference(subject.parameterization), subject.hidden_layers, subject.activation, epsilon
            )
            if isinstance(found, str):  # no epsilon makes theory cover less
                raise AnalysisError(found)
            return found

        predictions, notes = predictions_at(samples, analyze, self._spec.optimizer.epsilon, steps)
        draft.notes.extend(f"{_where(subject)}: {note}" for note in notes)
        return predictions

    def _measure_sizes(self, draft: _Draft, subject: pb.CheckSubject, sizes: Sizes) -> None:
        """Slopes of networks that theory says nothing of."""
        samples = {key: Samples.of(values) for key, values in sizes.items()}
        found, notes = measure_coordinates(samples, subject.layers)
        draft.notes.extend(f"{_where(subject)}: {text}" for text in notes)
        for one in found:
            check = _check(pb.CHECK_KIND_COORDINATE, subject, one.fit, Verdict.UNDECIDED, one.sentence)
            check.quantity, check.layer, check.step = one.quantity, one.layer, one.step
            draft.checks.append(check)

    def _with_gaps(self, measured: Measured, group: Group) -> Sizes:
        """A group's sizes, NaN for runs that should have recorded one: those that diverged before, say.

        Sizes at steps that are not checked, parts and gradients are what there is.
        """
        layers = self._spec.record.probes.layers or range(1, self._layers(group[1]) + 1)
        nowhere = {(run.width, run.seed): math.nan for run in measured.runs[group]}
        wanted = [("h_change" if step else "h", layer, step) for step in measured.steps for layer in layers]
        sizes = measured.sizes[group]
        return sizes | {key: nowhere | sizes.get(key, {}) for key in wanted}

    def _check_rates(
        self, draft: _Draft, subject: pb.CheckSubject, analysis: theory.Analysis, runs: tuple[RunRecord, ...]
    ) -> None:
        cap = self._entries[subject.parameterization].calibration.cap
        values: dict[int, dict[tuple[int, int], float]] = {}
        capped = 0
        for run in runs:
            for layer, base in enumerate(run.calibrated_rates[1:], start=2):
                at_cap = base >= cap * _CAPPED
                capped += at_cap
                values.setdefault(layer, {})[run.width, run.seed] = math.nan if at_cap else base
        where = _where(subject)
        if capped:
            draft.notes.append(
                f"{where}: {capped} calibrated rates are left out: they are the cap {cap:g}, no "
                "measurement; raise calibration.cap to see them"
            )
        for layer, by_run in values.items():
            try:
                found = check_calibrated_rates(
                    {layer: Samples.of(by_run)}, analysis, tolerance=2 * self._tolerance
                )
            except AnalysisError as error:
                draft.notes.append(f"{where}: calibrated rate of layer {layer}: {error}")
                continue
            for rate in found:
                check = _check(pb.CHECK_KIND_CALIBRATED_RATE, subject, rate.fit, rate.verdict, rate.sentence)
                check.layer, check.tolerance = layer, rate.tolerance
                check.predicted = theory.format_exponent(rate.predicted)
                draft.checks.append(check)

    def _check_transfer(self, draft: _Draft, measured: Measured) -> None:
        together: dict[tuple[str, int, str], list[RunRecord]] = {}
        for (label, hidden_layers, activation, _), runs in measured.runs.items():
            together.setdefault((label, hidden_layers, activation), []).extend(runs)
        for (label, hidden_layers, activation), group in together.items():
            rates = {run.base_learning_rate for run in group}
            if len(rates) < MIN_RATES:
                continue
            subject = self._subject(label, hidden_layers, activation, 0.0)
            analysis = self._analyze(self.reference(label), hidden_layers, activation)
            calibrated = self._entries[label].HasField("calibration")
            drift = (
                analysis if isinstance(analysis, str) else predicted_drift(analysis, calibrated=calibrated)
            )
            try:
                found = check_rate_transfer(_losses(group), drift)
            except AnalysisError as error:
                draft.notes.append(f"{_where(subject)}: rate transfer: {error}")
                continue
            draft.notes.extend(f"{_where(subject)}: {warning}" for warning in found.warnings)
            check = pb.Check(
                kind=pb.CHECK_KIND_RATE_TRANSFER,
                subject=subject,
                predicted="" if found.predicted is None else theory.format_exponent(found.predicted.low),
                predicted_high=""
                if found.predicted is None
                else theory.format_exponent(found.predicted.high),
                tolerance=found.tolerance,
                slope=found.drift.value,
                low=_finite(found.drift.low),
                high=_finite(found.drift.high),
                verdict=_verdict(found.verdict),
                sentence=found.sentence,
                points=[
                    pb.WidthValue(width=m, value=v) for m, v in zip(found.widths, found.best, strict=True)
                ],
                seeds=found.seeds,
            )
            draft.checks.append(check)

    def _subject(self, label: str, hidden_layers: int, activation: str, rate: float) -> pb.CheckSubject:
        return pb.CheckSubject(
            parameterization=label,
            reference=self.reference(label),
            hidden_layers=hidden_layers,
            activation=activation,
            base_learning_rate=rate,
            layers=self._layers(hidden_layers),
        )

    def _analysis(
        self, name: str, hidden_layers: int, activation: str, epsilon: tuple[str, ...] = ()
    ) -> theory.Analysis | str:
        """What theory says, or why it does not."""
        if (reason := not_covered(self._spec)) is not None:
            return f"theory does not cover it: {reason}"
        if hidden_layers > MAX_PREDICTED_LAYERS:
            return f"not analysed: more than {MAX_PREDICTED_LAYERS} hidden layers"
        try:
            analyze = functools.partial(
                theory.analyze,
                self.scheme(name, hidden_layers),
                optimizer=self._spec.optimizer.name,
                activation=activation,
                loss=self._spec.loss,
                epsilon=epsilon or None,
            )
            found = analyze()
            # It stops where something grows; the steps after that are wanted too.
            return analyze(steps=_UNSTABLE_STEPS) if found.regime is theory.Regime.UNSTABLE else found
        except theory.TheoryError as error:
            return f"theory does not cover it: {error.text}"


def _losses(runs: list[RunRecord]) -> dict[tuple[int, float, int], float]:
    """Final test loss by (width, rate, seed); none of runs that diverged. What has not ended is left out."""
    losses = {}
    for run in runs:
        key = run.width, run.base_learning_rate, run.seed
        if run.state is RunState.DIVERGED:
            losses[key] = math.nan
        elif run.summary.final_test_loss is not None:
            losses[key] = run.summary.final_test_loss
    return losses


def _coordinates(subject: pb.CheckSubject, found: CoordinateReport) -> Iterator[pb.Check]:
    for one in found.coordinates:
        check = _check(pb.CHECK_KIND_COORDINATE, subject, one.fit, one.verdict, one.sentence)
        check.quantity, check.layer, check.step = one.quantity, one.layer, one.step
        check.predicted, check.upper_bound = theory.format_exponent(one.predicted), not one.exact
        check.tolerance = one.tolerance
        if one.expected is not None:
            check.expected = one.expected
        yield check


def _check(
    kind: pb.CheckKind.ValueType, subject: pb.CheckSubject, fit: Slope, verdict: Verdict, sentence: str
) -> pb.Check:
    return pb.Check(
        kind=kind,
        subject=subject,
        slope=fit.slope.value,
        low=_finite(fit.slope.low),
        high=_finite(fit.slope.high),
        drift=fit.drift.value,
        verdict=_verdict(verdict),
        sentence=sentence,
        points=[pb.WidthValue(width=m, value=v) for m, v in zip(fit.widths, fit.means, strict=True)],
        seeds=fit.seeds,
    )


def _verdict(verdict: Verdict) -> pb.Verdict.ValueType:
    return pb.Verdict.Value(f"VERDICT_{verdict.name}")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _where(subject: pb.CheckSubject) -> str:
    rate = f", base rate {subject.base_learning_rate:g}" if subject.base_learning_rate else ""
    return f"{subject.parameterization}, L={subject.hidden_layers}, {subject.activation}{rate}"
