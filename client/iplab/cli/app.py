"""The command group: global options, and errors as exit codes instead of tracebacks."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

import iplab
from iplab import terminal

if TYPE_CHECKING:
    from iplab.client import Client

ENDED_BADLY, BAD_USAGE, UNAVAILABLE, NOT_FOUND, SERVICE_ERROR, DISAGREES = 1, 2, 3, 4, 5, 6
UNDECIDED, INTERRUPTED = 9, 130

_EXIT_CODES: tuple[tuple[type[iplab.IplabError], int], ...] = (
    (iplab.InvalidRequestError, BAD_USAGE),
    (iplab.UnavailableError, UNAVAILABLE),
    (iplab.TimedOutError, UNAVAILABLE),
    (iplab.NotFoundError, NOT_FOUND),
    (iplab.IplabError, SERVICE_ERROR),
)

_HELP = """Experiments on parameterizations of wide neural networks: submit, follow, read.

Results go to standard output, progress, warnings and errors to standard error. Every command takes --json.

\b
Exit codes:
    0  done; with watch and submit --watch: the experiment SUCCEEDED; study: decided, nothing disagrees
    1  the experiment ended FAILED or CANCELLED (watch, submit --watch), or the study (study)
    2  wrong usage, spec or filter; one line per wrong field
    3  no service answers (in time)
    4  no such experiment, run or file
    5  any other error of the service
    6  measurement disagrees with theory (check, study)
    9  the study ended undecided
  130  interrupted; the experiment or study goes on
  141  nobody reads the output any more (| head)
"""


class App(click.Group):
    """A group that ends with the exit codes above, whether it runs in a shell or under a test."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which one uses them."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """As click's, which would end with exit code 1 where nobody reads the output."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            terminal.abandon_output()
            return ctx.exit(terminal.CUT_OFF)

    def main(  # type: ignore[override] # click splits it into overloads that say when it returns
        self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **extra: Any
    ) -> Any:
        """Run and exit; arguments as click.Command.main."""
        terminal.prepare()
        try:
            code = super().main(args, standalone_mode=False, **extra)
            sys.stdout.flush()
        except click.Abort:
            click.echo("interrupted", err=True)
            code = INTERRUPTED
        except click.ClickException as error:
            error.show()
            code = BAD_USAGE
        except iplab.InvalidRequestError as error:
            for line in error.lines():
                click.echo(f"error: {line}", err=True)
            code = BAD_USAGE
        except iplab.IplabError as error:
            click.echo(f"error: {error}", err=True)
            code = next(code for kind, code in _EXIT_CODES if isinstance(error, kind))
        except BrokenPipeError:  # of what was still to be written
            terminal.abandon_output()
            code = terminal.CUT_OFF
        except OSError as error:  # a file that cannot be written
            terminal.abandon_output()
            click.echo(f"error: {error}", err=True)
            code = BAD_USAGE
        if not standalone_mode:
            return code
        sys.exit(code if isinstance(code, int) else 0)


@dataclass(frozen=True, slots=True)
class Service:
    """Where the service is."""

    address: str

    def connect(self) -> Client:
        """A client; close it."""
        return iplab.connect(self.address)


@click.group(cls=App, help=_HELP, context_settings={"max_content_width": 100})
@click.option(
    "--address",
    envvar="IPLAB_ADDRESS",
    default="127.0.0.1:50051",
    show_default=True,
    show_envvar=True,
    help="host:port of the service.",
)
@click.version_option(package_name="iplab")
@click.pass_context
def main(context: click.Context, address: str) -> None:
    """See _HELP."""
    context.obj = Service(address)


Command = TypeVar("Command", bound=Callable[..., Any])


def json_option(command: Command) -> Command:
    """The --json that every command has; the parameter is `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(command)


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(value, indent=2))


def print_json_list(values: Iterable[object]) -> None:
    """One JSON list on standard output, a value per line; they may be more than memory holds."""
    start = "[\n"
    for value in values:
        sys.stdout.write(f"{start}  {json.dumps(value)}")
        start = ",\n"
    click.echo("[]" if start == "[\n" else "\n]")


def folded(text: str, *, err: bool = False, indent: int = 0) -> str:
    """Indented lines as wide as the terminal; one line where there is none.

    Args:
        text: One paragraph.
        err: For standard error.
        indent: Spaces before the first line; further ones have four more.
    """
    start = " " * indent
    if not (sys.stderr if err else sys.stdout).isatty():
        return start + text
    width = shutil.get_terminal_size().columns
    return textwrap.fill(
        text,
        width,
        initial_indent=start,
        subsequent_indent=start + "    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def note(message: str) -> None:
    """For people, on standard error."""
    click.echo(message, err=True)


def warn(message: str) -> None:
    """A warning on standard error."""
    click.echo(folded(f"warning: {message}", err=True), err=True)


def run_reference(text: str) -> int | str:
    """A run as people write it: "7", "r00007" or its full name."""
    last = text.rpartition("/")[2]
    return int(last) if last.isdecimal() else last
