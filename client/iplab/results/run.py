"""A run: one network of an experiment, its metrics and files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from iplab.connection.transport import Transport
from iplab.results import requests
from iplab.results.artifacts import (
    Artifact,
    artifact_at,
    list_artifacts,
    place,
    read_chunks,
    save,
    weights_file,
)
from iplab.results.run_view import RunView
from iplab.v1 import run_pb2, run_service_pb2

if TYPE_CHECKING:
    from iplab.results.metrics import Metrics
    from iplab.results.weights import Weights


class Run(RunView):
    """One network trained from one point of the grid, as of the last time it was read (`refresh`).

    Attributes:
        id: "r00007", a function of the index.
    """

    def __init__(self, transport: Transport, message: run_pb2.Run) -> None:
        super().__init__(message)
        self._transport = transport

    def retry(self, *, request_id: str | None = None) -> Run:
        """Train it again if it failed, from where it stopped; harmless if it has not ended. Returns itself.

        Args:
            request_id: A UUID, as for `Experiment.retry_failed`.

        Raises:
            InvalidRequestError: It ended without failing, or its experiment is deleted or was asked to stop.
            QuotaExceededError: A limit is reached.
        """
        request = run_service_pb2.RetryRunRequest(name=self.name, request_id=requests.request_id(request_id))
        method = self._transport.runs.RetryRun
        self._take(self._transport.call(method, request, repeat=bool(request.request_id)))
        return self

    def refresh(self) -> Run:
        """Read it again, with its attempts. Returns itself."""
        request = run_service_pb2.GetRunRequest(name=self.name)
        self._take(self._transport.call(self._transport.runs.GetRun, request))
        return self

    def cancel(self) -> Run:
        """Ask it to stop; harmless if it has ended. Returns itself, with the new state."""
        request = run_service_pb2.CancelRunRequest(name=self.name)
        self._take(self._transport.call(self._transport.runs.CancelRun, request))
        return self

    def metrics(self, names: tuple[str, ...] = (), first_step: int = 0, last_step: int = 0) -> Metrics:
        """Its metric points; arguments as `Experiment.metrics`."""
        from iplab.results.query import query_metrics  # noqa: PLC0415 - numpy only where arrays are wanted

        parent = self.name.partition("/runs/")[0]
        return query_metrics(
            self._transport, parent, f"index = {self.index}", names, steps=(first_step, last_step),
            settings=lambda: {self.index: self.settings},
            diverged=lambda: {} if self.diverged_step is None else {self.index: self.diverged_step},
        )  # fmt: skip

    def artifacts(self) -> list[Artifact]:
        """Its files, ascending by path."""
        return list(list_artifacts(self._transport, self.name))

    def weights(self, which: str | int = "final") -> Weights:
        """Weights as arrays, checked against the recorded checksum.

        Args:
            which: "final", "initial", or the number of updates after which they were kept.

        Raises:
            NotFoundError: They were not kept, or not yet; the message lists the kept ones.
            ArtifactDamagedError: The file does not have the recorded size or checksum.
        """
        from iplab.results.weights import parse_weights  # noqa: PLC0415 - numpy only where arrays are wanted

        return parse_weights(self.read(self.weights_artifact(which)))

    def weights_artifact(self, which: str | int = "final") -> Artifact:
        """The file that `weights` reads. Raises NotFoundError as there."""
        return weights_file(self, self.artifacts(), which)

    def read(self, artifact: Artifact | str) -> bytes:
        """A file's bytes, checked. Raises as `download`."""
        return b"".join(self._chunks(self._artifact(artifact)))

    def download(self, path: Artifact | str, to: str | os.PathLike[str], *, overwrite: bool = True) -> Path:
        """Copy a file of the run here: complete and checked, or not at all.

        Args:
            path: An artifact, or its path within the run.
            to: The target: a file, or an existing folder.
            overwrite: Whether to replace an existing file.

        Returns:
            The file.

        Raises:
            NotFoundError: There is no such artifact.
            ArtifactDamagedError: The file does not have the recorded size or checksum; nothing is written.
            FileExistsError: The target exists, and `overwrite` is false.
            OSError: The target cannot be written.
        """
        artifact = self._artifact(path)
        target = place(artifact, to, overwrite=overwrite)
        save(self._chunks(artifact), target)
        return target

    def _artifact(self, wanted: Artifact | str) -> Artifact:
        return wanted if isinstance(wanted, Artifact) else artifact_at(self.name, self.artifacts(), wanted)

    def _chunks(self, artifact: Artifact) -> Iterator[bytes]:
        return read_chunks(self._transport, self.name, artifact)
