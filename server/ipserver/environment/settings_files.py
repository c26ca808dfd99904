"""Reads the files that settings may lie in: one of TOML, and a folder of secrets."""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ipserver.errors import StartupError

_log = logging.getLogger(__name__)


def read_file(name: str, known: Collection[str]) -> dict[str, Any]:
    """The settings in a TOML file.

    Args:
        name: The file; "": there is none.
        known: Names of settings.

    Raises:
        StartupError: It cannot be read, is not TOML, or has what is no setting.
    """
    if not name:
        return {}
    try:
        with Path(name).expanduser().open("rb") as file:
            values = tomllib.load(file)
    except OSError as error:
        raise StartupError(f"IPLAB_SETTINGS: cannot read {name}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StartupError(f"IPLAB_SETTINGS: {name} is not TOML: {error}") from None
    unknown = sorted(values.keys() - set(known))
    if unknown:
        raise StartupError(
            f"IPLAB_SETTINGS: {name} has {', '.join(map(repr, unknown))}, which no setting is called; "
            "`ipserver settings` lists them (in the file without IPLAB_, in small letters)"
        )
    return values


def read_secrets(name: str, known: Collection[str]) -> dict[str, str]:
    """The settings in a folder of secrets, one file each.

    Files that name no setting are left alone, with a warning: a folder may serve several programs. Names with
    a dot in front are Kubernetes' own.

    Args:
        name: The folder; "": there is none.
        known: Names of settings.

    Raises:
        StartupError: The folder or the file of a setting cannot be read, or it is empty. Says which.
    """
    if not name:
        return {}
    values = {}
    try:
        for path in sorted(Path(name).expanduser().iterdir()):
            if path.name in known:
                values[path.name] = _read_secret(path)
            elif not path.name.startswith("."):
                _log.warning("IPLAB_SECRETS: %s is not used: no setting is called %r", path, path.name)
    except OSError as error:
        raise StartupError(f"IPLAB_SECRETS: cannot read the folder {name}: {error.strerror}") from None
    return values


def _read_secret(path: Path) -> str:
    try:
        value = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise StartupError(f"IPLAB_SECRETS: cannot read {path}: {why}") from None
    if not value:
        raise StartupError(f"IPLAB_SECRETS: {path} is empty; write the value into it, or remove the file")
    return value
