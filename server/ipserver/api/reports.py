"""ReportService."""
# ruff: noqa: N802 - the methods are named in the proto

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipcore import theory
from ipcore.analysis.verdicts import TOLERANCE
from iplab.v1 import report_pb2, spec_pb2
from iplab.v1 import report_service_pb2 as pb
from iplab.v1 import report_service_pb2_grpc as pb_grpc
from ipserver import names
from ipserver.api.heavy import Heavy
from ipserver.errors import FieldViolation, InvalidRequest
from ipserver.reports.checks import exponents
from ipserver.reports.measured import recorded_steps
from ipserver.reports.report import ALIGNMENT, report
from ipserver.request.models import parameterization_depth
from ipserver.request.stored import stored_spec

if TYPE_CHECKING:
    from ipserver.store import Store

MAX_STEPS: Final = 20


class ReportService(pb_grpc.ReportServiceServicer):
    """Compares measurements with theory.

    Args:
        heavy: Processes that compute reports, which takes up to seconds.
    """

    def __init__(self, heavy: Heavy) -> None:
        self._heavy = heavy

    async def CheckExperiment(self, request: pb.CheckExperimentRequest, context: Any) -> report_pb2.Report:
        """Compute a report; see the proto."""
        experiment = names.parse_experiment(request.name, "name")
        return await self._heavy.read(_check, experiment, request)


def _check(store: Store, experiment: str, request: pb.CheckExperimentRequest) -> report_pb2.Report:
    spec = stored_spec(store.get_experiment(experiment).spec)
    asked = ALIGNMENT if request.alignment else ()
    references, tolerance = _options(request, spec, recorded_steps(spec, asked))
    return report(store, experiment, spec, asked, request.steps, references, tolerance)


def _options(
    request: pb.CheckExperimentRequest, spec: spec_pb2.ExperimentSpec, recorded: tuple[int, ...]
) -> tuple[dict[str, str], float]:
    """References by label, and the tolerance.

    Raises:
        InvalidRequest: Names all wrong fields.
    """
    wrong = []
    labels = [entry.label for entry in spec.grid.parameterizations]
    references: dict[str, str] = {}
    for i, intended in enumerate(request.references):
        label, place = intended.parameterization, f"references[{i}]"
        if label not in labels:
            wrong.append(
                FieldViolation(
                    f"{place}.parameterization", f"unknown label {label!r}; there are: {', '.join(labels)}"
                )
            )
        elif label in references:
            wrong.append(FieldViolation(f"{place}.parameterization", f"{label!r} has a reference already"))
        references[label] = intended.reference
    tolerance = request.tolerance if request.HasField("tolerance") else TOLERANCE
    if not 0 < tolerance <= 1:
        wrong.append(FieldViolation("tolerance", f"must be > 0 and at most 1, not {tolerance:g}"))
    for i, intended in enumerate(request.references):
        try:
            for hidden_layers in spec.grid.hidden_layers:
                exponents(spec, intended.reference, parameterization_depth(spec, hidden_layers))
        except theory.TheoryError as error:
            message = (
                f"neither a label of the experiment ({', '.join(labels)}) nor a preset that "
                f"fits: {error.text}"
            )
            wrong.append(FieldViolation(f"references[{i}].reference", message))
    if len(request.steps) > MAX_STEPS:
        wrong.append(
            FieldViolation("steps", f"has {len(request.steps)} entries; at most {MAX_STEPS} are allowed")
        )
    for i, step in enumerate(request.steps):
        if step not in recorded:
            said = (
                f"coordinates are recorded at {_some(recorded)}"
                if recorded
                else "no coordinates are recorded"
            )
            wrong.append(FieldViolation(f"steps[{i}]", f"step {step} is not recorded; {said}"))
    if wrong:
        raise InvalidRequest(wrong)
    return references, tolerance


def _some(steps: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, steps[:MAX_STEPS]))
    return shown if len(steps) <= MAX_STEPS else f"{shown}, ... {steps[-1]}"
