"""Residual MLPs: does the best base rate stay when the width doubles, and when the depth does?

With gradient descent and a branch multiplier N^-alpha over N blocks, coherent changes of the blocks add up
to eta N^(1 - 2 alpha), so the rates of the blocks may grow like N^(2 alpha - 1) (Depth-muP,
arXiv:2310.02244, has alpha = 1/2). Here one base rate serves all matrices, and what the first and the last
one bear does not depend on N: for alpha >= 1/2 the best base rate should not move.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Final

import numpy as np

from ipcore.analysis import PredictedDrift, RateTransfer, check_rate_transfer
from ipcore.errors import AnalysisError
from ipcore.figures import RateCurves, RatePanel
from reproduction.examples import experiment, smaller
from reproduction.markdown import slope, table
from reproduction.pictures import rate_curve, svg
from reproduction.study import Measured, Result, Section, Study

_Losses = dict[tuple[int, float, int], float]
_BLOCK_RATES: Final = {"depth^-1/2": "do not depend on", "depth^-1": "may grow in proportion to"}


def _losses(
    runs: tuple[Measured, ...], axis: Callable[[Measured], int]
) -> dict[tuple[int, float, int], float]:
    return {(axis(run), run.rate, run.seed): run.values.get("test_loss", math.nan) for run in runs}


def _transfer(losses: _Losses) -> RateTransfer | str:
    try:
        return check_rate_transfer(losses, PredictedDrift(Fraction(0), Fraction(0)))
    except AnalysisError as error:
        return str(error)


def transfers(result: Result) -> dict[str, RateTransfer | str]:
    """Drifts over the width at every depth, and over the depth at every width."""
    grid = result.spec["spec"]["grid"]
    found: dict[str, RateTransfer | str] = {}
    for depth in grid["hidden_layers"]:
        losses = _losses(result.select(hidden_layers=depth), lambda run: run.width)
        found[f"over width, {depth} blocks"] = _transfer(losses)
    for width in grid["widths"]:
        losses = _losses(result.select(width=width), lambda run: run.hidden_layers)
        found[f"over depth, width {width}"] = _transfer(losses)
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
        f"{spec['steps']} updates on {spec['dataset']}, {len(spec['grid']['seeds'])} seeds. With gradient "
        f"descent rates of blocks {_BLOCK_RATES[multiplier]} their number N. One base rate serves all "
        "matrices here, and what the first and the last one bear does not depend on N. So theory expects a "
        "best base rate that moves neither with the width nor with the depth.",
        table(["drift", "best base rates", "octaves per doubling", "theory"], rows),
    ]
    return Section("\n\n".join(text), {f"{result.study}.svg": _picture(result)})


def _picture(result: Result) -> str:
    """Loss against rate: a panel per depth with a curve per width."""
    grid, found = result.spec["spec"]["grid"], transfers(result)
    panels = tuple(
        RatePanel(
            f"{depth} blocks",
            tuple(
                rate_curve(
                    f"m = {width}",
                    result.select(hidden_layers=depth, width=width),
                    found[f"over width, {depth} blocks"],
                    width,
                )
                for width in grid["widths"]
            ),
        )
        for depth in grid["hidden_layers"]
    )
    measured = "Test loss against the base rate"
    return svg(RateCurves("test loss", panels, len(panels), measured, len(grid["seeds"])))


def _study(name: str) -> Study:
    spec = experiment(name)
    multiplier = spec["spec"]["model"]["branch_multiplier"]
    return Study(
        name=name,
        title=f"Residual MLPs over width and depth, branch multiplier {multiplier}",
        spec=spec,
        quick=smaller(spec, steps=10, widths=[16, 32, 64], hidden_layers=[2, 4, 8], seeds=[0, 1]),
        section=_section,
    )


SQRT: Final = _study("residual-sqrt")
FULL: Final = _study("residual-full")
