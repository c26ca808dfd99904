"""Credentials of the server; new certificates take effect without a restart."""

from __future__ import annotations

import logging
import threading
from typing import Any, Final

import grpc

from ipserver.environment.certificates import CertificateFiles, Certificates
from ipserver.errors import StartupError

_log: Final = logging.getLogger(__name__)


def server_credentials(files: CertificateFiles) -> grpc.ServerCredentials:
    """Credentials from these files, which are read again for new connections when they have changed.

    If changed files are invalid (for example, only one of a pair was replaced), the last valid ones stay in
    use.

    Raises:
        StartupError: The files are invalid.
    """
    newest = _Newest(files)
    changed: Any = newest.changed  # the stubs do not declare None, which means no change
    return grpc.dynamic_ssl_server_credentials(
        _configuration(newest.first), changed, require_client_authentication=files.client_ca is not None
    )


class _Newest:
    """The newest valid certificates. gRPC calls `changed` before each handshake, from several threads."""

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._seen = files.version()
        self.first = files.read()

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """The new configuration; None if the files are unchanged or invalid."""
        with self._lock:
            version = self._files.version()
            if version == self._seen:
                return None
            try:
                certificates = self._files.read()
            except StartupError as error:
                _log.warning("the last certificates stay in use: %s", error)
                return None
            self._seen = version
        _log.info("new certificates are in use; this one expires on %s", certificates.expires.date())
        return _configuration(certificates)


def _configuration(certificates: Certificates) -> grpc.ServerCertificateConfiguration:
    pairs = [(certificates.key, certificates.certificate)]
    return grpc.ssl_server_certificate_configuration(pairs, certificates.client_ca)
