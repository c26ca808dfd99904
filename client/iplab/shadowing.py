"""Files on PYTHONPATH that would be loaded in the place of a library of the same name.

Python says of them no more than what the file itself raises. This module imports only what no file can
replace.
"""

from __future__ import annotations

import os
import sys

# All of them are folders where they are installed: a file of that name is another program's.
CLIENT = ("click", "google", "grpc", "numpy", "rich", "safetensors", "yaml")
SERVER = (
    *CLIENT,
    *("alembic", "mlflow", "pandas", "psycopg", "pyarrow", "pydantic", "pydantic_settings", "ray", "s3fs"),
    *("scipy", "sklearn", "sqlalchemy", "torch"),
)


def require_libraries(program: str, names: tuple[str, ...]) -> None:
    """End the program with status 2 and a sentence if files of these names are on PYTHONPATH."""
    path = os.environ.get("PYTHONPATH", "")
    if not path or sys.flags.ignore_environment:
        return
    for folder in path.split(os.pathsep):
        try:
            files = set(os.listdir(folder or os.curdir))  # noqa: PTH208 - pathlib loads what could be replaced
        except OSError:
            continue
        found = [f"{name}.py" for name in names if f"{name}.py" in files]
        if found:
            sys.stderr.write(
                f"{program}: PYTHONPATH names {folder or 'the working folder'}, where {', '.join(found)} "
                "would be loaded in the place of the library; rename the file, or take the folder out of "
                "PYTHONPATH\n"
            )
            sys.exit(2)
