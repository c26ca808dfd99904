"""T7: does the best base rate stay when the width doubles?"""

from __future__ import annotations

from typing import Final

import numpy as np

from ipcore.analysis import RateTransfer, check_rate_transfer, predicted_drift
from ipcore.theory import analyze, preset
from reproduction.examples import experiment, smaller
from reproduction.markdown import slope, table
from reproduction.pictures import COLOURS, MARKERS, legend, panels, svg
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
    return Section("\n\n".join(text), {"rate-transfer.svg": _picture(result)})


def _picture(result: Result) -> str:
    figure, axes = panels(_LABELS, 2, height=3)
    for label, axis in zip(_LABELS, axes, strict=True):
        chosen = result.select(parameterization=label)
        for i, width in enumerate(sorted({run.width for run in chosen})):
            points = []
            for rate in sorted({run.rate for run in chosen}):
                losses = [
                    r.values.get("test_loss", np.nan) for r in chosen if (r.width, r.rate) == (width, rate)
                ]
                points.append((rate, float(np.exp(np.mean(np.log(losses))))))
            axis.loglog(
                *zip(*points, strict=True),
                label=f"m = {width}",
                color=COLOURS[i],
                marker=MARKERS[i],
                markersize=4,
            )
        axis.set_xscale("log", base=2)
        axis.set_xlabel("base learning rate")
        legend(axis)
    axes[0].set_ylabel("test loss, mean over seeds")
    return svg(figure)


STUDY: Final = Study(
    name="rate-transfer",
    title="Rate transfer (T7)",
    spec=_SPEC,
    quick=smaller(_SPEC, steps=30, widths=[64, 128, 256], seeds=[0, 1]),
    section=_section,
)
