"""ParameterizationService."""
# ruff: noqa: N802 - the methods are named in the proto

from __future__ import annotations

from typing import Any, Literal

from ipcore import theory
from ipcore.theory.errors import Findings
from iplab.v1 import parameterization_service_pb2 as pb
from iplab.v1 import parameterization_service_pb2_grpc as pb_grpc
from iplab.v1 import phases_pb2, theory_pb2
from ipserver.api import phases as maps
from ipserver.api import theory as messages
from ipserver.api.heavy import Heavy
from ipserver.errors import FieldViolation, InvalidRequest
from ipserver.request.convert import custom, exponents

_DEFAULT_DEPTH = 3
_PHASES_WORK = theory.MAX_PHASES_WORK // 10  # some seconds
_OPTIMIZER, _ACTIVATION, _LOSS = "sgd", "relu", "cross_entropy"
_KIND = "largest"
_NORMALIZATION = "none"
_Request = pb.AnalyzeParameterizationRequest | pb.CompleteParameterizationRequest | pb.MapPhasesRequest


class ParameterizationService(pb_grpc.ParameterizationServiceServicer):
    """Lists presets, and analyzes parameterizations by `ipcore.theory`.

    Args:
        heavy: Processes for analyses, which take up to seconds for deep networks.
    """

    def __init__(self, heavy: Heavy) -> None:
        self._heavy = heavy

    async def ListParameterizations(
        self, request: pb.ListParameterizationsRequest, context: Any
    ) -> pb.ListParameterizationsResponse:
        """List all presets that specs may name at a depth."""
        depth = request.hidden_layers or _DEFAULT_DEPTH
        _check_depth(depth, theory.MAX_HIDDEN_LAYERS)
        return pb.ListParameterizationsResponse(
            parameterizations=[
                pb.Parameterization(
                    preset=name,
                    description=theory.PRESETS[name].description,
                    source=theory.PRESETS[name].source,
                    hidden_layers=depth,
                    exponents=exponents(value),
                )
                for name, value in theory.presets_at(depth).items()
            ]
        )

    async def AnalyzeParameterization(
        self, request: pb.AnalyzeParameterizationRequest, context: Any
    ) -> theory_pb2.Analysis:
        """Analyze a parameterization as the width grows."""
        return await self._heavy.run(_analyze, request)

    async def CompleteParameterization(
        self, request: pb.CompleteParameterizationRequest, context: Any
    ) -> theory_pb2.Completion:
        """Find stable learning rates: the largest or the balanced ones."""
        return await self._heavy.run(_complete, request)

    async def MapPhases(self, request: pb.MapPhasesRequest, context: Any) -> phases_pb2.PhaseMap:
        """Map the regimes of a parameterization over two free exponents."""
        return await self._heavy.run(_phases, request)


def _phases(request: pb.MapPhasesRequest) -> phases_pb2.PhaseMap:
    try:
        found = maps.phase_map(
            theory.phases(
                _scheme(request, rates=True),
                maps.ranges(request.free),
                optimizer=request.optimizer or _OPTIMIZER,
                activation=request.activation or _ACTIVATION,
                loss=request.loss or _LOSS,
                work=_PHASES_WORK,
            )
        )
        found.notes.extend(_decimals(request))
        return found
    except theory.TheoryError as error:
        raise _wrong(error, request) from None


def _analyze(request: pb.AnalyzeParameterizationRequest) -> theory_pb2.Analysis:
    try:
        analysis = theory.analyze(
            _scheme(request, rates=True),
            optimizer=request.optimizer or _OPTIMIZER,
            activation=request.activation or _ACTIVATION,
            loss=request.loss or _LOSS,
            # proto3 does not distinguish unset from 0; both mean "until the exponents no longer change".
            steps=request.steps or None,
            epsilon=_epsilon(request),
            alignment=_alignment(request),
            block_matrices=request.block_matrices,
            normalization=request.normalization or _NORMALIZATION,
        )
        rate = theory.largest_rate_of(analysis, calibrated=request.calibrated)
        found = messages.analysis(analysis, rate)
        found.notes.extend(_decimals(request))
        return found
    except theory.TheoryError as error:
        raise _wrong(error, request) from None


def _complete(request: pb.CompleteParameterizationRequest) -> theory_pb2.Completion:
    try:
        given = _scheme(request, rates=False)
        found = messages.completion(
            theory.complete(
                given.a,
                given.b,
                kind=request.kind or _KIND,
                pareto=request.pareto,
                optimizer=request.optimizer or _OPTIMIZER,
                activation=request.activation or _ACTIVATION,
                loss=request.loss or _LOSS,
                biases=given.biases,
                mean=given.mean,
                reweightings=given.reweightings,
                normalization=request.normalization or _NORMALIZATION,
            )
        )
        found.reason = "; note: ".join([found.reason, *_decimals(request)])
        return found
    except theory.TheoryError as error:
        raise _wrong(error, request) from None


def _epsilon(request: pb.AnalyzeParameterizationRequest) -> str | list[str] | None:
    given = list(request.epsilon)
    return given[0] if len(given) == 1 else given or None


def _alignment(
    request: pb.AnalyzeParameterizationRequest,
) -> str | theory.Alignment | tuple[theory.Alignment, theory.Alignment] | None:
    """The requested alignment: an assumption, exponents, or a lower and an upper bound."""
    upper = request.WhichOneof("alignment_choice")
    if request.HasField("least_alignment") and upper != "alignment":
        raise theory.TheoryError("is a lower bound; give the upper one too, in alignment", "least_alignment")
    if upper is None:
        return None
    if upper == "named_alignment":
        return request.named_alignment
    findings = Findings()
    found = []
    fields: tuple[Literal["least_alignment", "alignment"], ...] = ("least_alignment", "alignment")
    for field in fields:
        if request.HasField(field):
            with findings.noted():
                found.append(_exponents(getattr(request, field), request.hidden_layers, field))
    findings.check()
    return found[0] if len(found) == 1 else (found[0], found[1])


def _named(request: _Request) -> bool:
    if not isinstance(request, pb.AnalyzeParameterizationRequest):
        return False
    return request.WhichOneof("alignment_choice") == "named_alignment"


def _exponents(given: theory_pb2.AlignmentExponents, hidden_layers: int, field: str) -> theory.Alignment:
    """Parse exponents of alignment. Errors name their path below `field`."""
    rows = {name: list(getattr(given, name)) for name in ("forward", "backward", "initial")}
    try:
        return theory.Alignment.of(
            hidden_layers,
            **{name: row[0] if len(row) == 1 else row for name, row in rows.items() if row},
        )
    except theory.TheoryError as error:
        raise error.below("alignment", field) from None


def _scheme(request: _Request, rates: bool) -> theory.Parameterization:
    """The parameterization of a request. Unless `rates`, explicit exponents must not include rates."""
    depth, optimizer = request.hidden_layers, request.optimizer or _OPTIMIZER
    _check_depth(depth, theory.MAX_ANALYSIS_LAYERS)
    match request.WhichOneof("scheme"):
        case "preset" if rates:
            return theory.preset(request.preset, depth, optimizer=optimizer)
        case "preset":
            return theory.preset(request.preset, depth)
        case "exponents":
            given = request.exponents
            if rates:
                return custom(given, depth, optimizer)
            for name in ("c", "c_first_step", "d", "d_first_step"):
                if getattr(given, name):
                    raise theory.TheoryError("is what completion finds; leave it out", name)
            return theory.custom(request.hidden_layers, given.a, given.b, ["0", "0", "0"])
    raise theory.TheoryError("is required: name a preset, or give exponents", "preset")


def _decimals(
    request: _Request,
) -> tuple[str, ...]:
    """Notes on decimals that look like rounded fractions."""
    given = request.exponents
    lists = (given.a, given.b, given.c, given.c_first_step, given.d, given.d_first_step)
    return theory.decimal_notes(*lists)


def _check_depth(depth: int, most: int) -> None:
    if not 1 <= depth <= most:
        raise InvalidRequest([FieldViolation("hidden_layers", f"must lie in 1 .. {most:,}, not {depth}")])


def _wrong(error: theory.TheoryError, request: _Request) -> InvalidRequest:
    """The error with the paths of its fields in the request."""
    lists = {"a", "b", "c", "c_first_step", "d", "d_first_step"}
    preset = request.WhichOneof("scheme") == "preset"

    def path(field: str) -> str:
        if field.partition("[")[0] in {*lists, "reweightings"}:
            return "preset" if preset else f"exponents.{field}"
        if field == "alignment" and _named(request):
            return "named_alignment"
        return field if field and field != "parameterization" else "preset" if preset else "exponents"

    return InvalidRequest([FieldViolation(path(field), message) for field, message in error.problems])
