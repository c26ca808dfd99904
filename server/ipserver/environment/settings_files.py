"""Reads settings from files: a TOML file and a folder of secrets."""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ipserver.errors import StartupError

_log = logging.getLogger(__name__)
# UTF-8 in any locale; editors on Windows write a byte order mark.
_ENCODING = "utf-8-sig"


def read_file(name: str, known: Collection[str]) -> dict[str, Any]:
    """The settings in a TOML file.

    Args:
        name: The file; "" for none.
        known: Names of settings.

    Raises:
        StartupError: The file cannot be read, is not TOML, or has a key that is not a setting.
    """
    if not name:
        return {}
    try:
        values = tomllib.loads(Path(name).expanduser().read_text(encoding=_ENCODING))
    except OSError as error:
        raise StartupError(f"IPLAB_SETTINGS: cannot read {name}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StartupError(f"IPLAB_SETTINGS: {name} is not TOML: {error}") from None
    unknown = sorted(values.keys() - set(known))
    if unknown:
        raise StartupError(
            f"IPLAB_SETTINGS: {name} has unknown settings: {', '.join(map(repr, unknown))}; "
            "`ipserver settings` lists them (in the file without IPLAB_, in lower case)"
        )
    return values


def read_secrets(name: str, known: Collection[str]) -> dict[str, str]:
    """The settings in a folder of secrets, one file each.

    Files not named as a setting are ignored with a warning: several programs may share a folder. Names that
    start with a dot belong to Kubernetes and are ignored silently.

    Args:
        name: The folder; "" for none.
        known: Names of settings.

    Raises:
        StartupError: The folder or a setting's file cannot be read, or the file is empty.
    """
    if not name:
        return {}
    values = {}
    try:
        for path in sorted(Path(name).expanduser().iterdir()):
            if path.name in known:
                values[path.name] = _read_secret(path)
            elif not path.name.startswith("."):
                _log.warning("IPLAB_SECRETS: %s is not used: there is no setting %r", path, path.name)
    except OSError as error:
        raise StartupError(f"IPLAB_SECRETS: cannot read the folder {name}: {error.strerror}") from None
    return values


def _read_secret(path: Path) -> str:
    try:
        value = path.read_text(encoding=_ENCODING).strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise StartupError(f"IPLAB_SECRETS: cannot read {path}: {why}") from None
    if not value:
        raise StartupError(f"IPLAB_SECRETS: {path} is empty; write the value into it, or remove the file")
    return value
