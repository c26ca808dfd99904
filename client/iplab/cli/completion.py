"""`iplab completion`: shell completion of commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from iplab.cli.app import json_option, print_json
from iplab.display.commands import Choice
from iplab.display.terminal import echo

_SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_IPLAB_COMPLETE"


_HELP = """Print what SHELL (bash, zsh or fish) must read to complete iplab's commands and options.

\b
bash:  eval "$(iplab completion bash)"     in ~/.bashrc
zsh:   eval "$(iplab completion zsh)"      in ~/.zshrc
fish:  iplab completion fish > ~/.config/fish/completions/iplab.fish
"""


@click.command(help=_HELP)
@click.argument("shell", type=Choice(_SHELLS))
@json_option
@click.pass_context
def completion(context: click.Context, shell: str, *, as_json: bool) -> None:
    """See _HELP."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this version of click does not support {shell}")
    source = kind(context.find_root().command, {}, "iplab", _VARIABLE).source()
    if as_json:
        print_json({"shell": shell, "source": source})
    else:
        echo(source)
