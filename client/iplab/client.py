"""Connections to a service: create and find experiments."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Final, Self

from iplab.errors import InvalidRequestError, IplabError
from iplab.experiment import Experiment
from iplab.specfile import SpecSource, read_spec
from iplab.transport import Transport, check_address
from iplab.v1 import catalog_service_pb2, experiment_service_pb2, parameterization_service_pb2

DEFAULT_ADDRESS: Final = "127.0.0.1:50051"
_PAGE: Final = 1000


def connect(
    address: str | None = None,
    *,
    timeout: float = 30.0,
    metadata: Sequence[tuple[str, str]] = (),
) -> Client:
    """A client of the service at an address. Nothing is sent before the first call.

    Args:
        address: "host:port", or another name that gRPC resolves ("unix:/run/iplab.sock", "dns:///host:port").
            Default: what the environment variable IPLAB_ADDRESS says, else "127.0.0.1:50051".
        timeout: Seconds that a call with one answer may take, all its retries included. While the service is
            unavailable, calls are tried again for about three seconds.
        metadata: Sent with every call.

    Raises:
        InvalidRequestError: That is no address.

    Example:
        >>> import iplab
        >>> with iplab.connect() as client:                          # doctest: +SKIP
        ...     experiment = client.create("examples/quickstart.yaml").wait()
        ...     final = experiment.summary()
    """
    if address is None:
        address = os.environ.get("IPLAB_ADDRESS") or DEFAULT_ADDRESS
    check_address(address)
    return Client(Transport(address, timeout, metadata))


class Client:
    """A connection to a service. Thread-safe; close it, or use it in a `with` statement."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client of {self._transport.address}>"

    def close(self) -> None:
        """Close the connection. Experiments on the service are not affected."""
        self._transport.close()

    def create(
        self,
        spec: SpecSource,
        *,
        experiment_id: str = "",
        request_id: str | None = None,
        validate_only: bool = False,
    ) -> Experiment:
        """Submit an experiment. When this returns, the service has stored it durably.

        Args:
            spec: Path of a YAML or JSON file, a dict of the same form, or an
                `iplab.v1.experiment_pb2.Experiment`.
            experiment_id: 1-63 lower-case letters, digits and hyphens, starting with a letter, not ending
                with a hyphen; "": the service chooses one.
            request_id: A UUID. The same id with the same request gives the first answer again. Default: a
                new one for this call, so that its retries create one experiment; "": none, and no retries.
            validate_only: Create nothing; the answer has counts, memory estimate and warnings.

        Raises:
            SpecError: Wrong fields, all of them, with their lines if the spec is a file.
            AlreadyExistsError: The experiment id is taken.
            RequestIdReusedError: The request id was used with another request.
        """
        loaded = read_spec(spec)
        # With wrong types the service is still asked, to name everything that is wrong at once.
        broken = bool(loaded.violations)
        request = experiment_service_pb2.CreateExperimentRequest(
            experiment_id=experiment_id,
            experiment=loaded.message,
            request_id=str(uuid.uuid4()) if request_id is None else request_id,
            validate_only=validate_only or broken,
        )
        safe = bool(request.request_id) or validate_only
        try:
            message = self._transport.call(
                self._transport.experiments.CreateExperiment, request, repeat=safe and not broken
            )
        except InvalidRequestError as error:
            raise loaded.error(error.violations) from error
        except IplabError:
            if not broken:
                raise
        if broken:
            raise loaded.error()
        return Experiment(self._transport, message)

    def experiment(self, experiment: str) -> Experiment:
        """One experiment.

        Args:
            experiment: Its id, or its name ("experiments/{id}").

        Raises:
            NotFoundError: There is none of that id.
        """
        name = experiment if experiment.startswith("experiments/") else f"experiments/{experiment}"
        request = experiment_service_pb2.GetExperimentRequest(name=name)
        return Experiment(
            self._transport, self._transport.call(self._transport.experiments.GetExperiment, request)
        )

    def experiments(self, filter: str = "", limit: int | None = None) -> Iterator[Experiment]:
        """Experiments, newest first, fetched by page.

        Args:
            filter: Comparisons of state, experiment, priority and labels.KEY, joined by AND, OR and NOT:
                'state = RUNNING AND labels.team = "theory"'.
            limit: At most so many; None: all.

        Raises:
            InvalidRequestError: The filter cannot be read.
        """
        left, token = limit, ""
        while left is None or left > 0:
            request = experiment_service_pb2.ListExperimentsRequest(
                page_size=_PAGE if left is None else min(left, _PAGE), page_token=token, filter=filter
            )
            page = self._transport.call(self._transport.experiments.ListExperiments, request)
            for message in page.experiments:
                yield Experiment(self._transport, message)
            left = None if left is None else left - len(page.experiments)
            token = page.next_page_token
            if not token:
                return

    def unmatched(self, filter: str) -> str:
        """Why a filter matches no experiment: its values that none has; "" if it matches, or nobody knows."""
        request = experiment_service_pb2.ListExperimentsRequest(page_size=1, filter=filter)
        return self._transport.call(self._transport.experiments.ListExperiments, request).unmatched

    def catalog(self) -> catalog_service_pb2.Catalog:
        """The names that specs may use on this service, and its limits."""
        return self._transport.call(
            self._transport.catalog.GetCatalog, catalog_service_pb2.GetCatalogRequest()
        )

    def parameterizations(
        self, hidden_layers: int = 3
    ) -> list[parameterization_service_pb2.Parameterization]:
        """The presets that specs may name, with their exponents at a depth, as the service has them.

        `ipcore.theory` has the same in process; this is what this service will train.
        """
        request = parameterization_service_pb2.ListParameterizationsRequest(hidden_layers=hidden_layers)
        answer = self._transport.call(self._transport.parameterizations.ListParameterizations, request)
        return list(answer.parameterizations)
