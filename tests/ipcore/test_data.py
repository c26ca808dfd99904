from __future__ import annotations

import gzip
import hashlib
import os
import struct
import subprocess
import sys

import numpy as np
import pytest

from ipcore import data
from ipcore.catalogue import DATASETS
from ipcore.data import IdxFile, check_dataset, load_dataset
from ipcore.errors import DataError


def idx(values: np.ndarray) -> bytes:
    header = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.astype(np.uint8).tobytes()


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A data folder with small files of MNIST's form, and their checksums in place of the published ones."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "mnist"
    folder.mkdir()
    files = {}
    for part, n in (("train", 6), ("test", 4)):
        arrays = {"inputs": rng.integers(0, 256, (n, 28, 28)), "labels": rng.integers(0, 10, n)}
        for kind, values in arrays.items():
            name, content = data.MNIST_FILES[f"{part}_{kind}"].name, idx(values)
            (folder / name).write_bytes(content)
            files[f"{part}_{kind}"] = IdxFile(name, hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(data, "MNIST_FILES", files)
    return tmp_path


def pack_again(folder, name):
    path = folder / "mnist" / name
    (folder / "mnist" / f"{name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


def test_digits_are_as_the_catalogue_says(digits):
    info = DATASETS["digits"]
    assert digits.train.inputs.shape == (info.train_size, info.input_dim)
    assert digits.test.inputs.shape == (info.test_size, info.input_dim)
    assert digits.classes == info.classes
    assert digits.train.inputs.dtype == np.float32
    assert abs(digits.train.inputs.mean()) < 1e-3
    assert abs(digits.train.inputs.std() - 1) < 1e-3


def test_digits_split_is_disjoint_and_complete(digits):
    rows = np.concatenate([digits.train.inputs, digits.test.inputs])
    from sklearn.datasets import load_digits

    pixels = load_digits().data
    assert sorted(map(tuple, np.rint((rows * 0.3754 + 0.3043) * 16))) == sorted(map(tuple, pixels))


def test_idx_files_are_read_plain_and_gzipped(made):
    plain = load_dataset("mnist", made)
    for file in data.MNIST_FILES.values():
        pack_again(made, file.name)
    packed = load_dataset("mnist", made)
    for one, two in ((plain.train, packed.train), (plain.test, packed.test)):
        assert np.array_equal(one.inputs, two.inputs)
        assert np.array_equal(one.labels, two.labels)
    assert plain.train.inputs.shape == (6, 784)
    raw = np.frombuffer(
        gzip.decompress((made / "mnist/train-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8
    )
    assert plain.train.inputs.ravel() == pytest.approx((raw / 255 - 0.1307) / 0.3081, abs=1e-6)
    check_dataset("mnist", made)


def test_missing_files_are_all_named_with_the_folder(made):
    (made / "mnist/t10k-labels-idx1-ubyte").unlink()
    (made / "mnist/train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="train-labels-idx1-ubyte, t10k-labels-idx1-ubyte") as caught:
        check_dataset("mnist", made)
    assert str(made / "mnist") in str(caught.value)


@pytest.mark.parametrize("load", [load_dataset, check_dataset])
def test_an_altered_file_is_refused(made, load):
    path = made / "mnist/train-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="not the published file"):
        load("mnist", made)


@pytest.mark.parametrize("load", [load_dataset, check_dataset])
@pytest.mark.parametrize("damage", [lambda b: b[:50], lambda b: b[:20] + b"xx" + b[22:], lambda b: b""])
def test_a_damaged_gzip_file_is_refused(made, load, damage):
    pack_again(made, "train-images-idx3-ubyte")
    path = made / "mnist/train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz"):
        load("mnist", made)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            idx(
                np.zeros((6, 28)),
            ),
            "3 dimensions",
        ),
        (b"\0\0", "not an IDX file"),
        (idx(np.zeros((6, 28, 28)))[:-1], "cut off"),
        (idx(np.zeros((5, 28, 28))), "5 images"),
    ],
)
def test_files_with_the_right_checksum_and_the_wrong_form_are_refused(made, content, message):
    (made / "mnist/train-images-idx3-ubyte").write_bytes(content)
    data.MNIST_FILES["train_inputs"] = IdxFile("train-images-idx3-ubyte", hashlib.sha256(content).hexdigest())
    with pytest.raises(DataError, match=message):
        load_dataset("mnist", made)


def test_folders_and_names_are_explained():
    with pytest.raises(DataError, match="IPLAB_DATA"):
        load_dataset("mnist")
    with pytest.raises(DataError, match="no such folder"):
        check_dataset("mnist", "/nowhere")
    for call in (load_dataset, check_dataset):
        with pytest.raises(DataError, match="did you mean 'digits'"):
            call("digit")


def test_checking_data_imports_neither_torch_nor_sklearn():
    code = (
        "import sys; from ipcore.data import check_dataset; check_dataset('digits'); "
        "sys.exit(bool({'torch', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif("IPLAB_DATA" not in os.environ, reason="IPLAB_DATA names no data folder")
def test_the_published_mnist():
    mnist = load_dataset("mnist", os.environ["IPLAB_DATA"])
    assert mnist.train.inputs.shape == (60_000, 784)
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert abs(mnist.train.inputs.mean()) < 1e-3
    assert abs(mnist.train.inputs.std() - 1) < 1e-3
