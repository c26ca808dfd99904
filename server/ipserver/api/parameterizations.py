"""ParameterizationService."""
# ruff: noqa: N802 - the methods are named in the proto

from __future__ import annotations

from typing import Any

from ipcore import theory
from ipcore.theory.presets import presets_at
from iplab.v1 import parameterization_service_pb2 as pb
from iplab.v1 import parameterization_service_pb2_grpc as pb_grpc
from ipserver.errors import FieldViolation, InvalidRequest
from ipserver.spec.convert import exponents

_DEFAULT_DEPTH = 3
_MAX_DEPTH = 10_000


class ParameterizationService(pb_grpc.ParameterizationServiceServicer):
    """The presets of `ipcore.theory` that can be trained."""

    async def ListParameterizations(
        self, request: pb.ListParameterizationsRequest, context: Any
    ) -> pb.ListParameterizationsResponse:
        """All presets that specs may name at a depth."""
        depth = request.hidden_layers or _DEFAULT_DEPTH
        if not 1 <= depth <= _MAX_DEPTH:
            raise InvalidRequest(
                [FieldViolation("hidden_layers", f"must lie in 1 .. {_MAX_DEPTH:,}, not {depth}")]
            )
        return pb.ListParameterizationsResponse(
            parameterizations=[
                pb.Parameterization(
                    preset=name,
                    description=theory.PRESETS[name].description,
                    source=theory.PRESETS[name].source,
                    hidden_layers=depth,
                    exponents=exponents(value),
                )
                for name, value in presets_at(depth).items()
                if theory.PRESETS[name].trainable
            ]
        )
