"""`ipserver up`, and the commands that run one part: `api`, `dispatch`, `forward`, `web`."""

from __future__ import annotations

import click

from ipserver.cli.app import with_settings
from ipserver.environment.loading import loading
from ipserver.environment.settings import Settings


@click.command("up")
@with_settings
def up_command(settings: Settings) -> None:
    """Run the whole service on this machine until Ctrl-C.

    Its parts: the API, the dispatcher (with a Ray of its own), the forwarder to MLflow and the web page.
    """
    with loading():
        from ipserver.ops.up import up  # noqa: PLC0415 - each command loads what it needs

    up(settings)


@click.command("api")
@with_settings
def api_command(settings: Settings) -> None:
    """Run only the API."""
    with loading():
        from ipserver.ops.parts import run_api  # noqa: PLC0415

    run_api(settings)


@click.command("dispatch")
@with_settings
def dispatch_command(settings: Settings) -> None:
    """Run only a dispatcher."""
    with loading():
        from ipserver.ops.parts import run_dispatch  # noqa: PLC0415

    run_dispatch(settings)


@click.command("forward")
@with_settings
def forward_command(settings: Settings) -> None:
    """Run only the forwarder."""
    with loading():
        from ipserver.ops.parts import run_forward  # noqa: PLC0415

    run_forward(settings)


@click.command("web")
@with_settings
def web_command(settings: Settings) -> None:
    """Serve only the web page, over the API at --address.

    It listens on loopback only, by default on the port after the API's.
    """
    with loading():
        from ipserver.ops.parts import run_web  # noqa: PLC0415

    run_web(settings)
