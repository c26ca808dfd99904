"""Downloads from a web server on loopback with small files in the published formats."""

from __future__ import annotations

import functools
import http.server
import threading

import pytest

from ipcore.data.__main__ import main
from ipcore.data.cifar import ARCHIVE, COLOUR
from ipcore.data.fetch import fetch
from ipcore.data.idx import FASHION_MNIST, MNIST
from ipcore.errors import DataError
from tests.ipcore.data.files import cifar_batches, pack, write_archive, write_idx


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def send_header(self, keyword, value):
        if keyword == "Content-Length" and "short" in self.path:
            value = str(int(value) + 1000)
        super().send_header(keyword, value)


@pytest.fixture
def web(tmp_path):
    """A folder and its address."""
    folder = tmp_path / "web"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("published", [MNIST, FASHION_MNIST], ids=lambda source: source.name)
def test_idx_files_are_fetched_once(web, tmp_path, published):
    folder, address = web
    source = write_idx(published, folder)
    pack(folder / source.name)
    said = []
    get = functools.partial(
        fetch, source.name, tmp_path / "data", f"{address}/{source.name}/",
        sources={source.name: source}, say=said.append,
    )  # fmt: skip
    got = get()
    assert sorted(path.name for path in got.iterdir()) == sorted(
        source.downloads
    )  # nothing temporary is left
    assert source.check(tmp_path / "data") == ""
    assert all("verified" in line and address in line for line in said) and len(said) == 4
    said.clear()
    get()
    assert [line.rpartition(": ")[2] for line in said] == ["there, verified"] * 4


def test_an_archive_is_fetched_and_a_damaged_one_replaced(web, tmp_path):
    folder, address = web
    source = write_archive(COLOUR, folder, cifar_batches())
    there = tmp_path / "data" / "cifar10" / ARCHIVE
    there.parent.mkdir(parents=True)
    there.write_bytes(b"broken off")
    fetch("cifar10", tmp_path / "data", f"{address}/cifar10", sources={"cifar10": source})
    assert len(source.load(tmp_path / "data").train) == 100


@pytest.mark.parametrize("published", [MNIST, FASHION_MNIST], ids=lambda source: source.name)
def test_what_is_not_the_published_file_does_not_stay(web, tmp_path, published):
    folder, address = web
    source = write_idx(published, folder)
    files = folder / source.name
    pack(files, mtime=2)
    if published is MNIST:  # the unpacked content is verified, not the packing
        path = files / "train-images-idx3-ubyte.gz"
        path.write_bytes((files / "t10k-images-idx3-ubyte.gz").read_bytes())
    with pytest.raises(DataError, match="not the published file"):
        fetch(source.name, tmp_path / "data", f"{address}/{source.name}", sources={source.name: source})
    assert list((tmp_path / "data" / source.name).iterdir()) == []


def test_a_missing_file_and_a_dead_server_are_explained(web, tmp_path):
    _, address = web
    with pytest.raises(DataError, match=r"404.*try again, or name a mirror"):
        fetch("mnist", tmp_path / "data", f"{address}/nothing")
    with pytest.raises(DataError, match="cannot be fetched"):
        fetch("mnist", tmp_path / "data", "http://127.0.0.1:9")
    for url in ("file:///etc", "ftp://host/x", "/etc"):
        with pytest.raises(DataError, match="not an http or https address"):
            fetch("mnist", tmp_path / "data", url)
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]


def test_a_download_that_breaks_off_is_noticed(web, tmp_path):
    folder, address = web
    source = write_archive(COLOUR, folder / "short", cifar_batches())
    with pytest.raises(DataError, match=r"broke off|cannot be fetched"):
        fetch("cifar10", tmp_path / "data", f"{address}/short/cifar10", sources={"cifar10": source})
    assert list((tmp_path / "data/cifar10").iterdir()) == []


def test_the_command(tmp_path, capsys):
    assert main(["check", "parity:k=3,d=5"]) == 0
    shown = capsys.readouterr().out
    assert "parity:d=5,k=3,n=4096,test=1024,flip=0,seed=0: inputs of 5 numbers, 2 classes" in shown
    assert main(["fetch", "minst", "--to", str(tmp_path)]) == 1
    assert "did you mean 'mnist'" in capsys.readouterr().err
    assert main(["check", "mnist", "--in", str(tmp_path)]) == 1
    assert "lacks train-images-idx3-ubyte" in capsys.readouterr().err
