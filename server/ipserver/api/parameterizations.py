"""ParameterizationService."""
# ruff: noqa: N802 - the methods are named in the proto

from __future__ import annotations

from typing import Any

from ipcore import theory
from iplab.v1 import parameterization_service_pb2 as pb
from iplab.v1 import parameterization_service_pb2_grpc as pb_grpc
from ipserver.errors import FieldViolation, InvalidRequest
from ipserver.spec.convert import exponents

_DEFAULT_DEPTH = 3
_MAX_DEPTH = 10_000


class ParameterizationService(pb_grpc.ParameterizationServiceServicer):
    """The presets of `ipcore.theory`."""

    async def ListParameterizations(
        self, request: pb.ListParameterizationsRequest, context: Any
    ) -> pb.ListParameterizationsResponse:
        """All presets at a depth."""
        depth = request.hidden_layers or _DEFAULT_DEPTH
        if not 1 <= depth <= _MAX_DEPTH:
            raise InvalidRequest(
                [FieldViolation("hidden_layers", f"must lie in 1 .. {_MAX_DEPTH:,}, not {depth}")]
            )
        return pb.ListParameterizationsResponse(
            parameterizations=[
                pb.Parameterization(
                    preset=preset.name,
                    description=preset.description,
                    source=preset.source,
                    hidden_layers=depth,
                    exponents=exponents(preset.build(depth)),
                )
                for preset in theory.PRESETS.values()
            ]
        )
