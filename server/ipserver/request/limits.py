"""How large specs may be on this service."""

from __future__ import annotations

from dataclasses import dataclass

from iplab.v1 import catalog_service_pb2 as pb

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that specs are checked against.

    Attributes:
        max_runs: Runs in one experiment.
        max_width: Width m.
        max_hidden_layers: Hidden layers L.
        max_steps: Updates per run.
        max_run_memory_bytes: Estimated memory of one run.
        max_points: Metric points of one experiment.
    """

    max_runs: int = 20_000
    max_width: int = 65_536
    max_hidden_layers: int = 1_000
    max_steps: int = 10_000_000
    max_run_memory_bytes: int = 16 * GIB
    max_points: int = 100_000_000

    def to_proto(self) -> pb.Limits:
        """As the catalogue shows them."""
        return pb.Limits(
            max_runs=self.max_runs,
            max_width=self.max_width,
            max_hidden_layers=self.max_hidden_layers,
            max_steps=self.max_steps,
            max_run_memory_bytes=self.max_run_memory_bytes,
            max_points=self.max_points,
        )
