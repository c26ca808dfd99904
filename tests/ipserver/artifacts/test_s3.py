"""Behaviour of S3 only: keys, buckets, outages."""

import pickle
import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from ipserver.artifacts import open_artifacts
from ipserver.artifacts import s3 as module
from ipserver.environment.artifact_root import ArtifactRoot
from ipserver.errors import ArtifactDamaged, ArtifactsUnavailable
from tests.ipserver.s3 import KEY, SECRET


@pytest.fixture
def nobody_listens():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_files_lie_below_the_prefix(s3):
    root = s3.root("/deep/below")
    open_artifacts(root).put("e/file", lambda path: path.write_text("x"))

    assert s3.keys(root) == ["deep/below/e/file"]


def test_a_bucket_without_a_prefix(s3):
    root = s3.root("")
    files = open_artifacts(root)
    files.put("e/file", lambda path: path.write_text("x"))

    assert s3.keys(root) == ["e/file"]
    files.check(write=True)
    files.delete_folder("e")
    assert s3.keys(root) == []


def test_what_is_read_is_a_copy_that_goes(s3):
    files = open_artifacts(s3.root())
    stored = files.put("e/final.safetensors", lambda path: path.write_text("x"))

    with files.reading("e/final.safetensors", stored.sha256) as path:
        assert path.name == "final.safetensors"
        assert path.read_text() == "x"
    assert not path.parent.exists()


def test_folders_of_more_files_than_one_request_deletes(s3, monkeypatch):
    monkeypatch.setattr(module, "_DELETED_AT_ONCE", 2)
    root = s3.root()
    files = open_artifacts(root)
    for number in range(5):
        files.put(f"e/{number}", lambda path: path.write_text("x"))

    files.delete_folder("e")

    assert s3.keys(root) == []


def test_a_wrong_bucket_is_named(s3):
    with pytest.raises(ArtifactsUnavailable, match="there is no bucket 'nobodys-bucket'"):
        open_artifacts(replace(s3.root(), url="s3://nobodys-bucket/lab")).check(write=False)


def test_an_endpoint_where_nobody_listens_is_named(s3, nobody_listens):
    root = replace(s3.root(), endpoint_url=nobody_listens)

    with pytest.raises(ArtifactsUnavailable, match=rf"at {nobody_listens}.*Could not connect"):
        open_artifacts(root).check(write=False)


def test_an_outage_is_no_damage(s3, nobody_listens, monkeypatch):
    monkeypatch.setattr(module, "_ATTEMPTS", 1)
    files = open_artifacts(replace(s3.root(), endpoint_url=nobody_listens))

    for call in (
        lambda: files.size("e/file"),
        lambda: list(files.chunks("e/file")),
        lambda: files.put("e/file", lambda path: path.write_text("x")),
        lambda: files.delete(["e/file"]),
        lambda: files.delete_folder("e"),
        lambda: files.reading("e/file", "0" * 64).__enter__(),
    ):
        with pytest.raises(ArtifactsUnavailable, match="Could not connect"):
            call()


@contextmanager
def answering(reply):
    """An endpoint that answers every request with `reply`, and its number of requests."""
    requests = []

    def answer(connection):
        with connection, suppress(OSError):
            while data := connection.recv(65536):
                requests.append(data)
                head, blank, body = reply.partition(b"\r\n\r\n")
                connection.sendall(head + blank + (b"" if data.startswith(b"HEAD") else body))
                if reply:
                    return

    def serve():
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", requests
        server.shutdown(socket.SHUT_RDWR)


def test_a_store_that_never_answers_is_not_waited_for_without_bound(monkeypatch):
    monkeypatch.setattr(module, "_ATTEMPTS", 1)
    monkeypatch.setattr(module, "_READ_SECONDS", 0.2)
    monkeypatch.setattr(module, "_CHECK_SECONDS", 0.3)
    monkeypatch.setattr(module, "_PUT_SECONDS", 0.6)
    with answering(b"") as (endpoint, requests):
        files = open_artifacts(ArtifactRoot("s3://bucket/lab", endpoint, "us-east-1", KEY, SECRET))

        with pytest.raises(ArtifactsUnavailable, match="Read timeout"):
            files.check(write=True)
        assert len(requests) == 1
        with pytest.raises(ArtifactsUnavailable, match="Read timeout"):
            files.size("e/file")
        assert len(requests) == 1 + 2
        with pytest.raises(
            ArtifactsUnavailable, match="cannot be written: TimeoutError: not done within 1 s"
        ):
            files.put("e/file", lambda path: path.write_text("x"))


def test_an_answer_that_breaks_off_is_an_outage(monkeypatch):
    monkeypatch.setattr(module, "_ATTEMPTS", 1)
    half = b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\nETag: "x"\r\n\r\nhalf'
    with answering(half) as (endpoint, requests):
        files = open_artifacts(ArtifactRoot("s3://bucket/lab", endpoint, "us-east-1", KEY, SECRET))

        with pytest.raises(ArtifactsUnavailable, match="not completed"), files.reading("e/file", "0" * 64):
            pass
        assert len(requests) == 2
        with pytest.raises(ArtifactsUnavailable, match="not completed"):
            list(files.chunks("e/file"))


def test_no_credentials_at_all(s3):
    root = replace(s3.root(), access_key_id="", secret_access_key="")

    with pytest.raises(ArtifactsUnavailable, match="no credentials; set IPLAB_S3_ACCESS_KEY_ID"):
        open_artifacts(root).check(write=False)


def test_keys_that_are_refused(s3):
    root = s3.root()
    s3.refuse_everybody(refuse=True)
    try:
        with pytest.raises(ArtifactsUnavailable, match="PermissionError") as caught:
            open_artifacts(root).check(write=True)
    finally:
        s3.refuse_everybody(refuse=False)
    assert SECRET not in str(caught.value)


def test_an_object_that_was_replaced_is_damage(s3):
    root = s3.root()
    files = open_artifacts(root)
    stored = files.put("e/file", lambda path: path.write_text("what was committed"))
    bucket = root.url.split("/")[2]
    s3.client.put_object(Bucket=bucket, Key="lab/e/file", Body=b"what was committeD")

    with pytest.raises(ArtifactDamaged, match="recorded checksum"), files.reading("e/file", stored.sha256):
        pass


def test_keys_are_never_shown(s3):
    root = s3.root()

    for text in (repr(root), str(root), f"{root}"):
        assert KEY not in text
        assert SECRET not in text
    # Other processes do get them.
    assert pickle.loads(pickle.dumps(root)) == root


def test_the_temporary_folder_is_left_clean(s3, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    files = open_artifacts(s3.root())

    stored = files.put("e/file", lambda path: path.write_text("x"))
    with pytest.raises(OSError, match="full"):
        files.put("e/file", _full)
    with files.reading("e/file", stored.sha256):
        assert len(list(Path(tmp_path).iterdir())) == 1

    assert list(Path(tmp_path).iterdir()) == []


def _full(path):
    path.write_text("half")
    raise OSError("full")
