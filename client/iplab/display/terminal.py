"""Standard streams that are closed, cut off, or lack characters; text made safe for them."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Final, TextIO

# Exit status of a program that ends because its output was closed (128 + SIGPIPE).
CUT_OFF = 141

_STEERING: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def prepare() -> None:
    """Make the standard streams safe to use.

    A closed stream is redirected to nowhere, so that no other file gets its number. Characters that a
    stream's encoding lacks are written as escapes.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - open until the process ends
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def abandon_output() -> None:
    """Discard buffered output, because it was closed or its disk is full."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def visible(text: str) -> str:
    r"""Escape control characters in text from a server or a file, so that it cannot control a terminal.

    Line ends and tabs stay. Characters that change the direction of writing count as control characters.

    >>> print(visible("\x1b[2Jgone"))
    \x1b[2Jgone
    """
    return _STEERING.sub(lambda found: ascii(found[0])[1:-1], text)


def echo(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print text that may come from a server or a file, escaped by `visible`.

    Args:
        text: The text, or a value converted by `str`.
        err: Whether to print on standard error instead of standard output.
        nl: Whether to add a line end.
    """
    import click  # noqa: PLC0415 - what makes streams safe must not need libraries

    click.echo(visible(str(text)), err=err, nl=nl)  # noqa: TID251 (the one place)


def folded(text: str, *, indent: int = 0) -> str:
    """Wrap a paragraph to the terminal's width; in pipes and files to COLUMNS, or else 80.

    Args:
        text: One paragraph.
        indent: Number of spaces before the first line; further lines have four more.
    """
    start = " " * indent
    return textwrap.fill(
        visible(text),
        max(shutil.get_terminal_size().columns, 20),
        initial_indent=start,
        subsequent_indent=start + "    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def shown_on(stream: TextIO, text: str) -> str:
    """Lines for a stream: on a terminal, long lines are wrapped.

    Files and pipes get whole lines, for programs that read them.

    Args:
        stream: The stream.
        text: The lines, whose indentation is kept.
    """
    if not stream.isatty():
        return visible(text)
    width = shutil.get_terminal_size().columns
    return "\n".join(
        folded(line.strip(), indent=len(line) - len(line.lstrip())) if len(line) > width else visible(line)
        for line in text.split("\n")
    )
