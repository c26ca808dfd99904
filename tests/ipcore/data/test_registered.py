"""Registered files: reading, and errors for unusable files."""

from __future__ import annotations

import pickle
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from ipcore.data import check_dataset, load_dataset
from ipcore.data.registered import load, names
from ipcore.errors import DataError

RNG = np.random.default_rng(0)
CLASSES = {
    "train_inputs": RNG.standard_normal((12, 3)),
    "train_labels": np.arange(12) % 3,
    "test_inputs": RNG.standard_normal((5, 3)),
    "test_labels": np.arange(5) % 3,
}
TARGETS = {
    "train_inputs": CLASSES["train_inputs"].astype(np.float32),
    "train_targets": RNG.standard_normal((12, 2)),
    "test_inputs": CLASSES["test_inputs"].astype(np.float32),
    "test_targets": RNG.standard_normal((5, 2)),
}


def npz(path, arrays):
    np.savez(path, **arrays)


def npz_compressed(path, arrays):
    np.savez_compressed(path, **arrays)


def safetensors(path, arrays):
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


FORMATS = [(npz, "npz"), (npz_compressed, "npz"), (safetensors, "safetensors")]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "registered").mkdir()
    return tmp_path / "registered"


@pytest.fixture(params=FORMATS, ids=lambda item: item[0].__name__)
def write(request, folder):
    """Writes arrays as "registered:mine" in each format."""
    writer, suffix = request.param

    def write(arrays):
        writer(folder / f"mine.{suffix}", arrays)
        return folder.parent

    return write


def refused(root, **settings) -> str:
    with pytest.raises(DataError) as caught:
        load("registered:mine", root, **settings)
    assert str(root / "registered") in str(caught.value)
    return str(caught.value)


def test_classes(write):
    data = load_dataset("registered:mine", write(CLASSES))
    assert np.array_equal(data.train.inputs, CLASSES["train_inputs"].astype(np.float32))
    assert data.train.labels.dtype == np.int64
    assert (data.name, data.classes, data.target_dim, data.input_dim) == ("registered:mine", 3, 0, 3)


def test_targets(write):
    root = write(TARGETS)
    data = load_dataset("registered:mine", root)
    assert np.array_equal(data.test.labels, TARGETS["test_targets"].astype(np.float32))
    assert (data.classes, data.target_dim) == (0, 2)
    info = check_dataset("registered:mine", root)
    assert (info.train_size, info.test_size, info.target_dim) == (12, 5, 2)


def test_the_digest_is_of_the_numbers(folder):
    npz(folder / "a.npz", CLASSES)
    safetensors(folder / "b.safetensors", CLASSES)
    one, two = (load_dataset(f"registered:{name}", folder.parent) for name in "ab")
    assert one.digest == two.digest
    other = {**CLASSES, "test_labels": CLASSES["test_labels"][::-1]}
    npz(folder / "a.npz", other)
    assert load_dataset("registered:a", folder.parent).digest != two.digest


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float16])
def test_inputs_of_other_types_are_used_as_they_are(write, dtype):
    inputs = np.arange(36).reshape(12, 3).astype(dtype)
    data = load_dataset("registered:mine", write({**CLASSES, "train_inputs": inputs}))
    assert data.train.inputs.tolist() == np.arange(36.0).reshape(12, 3).tolist()


BAD = [
    ({"train_inputs": np.zeros((12, 3, 1))}, ["train_inputs has shape (12, 3, 1), wanted is (n, d)"]),
    ({"train_inputs": np.zeros(12)}, ["train_inputs has shape (12,)"]),
    ({"test_inputs": np.zeros((5, 4))}, ["test_inputs has shape (5, 4)", "must be 3 as in train_inputs"]),
    ({"test_inputs": np.zeros((0, 3))}, ["test_inputs has shape (0, 3)"]),
    ({"train_labels": np.zeros(11, int)}, ["train_labels has shape (11,), wanted is (12,)"]),
    ({"train_labels": np.zeros((12, 1), int)}, ["train_labels has shape (12, 1), wanted is (12,)"]),
    ({"train_labels": np.zeros(12)}, ["train_labels has dtype float64, wanted are integers"]),
    ({"test_labels": np.array([0, 1, 2, 3, 0])}, ["test_labels has 3 at [3]", "classes 0 .. 2"]),
    ({"test_labels": np.array([0, -1, 2, 1, 0])}, ["test_labels has the negative label -1 at [1]"]),
    ({"train_labels": np.arange(12) % 3 + 1}, ["train_labels goes up to 3 but lacks 0"]),
    ({"train_labels": np.arange(12) % 3 * 2}, ["train_labels goes up to 4 but lacks 1, 3"]),
    ({"train_labels": np.full(12, 2**62)}, [f"goes up to {2**62} in 12 examples"]),
    ({"train_labels": np.zeros(12, int), "test_labels": np.zeros(5, int)}, ["one class only"]),
    ({"train_inputs": np.where(np.eye(12, 3) > 0, np.nan, 1.0)}, ["3 values", "nan at [0, 0]"]),
    ({"train_inputs": np.full((12, 3), 1e200)}, ["train_inputs has 36 values", "1e+200 at [0, 0]"]),
    ({"train_labels": None}, ["it lacks train_labels (it has test_inputs, test_labels, train_inputs)"]),
    ({"train_label": np.zeros(3)}, ["'train_label' is not an array of a dataset"]),
    ({"train_targets": np.zeros((12, 1))}, ["labels and targets", "lacks test_targets"]),
    (
        {"train_inputs": np.zeros(3), "train_labels": np.zeros(3), "x": np.zeros(1)},
        ["train_inputs has shape (3,)", "train_labels has dtype float64", "'x' is not"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "parts"), BAD, ids=[" ".join(change) for change, _ in BAD])
def test_wrong_arrays_are_named_with_what_was_found(write, change, parts):
    arrays = {name: array for name, array in {**CLASSES, **change}.items() if array is not None}
    message = refused(write(arrays))
    for part in parts:
        assert part in message


BAD_TARGETS = [
    ({"train_targets": np.zeros((12, 2), int)}, "train_targets has dtype int64, wanted are floating-point"),
    ({"train_targets": np.zeros(12)}, "train_targets has shape (12,), wanted is (12, k)"),
    ({"test_targets": np.zeros((5, 3))}, "must be 2 as in train_targets"),
    ({"test_targets": np.full((5, 2), np.inf)}, "test_targets has 10 values that are not finite"),
]


@pytest.mark.parametrize(("change", "part"), BAD_TARGETS, ids=[part[:20] for _, part in BAD_TARGETS])
def test_wrong_targets_are_named(write, change, part):
    assert part in refused(write({**TARGETS, **change}))


def test_other_dtypes_are_refused(folder):
    npz(folder / "mine.npz", {**CLASSES, "train_inputs": np.zeros((12, 3), complex)})
    assert "train_inputs has dtype complex128" in refused(folder.parent)
    npz(folder / "mine.npz", {**CLASSES, "train_labels": np.zeros(12, bool)})
    assert "train_labels has dtype bool" in refused(folder.parent)


def test_nothing_is_unpickled(folder, tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    np.savez(folder / "mine.npz", **{**CLASSES, "train_labels": np.array([Trap()] * 12)})
    assert "train_labels has dtype object" in refused(folder.parent)
    with zipfile.ZipFile(folder / "mine.npz", "w") as archive:
        archive.writestr("train_inputs.npy", pickle.dumps(Trap()))
    assert "is damaged or not a npz file" in refused(folder.parent)
    assert not (tmp_path / "sprung").exists()


def test_sizes_are_refused_before_anything_is_read(write):
    # 12*3 and 5*3 doubles, 12 and 5 long integers.
    size = 8 * (36 + 15 + 12 + 5)
    root = write(CLASSES)
    load("registered:mine", root, largest_bytes=size)
    assert f"its arrays take {size} bytes; at most {size - 1} are allowed" in refused(
        root, largest_bytes=size - 1
    )


def test_a_header_that_announces_too_much_is_refused(folder):
    """The declared array of 8 TB is never allocated: 10^12 doubles, 5*3 more, 12 and 5 long integers."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }"
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 100
    np.savez(folder / "mine.npz", **{k: v for k, v in CLASSES.items() if k != "train_inputs"})
    with zipfile.ZipFile(folder / "mine.npz", "a") as archive:
        archive.writestr("train_inputs.npy", content)
    assert "its arrays take 8,000,000,000,256 bytes" in refused(folder.parent)


@pytest.mark.parametrize("damage", [lambda b: b[:-20], lambda b: b[:30], lambda b: b"", lambda b: b"x" * 500])
def test_damaged_files_are_refused(write, folder, damage):
    write(CLASSES)
    path = next(folder.iterdir())
    path.write_bytes(damage(path.read_bytes()))
    assert "is damaged or not a" in refused(folder.parent)


def test_a_flipped_bit_in_a_npz_file_is_found(folder):
    npz(folder / "mine.npz", CLASSES)
    content = bytearray((folder / "mine.npz").read_bytes())
    content[content.index(CLASSES["train_inputs"].tobytes()) + 3] ^= 1
    (folder / "mine.npz").write_bytes(content)
    assert "CRC" in refused(folder.parent)


def test_links_that_leave_the_folder_are_refused(folder, tmp_path):
    npz(tmp_path / "outside.npz", CLASSES)
    (folder / "mine.npz").symlink_to(tmp_path / "outside.npz")
    assert "link to outside" in refused(tmp_path)
    npz(folder / "other.npz", CLASSES)
    (folder / "mine.npz").unlink()
    (folder / "mine.npz").symlink_to("other.npz")
    assert load("registered:mine", tmp_path).classes == 3
    (folder / "mine.npz").unlink()
    (folder / "mine.npz").mkdir()
    assert "is not a file" in refused(tmp_path)


def test_what_is_there_is_named(folder):
    npz(folder / "spiral.npz", CLASSES)
    safetensors(folder / "moons.safetensors", CLASSES)
    (folder / "notes.txt").write_text("not data")
    assert names(folder.parent) == ("registered:moons", "registered:spiral")
    assert names(None) == names(folder / "nowhere") == ()
    assert "registered are: registered:moons, registered:spiral" in refused(folder.parent)
    npz(folder / "moons.npz", CLASSES)
    with pytest.raises(DataError, match="is there twice"):
        load("registered:moons", folder.parent)


def test_no_path_leads_out(tmp_path):
    npz(tmp_path / "secret.npz", CLASSES)
    for name in ("registered:../secret", "registered:/secret", f"registered:{tmp_path}/secret"):
        for call in (load_dataset, check_dataset):
            with pytest.raises(DataError, match="not the name of a registered file"):
                call(name, tmp_path)
    with pytest.raises(DataError, match="IPLAB_DATA"):
        load_dataset("registered:mine")


@pytest.mark.parametrize(
    ("array", "scale", "said"),
    [
        ("train_inputs", [1, 1e-60, 1], "train_inputs: numbers of column 1 are all below 1e-36"),
        ("train_inputs", [1e-60, 1e-60, 1e-60], "train_inputs: numbers of column 0, 1, 2 are all below"),
        ("train_inputs", [1, 1, 1e37], "train_inputs: numbers of column 2 are above 1e+36"),
        ("train_inputs", [1, 1, 1e60], "train_inputs has 12 values that are not finite numbers of single"),
        ("test_inputs", [1e37, 1, 1], "test_inputs: numbers of column 0 are above"),
    ],
)
def test_columns_that_single_precision_cannot_hold(write, array, scale, said):
    root = write(CLASSES | {array: CLASSES[array] * np.array(scale)})
    with pytest.raises(DataError, match=r"mine\.(npz|safetensors): ") as caught:
        load("registered:mine", root)
    assert said in str(caught.value)


def test_small_numbers_beside_ordinary_ones_and_columns_of_zeros_are_fine(write):
    inputs = CLASSES["train_inputs"].copy()
    inputs[3, 0], inputs[:, 1] = 1e-60, 0.0
    root = write(CLASSES | {"train_inputs": inputs, "test_inputs": CLASSES["test_inputs"] * 1e-60})
    data = load("registered:mine", root)
    assert data.train.inputs[3, 0] == 0
    assert not data.train.inputs[:, 1].any()


def test_targets_that_vanish(write):
    root = write(TARGETS | {"train_targets": TARGETS["train_targets"] * 1e-60})
    with pytest.raises(DataError, match="train_targets: numbers of column 0, 1 are all below"):
        load("registered:mine", root)
