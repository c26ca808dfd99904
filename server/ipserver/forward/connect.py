"""MLflow as the settings name it, once it answers."""

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
    """MLflow's connections too may lead to a pooler, whose next server does not know what was prepared."""
    if dialect.driver == "psycopg":
        options.setdefault("prepare_threshold", None)


def connect(settings: Settings, *, make: bool = True) -> MlflowSink:
    """A sink that has been heard to answer.

    Args:
        settings: Where MLflow is.
        make: Whether a SQLite file that is not there yet is made.

    Where MLflow keeps artifacts in S3 without a server in between, its client uploads them with the keys of
    our artifacts, unless variables of its own or of AWS say otherwise.

    Raises:
        NotReady: MLflow does not answer, or what answers is not MLflow.
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
        # MLflow raises whatever its transport and its database raise.
        raise _unusable(uri, error) from None
    if moved:
        _log.warning("%s", moved)
    return sink


def _require_server(uri: str) -> None:
    """A server, or the proxy that leads to it, takes connections."""
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
    """MLflow itself would try for minutes, and a driver for as long as the other side is silent."""
    if first.sqlite_path(uri):
        return  # there is no other side; to connect would leave an empty file
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
        remedy = "or, where nothing of a run is in it yet, drop it: it is made anew"
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
