"""T7: does the best base rate stay when the width doubles?"""

from __future__ import annotations

from typing import Final

import numpy as np

from ipcore.analysis import RateTransfer, check_rate_transfer, predicted_drift
from ipcore.figures import RateCurves, RatePanel
from ipcore.theory import analyze, preset
from reproduction.examples import experiment, smaller
from reproduction.markdown import slope, table
from reproduction.pictures import rate_curve, svg
from reproduction.study import Result, Section, Study

_SPEC: Final = experiment("rate-transfer")
_LABELS: Final = tuple(entry["preset"] for entry in _SPEC["spec"]["grid"]["parameterizations"])
_DEPTH: Final = _SPEC["spec"]["grid"]["hidden_layers"][0]


def transfers(result: Result) -> dict[str, RateTransfer]:
    """The drift of the best rate of every parameterization."""
    found = {}
    for label in _LABELS:
        losses = {
            (run.width, run.rate, run.seed): run.values.get("test_loss", float("nan"))
            for run in result.select(parameterization=label)
        }
        analysis = analyze(preset(label, _DEPTH), loss=_SPEC["spec"]["loss"])
        found[label] = check_rate_transfer(losses, predicted_drift(analysis))
    return found


def _section(result: Result) -> Section:
    found = transfers(result)
    widths = next(iter(found.values())).widths
    rows = [
        [
            label,
            *(f"2^{np.log2(rate):.2f}" for rate in transfer.best),
            slope(transfer.drift),
            str(transfer.predicted),
            str(transfer.verdict),
        ]
        for label, transfer in found.items()
    ]
    head = ["best base rate", *(f"m = {m}" for m in widths), "octaves per doubling", "theory", ""]
    spec = result.spec["spec"]
    notes = [f"- {label}: {transfer.sentence}." for label, transfer in found.items()]
    notes += [f"- {label}, {warning}" for label, t in found.items() for warning in t.warnings]
    text = [
        f"Networks with {_DEPTH} hidden layers and ReLU, {spec['steps']} updates on {spec['dataset']}, base "
        "rates a quarter of an octave apart. Every seed has a best rate at every width, the vertex of the "
        "least-squares parabola through its log test losses within an octave of the best rate of the grid, "
        "below the first that diverges; its drift over widths gives the interval. Theory: muP's "
        "largest stable rate does not depend on the width; the standard parameterization's falls like 1/m.",
        table(head, rows),
        "\n".join(notes),
    ]
    return Section("\n\n".join(text), {"rate-transfer.svg": _picture(result, found)})


def _picture(result: Result, found: dict[str, RateTransfer]) -> str:
    panels = []
    for label, transfer in found.items():
        curves = tuple(
            rate_curve(f"m = {width}", result.select(parameterization=label, width=width), transfer, width)
            for width in transfer.widths
        )
        panels.append(RatePanel(label, curves))
    seeds = len({run.seed for run in result.runs})
    return svg(RateCurves("test loss", tuple(panels), 2, "Test loss against the base rate", seeds))


STUDY: Final = Study(
    name="rate-transfer",
    title="Rate transfer (T7)",
    spec=_SPEC,
    quick=smaller(_SPEC, steps=30, widths=[64, 128, 256], seeds=[0, 1]),
    section=_section,
)
