"""Environment variables that users set for other programs and that this service must ignore.

Proxies are meant for the network, not for this machine's loopback, which most proxies refuse. Variables that
configure Python for the user's own scripts, or name the user's Ray cluster, do not apply to our parts.
"""

from __future__ import annotations

import urllib.request
import warnings
from collections.abc import Mapping, MutableMapping
from typing import Final
from urllib.parse import urlsplit

# Forms that gRPC, requests, urllib and botocore recognize; the network covers other loopback addresses.
_LOOPBACK: Final = ("localhost", "127.0.0.1", "127.0.0.0/8", "::1", "[::1]")
_EXCEPTIONS: Final = ("no_proxy", "NO_PROXY")
# With these a part would raise warnings of libraries as errors, lose its docstrings and assertions, open a
# prompt at its end, run many times slower, fill its log or a temporary folder, or be unable to read long
# integers.
_PYTHON: Final = (
    "PYTHONWARNINGS",
    "PYTHONOPTIMIZE",
    "PYTHONINSPECT",
    "PYTHONSTARTUP",
    "PYTHONDEVMODE",
    "PYTHONASYNCIODEBUG",
    "PYTHONTRACEMALLOC",
    "PYTHONPROFILEIMPORTTIME",
    "PYTHONIOENCODING",
    "PYTHONVERBOSE",
    "PYTHONDEBUG",
    "PYTHONMALLOC",
    "PYTHONMALLOCSTATS",
    "PYTHONPERFSUPPORT",
    "PYTHONINTMAXSTRDIGITS",
)
# Prefixes of Ray's variables that are kept for our own Ray: those that our code sets by default, and the time
# to start. All others are meant for the user's own scripts and clusters: addresses, debugging, limits.
_RAY_KEPT: Final = (
    *("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "RAY_AUTH_", "RAY_ENABLE_UV_RUN_RUNTIME_ENV", "RAY_ROTATION_"),
    *("RAY_USAGE_STATS_ENABLED", "RAY_gcs_rpc_server_reconnect_timeout_s"),
    *("RAY_raylet_start_wait_time_s", "RAY_worker_niceness"),
)
# Prefixes of MLflow's variables that are kept: access to its server and its files, and telemetry. All others
# are meant for the user's own scripts and servers: destinations, asynchronous logging, log levels.
_MLFLOW_KEPT: Final = (
    *(
        "MLFLOW_TRACKING_USERNAME",
        "MLFLOW_TRACKING_PASSWORD",
        "MLFLOW_TRACKING_TOKEN",
        "MLFLOW_TRACKING_AUTH",
    ),
    *("MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_TRACKING_INSECURE_TLS"),
    *("MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_TRACKING_CLIENT_CERT_PATH"),
    *("MLFLOW_HTTP_", "MLFLOW_ALLOW_HTTP_REDIRECTS", "MLFLOW_S3_", "MLFLOW_BOTO_", "MLFLOW_SERVER_"),
    "MLFLOW_DISABLE_TELEMETRY",
)
# Prefixes of PyTorch's variables, and those of them that are kept: they describe this machine. All others are
# meant for the user's own scripts: a wrong name in TORCH_LOGS, say, makes every import of torch fail.
_TORCH: Final = ("TORCH_", "TORCHDYNAMO_", "TORCHINDUCTOR_", "PYTORCH_")
_TORCH_KEPT: Final = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "TORCH_DEVICE_BACKEND_AUTOLOAD")
# Plugins of OpenTelemetry for the user's own programs. OpenTelemetry, which MLflow imports, fails to load if
# one is not installed.
_OPENTELEMETRY: Final = ("OTEL_PROPAGATORS", "OTEL_PYTHON_CONTEXT", "OTEL_PYTHON_TRACER_PROVIDER")
# Folders in which the user's own programs share their metrics; our parts would write files there.
_PROMETHEUS: Final = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")
_POSTGRESQL: Final = (
    *("PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGPASSFILE", "PGSERVICE", "PGSERVICEFILE"),
    *("PGSSLMODE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGTARGETSESSIONATTRS", "PGGSSENCMODE"),
)
_AWS_KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def spare_loopback(environment: MutableMapping[str, str]) -> None:
    """Exclude loopback from proxies for this process and its children.

    >>> environment = {"http_proxy": "http://proxy:3128", "NO_PROXY": "example.org"}
    >>> spare_loopback(environment)
    >>> environment["no_proxy"]
    'example.org,localhost,127.0.0.1,127.0.0.0/8,::1,[::1]'
    """
    if not any(name.lower().endswith("_proxy") and name not in _EXCEPTIONS for name in environment):
        return
    known = environment.get("no_proxy") or environment.get("NO_PROXY", "")
    if known.strip() == "*":  # excludes all hosts, but only without further entries
        return
    entries = [entry.strip() for entry in known.split(",") if entry.strip()]
    text = ",".join([*entries, *(host for host in _LOOPBACK if host not in entries)])
    for name in _EXCEPTIONS:
        environment[name] = text
    if special := environment.get("no_grpc_proxy"):  # gRPC reads this variable instead
        environment["no_grpc_proxy"] = f"{special},{','.join(_LOOPBACK)}"


def for_parts(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without variables for the user's own programs; text is UTF-8 in any locale."""
    kept = {name: value for name, value in environment.items() if name not in (*_PYTHON, *_PROMETHEUS)}
    return kept | {"PYTHONUTF8": "1"}


def forgive_warnings(environment: MutableMapping[str, str]) -> None:
    """Undo PYTHONWARNINGS in this process: `error` would end it at any warning inside a library."""
    if environment.pop("PYTHONWARNINGS", None):
        warnings.resetwarnings()
        warnings.simplefilter("ignore")


def forget_other_traces(environment: MutableMapping[str, str]) -> None:
    """Remove variables that choose plugins of OpenTelemetry, which may not be installed here."""
    for name in _OPENTELEMETRY:
        environment.pop(name, None)


def forget_other_rays(environment: MutableMapping[str, str]) -> list[str]:
    """Remove variables that would redirect or change our own Ray; return their names."""
    others = [name for name in environment if name.startswith("RAY_") and not name.startswith(_RAY_KEPT)]
    for name in others:
        del environment[name]
    return others


def forget_other_torches(environment: MutableMapping[str, str]) -> list[str]:
    """Remove variables that would change how workers train, or break them; return their names."""
    others = [name for name in environment if name.startswith(_TORCH) and name not in _TORCH_KEPT]
    for name in others:
        del environment[name]
    return others


def forget_other_runs(environment: MutableMapping[str, str]) -> None:
    """Remove variables of MLflow that are meant for the user's own scripts and servers."""
    for name in list(environment):
        if name.startswith("MLFLOW_") and not name.startswith(_MLFLOW_KEPT):
            del environment[name]


def settings_of_aws(environment: Mapping[str, str]) -> list[str]:
    """Names of AWS's variables that are set, except those of keys."""
    return sorted(name for name in environment if name.startswith("AWS_") and name not in _AWS_KEYS)


def settings_of_postgresql(environment: Mapping[str, str]) -> list[str]:
    """Names of PostgreSQL's variables that are set and fill in what a DSN leaves out."""
    return sorted(name for name in environment if name in _POSTGRESQL)


def proxy_of(url: str) -> tuple[str, str] | None:
    """The variable and proxy (HOST:PORT) that HTTP clients use for a URL; None without a proxy."""
    parts = urlsplit(url)
    if not parts.hostname or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxies = urllib.request.getproxies()
    for kind in (parts.scheme, "all"):
        if proxy := proxies.get(kind):
            place = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
            return f"{kind}_proxy", f"{place.hostname}:{place.port or 80}"
    return None
