"""Submission of a spec: the request, and refusals in terms of the spec's file."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from iplab.errors import InvalidRequestError, IplabError
from iplab.specs.specfile import SpecSource, read_spec
from iplab.v1 import experiment_service_pb2


class Submission:
    """A call of CreateExperiment, for any client. Arguments: `iplab.Client.create`.

    Attributes:
        request: The request.
        repeat: Whether it may be sent twice.
    """

    def __init__(
        self, spec: SpecSource, experiment_id: str, request_id: str | None, *, validate_only: bool
    ) -> None:
        self._loaded = read_spec(spec)
        # With wrong types the service is still called, to name all wrong fields at once.
        self._broken = bool(self._loaded.violations)
        self.request = experiment_service_pb2.CreateExperimentRequest(
            experiment_id=experiment_id,
            experiment=self._loaded.message,
            request_id=str(uuid.uuid4()) if request_id is None else request_id,
            validate_only=validate_only or self._broken,
        )
        self.repeat = (bool(self.request.request_id) or validate_only) and not self._broken

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Context of the call: reports wrong fields by their paths in the spec.

        Raises:
            SpecError: Wrong fields, all of them, with their lines if the spec is a file.
        """
        try:
            yield
        except InvalidRequestError as error:
            raise self._loaded.error(error.violations) from None  # the same fields, with their lines
        except IplabError:
            if not self._broken:
                raise
        if self._broken:
            raise self._loaded.error()
