"""Environment variables that users set for other programs and that this service must not follow.

Proxies are meant for the network, not for this machine's loopback, which most of them refuse. Variables that
configure Python for the user's own scripts, or name the user's Ray cluster, are not meant for our parts.
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
# With these a part would turn warnings of libraries into errors, lose its docstrings and assertions, open a
# prompt when it ends, or run many times slower.
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
)
# Cluster, namespace, job and programs of the user's own Ray scripts.
_RAY: Final = (
    "RAY_ADDRESS",
    "RAY_NAMESPACE",
    "RAY_RUNTIME_ENV_HOOK",
    "RAY_JOB_CONFIG_JSON_ENV_VAR",
    "RAY_OVERRIDE_RESOURCES",
)
# Destination of the user's own scripts, and asynchronous logging: the forwarder must know that data arrived.
_MLFLOW: Final = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_RUN_ID",
    "MLFLOW_EXPERIMENT_ID",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_ACTIVE_MODEL_ID",
    "MLFLOW_ENABLE_ASYNC_LOGGING",
)
# Where the user's own programs share their metrics; ours would write files there.
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
    if known.strip() == "*":  # excludes all hosts; beside further entries "*" would lose its meaning
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


def forget_other_rays(environment: MutableMapping[str, str]) -> list[str]:
    """Remove variables that would redirect or change our own Ray; return their names."""
    return [name for name in _RAY if environment.pop(name, None) is not None]


def forget_other_runs(environment: MutableMapping[str, str]) -> None:
    """Remove variables that make MLflow's client write to another place, or asynchronously."""
    for name in _MLFLOW:
        environment.pop(name, None)


def settings_of_aws(environment: Mapping[str, str]) -> list[str]:
    """Names of AWS's variables that are set, except those of keys."""
    return sorted(name for name in environment if name.startswith("AWS_") and name not in _AWS_KEYS)


def settings_of_postgresql(environment: Mapping[str, str]) -> list[str]:
    """Names of PostgreSQL's variables that are set and fill in what a DSN leaves out."""
    return sorted(name for name in environment if name in _POSTGRESQL)


def proxy_of(url: str) -> tuple[str, str] | None:
    """The variable and proxy (HOST:PORT) that HTTP clients use for a URL; None: no proxy."""
    parts = urlsplit(url)
    if not parts.hostname or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxies = urllib.request.getproxies()
    for kind in (parts.scheme, "all"):
        if proxy := proxies.get(kind):
            place = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
            return f"{kind}_proxy", f"{place.hostname}:{place.port or 80}"
    return None
