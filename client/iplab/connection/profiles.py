"""Access to a service: address, TLS and token, from arguments, variables and a file of profiles.

    # ~/.config/iplab/config.toml (IPLAB_CONFIG names another file)
    default = "lab"

    [profiles.lab]
    address = "iplab.example.org:50051"
    tls_ca = "/etc/ssl/lab-ca.pem"         # or "system"
    token_file = "~/.config/iplab/lab.token"

A profile's token and certificates are sent only to the profile's own address.
"""

from __future__ import annotations

import math
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

from iplab.errors import InvalidRequestError, Violation

DEFAULT_ADDRESS: Final = "127.0.0.1:50051"
SYSTEM: Final = "system"


@dataclass(frozen=True, slots=True)
class Profile:
    """Access to a service. The variable IPLAB_<FIELD> overrides a profile's field.

    Attributes:
        address: "host:port".
        tls_ca: File in PEM of the CAs that verify the service's certificate; "system" uses this machine's; ""
            does not encrypt.
        tls_certificate: File of the client's own certificate, if the service asks for one; "" if none.
        tls_key: File of its private key.
        token: Bearer token; "" if none.
        token_file: File with the token; it may be replaced at any time.
        insecure: "1" allows to send the token unencrypted beyond this machine.
        timeout: Seconds that a call with one answer may take, all its retries included.
    """

    address: str = DEFAULT_ADDRESS
    tls_ca: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    token: str = ""
    token_file: str = ""
    insecure: str = ""
    timeout: str = "30"

    @property
    def seconds(self) -> float:
        """The timeout as a number.

        Raises:
            InvalidRequestError: It is not a number above 0.
        """
        try:
            seconds = float(self.timeout)
        except ValueError:
            seconds = math.nan
        if not 0.0 < seconds < math.inf:
            raise _wrong("timeout", f"{self.timeout!r} is not a number of seconds above 0")
        return seconds

    def read_token(self) -> str:
        """The token; "" if there is none. Files are read again on each call.

        Raises:
            InvalidRequestError: Its file cannot be read, is empty, or is readable by other users; or the
                token has characters that no token has.
        """
        if self.token or not self.token_file:
            return _sendable(self.token.strip(), "token")
        path = Path(self.token_file).expanduser()
        _require_private(path, "token_file")
        token = _text(path, "token_file").strip()
        if not token:
            raise _wrong("token_file", f"{path} is empty")
        return _sendable(token, "token_file")


def _sendable(token: str, field: str) -> str:
    """A token that a header can carry; the message does not repeat it."""
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise _wrong(field, "has a space, a line break or a letter beyond ASCII; no token has. Copy it anew")
    return token


_NAMES: Final = tuple(entry.name for entry in fields(Profile))
# IPLAB_TLS_CERTIFICATE and IPLAB_TLS_KEY are also settings of the API. A process that both serves and calls
# sets these for its calls instead; empty for no certificate.
_OWN_TLS: Final = {
    "tls_certificate": "IPLAB_CLIENT_TLS_CERTIFICATE",
    "tls_key": "IPLAB_CLIENT_TLS_KEY",
}


def find_profile(
    address: str | None = None, name: str | None = None, environment: Mapping[str, str] = os.environ
) -> Profile:
    """The profile of a service.

    Args:
        address: "host:port"; None takes it from the profile, IPLAB_ADDRESS or the default.
        name: Name of a profile in the file, which then overrides the variables; None takes it from
            IPLAB_PROFILE or the file's `default`.
        environment: Variables.

    Raises:
        InvalidRequestError: The file is malformed, or has no such profile.
    """
    given = {}
    if name is None:  # an explicit profile overrides variables
        own = any(variable in environment for variable in _OWN_TLS.values())
        variables = {key: f"IPLAB_{key.upper()}" for key in _NAMES} | (_OWN_TLS if own else {})
        given = {key: value for key, variable in variables.items() if (value := environment.get(variable))}
    if address is not None:
        given["address"] = address
    named = name or environment.get("IPLAB_PROFILE", "")
    profile = _stored(named, environment)
    if "address" in given and given["address"] != profile.address:
        profile = Profile()  # a profile's secrets are not sent to another service
    return replace(profile, **given)


def _stored(name: str, environment: Mapping[str, str]) -> Profile:
    path = _file(environment)
    if not path.exists():
        if name:
            raise _wrong("profile", f"there is no {path}, which would hold the profile {name!r}")
        return Profile()
    try:
        content = tomllib.loads(_text(path, "profile"))
    except tomllib.TOMLDecodeError as error:
        raise _wrong("profile", f"{path} is not TOML: {error}") from None
    profiles = content.get("profiles", {})
    name = name or content.get("default", "")
    if not name:
        return Profile()
    if not isinstance(profiles, dict) or not isinstance(profiles.get(name), dict):
        known = ", ".join(profiles) if isinstance(profiles, dict) else ""
        raise _wrong("profile", f"{path} has no profile {name!r}; there are: {known or 'none'}")
    values = profiles[name]
    unknown = sorted(values.keys() - set(_NAMES))
    if unknown or not all(isinstance(value, str) for value in values.values()):
        what = f"has unknown keys: {', '.join(unknown)}" if unknown else "has values that are not text"
        raise _wrong("profile", f"{path}: profile {name!r} {what}; there are: {', '.join(_NAMES)}")
    if values.get("token"):
        _require_private(path, "profile")
    return Profile(**values)


def _file(environment: Mapping[str, str]) -> Path:
    if named := environment.get("IPLAB_CONFIG"):
        return Path(named).expanduser()
    base = environment.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "iplab" / "config.toml"


def _require_private(path: Path, field: str) -> None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return  # reading the file will report the error
    if mode & 0o077:
        raise _wrong(
            field, f"{path} holds a token and is readable by other users (mode {mode:o}); chmod 600 {path}"
        )


def _text(path: Path, field: str) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise _wrong(field, f"cannot read {path}: {why}") from None


def _wrong(field: str, message: str) -> InvalidRequestError:
    return InvalidRequestError([Violation(field, message)])
