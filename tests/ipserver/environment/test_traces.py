"""Which variables of OpenTelemetry ask for spans, and what they bring."""

import subprocess
import sys

import pytest

from ipserver.environment import traces


@pytest.mark.parametrize(
    ("environment", "exporters"),
    [
        ({}, []),
        ({"OTEL_SERVICE_NAME": "mine"}, []),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://o:4317"}, []),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://o:4317"}, ["otlp"]),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, ["otlp", "console"]),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, []),
    ],
)
def test_the_standard_variables_decide(environment, exporters):
    assert traces.wanted(environment) == exporters


def test_an_exporter_that_is_not_there_is_named_and_missed_by_nobody(caplog):
    traces.configure_traces("api", {"OTEL_TRACES_EXPORTER": "smoke"})
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "there is no exporter 'smoke' here, only: console" in record.getMessage()
    assert traces.context() == ""


def test_spans_are_written_by_the_exporter_and_nothing_is_imported_without():
    """In a process of its own: its spans go to the console."""
    program = (
        "import sys\n"
        "from ipserver.environment import traces\n"
        "traces.configure_traces('api', {})\n"
        "assert 'opentelemetry' not in sys.modules\n"
        "traces.configure_traces('api', {'OTEL_TRACES_EXPORTER': 'console'})\n"
        "with traces.span('call', parent=''):\n"
        "    assert traces.context().startswith('00-')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert '"name": "call"' in done.stdout
    assert '"service.name": "iplab-api"' in done.stdout
