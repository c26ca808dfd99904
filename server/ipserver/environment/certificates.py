"""Certificate, key and client CA of the API, read from files that may be replaced while it runs."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ipserver.errors import StartupError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

# Names in a folder of secrets; the first two are those of a Kubernetes secret of type kubernetes.io/tls.
_CERTIFICATE: Final = "tls.crt"
_KEY: Final = "tls.key"
_CLIENT_CA: Final = "client-ca.crt"


@dataclass(frozen=True, slots=True)
class Certificates:
    """The contents of the files, in PEM.

    Attributes:
        certificate: The server's certificate, followed by the chain to its CA.
        key: The server's private key.
        client_ca: Certificates of the CAs that sign clients' certificates; None if clients need none.
        expires: When the server's certificate expires.
    """

    certificate: bytes
    key: bytes
    client_ca: bytes | None
    expires: datetime.datetime


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Paths of the files.

    Attributes:
        certificate: The certificate chain.
        key: The private key.
        client_ca: CAs of clients; None if clients need no certificate.
    """

    certificate: Path
    key: Path
    client_ca: Path | None

    def version(self) -> tuple[tuple[int, int, int] | None, ...]:
        """Changes whenever a file is replaced or written."""
        return tuple(_version(path) for path in (self.certificate, self.key, self.client_ca) if path)

    def read(self) -> Certificates:
        """Read and check the files.

        Raises:
            StartupError: A file cannot be read or is not PEM, or the key does not belong to the certificate.
        """
        # Imported here, because every command reads settings but few use TLS.
        from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
            Encoding,
            PublicFormat,
            load_pem_private_key,
        )

        certificate, key = _read(self.certificate), _read(self.key)
        client_ca = _read(self.client_ca) if self.client_ca else None
        chain = _certificates(self.certificate, certificate)
        if client_ca is not None:
            _certificates(self.client_ca, client_ca)
        try:
            public = load_pem_private_key(key, None).public_key()
        except (ValueError, TypeError) as error:  # TypeError: it is encrypted
            raise StartupError(
                f"IPLAB_TLS_KEY: {self.key} is not an unencrypted private key in PEM: {error}"
            ) from None
        form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        if public.public_bytes(*form) != chain[0].public_key().public_bytes(*form):
            raise StartupError(
                f"IPLAB_TLS_KEY: {self.key} does not belong to the first certificate in {self.certificate}"
            )
        return Certificates(certificate, key, client_ca, chain[0].not_valid_after_utc)


def certificate_files(
    folder: Path | None, certificate: Path | None, key: Path | None, client_ca: Path | None
) -> CertificateFiles | None:
    """The files that the settings name; None without TLS.

    Args:
        folder: Folder with tls.crt and tls.key, and client-ca.crt if clients need certificates.
        certificate: File that replaces tls.crt.
        key: File that replaces tls.key.
        client_ca: File that replaces client-ca.crt.

    Raises:
        ValueError: A certificate without a key, a key without a certificate, or a CA without both.
    """
    if folder is not None:
        certificate, key = certificate or folder / _CERTIFICATE, key or folder / _KEY
        if client_ca is None and (folder / _CLIENT_CA).exists():
            client_ca = folder / _CLIENT_CA
    if certificate and key:
        return CertificateFiles(certificate, key, client_ca)
    if certificate or key or client_ca:
        raise ValueError(
            "IPLAB_TLS_CERTIFICATE and IPLAB_TLS_KEY belong together, and IPLAB_TLS_CLIENT_CA needs both: "
            f"set them, or IPLAB_TLS to a folder with {_CERTIFICATE} and {_KEY}"
        )
    return None


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartupError(f"IPLAB_TLS: cannot read {path}: {error.strerror}") from None


def _certificates(path: Path | None, text: bytes) -> list[Certificate]:
    from cryptography import x509  # noqa: PLC0415 - as above

    try:
        return x509.load_pem_x509_certificates(text)
    except ValueError:
        raise StartupError(f"IPLAB_TLS: {path} holds no certificate in PEM") from None
