"""A CA and certificates for tests."""

from __future__ import annotations

from pathlib import Path

import trustme


def write_certificate(ca: trustme.CA, folder: Path, *names: str) -> None:
    """Write tls.crt and tls.key for these names, or 127.0.0.1, into a folder; the key last."""
    folder.mkdir(exist_ok=True)
    issued = ca.issue_cert(*(names or ("127.0.0.1", "localhost")))
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    (folder / "tls.crt").write_bytes(chain)
    (folder / "tls.key").write_bytes(issued.private_key_pem.bytes())


def write_ca(ca: trustme.CA, path: Path) -> Path:
    """Write the CA's certificate."""
    path.write_bytes(ca.cert_pem.bytes())
    return path
