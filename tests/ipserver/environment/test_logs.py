"""Logs as text and as JSON, what they are about, and what never enters them."""

import json
import logging
import sys
import threading
from io import StringIO

import pytest

from ipserver.environment import logs
from ipserver.environment.log_scope import Scope, about, enter, scope
from ipserver.environment.masking import without_secrets
from ipserver.errors import StoreUnavailable
from ipserver.store import open_store
from ipserver.store.states import FailureReason
from ipserver.workers.executor import bounded


@pytest.fixture
def written(monkeypatch):
    """Configures logs and returns what is written. Loggers are as before at the end."""
    loggers = [logging.getLogger(name) for name in ("", "ipserver", "alembic", *logs._ADOPTED)]
    before = [(it, it.level, it.handlers[:], it.propagate) for it in loggers]
    stream = StringIO()

    def configured(form, level="INFO"):
        monkeypatch.setattr(sys, "stderr", stream)  # not before: pytest sets it when a test begins
        logs.configure_logs(form, level)
        return stream

    yield configured
    for logger, level, handlers, propagate in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.propagate = propagate


def test_json_is_one_object_a_line(written):
    stream = written("json")
    log = logging.getLogger("ipserver.test")
    with about("widths"):
        log.warning("two\nlines of %s", "text", extra={"code": "OK"})
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("failed")

    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "WARNING",
        "logger": "ipserver.test",
        "message": "two\nlines of text",
        "experiment": "widths",
        "code": "OK",
    }
    assert second["traceback"].endswith("ValueError: broken")
    assert "experiment" not in second, "that was about another"


def test_text_names_what_it_is_about_at_the_end(written):
    stream = written("text")
    log = logging.getLogger("ipserver.test")
    log.info("plain")
    thread = threading.Thread(target=lambda: (enter(Scope("r1", "eve\n", "e")), log.info("said")))
    thread.start()
    thread.join()
    assert scope() == Scope(), "a thread's scope is its own"
    plain, said = stream.getvalue().splitlines()
    assert plain.endswith("INFO ipserver.test: plain")
    assert said.endswith(r"said [request_id=r1 principal=eve\n experiment=e]"), "one line, whatever the name"


def test_no_text_of_others_looks_like_a_record_or_steers_a_terminal(written):
    stream = written("text")
    forged = "x\n2026-11-28 12:00:00,000 INFO ipserver.api: all is well\x1b[2J\u202e"
    logging.getLogger("ipserver.test").warning("refused: %s", forged)
    try:
        raise ValueError(forged)
    except ValueError:
        logging.getLogger("ipserver.test").exception("failed")
    text = stream.getvalue()
    records = [line for line in text.splitlines() if not line.startswith("    ")]
    assert [line.partition(" ipserver.test: ")[2] for line in records] == ["refused: x", "failed"]
    assert text.count(r"all is well\x1b[2J\u202e") == 2
    assert "\x1b" not in text


def test_levels_are_those_of_our_own_loggers(written):
    stream = written("text", "DEBUG")
    logging.getLogger("ipserver.test").debug("ours")
    logging.getLogger("library").debug("theirs")
    written("text", "ERROR")
    logging.getLogger("ipserver.test").warning("too low")
    logging.getLogger("library").warning("too low")
    assert [line.rpartition(" ")[2] for line in stream.getvalue().splitlines()] == ["ours"]


def test_libraries_with_handlers_of_their_own_are_written_as_json_too(written):
    stream = written("json")
    ray = logging.getLogger("ray")
    ray.addHandler(logging.StreamHandler(stream))
    ray.propagate = False
    logs.adopt_loggers()
    ray.warning("a node has died")
    assert json.loads(stream.getvalue())["message"] == "a node has died"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("at postgresql+psycopg://lab:s3cr/et@db:5432/x", "at postgresql+psycopg://lab:***@db:5432/x"),
        ("iplab_0123456789ab_" + "S" * 43, "iplab_0123456789ab_***"),
        ("('authorization', 'Bearer abc.def-ghi')", "('authorization', 'Bearer ***')"),
        ("Authorization: basic dXNlcjpwYXNz", "Authorization: basic ***"),
        ("token eyJhbGciOi.eyJzdWIi.c2ln is wrong", "token *** is wrong"),
        ("host=db password=s3cret user=lab", "host=db password=*** user=lab"),
        ("{'password': 's3cret'}", "{'password': '***'}"),
        ("secret_access_key = abc/def+1", "secret_access_key = ***"),
    ],
)
def test_secrets_are_masked(text, masked):
    shown = without_secrets(text)
    assert shown.startswith(masked)
    for secret in ("s3cr", "SSSS", "abc.def", "dXNl", "c2ln", "abc/def"):
        assert secret not in shown


@pytest.mark.parametrize(
    "text",
    [
        "the token 0123456789ab is revoked",
        "experiments/e/runs/r00001: 4 runs in 1 packs",
        "sqlite:////home/me/iplab.db at 12:30:01",
        "this service needs a token: set IPLAB_TOKEN, or the header `authorization: Bearer TOKEN`",
        "the password is wrong",
    ],
)
def test_what_is_no_secret_stays(text):
    assert without_secrets(text) == text


def test_failures_that_readers_see_hold_no_secrets():
    secret = "postgresql://lab:s3cret@db/x"
    found = bounded(FailureReason.TRAINING_ERROR, f"E: {secret}", f"Traceback\nE: {secret}", f"at {secret}")
    assert (found.message, found.traceback, found.log_tail) == (
        "E: postgresql://lab:***@db/x",
        "Traceback\nE: postgresql://lab:***@db/x",
        "at postgresql://lab:***@db/x",
    )


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_password_of_a_database_is_logged(written, form):
    stream = written(form, "DEBUG")
    for dsn in (
        "postgresql+psycopg://lab:s3cret@127.0.0.1:1/x",
        "postgresql+psycopg://127.0.0.1:1/x?password=s3cret",
    ):
        try:
            with open_store(dsn) as store:
                store.now()
        except StoreUnavailable as error:
            logging.getLogger("ipserver.test").exception("%s", error)
            logging.getLogger("library").error("cannot open %s", dsn)
    assert stream.getvalue().count("cannot open") == 2
    assert "s3cret" not in stream.getvalue()
