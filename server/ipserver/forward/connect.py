"""Connecting to the MLflow that the settings name."""

from __future__ import annotations

import logging
import os
from contextlib import nullcontext
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from ipserver.environment.listener import require_listener
from ipserver.environment.masking import without_password
from ipserver.environment.settings import Settings
from ipserver.environment.surroundings import proxy_of
from ipserver.errors import NotReady
from ipserver.forward import first
from ipserver.forward.mlflow_sink import MlflowSink, make_store

_log = logging.getLogger(__name__)
_SETTING = "IPLAB_MLFLOW_TRACKING_URI"
_CONNECT_SECONDS = 5


@sa.event.listens_for(sa.Engine, "do_connect")
def _prepare_nothing(dialect: sa.Dialect, _record: object, _words: object, options: dict[str, Any]) -> None:
    """Disable prepared statements: behind a pooler, MLflow's next server connection would not know them."""
    if dialect.driver == "psycopg":
        options.setdefault("prepare_threshold", None)


def connect(settings: Settings, *, make: bool = True) -> MlflowSink:
    """Connect to MLflow and return a sink once it answers.

    Args:
        settings: The settings that name MLflow.
        make: Whether to create a missing SQLite file.

    If MLflow stores artifacts in S3 without a proxying server, its client uploads them with the keys of our
    artifacts, unless MLflow's or AWS's own variables set others.

    Raises:
        NotReady: MLflow does not answer, or the server is not MLflow.
    """
    uri = settings.mlflow_uri
    _lend_keys(settings)
    parts = urlsplit(uri)
    if parts.scheme in {"http", "https"}:
        _require_server(uri)
    elif parts.scheme.partition("+")[0] != "databricks":
        _require_database(uri)
    try:
        with first.taking_turns(uri) if make else nullcontext():
            if path := first.sqlite_path(uri):
                artifacts = settings.mlflow_artifacts or path.parent / "artifacts"
                if make:
                    ours = not settings.mlflow_tracking_uri
                    first.make(path, lambda new: make_store(new, artifacts), ours=ours)
                else:
                    first.require_finished(path)
            sink = MlflowSink(uri, settings.mlflow_artifacts)
            sink.ask()
        moved = sink.elsewhere()
    except NotReady as error:
        raise NotReady(f"{_SETTING}: {error}") from None
    except Exception as error:
        # MLflow passes on all exceptions of its transport and database.
        raise _unusable(uri, error) from None
    if moved:
        _log.warning("%s", moved)
    return sink


def _require_server(uri: str) -> None:
    """Check that the server, or the proxy to it, accepts connections."""
    parts = urlsplit(uri)
    if proxied := proxy_of(uri):
        variable, place = proxied
        host, _, port = place.rpartition(":")
        require_listener(f"{_SETTING}, by the proxy that {variable} names", host, int(port))
    else:
        require_listener(
            _SETTING, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        )


def _require_database(uri: str) -> None:
    """Check the database with a timeout: MLflow would retry for minutes, a driver wait indefinitely."""
    if first.sqlite_path(uri):
        return  # no server to check; connecting would leave an empty file
    limit = {"connect_timeout": _CONNECT_SECONDS} if uri.startswith("postgresql") else {}
    try:
        engine = sa.create_engine(uri, connect_args=limit)
        engine.connect().close()
        engine.dispose()
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        raise _unusable(uri, error) from None


def _unusable(uri: str, error: Exception) -> NotReady:
    text = " ".join(str(error).split())[:500]
    password = urlsplit(uri).password
    if password:
        text = text.replace(password, "***")
    remedy = "start MLflow there, or correct the address"
    if "db upgrade" in text:
        remedy = "or, if it holds no runs yet, drop it: the forwarder creates it again"
    elif proxied := proxy_of(uri):
        variable, place = proxied
        host = urlsplit(uri).hostname
        remedy += f"; {variable} sends requests through {place}: if that is wrong, add {host} to no_proxy"
    return NotReady(f"{_SETTING}: {without_password(uri)} cannot be used as MLflow: {text}; {remedy}")


def _lend_keys(settings: Settings) -> None:
    root = settings.artifact_root
    if root.endpoint_url:
        os.environ.setdefault("MLFLOW_S3_ENDPOINT_URL", root.endpoint_url)
    if root.region:
        os.environ.setdefault("AWS_DEFAULT_REGION", root.region)
    if root.access_key_id and "AWS_ACCESS_KEY_ID" not in os.environ:
        os.environ["AWS_ACCESS_KEY_ID"] = root.access_key_id
        os.environ["AWS_SECRET_ACCESS_KEY"] = root.secret_access_key
