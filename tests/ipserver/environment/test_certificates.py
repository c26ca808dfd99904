"""Which files TLS takes, and what is wrong with them."""

import pytest
import trustme

from ipserver.environment.certificates import certificate_files
from ipserver.environment.settings import load_settings
from ipserver.errors import StartupError
from tests.ipserver.tls import write_ca, write_certificate


@pytest.fixture
def folder(tmp_path):
    write_certificate(trustme.CA(), tmp_path)
    return tmp_path


def test_a_folder_holds_all_files_and_single_files_take_their_place(folder, tmp_path):
    files = certificate_files(folder, None, None, None)
    assert (files.certificate, files.key, files.client_ca) == (folder / "tls.crt", folder / "tls.key", None)
    write_ca(trustme.CA(), folder / "client-ca.crt")
    assert certificate_files(folder, None, None, None).client_ca == folder / "client-ca.crt"
    other = tmp_path / "other.pem"
    assert certificate_files(folder, other, None, None).certificate == other
    assert certificate_files(None, None, None, None) is None


def test_settings_name_them(folder, monkeypatch):
    monkeypatch.setenv("IPLAB_TLS", str(folder))
    assert load_settings().certificates.read().client_ca is None
    monkeypatch.delenv("IPLAB_TLS")
    monkeypatch.setenv("IPLAB_TLS_CERTIFICATE", str(folder / "tls.crt"))
    with pytest.raises(StartupError, match="IPLAB_TLS_KEY belong together"):
        load_settings()


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("tls.crt", b"no certificate", "tls.crt holds no certificate"),
        ("tls.key", b"no key", "tls.key is not an unencrypted private key"),
        ("tls.key", trustme.CA().issue_cert("x.org").private_key_pem.bytes(), "tls.key does not belong to"),
        ("tls.key", None, "cannot read .*tls.key: No such file"),
        ("client-ca.crt", b"-", "client-ca.crt holds no certificate"),
    ],
)
def test_wrong_files_are_named(folder, file, content, said):
    (folder / file).unlink(missing_ok=True)
    if content is not None:
        (folder / file).write_bytes(content)
    with pytest.raises(StartupError, match=said):
        certificate_files(folder, None, None, None).read()
