"""T2: from three hidden layers on, naive IP stands still in the limit."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from ipcore.analysis import Stationarity, Verdict, check_stationarity, judge
from ipcore.figures import LawPanel, PowerLaws
from ipcore.theory import analyze, format_exponent, preset
from reproduction.examples import experiment, smaller
from reproduction.markdown import slope, table
from reproduction.pictures import law, svg
from reproduction.study import Result, Section, Study

_SPEC: Final = experiment("stationarity")


def checks(result: Result) -> dict[tuple[str, int, int], Stationarity]:
    """By activation, depth and step: does f move, and does theory say so."""
    grid, steps = result.spec["spec"]["grid"], result.spec["spec"]["record"]["probes"]["steps"]
    found = {}
    for activation in grid["activations"]:
        for depth in grid["hidden_layers"]:
            analysis = analyze(preset("ip", depth), activation=activation)
            for step in steps[1:]:
                samples = result.samples(
                    f"h_change/{depth + 1}@{step}", activation=activation, hidden_layers=depth
                )
                found[activation, depth, step] = check_stationarity(samples, analysis, step)
    return found


def _section(result: Result) -> Section:
    checked = checks(result)
    rows, departures = [], []
    for (activation, depth, step), check in checked.items():
        size = _predicted(activation, depth, step)
        if size is None:
            expected, verdict = "measure", "-"
        else:
            expected = format_exponent(size)
            verdict = judge(check.fit, size, tolerance=0.2).verdict
        rows.append(
            [
                f"{activation}, L={depth}, step {step}",
                slope(check.fit.slope),
                expected,
                verdict,
                check.trend,
                check.predicted,
                check.verdict,
            ]
        )
        if check.verdict is Verdict.DISAGREES:
            departures.append(f"- {activation}, L={depth}: {check.sentence}.")
    head = ["", "slope of f_t - f_0", "theory", "", "trend", "theory", ""]
    text = [
        "Naive IP, deeper and deeper. Theory: with two hidden layers the output moves at any width; with L "
        ">= 3 it moves like m^(2-L), and no more than that at any later step: the network is stationary in "
        "the limit. *Trend* is the weaker question, whether |f_t - f_0| falls with the width at all.",
        table(head, rows),
    ]
    if departures:
        text += [
            "Theory and measurement disagree here, in these widths and at this base rate:",
            "\n".join(departures),
        ]
    return Section("\n\n".join(text), {"stationarity.svg": _picture(result, checked)})


def _predicted(activation: str, depth: int, step: int) -> Fraction | None:
    analysis = analyze(preset("ip", depth), activation=activation, steps=step)
    sizes = analysis.steps[-1]
    return sizes.f_change if sizes.exact else None


def _picture(result: Result, checked: dict[tuple[str, int, int], Stationarity]) -> str:
    last = max(step for _, _, step in checked)
    panels = []
    for chosen in dict.fromkeys(activation for activation, _, _ in checked):
        for at in (1, last):
            laws = tuple(
                law(f"L = {depth}", check.fit, _predicted(activation, depth, step))
                for (activation, depth, step), check in checked.items()
                if (activation, step) == (chosen, at)
            )
            panels.append(LawPanel(f"{chosen}, step {at}", laws))
    seeds = len({run.seed for run in result.runs})
    return svg(PowerLaws("mean |fₜ − f₀|", tuple(panels), 2, "Change of the output, naive IP", seeds))


STUDY: Final = Study(
    name="stationarity",
    title="Stationarity of naive IP (T2)",
    spec=_SPEC,
    quick=smaller(_SPEC, steps=3, widths=[64, 128, 256], hidden_layers=[2, 3, 4], seeds=[0, 1, 2]),
    section=_section,
    metrics=("h_change",),
)
