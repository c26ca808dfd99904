"""The command group: one option per setting, and errors as exit codes instead of tracebacks."""

from __future__ import annotations

import getpass
import inspect
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from iplab.display.commands import CommandGroup
from iplab.display.terminal import echo, shown_on
from ipserver.environment.logs import configure_logs
from ipserver.environment.settings import Settings, load_settings
from ipserver.environment.surroundings import (
    forget_other_traces,
    forgive_warnings,
    spare_loopback,
)
from ipserver.errors import ServiceError

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


def options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: add one option per setting that a command line needs."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def with_settings(function: Callable[..., None]) -> Callable[..., None]:
    """Decorator: add the same options.

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
    return options(command)


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


@click.group(cls=CommandGroup)
@options
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
