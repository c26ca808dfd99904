"""Tools beside a service: `migrate`, `mlflow`, `doctor`, `backup`, `resend`, `settings`."""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click

from iplab.display.commands import Choice
from iplab.display.terminal import echo, folded, shown_on
from ipserver.cli.app import with_settings
from ipserver.environment.masking import without_password
from ipserver.environment.settings import Settings
from ipserver.environment.surroundings import forget_other_runs
from ipserver.errors import StartupError
from ipserver.names import MLFLOW_EXPERIMENTS, MLFLOW_HINT


@click.command("migrate")
@with_settings
def migrate_command(settings: Settings) -> None:
    """Bring the store's schema up to date."""
    from ipserver.ops.startup import migrate_store, prepare_home  # noqa: PLC0415

    prepare_home(settings)
    migrate_store(settings)
    _say(f"the schema of {without_password(settings.store_dsn)} is up to date")


@click.command("mlflow")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port on loopback."
)
@with_settings
def mlflow_command(settings: Settings, *, port: int) -> None:
    """Run MLflow's web UI over this service's runs.

    It listens on 127.0.0.1 only.
    """
    from ipserver.ops.places import free_address  # noqa: PLC0415 - each command loads what it needs

    if not settings.mlflow_tracking_uri and not (settings.home / "mlflow" / "mlflow.db").exists():
        raise StartupError(f"there is no MLflow store in {settings.home}; start `ipserver up` there first")
    free_address(f"127.0.0.1:{port}")
    uri = settings.mlflow_uri
    echo(f"MLflow on http://127.0.0.1:{port}{MLFLOW_EXPERIMENTS}")
    echo(MLFLOW_HINT)
    _say(f"over {without_password(uri)}")
    # A UI for one person needs one worker and no job execution. Telemetry is off unless the user enables it.
    # The URI may hold a password and every user of the machine can read command lines, so it is passed in
    # the environment.
    forget_other_runs(os.environ)
    environment = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONSAFEPATH": "1",  # do not import a `json.py` from the working folder
    }
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    # uvicorn puts its app folder, by default the working folder, first on the search path; use an empty one.
    command += ["--uvicorn-opts", f"--app-dir {shlex.quote(sys.prefix)}"]
    os.execve(sys.executable, [*command, "--host", "127.0.0.1", "--port", str(port)], environment)


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--for",
    "part",
    type=Choice(["api", "dispatch", "forward"]),
    help="Check only what this part uses, as in its container.",
)
@with_settings
def doctor_command(settings: Settings, *, as_json: bool, part: str | None) -> None:
    """Find problems of this installation and say how to correct them.

    Checks store, schema, clock, artifacts, Ray, data, MLflow and free space, with this part's settings.
    Exit code 1 if something is wrong.
    """
    from ipserver.ops.doctor import Level, examine  # noqa: PLC0415 - each command loads what it needs
    from ipserver.ops.startup import EVERYTHING, PARTS  # noqa: PLC0415

    findings = []
    with _quiet():
        for finding in examine(settings, needs=PARTS[part] if part else EVERYTHING):
            findings.append(finding)
            if not as_json:
                echo(_line(finding.level, finding.check, finding.text))
    wrong = sum(finding.level is Level.WRONG for finding in findings)
    if as_json:
        echo(json.dumps({"wrong": wrong, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        echo(f"{wrong} wrong" if wrong else "nothing is wrong")
    sys.exit(1 if wrong else 0)


def _line(level: str, check: str, text: str) -> str:
    """A finding in columns; on a terminal a long text is wrapped within its column."""
    start = f"{level:<8}{check:<11}"
    width = shutil.get_terminal_size().columns - len(start)
    if not sys.stdout.isatty() or width < 20:
        return start + text
    wrapped = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]
    return start + f"\n{' ' * len(start)}".join(wrapped)


def _say(text: str) -> None:
    """Print one line, wrapped on a terminal."""
    echo(shown_on(sys.stdout, text))


@click.command("backup")
@click.argument("destination", type=click.Path(path_type=Path))
@with_settings
def backup_command(settings: Settings, *, destination: Path) -> None:
    """Copy the home folder to DESTINATION while the service works.

    The copy is a home folder: `ipserver up --home DESTINATION` continues from it. The store must be on
    SQLite; for PostgreSQL and for files in S3, see docs/operations.md. Exit code 1 if weights are missing.
    """
    from ipserver.ops.backup import backup  # noqa: PLC0415 - each command loads what it needs

    made = backup(settings, destination.expanduser().absolute())
    _say(f"{destination}: {made.files} files verified, {made.size_bytes / 2**20:.1f} MiB in all")
    if made.elsewhere:
        _say(f"weights and checkpoints are in {made.elsewhere}, not in the copy: keep the bucket")
    if made.passed:
        _say(f"{made.passed} checkpoints were replaced meanwhile; their packs repeat a few more steps")
    for location in made.missing:
        echo(f"missing or damaged in {settings.artifact_root}: {location}", err=True)
    sys.exit(1 if made.missing else 0)


@click.command("resend")
@with_settings
def resend_command(settings: Settings) -> None:
    """Send everything to MLflow again.

    After its data were lost, or to fill another MLflow. The running forwarder does it at its own pace. Data
    that MLflow already holds are not duplicated.
    """
    from ipserver.ops.startup import open_service  # noqa: PLC0415 - each command loads what it needs

    with open_service(settings, write=False) as store:
        runs = store.resend()
    _say(f"{runs} runs will be sent to {without_password(settings.mlflow_uri)} again")


@click.command("settings")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings
def settings_command(settings: Settings, *, as_json: bool) -> None:
    """List every setting with its variable, value and meaning. Secrets are not shown."""
    shown = {f"IPLAB_{name.upper()}": (value, name) for name, value in settings.shown().items()}
    if as_json:
        echo(json.dumps({variable: str(value) for variable, (value, _) in shown.items()}, indent=2))
        return
    for variable, (value, name) in shown.items():
        echo(f"{variable}={value}")
        echo(folded(Settings.model_fields[name].description or "", indent=4))


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress log messages below ERROR while a report is printed."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
