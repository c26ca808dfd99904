"""Checks for libraries that are missing, or that a file of the same name on PYTHONPATH would replace.

Without these checks Python shows only the error that the other file raises. This module imports only modules
that no file can replace.
"""

from __future__ import annotations

import os
import sys

_LINE = 80
# All of them are installed as folders, so a file of that name belongs to another program.
CLIENT = ("click", "google", "grpc", "numpy", "rich", "safetensors", "yaml")
SERVER = (
    *CLIENT,
    *("alembic", "mlflow", "pandas", "psycopg", "pyarrow", "pydantic", "pydantic_settings", "ray", "s3fs"),
    *("scipy", "sklearn", "sqlalchemy", "torch"),
)
# Modules of Python that no library loads and whose names other programs use.
_NEVER_LOADED = frozenset({"antigravity", "idlelib", "test", "this", "turtle", "turtledemo"})


def require_installed(program: str, names: tuple[str, ...], extra: str) -> None:
    """End the program with status 2 and a sentence if some of these libraries are not installed.

    Args:
        program: Its name.
        names: Top-level modules.
        extra: The extra of the distribution that installs them.
    """
    from importlib.util import find_spec  # noqa: PLC0415 - only here

    missing = [name for name in names if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"{program}: the service's libraries are not installed; install them:\n"
            f"    pip install 'iplab[{extra}]'    (from a checkout: pip install '.[{extra}]')\n"
            "The client alone, `iplab`, works without them. Missing are:\n"
            f"{_wrapped(missing)}"
        )
        sys.exit(2)


def _wrapped(names: list[str]) -> str:
    """Names between commas in indented lines of at most 80 characters."""
    lines = [""]
    for name in names:
        if len(lines[-1]) + len(name) > _LINE - 6:
            lines.append("")
        lines[-1] += f"{name}, " if name != names[-1] else name
    return "".join(f"    {line.rstrip()}\n" for line in lines)


def require_libraries(program: str, names: tuple[str, ...]) -> None:
    """End the program with status 2 and a sentence if PYTHONPATH would replace one of these libraries.

    The same applies to modules of Python itself, since PYTHONPATH precedes the standard library.
    """
    path = os.environ.get("PYTHONPATH", "")
    if not path or sys.flags.ignore_environment:
        return
    for folder in path.split(os.pathsep):
        if found := _replaced(folder or os.curdir, names):
            sys.stderr.write(
                f"{program}: PYTHONPATH names {folder or 'the working folder'}, where {', '.join(found)} "
                "would be loaded instead of the library;\n"
                "    rename the file, or remove the folder from PYTHONPATH\n"
            )
            sys.exit(2)


def _replaced(folder: str, names: tuple[str, ...]) -> list[str]:
    """Files and packages of a folder that replace libraries or modules of Python."""
    try:
        entries = set(os.listdir(folder))  # noqa: PTH208 - pathlib loads what could be replaced
    except OSError:
        return []
    found = [f"{name}.py" for name in names if f"{name}.py" in entries]
    # In a folder where pip installs, packages are the libraries themselves; only single files replace them.
    if any(entry.endswith((".dist-info", ".egg-info")) for entry in entries):
        return found
    if "os.py" in entries and "site.py" in entries:  # the standard library itself
        return found
    own = sorted(sys.stdlib_module_names - _NEVER_LOADED)
    found += [f"{name}.py" for name in own if f"{name}.py" in entries]
    for name in (*names, *own):
        if name in entries and os.path.isfile(os.path.join(folder, name, "__init__.py")):  # noqa: PTH113, PTH118
            found.append(f"{name}/")
    return found
