"""Residual MLPs: does the best base rate stay when the width doubles, and when the depth does?

Theory for gradient descent and a branch multiplier N^-alpha over N blocks: coherent changes of the blocks add
up to eta N^(1 - 2 alpha), so the best rate goes like N^(2 alpha - 1) (Depth-muP, arXiv:2310.02244, has
alpha = 1/2).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final

import numpy as np

from ipcore.analysis import PredictedDrift, RateTransfer, check_rate_transfer
from ipcore.errors import AnalysisError
from reproduction.examples import experiment, smaller
from reproduction.markdown import slope, table
from reproduction.pictures import COLOURS, MARKERS, legend, panels, svg
from reproduction.study import Measured, Result, Section, Study

_DEPTHS: Final = (4, 16, 64)
_WIDTHS: Final = (64, 128, 256, 512)
_Losses = dict[tuple[int, float, int], float]
_ALPHA: Final = {"depth^-1/2": Fraction(1, 2), "depth^-1": Fraction(1)}


def _spec(multiplier: str, exponents: range) -> dict[str, Any]:
    rates = [2.0**e for e in exponents]
    axes = {"widths": list(_WIDTHS), "hidden_layers": list(_DEPTHS), "base_learning_rates": rates}
    found = smaller(experiment("residual-mlp"), steps=50, seeds=[0, 1, 2], **axes)
    found["display_name"] = f"Residual MLPs, branch multiplier {multiplier}"
    found["spec"]["model"] = {"name": "residual-mlp", "branch_multiplier": multiplier, "block_matrices": 1}
    found["spec"]["record"] = {"metrics_interval": 50, "weights": "none"}
    return found


def _losses(
    runs: tuple[Measured, ...], axis: Callable[[Measured], int]
) -> dict[tuple[int, float, int], float]:
    return {(axis(run), run.rate, run.seed): run.values.get("test_loss", math.nan) for run in runs}


def _transfer(losses: _Losses, predicted: Fraction) -> RateTransfer | str:
    try:
        return check_rate_transfer(losses, PredictedDrift(predicted, predicted))
    except AnalysisError as error:
        return str(error)


def transfers(result: Result) -> dict[str, RateTransfer | str]:
    """Drifts over the width at every depth, and over the depth at every width."""
    alpha = _ALPHA[result.spec["spec"]["model"]["branch_multiplier"]]
    grid = result.spec["spec"]["grid"]
    found: dict[str, RateTransfer | str] = {}
    for depth in grid["hidden_layers"]:
        losses = _losses(result.select(hidden_layers=depth), lambda run: run.width)
        found[f"over width, {depth} blocks"] = _transfer(losses, Fraction(0))
    for width in grid["widths"]:
        losses = _losses(result.select(width=width), lambda run: run.hidden_layers)
        found[f"over depth, width {width}"] = _transfer(losses, 2 * alpha - 1)
    return found


def _section(result: Result) -> Section:
    spec = result.spec["spec"]
    multiplier = spec["model"]["branch_multiplier"]
    rows = []
    for name, transfer in transfers(result).items():
        if isinstance(transfer, str):
            rows.append([name, "", "", transfer])
            continue
        best = ", ".join(f"2^{np.log2(rate):.2f}" for rate in transfer.best)
        rows.append([name, best, slope(transfer.drift), f"{transfer.predicted}: {transfer.verdict}"])
    text = [
        f"Pre-activation residual MLPs, one matrix a block, branch multiplier {multiplier}, muP, ReLU, "
        f"{spec['steps']} updates on {spec['dataset']}, {len(spec['grid']['seeds'])} seeds. Theory for "
        "gradient descent: the best rate does not move with the width, and goes like N^(2 alpha - 1) with "
        f"the number N of blocks, alpha = {_ALPHA[multiplier]}.",
        table(["drift", "best base rates", "octaves per doubling", "theory"], rows),
    ]
    return Section("\n\n".join(text), {f"residual-{_name(multiplier)}.svg": _picture(result)})


def _picture(result: Result) -> str:
    """Loss against rate: a panel per depth with a curve per width."""
    grid = result.spec["spec"]["grid"]
    depths = grid["hidden_layers"]
    figure, axes = panels([f"{depth} blocks" for depth in depths], len(depths), compared=True)
    for depth, axis in zip(depths, axes, strict=True):
        for i, width in enumerate(grid["widths"]):
            chosen = result.select(hidden_layers=depth, width=width)
            points = []
            for rate in sorted({run.rate for run in chosen}):
                losses = [r.values.get("test_loss", math.nan) for r in chosen if r.rate == rate]
                points.append((rate, float(np.exp(np.mean(np.log(losses))))))
            style = {"color": COLOURS[i], "marker": MARKERS[i], "markersize": 4}
            axis.loglog(*zip(*points, strict=True), label=f"m = {width}", **style)
        axis.set_xscale("log", base=2)
        axis.set_xlabel("base learning rate")
    legend(axes[0])
    axes[0].set_ylabel("test loss, mean over seeds")
    return svg(figure)


def _name(multiplier: str) -> str:
    return "sqrt" if multiplier == "depth^-1/2" else "full"


def _study(multiplier: str, exponents: range) -> Study:
    spec = _spec(multiplier, exponents)
    return Study(
        name=f"residual-{_name(multiplier)}",
        title=f"Residual MLPs over width and depth, branch multiplier {multiplier}",
        spec=spec,
        quick=smaller(spec, steps=10, widths=[16, 32, 64], hidden_layers=[2, 4, 8], seeds=[0, 1]),
        section=_section,
    )


SQRT: Final = _study("depth^-1/2", range(-6, 3))
FULL: Final = _study("depth^-1", range(-4, 6))
