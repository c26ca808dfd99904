"""Spans of OpenTelemetry around calls, in programs that record spans.

The extra `iplab[otel]` is not needed: the set-up of a program that imports OpenTelemetry decides what happens
to spans. In other programs nothing is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_LIBRARY = "opentelemetry.trace"


@contextmanager
def call_span(name: str) -> Iterator[None]:
    """A span of a call with all its retries, as child of the program's current span.

    Args:
        name: Name of the method.
    """
    if _LIBRARY not in sys.modules:
        yield
        return
    from opentelemetry import trace  # noqa: PLC0415 - imported already

    with trace.get_tracer("iplab").start_as_current_span(f"iplab {name}", kind=trace.SpanKind.CLIENT):
        yield


def context_metadata() -> tuple[tuple[str, str], ...]:
    """The current span's context as metadata of a call, in W3C's form; () without a span."""
    if _LIBRARY not in sys.modules:
        return ()
    from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415 - comes with what is imported

    carrier: dict[str, str] = {}
    tracecontext.TraceContextTextMapPropagator().inject(carrier)
    return tuple(carrier.items())
