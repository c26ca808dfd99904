"""The groups of commands `iplab` and `ipserver`: `-h` everywhere, global options in any place."""

from __future__ import annotations

import shutil
from typing import Any, Final

import click

from ipcore.errors import nearest
from iplab.display import terminal
from iplab.specs.vocabulary import OTHER_NAMES

# Sources of options that were given before the command: of this group, or of the group above.
_GIVEN: Final = (click.core.ParameterSource.COMMANDLINE, click.core.ParameterSource.DEFAULT_MAP)


class Choice(click.Choice[str]):
    """One of several names; an error suggests the nearest one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As click's."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            near = nearest(str(value), self.choices)
            if not near:
                raise
            message = f"{value!r}: did you mean {near!r}? There are: {', '.join(self.choices)}"
            raise click.BadParameter(message, ctx, param) from error


# Names of options in other programs, by our names.
_ELSEWHERE: Final = {
    "output": ("o", "out", "save", "file", "to"),
    "metric": ("name", "key"),
    "limit": ("n", "head", "top", "max", "count"),
    "filter": ("where", "query", "select"),
    "by": ("group_by", "groupby", "hue"),
    "sort": ("order_by", "sort_by", "order"),
    "kind": ("type", "plot"),
}
_OURS: Final = {other: ours for ours, others in _ELSEWHERE.items() for other in others}


def _meant(option: str, command: click.Command) -> str | None:
    """The probably intended option: by a common other name (`--lr`), or the nearest; None if none is near."""
    options = [entry for entry in command.params if isinstance(entry, click.Option)]
    known = {name: _field(name) for entry in options for name in entry.opts if name.startswith("--")}
    word, field = _word(option), _field(option)
    named = (field, _OURS.get(word), _OURS.get(word.removesuffix("s")))
    meant = next((ours for ours in named if ours in known.values()), nearest(field, list(known.values())))
    return next((name for name, ours in known.items() if ours == meant), None)


def _word(option: str) -> str:
    return option.lstrip("-").replace("-", "_").lower()


def _field(option: str) -> str:
    """The field that an option is about, without a plural."""
    name = _word(option)
    return OTHER_NAMES.get(name, OTHER_NAMES.get(name.removesuffix("s"), name)).removesuffix("s")


class CommandGroup(click.Group):
    """A group whose own options may be given before or after the name of the command.

    If both the group and a command have an option (`--address`, `--json`), its value before the command is
    the default of the command's. `help COMMAND` means `COMMAND -h`. Texts use the terminal's width.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
        options["context_settings"] = settings | (options.get("context_settings") or {})
        super().__init__(*arguments, **options)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Commands in their typical order of use."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click's, but with the whole first sentence of each command's help, on two lines if necessary."""
        commands = [self.get_command(ctx, name) for name in self.list_commands(ctx)]
        shown = [command for command in commands if command is not None and not command.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(
                [(command.name or "", command.get_short_help_str(10_000)) for command in shown]
            )

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Make the standard streams safe to use, then run as click does."""
        terminal.prepare()
        return super().main(*arguments, **options)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """As click's, but the width of a pipe is COLUMNS, or else 80."""
        extra.setdefault("terminal_width", min(shutil.get_terminal_size().columns, 100))
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """As click's, but errors describe missing options and suggest similar names for unknown ones."""
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            if error.ctx is None:
                raise
            meant = _meant(error.option_name, error.ctx.command)
            message = f"No such option {error.option_name!r}." + (
                f" Did you mean {meant!r}?" if meant else ""
            )
            raise click.NoSuchOption(error.option_name, message, ctx=error.ctx) from None
        except click.MissingParameter as error:
            option = error.param
            if not isinstance(option, click.Option) or not option.help:
                raise
            raise click.MissingParameter(option.help, error.ctx, option, error.param_hint) from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, and pass it the options that were given before its name."""
        if args and args[0] == "help" and "help" not in self.commands:
            args = [*args[1:2], "--help"] if args[1:] else args
            if args == ["help"]:
                terminal.echo(ctx.get_help())
                ctx.exit()
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and name is not None:
            own = {parameter.name for parameter in command.params}
            given = {
                key: value for key, value in ctx.params.items() if ctx.get_parameter_source(key) in _GIVEN
            }
            for key in given:
                if key not in own and key in {p.name for p in self.params if isinstance(p, click.Option)}:
                    option = next(p.opts[-1] for p in self.params if p.name == key)
                    raise click.UsageError(f"{name} has no option {option}", ctx)
            ctx.default_map = {**(ctx.default_map or {}), name: given}
        return name, command, rest
