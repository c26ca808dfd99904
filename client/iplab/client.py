"""Connections to a service: create and find experiments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from iplab.connection.batches import in_batches
from iplab.connection.endpoint import find_way
from iplab.connection.transport import Transport
from iplab.display import listed
from iplab.display.notebook import teach
from iplab.given import filled
from iplab.results import requests
from iplab.results.experiment import Experiment
from iplab.results.listing import Listing
from iplab.results.presets import Presets
from iplab.results.requests import experiment_name
from iplab.specs.specfile import SpecSource
from iplab.specs.submission import Submission
from iplab.studies.calls import StudyCalls
from iplab.v1 import (
    audit_service_pb2,
    catalog_service_pb2,
    experiment_pb2,
    experiment_service_pb2,
    parameterization_service_pb2,
    quota_service_pb2,
)

if TYPE_CHECKING:
    import grpc
    import pandas as pd


def connect(
    address: str | None = None,
    *,
    timeout: float | None = None,
    metadata: Sequence[tuple[str, str]] = (),
    profile: str | None = None,
    token: str | None = None,
    credentials: grpc.ChannelCredentials | None = None,
) -> Client:
    """A client of the service at an address. Nothing is sent before the first call.

    Args:
        address: "host:port", or another name that gRPC resolves ("unix:/run/iplab.sock", "dns:///host:port").
            Default: what the environment variable IPLAB_ADDRESS says, else the profile, else
            "127.0.0.1:50051".
        timeout: Seconds that a call with one answer may take, all its retries included. While the service is
            unavailable, calls are tried again for about three seconds. Default: what IPLAB_TIMEOUT says, else
            the profile, else 30.
        metadata: Sent with every call.
        profile: Name of a profile in ~/.config/iplab/config.toml (see `iplab.connection.profiles`). Default:
            what IPLAB_PROFILE says, else the file's own default.
        token: Bearer token. Default: what IPLAB_TOKEN, IPLAB_TOKEN_FILE or the profile says.
        credentials: For TLS, as `grpc.ssl_channel_credentials()` makes them. Default: what IPLAB_TLS_CA,
            IPLAB_TLS_CERTIFICATE and IPLAB_TLS_KEY, or the profile say; without them unencrypted.

    Raises:
        InvalidRequestError: The address, the profile, a certificate or the token is invalid.

    Example:
        >>> import iplab
        >>> with iplab.connect() as client:                          # doctest: +SKIP
        ...     experiment = client.create("examples/quickstart.yaml").wait()
        ...     final = experiment.summary()
    """
    return Client(Transport(*find_way(address, timeout, metadata, profile, token, credentials)))


class Client(StudyCalls):
    """A connection to a service. Thread-safe; close it, or use it in a `with` statement."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        teach()

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

    def _repr_html_(self) -> str:
        from iplab.display import html  # noqa: PLC0415 - notebooks alone

        return html.titled(f"Client of {self._transport.address}")

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
            SpecError: Fields are invalid; names all of them, with their lines if the spec is a file.
            AlreadyExistsError: The experiment id is taken.
            RequestIdReusedError: The request id was used with another request.
        """
        submission = Submission(spec, experiment_id, request_id, validate_only=validate_only)
        with submission.refusals():
            message = self._transport.call(
                self._transport.experiments.CreateExperiment, submission.request, repeat=submission.repeat
            )
        return Experiment(self._transport, message)

    def experiment(self, experiment: str) -> Experiment:
        """One experiment.

        Args:
            experiment: Its id, or its name ("experiments/{id}").

        Raises:
            NotFoundError: There is none with this id.
        """
        request = experiment_service_pb2.GetExperimentRequest(name=experiment_name(experiment))
        return Experiment(
            self._transport, self._transport.call(self._transport.experiments.GetExperiment, request)
        )

    def get_experiments(self, *experiments: str) -> list[Experiment]:
        """Several experiments, in the order of their ids, read together.

        Args:
            *experiments: Ids, or names ("experiments/{id}").

        Raises:
            NotFoundError: Some do not exist; names the first eight.
        """
        names = [experiment_name(one) for one in experiments]

        def read(some: Sequence[str]) -> Sequence[experiment_pb2.Experiment]:
            request = experiment_service_pb2.BatchGetExperimentsRequest(names=some)
            call = self._transport.experiments.BatchGetExperiments
            return self._transport.call(call, request).experiments

        return [Experiment(self._transport, message) for message in in_batches(names, 100, read)]

    def experiments(
        self, filter: str = "", limit: int | None = None, *, show_deleted: bool = False
    ) -> Listing[Experiment]:
        """Experiments, newest first, fetched by page while they are iterated; a notebook shows the first.

        Args:
            filter: Comparisons of state, experiment, priority, project, owner, create_time, start_time,
                end_time and labels.KEY, joined by AND, OR and NOT:
                'state = RUNNING AND labels.team = "theory" AND create_time >= 2026-11-27T10:00:00Z'.
            limit: Maximum number; None: all.
            show_deleted: Whether to include deleted ones that are not purged yet (`delete_time`).

        Raises:
            InvalidRequestError: The filter is malformed.
        """

        def read(most: int | None) -> Iterator[Experiment]:
            request = requests.experiments(filter, show_deleted=show_deleted)
            method = self._transport.experiments.ListExperiments
            for message in self._transport.listing(method, request, lambda page: page.experiments, most):
                yield Experiment(self._transport, message)

        return Listing(
            "experiments, newest first", read, listed.experiments, limit, lambda: self.unmatched(filter)
        )

    def unmatched(self, filter: str) -> str:
        """Why a filter matches no experiment: its values that none has; "" if it matches or if unknown."""
        request = requests.experiments(filter, page_size=1)
        return self._transport.call(self._transport.experiments.ListExperiments, request).unmatched

    def runs_frame(self, *experiments: str, filter: str = "") -> pd.DataFrame:
        """Runs of several experiments as one frame of pandas: settings, state and results as plain columns.

        Args:
            *experiments: Ids or names; none: all experiments of the service.
            filter: Which runs, as in `Experiment.runs`.

        Raises:
            ImportError: pandas is missing; `pip install 'iplab[pandas]'`.
            NotFoundError: There is no experiment of that id.
            InvalidRequestError: The filter is malformed.
        """
        from iplab.results.frames import frame, run_row  # noqa: PLC0415 - an extra

        chosen = map(self.experiment, experiments) if experiments else self.experiments()
        return frame(run_row(run) for experiment in chosen for run in experiment.runs(filter))

    def catalog(self) -> catalog_service_pb2.Catalog:
        """The names that specs may use on this service, and its limits."""
        return self._transport.call(
            self._transport.catalog.GetCatalog, catalog_service_pb2.GetCatalogRequest()
        )

    def quotas(self) -> quota_service_pb2.ListQuotasResponse:
        """Your projects on this service, your role in each, and the limits that apply to you there."""
        return self._transport.call(self._transport.quotas.ListQuotas, quota_service_pb2.ListQuotasRequest())

    def audit(self, filter: str = "", limit: int | None = None) -> Listing[audit_service_pb2.AuditEntry]:
        """Audit log of changes and refused calls, newest first, fetched by page.

        Args:
            filter: Comparisons of user, method, resource, project, peer, code and time, joined by AND, OR and
                NOT: "user = alice AND NOT code = OK AND time >= 2026-11-27".
            limit: Maximum number; None: all.

        Raises:
            InvalidRequestError: The filter is malformed.
            PermissionDeniedError: You are not admin of any project.
        """

        def read(most: int | None) -> Iterator[audit_service_pb2.AuditEntry]:
            request = filled(audit_service_pb2.ListAuditEntriesRequest, filter=filter)
            method = self._transport.audit.ListAuditEntries
            return self._transport.listing(method, request, lambda page: page.entries, most)

        return Listing("calls, newest first", read, listed.audit, limit)

    def parameterizations(self, hidden_layers: int = 3) -> Presets:
        """The presets that specs may name, with their exponents at a depth, as the service has them.

        `ipcore.theory` has the presets of the installed version; these are the service's.
        """
        kind = parameterization_service_pb2.ListParameterizationsRequest
        request = filled(kind, hidden_layers=hidden_layers)
        answer = self._transport.call(self._transport.parameterizations.ListParameterizations, request)
        return Presets(answer.parameterizations)
