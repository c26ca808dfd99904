"""The gRPC server: services, health, reflection, and a shutdown that loses no request."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from iplab.v1 import (
    audit_service_pb2,
    audit_service_pb2_grpc,
    catalog_service_pb2,
    catalog_service_pb2_grpc,
    experiment_service_pb2,
    experiment_service_pb2_grpc,
    parameterization_service_pb2,
    parameterization_service_pb2_grpc,
    quota_service_pb2,
    quota_service_pb2_grpc,
    report_service_pb2,
    report_service_pb2_grpc,
    run_service_pb2,
    run_service_pb2_grpc,
    study_service_pb2,
    study_service_pb2_grpc,
)
from iplab.v1.catalog_service_pb2 import Limits
from ipserver.api.access import Authenticate, Authorize, rules
from ipserver.api.audit import AuditService
from ipserver.api.auditing import AuditChanges, AuditLog, AuditRefused
from ipserver.api.authentication import TRUST_SECONDS, Authenticator, Provider
from ipserver.api.blocking import Blocking
from ipserver.api.calls import AccessLines, Call, Observe, method_name
from ipserver.api.catalog import CatalogService
from ipserver.api.experiments import ExperimentService
from ipserver.api.gate import MOST_SPEC_BYTES, Gate
from ipserver.api.heavy import Heavy
from ipserver.api.paging import PageTokens
from ipserver.api.parameterizations import ParameterizationService
from ipserver.api.quotas import QuotaService
from ipserver.api.rates import Rates
from ipserver.api.reports import ReportService
from ipserver.api.room import Room
from ipserver.api.runs import RunService
from ipserver.api.status import ErrorInterceptor
from ipserver.api.studies import StudyService
from ipserver.api.tls import server_credentials
from ipserver.api.watch import WatchHub
from ipserver.artifacts import open_artifacts
from ipserver.environment.artifact_root import ArtifactRoot
from ipserver.environment.certificates import CertificateFiles
from ipserver.errors import StartupError
from ipserver.request.limits import limits_with
from ipserver.store.records.accounts import Role

if TYPE_CHECKING:
    from ipserver.store import Store

_log = logging.getLogger(__name__)

SERVICES: Final = (
    *(
        module.DESCRIPTOR.services_by_name[name].full_name
        for module, name in (
            (experiment_service_pb2, "ExperimentService"),
            (run_service_pb2, "RunService"),
            (parameterization_service_pb2, "ParameterizationService"),
            (catalog_service_pb2, "CatalogService"),
            (report_service_pb2, "ReportService"),
            (study_service_pb2, "StudyService"),
            (quota_service_pb2, "QuotaService"),
            (audit_service_pb2, "AuditService"),
        )
    ),
    health.SERVICE_NAME,
    reflection.SERVICE_NAME,
)
_BULK_THREADS: Final = 2
_STRANGER_THREADS: Final = 4
_OPTIONS: Final = (
    # Without this, two servers could listen on one port and share its connections unnoticed.
    ("grpc.so_reuseport", 0),
    # Larger messages are refused with RESOURCE_EXHAUSTED before they are read.
    ("grpc.max_receive_message_length", MOST_SPEC_BYTES),
    # Clients may ping every 5 s to keep idle watches open.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Maximum number of streams of one connection; a client may have many watches.
    ("grpc.max_concurrent_streams", 1000),
    # Time that running calls have when a connection reaches its maximum age.
    ("grpc.max_connection_age_grace_ms", 600_000),
)


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """Settings of an API process.

    Attributes:
        address: HOST:PORT to listen on; port 0 takes a free port.
        artifact_root: Folder or URL of the artifact store.
        limits: Limits on specs.
        workers: Threads for the store and for files.
        processes: Number of processes for long computations; see `Heavy`.
        watch_interval: Seconds between two polls for new events.
        study_interval: Seconds between two polls of a watched study.
        watch_capacity: Number of events that a watcher may be behind.
        grace: Seconds that running calls have to end at shutdown.
        tls: Files of the certificate; None for an unencrypted port.
        health_address: HOST:PORT of a second, unencrypted port for health checks only; "" for none.
        connection_age: Seconds after which clients are asked to connect again.
        deleted_seconds: How long deleted experiments and studies can be undeleted.
        room: Refuses new work when disks are nearly full.
        audit_seconds: How long the audit log keeps calls.
        auth: Whether callers need a token.
        provider: Identity provider whose tokens are accepted too; None if there is none.
        trust_seconds: How long the result of checking a token is cached.
        observers: Called with every ended call, on the event loop.
    """

    address: str
    artifact_root: ArtifactRoot
    limits: Limits = field(default_factory=limits_with)
    workers: int = 16
    processes: int = 2
    watch_interval: float = 0.2
    study_interval: float = 0.5
    watch_capacity: int = 10_000
    grace: float = 5.0
    tls: CertificateFiles | None = None
    health_address: str = ""
    connection_age: float = 1800.0
    deleted_seconds: float = 30 * 86_400.0
    room: Room = field(default_factory=Room)
    audit_seconds: float = 365 * 86_400.0
    auth: bool = False
    provider: Provider | None = None
    trust_seconds: float = TRUST_SECONDS
    observers: tuple[Callable[[Call], None], ...] = ()


async def serve(
    store: Store,
    config: ApiConfig,
    *,
    stop: asyncio.Event,
    ready: Callable[[int], None] | None = None,
) -> None:
    """Serve until `stop` is set; then let running calls finish.

    Args:
        store: The store.
        config: Settings.
        stop: Set to end the server. Watches end at once, with a status after which clients reconnect.
        ready: Called with the port when requests are answered.

    Raises:
        StartupError: The server cannot listen on the address.
    """
    blocking, strangers = Blocking(config.workers), Blocking(_STRANGER_THREADS)
    # Few threads, because each long call slows all short calls by its share of the interpreter.
    bulk = Blocking(_BULK_THREADS)
    heavy = Heavy(store, config.processes)
    identity = await blocking.run(store.identity)
    tokens = PageTokens(hmac.digest(identity.uid.encode(), b"page tokens", "sha256"))
    hub = WatchHub(store, blocking, interval=config.watch_interval, capacity=config.watch_capacity)
    options = (*_OPTIONS, ("grpc.max_connection_age_ms", int(1000 * config.connection_age)))
    audit = AuditLog(store, blocking, config.audit_seconds)
    server = aio.server(
        interceptors=_interceptors(store, blocking, strangers, audit, config), options=options
    )
    experiments = ExperimentService(
        store, blocking, bulk, hub, tokens, config.limits, config.deleted_seconds, config.room
    )
    experiment_service_pb2_grpc.add_ExperimentServiceServicer_to_server(experiments, server)
    runs = RunService(store, blocking, bulk, tokens, open_artifacts(config.artifact_root), config.room)
    run_service_pb2_grpc.add_RunServiceServicer_to_server(runs, server)
    parameterization_service_pb2_grpc.add_ParameterizationServiceServicer_to_server(
        ParameterizationService(heavy), server
    )
    catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server(
        CatalogService(store, blocking, config.limits), server
    )
    quota_service_pb2_grpc.add_QuotaServiceServicer_to_server(QuotaService(store, blocking), server)
    audit_service_pb2_grpc.add_AuditServiceServicer_to_server(AuditService(store, blocking, tokens), server)
    report_service_pb2_grpc.add_ReportServiceServicer_to_server(ReportService(heavy), server)
    stopping = asyncio.Event()
    studies = StudyService(
        store,
        blocking,
        heavy,
        tokens,
        config.limits,
        stopping,
        interval=config.study_interval,
        deleted_seconds=config.deleted_seconds,
        room=config.room,
    )
    study_service_pb2_grpc.add_StudyServiceServicer_to_server(studies, server)
    servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]  # its stubs lack it
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    probes = _probes(servicer, config.health_address)
    reflection.enable_server_reflection(SERVICES, server)
    port = _listen(server, config.address, config.tls)
    poller = asyncio.create_task(hub.poll(), name="watch-poller")
    try:
        await server.start()
        await probes.start()
        await _report_serving(servicer)
        _log.info("listening on port %d", port)
        if ready is not None:
            ready(port)
        await stop.wait()
    finally:
        await servicer.enter_graceful_shutdown()
        hub.close()
        stopping.set()
        await server.stop(config.grace)
        await probes.stop(None)
        await audit.close()
        poller.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await poller
        for pool in (blocking, strangers, bulk):
            pool.close()
        heavy.close()


def _interceptors(
    store: Store, blocking: Blocking, strangers: Blocking, audit: AuditLog, config: ApiConfig
) -> list[Any]:
    """The interceptors of every method, outermost first."""
    authenticator = Authenticator(
        store,
        blocking,
        strangers,
        required=config.auth,
        provider=config.provider,
        trust_seconds=config.trust_seconds,
    )
    rates = Rates(store, blocking, counting=config.auth)
    needed = rules(name for name in SERVICES if name.startswith("iplab."))
    changing = [method_name(path) for path, rule in needed.items() if rule.role > Role.READER]
    return [
        Observe((*config.observers, AccessLines(changing))),
        ErrorInterceptor(),
        AuditRefused(audit),
        Authenticate(authenticator),
        Gate(rates.take_for_caller),
        Authorize(store, blocking, needed, rates),
        AuditChanges(audit, needed),
    ]


def _probes(servicer: Any, address: str) -> aio.Server:
    """A server for health checks only; it listens nowhere if the address is empty."""
    server = aio.server(interceptors=[Gate()], options=_OPTIONS)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    if address:
        _listen(server, address)
    return server


def _listen(server: aio.Server, address: str, tls: CertificateFiles | None = None) -> int:
    try:
        if tls is not None:
            return server.add_secure_port(address, server_credentials(tls))
        return server.add_insecure_port(address)
    except RuntimeError as error:
        raise StartupError(
            f"cannot listen on {address}: the port is in use or the host is not this machine's; "
            "choose another address"
        ) from error


async def _report_serving(servicer: Any) -> None:
    for name in ("", *SERVICES):
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
