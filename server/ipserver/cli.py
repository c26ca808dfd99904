"""`ipserver`: the whole service, or one part of it."""

from __future__ import annotations

import getpass
import inspect
import json
import logging
import os
import shlex
import shutil
import signal
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from iplab.display.commands import Choice, CommandGroup
from iplab.display.terminal import echo, folded, shown_on
from ipserver.cli_accounts import add_account_commands
from ipserver.environment.loading import loading
from ipserver.environment.logs import configure_logs
from ipserver.environment.masking import without_password
from ipserver.environment.settings import Settings, load_settings
from ipserver.environment.surroundings import (
    forget_other_runs,
    forget_other_traces,
    forgive_warnings,
    spare_loopback,
)
from ipserver.errors import ServiceError, StartupError
from ipserver.names import MLFLOW_EXPERIMENTS, MLFLOW_HINT

_OPTIONS = (
    click.option("--home", type=click.Path(), help="Folder of all files of the service (IPLAB_HOME)."),
    click.option("--data", type=click.Path(), help="Folder of datasets (IPLAB_DATA)."),
    click.option("--address", help="HOST:PORT of the API; port 0 takes a free one (IPLAB_ADDRESS)."),
    click.option("--web", help="HOST:PORT of the web page on loopback, or off (IPLAB_WEB)."),
    click.option("--store", help="DSN of the database (IPLAB_STORE)."),
    click.option("--insecure", is_flag=True, default=None, help="Listen beyond loopback, unencrypted."),
    click.option("--tls", type=click.Path(), help="Folder of tls.crt and tls.key (IPLAB_TLS)."),
    click.option("--auth", is_flag=True, default=None, help="Ask every caller for a token (IPLAB_AUTH)."),
    click.option("--cpus", type=int, help="CPU cores for training on this machine (IPLAB_CPUS)."),
)


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _with_settings(function: Callable[..., None]) -> Callable[..., None]:
    """Decorator: add one option per setting.

    The function gets the resolved Settings and the command's own arguments.
    """
    own = {name for name in inspect.signature(function).parameters if name != "settings"}

    def command(**options: Any) -> None:
        others = {name: options.pop(name) for name in own}
        try:
            settings = load_settings(**options)
            configure_logs(settings.log_format, settings.log_level)
            _replace_missing_user(settings)
            _replace_missing_temporary_folder(settings)
            function(settings, **others)
        except ServiceError as error:
            echo(shown_on(sys.stderr, f"ipserver: {error}"), err=True)
            sys.exit(2)

    command.__doc__ = function.__doc__
    command.__name__ = function.__name__
    return _options(command)


def _replace_missing_user(settings: Settings) -> None:
    """Set LOGNAME and HOME if the system knows no user, as for a bare user id in a container.

    Libraries that need them would fail: MLflow at import, torch at compilation.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = str(settings.home)
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = f"uid-{os.getuid()}"


def _replace_missing_temporary_folder(settings: Settings) -> None:
    """Set TMPDIR if no temporary folder is writable, as in a container with a read-only root."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        folder = settings.home / "tmp"
        with suppress(OSError):  # the home folder is not writable either, which is reported when it is used
            folder.mkdir(0o700, parents=True, exist_ok=True)
            os.environ["TMPDIR"] = str(folder)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress log messages below ERROR while a report is printed."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@click.group(cls=CommandGroup)
@_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON (doctor, settings).")
@click.version_option(package_name="iplab")
def main(**options: Any) -> None:
    """The iplab service. `ipserver up` runs all of it on this machine.

    Settings come from IPLAB_* environment variables (`ipserver settings` lists them); options win, before or
    after the command. Exit codes: 0 done or stopped as asked, 1 something is wrong or missing (doctor,
    backup), 2 wrong usage, or could not start.
    """
    configure_logs("text", "INFO")  # until the settings are known
    spare_loopback(os.environ)
    forgive_warnings(os.environ)
    forget_other_traces(os.environ)
    if os.getpid() == 1:
        # The kernel does not deliver a signal without a handler to the first process of a container. A part
        # installs its handlers when it starts to work. Until then this handler ends it; otherwise it would
        # be killed only at the end of the grace period.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


@main.command("up")
@_with_settings
def up_command(settings: Settings) -> None:
    """Run the whole service on this machine until Ctrl-C.

    Its parts: the API, the dispatcher (with a Ray of its own), the forwarder to MLflow and the web page.
    """
    with loading():
        from ipserver.ops.up import up  # noqa: PLC0415 - each command loads what it needs

    up(settings)


@main.command("api")
@_with_settings
def api_command(settings: Settings) -> None:
    """Run only the API."""
    with loading():
        from ipserver.ops.parts import run_api  # noqa: PLC0415

    run_api(settings)


@main.command("dispatch")
@_with_settings
def dispatch_command(settings: Settings) -> None:
    """Run only a dispatcher."""
    with loading():
        from ipserver.ops.parts import run_dispatch  # noqa: PLC0415

    run_dispatch(settings)


@main.command("forward")
@_with_settings
def forward_command(settings: Settings) -> None:
    """Run only the forwarder."""
    with loading():
        from ipserver.ops.parts import run_forward  # noqa: PLC0415

    run_forward(settings)


@main.command("web")
@_with_settings
def web_command(settings: Settings) -> None:
    """Serve only the web page, over the API at --address.

    It listens on loopback only, by default on the port after the API's.
    """
    with loading():
        from ipserver.ops.parts import run_web  # noqa: PLC0415

    run_web(settings)


@main.command("migrate")
@_with_settings
def migrate_command(settings: Settings) -> None:
    """Bring the store's schema up to date."""
    from ipserver.ops.startup import migrate_store, prepare_home  # noqa: PLC0415

    prepare_home(settings)
    migrate_store(settings)
    _say(f"the schema of {without_password(settings.store_dsn)} is up to date")


@main.command("mlflow")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port on loopback."
)
@_with_settings
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


@main.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--for",
    "part",
    type=Choice(["api", "dispatch", "forward"]),
    help="Check only what this part uses, as in its container.",
)
@_with_settings
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


@main.command("backup")
@click.argument("destination", type=click.Path(path_type=Path))
@_with_settings
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


@main.command("resend")
@_with_settings
def resend_command(settings: Settings) -> None:
    """Send everything to MLflow again.

    After its data were lost, or to fill another MLflow. The running forwarder does it at its own pace. Data
    that MLflow already holds are not duplicated.
    """
    from ipserver.ops.startup import open_service  # noqa: PLC0415 - each command loads what it needs

    with open_service(settings, write=False) as store:
        runs = store.resend()
    _say(f"{runs} runs will be sent to {without_password(settings.mlflow_uri)} again")


@main.command("settings")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_with_settings
def settings_command(settings: Settings, *, as_json: bool) -> None:
    """List every setting with its variable, value and meaning. Secrets are not shown."""
    shown = {f"IPLAB_{name.upper()}": (value, name) for name, value in settings.shown().items()}
    if as_json:
        echo(json.dumps({variable: str(value) for variable, (value, _) in shown.items()}, indent=2))
        return
    for variable, (value, name) in shown.items():
        echo(f"{variable}={value}")
        echo(folded(Settings.model_fields[name].description or "", indent=4))


add_account_commands(main, _options, _with_settings)
