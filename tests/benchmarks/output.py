"""Arguments and output of benchmarks: a table for people, a line of JSON for programs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with --json; benchmarks add their own options."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return made


def device_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser for benchmarks that run on a GPU if there is one; it also has --device and --limit."""
    made = parser(description)
    made.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    made.add_argument("--limit", type=float, default=600.0, help="seconds; what does not fit is left out")
    return made


def table(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows with the same columns, each column as wide as its widest entry."""
    lines = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(f"{entry:>{width}}" for entry, width in zip(line, widths, strict=True)))


def give(result: Mapping[str, object], path: Path | None) -> None:
    """Print figures as JSON, and write them to a file if one is given."""
    text = json.dumps(result)
    print(text)
    if path is not None:
        path.write_text(text + "\n")
