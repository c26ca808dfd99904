"""The named parameterizations of a service."""

from __future__ import annotations

from iplab.v1.parameterization_service_pb2 import Parameterization


class Presets(list[Parameterization]):
    """Presets with their exponents at a depth, shown as a table in notebooks."""

    def _repr_html_(self) -> str:
        from iplab.display.notebook import presets_html  # noqa: PLC0415 - notebooks alone

        return presets_html(self) if self else ""
