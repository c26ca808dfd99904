from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from ipcore.catalogue import DATASETS
from ipcore.data import Dataset, Split, check_dataset, files_signature, load_dataset
from ipcore.data.loading import PUBLISHED
from ipcore.errors import DataError


def test_every_dataset_of_the_catalogue_has_a_source():
    assert {*PUBLISHED, "digits"} == set(DATASETS)


@pytest.mark.parametrize(
    "name",
    [
        "function:n=30,test=20",
        "single-index:d=4,n=30,test=20",
        "parity:d=4,n=30,test=20",
        "multi-index:d=4,n=30,test=20,labels=sign",
    ],
)
def test_members_are_as_their_names_say(name):
    info, data = check_dataset(name), load_dataset(name)
    assert data.name == info.name
    assert (len(data.train), len(data.test)) == (info.train_size, info.test_size) == (30, 20)
    assert (data.input_dim, data.classes, data.target_dim) == (info.input_dim, info.classes, info.target_dim)
    assert set(np.unique(data.train.labels)) <= {0, 1} or not info.classes


def test_folders_and_names_are_explained():
    with pytest.raises(DataError, match="IPLAB_DATA"):
        load_dataset("mnist")
    for name in PUBLISHED:
        with pytest.raises(DataError, match="no such folder"):
            check_dataset(name, "/nowhere")
    for call in (load_dataset, check_dataset):
        with pytest.raises(DataError, match="did you mean 'digits'"):
            call("digit")
        with pytest.raises(DataError, match="flip=2 is not allowed"):
            call("parity:flip=2")


def test_checking_data_imports_neither_torch_nor_sklearn():
    code = (
        "import sys; from ipcore.data import check_dataset; check_dataset('digits'); "
        "check_dataset('parity'); "
        "sys.exit(bool({'torch', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_signatures_follow_files(tmp_path):
    assert files_signature("mnist", None) == files_signature("mnist", tmp_path) == ()
    assert files_signature("digits", tmp_path) == files_signature("parity", tmp_path) == ()
    for name, path in (
        ("cifar10-grey", "cifar10/cifar-10-batches-bin/x.bin"),
        ("registered:a", "registered/a.npz"),
    ):
        file = tmp_path / path
        file.parent.mkdir(parents=True)
        file.write_bytes(b"1")
        first = files_signature(name, tmp_path)
        assert len(first) == 1
        file.write_bytes(b"22")
        second = files_signature(name, tmp_path)
        os.utime(file, ns=(1, 1))
        assert len({first, second, files_signature(name, tmp_path)}) == 3
    (tmp_path / "registered/b.npz").write_bytes(b"another file")
    assert len(files_signature("registered:a", tmp_path)) == 1


def test_the_digest_is_of_values_shapes_and_types():
    def dataset(inputs, labels):
        split = Split(np.asarray(inputs, dtype=np.float32), np.asarray(labels))
        return Dataset("x", split, split, 2).digest

    base = dataset([[1, 2], [3, 4]], [0, 1])
    assert base == dataset([[1, 2], [3, 4]], [0, 1])
    others = {
        dataset([[1, 2], [3, 5]], [0, 1]),
        dataset([[1, 2], [3, 4]], [1, 0]),
        dataset([[1, 2, 3, 4]], [0, 1]),
        dataset([[1, 2], [3, 4]], np.array([0, 1], dtype=np.float32)),
    }
    assert base not in others and len(others) == 4
