"""TLS and tokens of a connection."""

from __future__ import annotations

from pathlib import Path

import grpc

from iplab.connection import proxies
from iplab.connection.profiles import SYSTEM, Profile
from iplab.errors import InvalidRequestError, Violation


def channel_credentials(profile: Profile) -> grpc.ChannelCredentials | None:
    """Credentials of a channel; None for an unencrypted one.

    Raises:
        InvalidRequestError: A file cannot be read, a certificate lacks a key or a CA, or a token would be
            sent unencrypted beyond this machine.
    """
    if bool(profile.tls_certificate) != bool(profile.tls_key):
        raise _wrong("tls_key", "tls_certificate and tls_key belong together: set both or neither")
    if not profile.tls_ca:
        if profile.tls_certificate:
            raise _wrong("tls_ca", "a client's certificate needs TLS: set tls_ca to a file, or to system")
        if (profile.token or profile.token_file) and not (
            proxies.is_local(profile.address) or profile.insecure == "1"
        ):
            raise _wrong(
                "tls_ca",
                f"the token would be sent to {profile.address} unencrypted; set IPLAB_TLS_CA to the file of "
                "the service's CA or to system, or IPLAB_INSECURE=1 if the network is trusted",
            )
        return None
    roots = None if profile.tls_ca == SYSTEM else _read("tls_ca", profile.tls_ca)
    if not profile.tls_certificate:
        return grpc.ssl_channel_credentials(roots)
    key, chain = _read("tls_key", profile.tls_key), _read("tls_certificate", profile.tls_certificate)
    return grpc.ssl_channel_credentials(roots, key, chain)


def _read(field: str, name: str) -> bytes:
    path = Path(name).expanduser()
    try:
        return path.read_bytes()
    except OSError as error:
        raise _wrong(field, f"cannot read {path}: {error.strerror}") from None


def _wrong(field: str, message: str) -> InvalidRequestError:
    return InvalidRequestError([Violation(field, message)])
