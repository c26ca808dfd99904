"""The report of an experiment."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

from ipcore.analysis import make_report
from ipcore.analysis.verdicts import TOLERANCE
from iplab.v1 import report_pb2, spec_pb2
from ipserver.names import experiment_name
from ipserver.reports.checks import report_message, subjects, trained
from ipserver.reports.measured import output_steps, read, recorded_steps

if TYPE_CHECKING:
    from ipserver.store import Store

_FIRST_STEPS: Final = range(4)
ALIGNMENT: Final = ("ALIGNMENT",)


def report(
    store: Store,
    experiment: str,
    spec: spec_pb2.ExperimentSpec,
    asked: Collection[str] = (),
    steps: Collection[int] = (),
    references: Mapping[str, str] | None = None,
    tolerance: float = TOLERANCE,
) -> report_pb2.Report:
    """Compare an experiment's measurements with theory.

    Args:
        store: The store.
        experiment: The experiment's id.
        spec: Its spec, with defaults filled in.
        asked: Kinds of check that are made only on request.
        steps: Steps at which coordinates are checked; () for the first ones and the last.
        references: Intended parameterization by label: another label or a preset.
        tolerance: Distance from a predicted exponent that still agrees.

    Raises:
        NotFound: There is no such experiment.
    """
    recorded = recorded_steps(spec, asked)
    chosen = {*steps} or ({*recorded} & {*_FIRST_STEPS, *recorded[-1:]})
    sketched = [step for step in output_steps(spec) if not steps or step in steps]
    measured = read(store, experiment, subjects(spec, references or {}), chosen, recorded, asked, sketched)
    return report_message(
        experiment_name(experiment), make_report(trained(spec), measured, tolerance, list(asked))
    )
