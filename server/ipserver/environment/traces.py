"""Spans of OpenTelemetry, if its standard variables enable them. Otherwise it is not imported.

A call's trace continues in the dispatcher: the store keeps the call's context with the experiment (W3C's
`traceparent`). Spans hold names of methods, experiments and packs, but no requests or error messages.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points, version
from typing import TYPE_CHECKING, Any, Final

from ipserver.errors import StartupError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

_log = logging.getLogger(__name__)
TRACEPARENT: Final = "traceparent"
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_tracer: Tracer | None = None


def wanted(environment: Mapping[str, str]) -> list[str]:
    """Names of the exporters that OpenTelemetry's variables enable; [] if none.

    >>> wanted({}), wanted({"OTEL_TRACES_EXPORTER": "none"}), wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://o:4317"})
    ([], [], ['otlp'])
    """
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return []
    default = "otlp" if any(environment.get(name) for name in _ENDPOINTS) else ""
    given = environment.get("OTEL_TRACES_EXPORTER") or default
    return [name for name in map(str.strip, given.split(",")) if name not in {"", "none"}]


def configure_traces(part: str, environment: Mapping[str, str] = os.environ) -> None:
    """Start to record spans if OpenTelemetry's variables enable it.

    The variables may be meant for other programs of the same user. So a missing library or exporter only
    causes a warning, and the part works without traces.

    Args:
        part: Part of the service. The service name of its spans is "iplab-PART" unless OTEL_SERVICE_NAME is
            set.
        environment: The variables.
    """
    if names := wanted(environment):
        try:
            record_to(_provider(part, names, environment))
        except StartupError as error:
            _log.warning("no traces: %s", error)


def _provider(part: str, names: Iterable[str], environment: Mapping[str, str]) -> TracerProvider:
    """The provider with these exporters. Raises StartupError if a library or exporter is missing."""
    try:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        raise StartupError(
            "OTEL_TRACES_EXPORTER or OTEL_EXPORTER_OTLP_ENDPOINT asks for them: pip install 'iplab[otel]'"
        ) from None
    own = {} if environment.get("OTEL_SERVICE_NAME") else {"service.name": f"iplab-{part}"}
    provider = TracerProvider(resource=Resource.create(own | {"service.version": version("iplab")}))
    for name in names:
        provider.add_span_processor(BatchSpanProcessor(_exporter(name, environment)))
    return provider


def _exporter(name: str, environment: Mapping[str, str]) -> Any:
    if name == "otlp":
        protocol = (
            environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
            or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL")
            or "grpc"
        )
        name = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    there = {found.name: found for found in entry_points(group="opentelemetry_traces_exporter")}
    if name not in there:
        raise StartupError(
            f"OTEL_TRACES_EXPORTER: there is no exporter {name!r} here, only: {', '.join(sorted(there))}; "
            "pip install 'iplab[otel]' brings otlp_proto_grpc"
        )
    return there[name].load()()


def record_to(provider: TracerProvider | None) -> None:
    """Record spans by this provider; None stops recording."""
    global _tracer  # noqa: PLW0603 - spans are recorded per process
    _tracer = None if provider is None else provider.get_tracer("iplab")


@contextmanager
def span(
    name: str, *, parent: str | None = None, start_ns: int | None = None, **attributes: str | int
) -> Iterator[Span | None]:
    """Context of a span, which is the current span inside.

    Args:
        name: Name of the operation, without ids.
        parent: `traceparent` of the parent; None: the current span; "": a new trace.
        start_ns: Start in nanoseconds since 1970-01-01 UTC; None: now.
        **attributes: Attributes of the span, recorded as "iplab.NAME".

    Yields:
        The span; None if nothing is recorded, because spans are not enabled or there is neither a parent nor
        a current span.
    """
    if _tracer is None or (parent is None and not context()):
        yield None
        return
    from opentelemetry.context import Context  # noqa: PLC0415 - installed, because there is a tracer
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    found = (
        None if parent is None else TraceContextTextMapPropagator().extract({TRACEPARENT: parent}, Context())
    )
    with _tracer.start_as_current_span(
        name,
        context=found,
        start_time=start_ns,
        attributes={f"iplab.{key}": value for key, value in attributes.items()},
        record_exception=False,
        set_status_on_exception=False,
    ) as recorded:
        try:
            yield recorded
        except BaseException:
            from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

            recorded.set_status(Status(StatusCode.ERROR))
            raise


def context() -> str:
    """`traceparent` of the current span; "" if there is none."""
    if _tracer is None:
        return ""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(TRACEPARENT, "")
