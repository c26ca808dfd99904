"""CIFAR-10 from small files in the published format (no copy of CIFAR-10 is needed)."""

from __future__ import annotations

import hashlib
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from ipcore.data import cifar
from ipcore.data.cifar import ARCHIVE, COLOUR, FOLDER, GREY, luma
from ipcore.errors import DataError
from tests.ipcore.data.files import cifar_batches, cifar_records, write_archive, write_cifar


def test_colour_keeps_the_order_of_channels(tmp_path):
    source = write_cifar(COLOUR, tmp_path)
    data = source.load(tmp_path)
    assert data.train.inputs.shape == (100, 3072)
    assert data.test.inputs.shape == (20, 3072)
    third = cifar_records(seed=2)  # data_batch_3
    assert data.train.labels[40:60].tolist() == third[:, 0].tolist()
    red, green, blue = third[5, 1], third[5, 1 + 1024], third[5, 1 + 2048]
    row = data.train.inputs[45]
    assert row[0] == pytest.approx((red / 255 - 0.4914) / 0.2470, abs=1e-6)
    assert row[1024] == pytest.approx((green / 255 - 0.4822) / 0.2435, abs=1e-6)
    assert row[2048] == pytest.approx((blue / 255 - 0.4465) / 0.2616, abs=1e-6)


def test_grey_is_the_luma(tmp_path):
    data = write_cifar(GREY, tmp_path).load(tmp_path)
    assert data.train.inputs.shape == (100, 1024)
    record = cifar_records(seed=5)[3].astype(float)
    grey = np.rint(0.299 * record[1:1025] + 0.587 * record[1025:2049] + 0.114 * record[2049:])
    expected = (grey / 255 - 0.4809) / 0.2392
    # If the exact value is within 2^-16 of a half, fixed point may round the other way.
    assert np.mean(np.abs(data.test.inputs[3] - expected) > 1e-5) < 0.01


def test_luma_of_pure_colours():
    pixels = np.array([[[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255]]], dtype=np.uint8)
    # 0.299, 0.587, 0.114 of 255 are 76.2, 149.7, 29.1.
    assert luma(pixels).tolist() == [[76, 150, 29, 255]]


def test_luma_is_that_of_pillow():
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (50, 3, 1024)).astype(np.uint8)
    expected = np.asarray(image.fromarray(np.ascontiguousarray(pixels.transpose(0, 2, 1))).convert("L"))
    assert np.array_equal(luma(pixels), expected)


def test_the_constants_of_grey_fit_those_of_colour():
    """The mean is linear: the luma of the three mean channels is the mean grey."""
    means = [mean for mean, _ in cifar.COLOUR_NORMALIZATION]
    assert np.dot([0.299, 0.587, 0.114], means) == pytest.approx(cifar.GREY_NORMALIZATION[0], abs=5e-5)


def test_the_archive_gives_the_same_as_its_files(tmp_path):
    unpacked = write_cifar(COLOUR, tmp_path / "a")
    packed = write_archive(COLOUR, tmp_path / "b", cifar_batches())
    assert unpacked.load(tmp_path / "a").digest == packed.load(tmp_path / "b").digest
    assert packed.check(tmp_path / "b") == ""
    assert ARCHIVE in unpacked.check(tmp_path / "a")  # a warning that they are not verified
    assert not (tmp_path / "b" / "cifar10" / FOLDER).exists()  # nothing was unpacked to disk


def test_an_archive_without_the_published_checksum_is_not_opened(tmp_path):
    source = replace(write_archive(COLOUR, tmp_path, cifar_batches()), archive_md5="0" * 32)
    for call in (source.check, source.load):
        with pytest.raises(DataError, match="not the published archive"):
            call(tmp_path)


def test_members_that_are_no_plain_files_are_refused(tmp_path):
    link = tarfile.TarInfo(f"{FOLDER}/test_batch.bin")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    source = write_archive(COLOUR, tmp_path, {**cifar_batches(), "test_batch.bin": link})
    with pytest.raises(DataError, match=r"test_batch\.bin is not a file of"):
        source.load(tmp_path)


def test_members_elsewhere_do_not_count(tmp_path):
    members = cifar_batches()
    members["../test_batch.bin"] = members.pop("test_batch.bin")
    source = write_archive(COLOUR, tmp_path, members)
    with pytest.raises(DataError, match=r"lacks test_batch\.bin"):
        source.load(tmp_path)
    assert [path.name for path in (tmp_path / "cifar10").iterdir()] == [ARCHIVE]


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b + b"\0", lambda b: b""])
def test_a_file_of_another_size_is_refused(tmp_path, damage):
    source = write_cifar(COLOUR, tmp_path)
    path = tmp_path / "cifar10" / FOLDER / "data_batch_2.bin"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"data_batch_2.bin is cut off .* not 61,460 \(20 records"):
        source.check(tmp_path)


def test_a_label_out_of_range_is_refused(tmp_path):
    source = write_cifar(COLOUR, tmp_path)
    path = tmp_path / "cifar10" / FOLDER / "test_batch.bin"
    records = bytearray(path.read_bytes())
    records[3 * 3073] = 200
    path.write_bytes(records)
    with pytest.raises(DataError, match="label 200 of example 3 is out of range"):
        source.load(tmp_path)


def test_another_number_of_each_class_is_refused(tmp_path):
    source = write_cifar(COLOUR, tmp_path)
    path = tmp_path / "cifar10" / FOLDER / "test_batch.bin"
    records = np.frombuffer(path.read_bytes(), np.uint8).reshape(20, 3073).copy()
    records[:, 0] = np.maximum(records[:, 0], 1)
    path.write_bytes(records.tobytes())
    with pytest.raises(DataError, match=r"\[0, 4, 2, 2, 2, 2, 2, 2, 2, 2\] examples .* not 2 of each"):
        source.check(tmp_path)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match=r"lacks cifar-10-binary.tar.gz, or data_batch_1.bin.*no such folder"):
        GREY.check(tmp_path)
    source = write_cifar(GREY, tmp_path)
    (tmp_path / "cifar10" / FOLDER / "data_batch_4.bin").unlink()
    with pytest.raises(DataError, match=r"or data_batch_4\.bin in"):
        source.check(tmp_path)


def test_a_truncated_archive_is_refused_even_with_its_checksum(tmp_path):
    source = write_archive(COLOUR, tmp_path, cifar_batches())
    path = tmp_path / "cifar10" / ARCHIVE
    path.write_bytes(path.read_bytes()[:-1000])
    source = replace(source, archive_md5=hashlib.md5(path.read_bytes()).hexdigest())
    with pytest.raises(DataError, match="cannot be read"):
        source.load(tmp_path)
