"""``python -m ipcore.data fetch NAME --to FOLDER`` and ``check NAME --in FOLDER``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ipcore.data.fetch import fetch
from ipcore.data.loading import PUBLISHED, check_dataset
from ipcore.errors import DataError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        Exit status: 0, or 1 with the reason on standard error.
    """
    parser = argparse.ArgumentParser("python -m ipcore.data", description="Datasets in a data folder.")
    commands = parser.add_subparsers(dest="command", required=True)
    get = commands.add_parser("fetch", help="download a published dataset and verify its checksums")
    get.add_argument("name", help=", ".join(PUBLISHED))
    get.add_argument("--to", required=True, metavar="FOLDER", help="the data folder")
    get.add_argument("--from", dest="url", default="", metavar="URL", help="a mirror that holds the files")
    look = commands.add_parser("check", help="check that a dataset can be loaded")
    look.add_argument("name", help="as in specs: mnist, registered:NAME, parity:d=20,k=3, ...")
    look.add_argument("--in", dest="folder", default=None, metavar="FOLDER", help="the data folder")
    given = parser.parse_args(arguments)
    try:
        if given.command == "fetch":
            fetch(given.name, given.to, given.url)
        else:
            info = check_dataset(given.name, given.folder)
            kind = f"{info.classes} classes" if info.classes else f"targets of {info.target_dim} numbers"
            print(
                f"{info.name}: inputs of {info.input_dim} numbers, {kind}, {info.train_size:,} training and "
                f"{info.test_size:,} test examples"
            )
            if info.note:
                print(info.note)
    except (DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
