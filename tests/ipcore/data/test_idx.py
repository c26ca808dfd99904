from __future__ import annotations

import gzip
import hashlib
import os
from dataclasses import replace

import numpy as np
import pytest

from ipcore.data import check_dataset, load_dataset
from ipcore.data.idx import FASHION_MNIST, MNIST
from ipcore.data.published import PublishedFile
from ipcore.errors import DataError
from tests.ipcore.data.files import idx_bytes, pack, write_idx


@pytest.fixture
def mnist(tmp_path):
    return write_idx(MNIST, tmp_path)


@pytest.fixture
def fashion(tmp_path):
    return write_idx(FASHION_MNIST, tmp_path)


@pytest.mark.parametrize("published", [MNIST, FASHION_MNIST], ids=lambda source: source.name)
def test_files_are_read_plain_and_gzipped(published, tmp_path):
    source = write_idx(published, tmp_path)
    raw = np.frombuffer((tmp_path / source.name / "train-images-idx3-ubyte").read_bytes()[16:], np.uint8)
    plain = source.load(tmp_path)
    pack(tmp_path / source.name)
    packed = source.load(tmp_path)
    for one, two in ((plain.train, packed.train), (plain.test, packed.test)):
        assert np.array_equal(one.inputs, two.inputs)
        assert np.array_equal(one.labels, two.labels)
    assert plain.digest == packed.digest
    assert plain.train.inputs.shape == (20, 784)
    mean, std = {"mnist": (0.1307, 0.3081), "fashion-mnist": (0.2860, 0.3530)}[source.name]
    assert plain.train.inputs.ravel() == pytest.approx((raw / 255 - mean) / std, abs=1e-6)


def test_the_published_md5_is_of_the_packed_file(fashion, tmp_path):
    assert "train-images-idx3-ubyte" in fashion.check(tmp_path)  # plain: accepted with a warning
    folder = tmp_path / "fashion-mnist"
    plain = {path.name: path.read_bytes() for path in folder.iterdir()}
    pack(folder)
    assert fashion.check(tmp_path) == ""
    for name, content in plain.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=2))
    note = fashion.check(tmp_path)
    assert note.startswith("not verified by checksum: train-images-idx3-ubyte.gz")
    assert "as downloaded" in note


def test_the_packed_form_is_preferred_where_its_checksum_is_published(fashion, tmp_path):
    folder = tmp_path / "fashion-mnist"
    plain = {path.name: path.read_bytes() for path in folder.iterdir()}
    pack(folder)
    for name, content in plain.items():
        (folder / name).write_bytes(content)
    assert fashion.check(tmp_path) == ""


def test_unverified_labels_must_be_as_many_of_each_class_as_published(fashion, tmp_path):
    path = tmp_path / "fashion-mnist/train-labels-idx1-ubyte"
    path.write_bytes(idx_bytes(np.arange(20) % 5))
    with pytest.raises(DataError, match=r"\[4, 4, 4, 4, 4, 0, 0, 0, 0, 0\] examples of the classes, not 2"):
        fashion.check(tmp_path)


def test_a_label_out_of_range_is_named(fashion, tmp_path):
    labels = np.arange(20) % 10
    labels[7] = 10
    (tmp_path / "fashion-mnist/train-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    with pytest.raises(DataError, match="label 10 of example 7 is out of range"):
        fashion.load(tmp_path)


def test_missing_files_are_all_named_with_the_folder(mnist, tmp_path):
    (tmp_path / "mnist/t10k-labels-idx1-ubyte").unlink()
    (tmp_path / "mnist/train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="train-labels-idx1-ubyte, t10k-labels-idx1-ubyte") as caught:
        mnist.check(tmp_path)
    assert str(tmp_path / "mnist") in str(caught.value)
    assert f"fetch mnist --to {tmp_path}" in str(caught.value)


@pytest.mark.parametrize("call", ["load", "check"])
def test_an_altered_file_is_refused(mnist, tmp_path, call):
    path = tmp_path / "mnist/train-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="not the published file"):
        getattr(mnist, call)(tmp_path)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize("call", ["load", "check"])
@pytest.mark.parametrize("damage", [lambda b: b[:50], lambda b: b[:20] + b"xx" + b[22:], lambda b: b""])
def test_a_damaged_gzip_file_is_refused(tmp_path, name, call, damage):
    source = write_idx({"mnist": MNIST, "fashion-mnist": FASHION_MNIST}[name], tmp_path)
    pack(tmp_path / name)
    path = tmp_path / name / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz"):
        getattr(source, call)(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx_bytes(np.zeros((20, 28))), "3 dimensions"),
        (b"\0\0", "not an IDX file"),
        (idx_bytes(np.zeros((20, 28, 28)))[:-1], "cut off"),
        (idx_bytes(np.zeros((5, 28, 28))), "5 images"),
        (bytes((0, 0, 8, 3)) + b"\xff" * 12 + b"\0" * 8, "cut off"),
    ],
)
@pytest.mark.parametrize("published", [MNIST, FASHION_MNIST], ids=lambda source: source.name)
def test_files_with_the_right_checksum_and_the_wrong_form_are_refused(tmp_path, published, content, message):
    source = write_idx(published, tmp_path)
    (tmp_path / source.name / "train-images-idx3-ubyte").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest() if published is MNIST else ""
    file = PublishedFile("train-images-idx3-ubyte", len(content), sha256)
    with pytest.raises(DataError, match=message):
        replace(source, train_inputs=file).load(tmp_path)


def test_more_bytes_than_published_are_not_unpacked(fashion, tmp_path):
    """A small file can unpack to a very large one."""
    path = tmp_path / "fashion-mnist/train-images-idx3-ubyte"
    path.unlink()
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(bytes(10_000_000)))
    with pytest.raises(DataError, match="holds more than the 15,696 bytes"):
        fashion.check(tmp_path)


def test_sizes_and_checksums_are_the_published_ones():
    assert [file.size for file in MNIST.files] == [
        16 + 60_000 * 784,
        8 + 60_000,
        16 + 10_000 * 784,
        8 + 10_000,
    ]
    assert [file.size for file in FASHION_MNIST.files] == [file.size for file in MNIST.files]
    assert all(len(file.sha256) == 64 for file in MNIST.files)
    assert all(len(file.packed_md5) == 32 for file in FASHION_MNIST.files)


@pytest.mark.skipif("IPLAB_DATA" not in os.environ, reason="IPLAB_DATA names no data folder")
def test_the_published_mnist():
    mnist = load_dataset("mnist", os.environ["IPLAB_DATA"])
    assert mnist.train.inputs.shape == (60_000, 784)
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert abs(mnist.train.inputs.mean()) < 1e-3
    assert abs(mnist.train.inputs.std() - 1) < 1e-3
    assert check_dataset("mnist", os.environ["IPLAB_DATA"]).note == ""
