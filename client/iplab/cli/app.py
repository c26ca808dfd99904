"""The command group: global options, and errors as exit codes instead of tracebacks."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

import iplab
from iplab.connection.profiles import DEFAULT_ADDRESS
from iplab.display import terminal
from iplab.display.commands import CommandGroup

if TYPE_CHECKING:
    from iplab.client import Client

folded = terminal.folded

ENDED_BADLY, BAD_USAGE, UNAVAILABLE, NOT_FOUND, SERVICE_ERROR, DISAGREES = 1, 2, 3, 4, 5, 6
ALL_DIVERGED, NOTHING_DONE, UNDECIDED, INTERRUPTED = 7, 8, 9, 130

_EXIT_CODES: tuple[tuple[type[iplab.IplabError], int], ...] = (
    (iplab.InvalidRequestError, BAD_USAGE),
    (iplab.UnavailableError, UNAVAILABLE),
    (iplab.TimedOutError, UNAVAILABLE),
    (iplab.NotFoundError, NOT_FOUND),
    (iplab.AlreadyExistsError, BAD_USAGE),
    (iplab.IplabError, SERVICE_ERROR),
)

# Options that are named otherwise than the fields of requests that they give.
_OPTIONS = {"order_by": "--sort", "experiment_id": "--id", "study_id": "--id", "metrics[0]": "--metric"}

_HELP = """Experiments on parameterizations of wide neural networks: submit, follow, read.

Results go to standard output, progress, warnings and errors to standard error. Every command takes
--json, --address and --profile, before or after its name.

\b
Exit codes:
    0  done; watch, submit --watch: SUCCEEDED; study: decided, and nothing
       disagrees
    1  it ended FAILED or CANCELLED (watch, submit --watch, study)
    2  wrong usage, spec or filter, one line per wrong field; an id that is
       taken
    3  no service answers (in time)
    4  no such experiment, run or file
    5  any other error of the service
    6  measurement disagrees with theory (check, study)
    7  every run diverged (watch, submit --watch)
    8  there was nothing to do (cancel, pause, resume, retry)
    9  the study ended undecided
  130  interrupted; the experiment or study continues
  141  the reader of the output has closed it (| head)
"""


class App(CommandGroup):
    """A group that ends with the exit codes above, in a shell and in tests."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, with the options of the service's address for it and its subcommands."""
        _add_address(cmd)
        super().add_command(cmd, name)

    def invoke(self, ctx: click.Context) -> Any:
        """As click's, but with exit code 141 if the reader has closed the output."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            terminal.abandon_output()
            return ctx.exit(terminal.CUT_OFF)

    def main(  # type: ignore[override] # click splits it into overloads that say when it returns
        self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **extra: Any
    ) -> Any:
        """Run and exit; arguments as click.Command.main."""
        try:
            code = super().main(args, standalone_mode=False, **extra)
            sys.stdout.flush()
        except click.Abort:
            terminal.echo("interrupted", err=True)
            code = INTERRUPTED
        except click.ClickException as error:
            _show(error)
            code = BAD_USAGE
        except iplab.InvalidRequestError as error:
            for line in error.lines():
                _complain(_by_option(line))
            code = BAD_USAGE
        except iplab.IplabError as error:
            _complain(error)
            code = next(code for kind, code in _EXIT_CODES if isinstance(error, kind))
        except BrokenPipeError:  # while flushing the output
            terminal.abandon_output()
            code = terminal.CUT_OFF
        except OSError as error:  # a file that cannot be written
            terminal.abandon_output()
            _complain(_of_file(error))
            code = BAD_USAGE
        if not standalone_mode:
            return code
        sys.exit(code if isinstance(code, int) else 0)


@dataclass(frozen=True, slots=True)
class Service:
    """Address of the service; None for the default of `iplab.connect`."""

    address: str | None = None
    profile: str | None = None

    def connect(self) -> Client:
        """A new client, which the caller must close."""
        return iplab.connect(self.address, profile=self.profile)


def _show(error: click.ClickException) -> None:
    """As click shows it, with long lines folded on a terminal."""
    shown = io.StringIO()
    error.show(file=shown)
    terminal.echo(terminal.shown_on(sys.stderr, shown.getvalue().rstrip("\n")), err=True)


def _by_option(line: str) -> str:
    """A line about a field of a request, by the name of the option that gave it.

    >>> _by_option("order_by: unknown field 'widht'"), _by_option("spec.steps: must lie in 1 .. 10")
    ("--sort: unknown field 'widht'", 'spec.steps: must lie in 1 .. 10')
    """
    name, colon, rest = line.partition(": ")
    return f"{_OPTIONS[name]}{colon}{rest}" if name in _OPTIONS else line


def _of_file(error: OSError) -> str:
    """Message of an error about a file, with advice. Other errors are returned unchanged.

    >>> _of_file(FileNotFoundError(2, "No such file or directory", "/nowhere/figure.svg"))
    '/nowhere/figure.svg: there is no folder /nowhere; create it, or name a file elsewhere'
    """
    if error.filename is None:
        return str(error)
    folder = Path(str(error.filename)).absolute().parent
    if not folder.is_dir():
        return f"{error.filename}: there is no folder {folder}; create it, or name a file elsewhere"
    return f"{error.filename}: {error.strerror}"


def _complain(error: object) -> None:
    """Print an error on standard error: wrapped on a terminal, otherwise on one line, for programs."""
    terminal.echo(terminal.shown_on(sys.stderr, f"error: {error}"), err=True)


def _add_address(command: click.Command) -> None:
    for name, help_ in (("address", "host:port of the service."), ("profile", "Profile of the service.")):
        command.params.append(
            click.Option([f"--{name}"], expose_value=False, callback=_set_service, help=help_)
        )
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        _add_address(below)


def _set_service(context: click.Context, option: click.Parameter, value: str | None) -> None:
    if value is not None:
        service = context.obj if isinstance(context.obj, Service) else Service()
        context.obj = replace(service, **{str(option.name): value})


@click.group(cls=App, help=_HELP)
@click.option(
    "--address",
    help=f"host:port of the service.  [default: IPLAB_ADDRESS, the profile's, or {DEFAULT_ADDRESS}]",
)
@click.option(
    "--profile",
    help="Profile of the service: address, TLS and token.  [default: IPLAB_PROFILE, or the file's]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@click.version_option(package_name="iplab")
@click.pass_context
def main(context: click.Context, address: str | None, profile: str | None, *, as_json: bool) -> None:
    """See _HELP."""
    context.obj = Service(address, profile)


Command = TypeVar("Command", bound=Callable[..., Any])


def json_option(command: Command) -> Command:
    """Add the option --json, whose parameter is `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(command)


def print_json(value: object) -> None:
    """Print one JSON document on standard output."""
    terminal.echo(json.dumps(value, indent=2))


def print_json_list(values: Iterable[object]) -> None:
    """Print a JSON list on standard output, a value per line. The values may exceed memory."""
    start = "[\n"
    for value in values:
        sys.stdout.write(f"{start}  {json.dumps(value)}")
        start = ",\n"
    terminal.echo("[]" if start == "[\n" else "\n]")


def note(message: str) -> None:
    """Print a note for users on standard error."""
    terminal.echo(folded(message), err=True)


def warn(message: str) -> None:
    """Print a warning on standard error."""
    note(f"warning: {message}")


def no_match(things: str, why: str) -> str:
    """The message for a filter that matches nothing: "no runs match", and why."""
    if not why:
        return f"no {things} match"
    return f"no {things} match: {why}"


def run_reference(text: str) -> int | str:
    """Parse a run as users write it: "7", "r7", "r00007" or its full name."""
    last = text.rpartition("/")[2]
    number = last.removeprefix("r")
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else last
