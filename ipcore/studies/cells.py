"""Cells: a number beside its prediction, with the sentence that says both."""

from __future__ import annotations

from dataclasses import replace

from ipcore.studies.decision import Cell, Interval, Need, Verdict
from ipcore.studies.predictions import Band
from ipcore.studies.sentences import cell_sentence


def cell_of(
    subject: str,
    name: str,
    band: Band,
    *,
    tolerance: float,
    verdict: Verdict,
    interval: Interval,
    widths: tuple[int, ...],
    seeds: int,
    need: Need | None,
    why: str = "",
    layer: int = 0,
    step: int = 0,
    unit: str = "slope",
) -> Cell:
    """The cell of a prediction. Arguments are as `Cell` describes them; without `why` the band's is taken."""
    cell = Cell(
        subject=subject,
        name=name,
        verdict=verdict,
        interval=interval,
        predicted_low=None if band.low is None else float(band.low),
        predicted_high=None if band.high is None else float(band.high),
        tolerance=tolerance,
        widths=widths,
        seeds=seeds,
        sentence="",
        why=why or band.why,
        need=need,
        layer=layer,
        step=step,
        unit=unit,
    )
    return replace(cell, sentence=cell_sentence(cell))
