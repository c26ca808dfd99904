"""A user's own files: ``<data_root>/registered/<name>.npz`` or ``.safetensors``, named "registered:<name>".

A file holds ``train_inputs`` (n, d) and ``test_inputs``, real numbers, used as they are (in single precision:
a column whose numbers are all too small or too large for it is refused); and either
``train_labels`` (n,) and ``test_labels``, integers 0..C-1 of which each occurs in the training set, or
``train_targets`` (n, k) and ``test_targets``, floating-point numbers. Nothing in it is ever executed
(np.load(allow_pickle=False)); sizes are checked in the headers before anything is read.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from ipcore.catalogue import REGISTERED, registered_file
from ipcore.data.dataset import Dataset, Split, size_problems
from ipcore.data.published import data_folder
from ipcore.errors import DataError

FOLDER: Final = "registered"
SUFFIXES: Final = (".npz", ".safetensors")
# Of all arrays of a file, as they are stored and as they are used (float32, int64).
LARGEST_BYTES: Final = 4 * 2**30
_LABELS = ("train_inputs", "train_labels", "test_inputs", "test_labels")
_TARGETS = ("train_inputs", "train_targets", "test_inputs", "test_targets")
_NAMES = tuple(dict.fromkeys(_LABELS + _TARGETS))
_SAFE_DTYPES: Final = {
    "F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "I32": "int32", "I16": "int16",
    "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
}  # fmt: skip
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Header:
    """Properties of an array that are known before it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        """Its size in bytes as stored or as used, whichever is larger."""
        count = 1
        for size in self.shape:
            count *= size
        return count * max(self.dtype.itemsize, 8 if len(self.shape) == 1 else 4)

    def __str__(self) -> str:
        return f"{self.shape} {self.dtype}"


def names(data_root: str | Path | None) -> tuple[str, ...]:
    """Names of all registered files, usable or not, in order: "registered:a", "registered:b"."""
    folder = Path(data_root) / FOLDER if data_root is not None else None
    if folder is None or not folder.is_dir():
        return ()
    stems = {path.stem for path in folder.iterdir() if path.suffix in SUFFIXES}
    return tuple(f"{REGISTERED}{stem}" for stem in sorted(stems))


def find(name: str, data_root: str | Path | None) -> Path:
    """The file of a name.

    Raises:
        DataError: Not a name, no such file, two of them, or a link that leaves the folder.
    """
    stem = registered_file(name)
    folder = data_folder(name, FOLDER, data_root)
    found = [path for suffix in SUFFIXES if (path := folder / f"{stem}{suffix}").exists()]
    if not found:
        there = ", ".join(names(data_root)) or "none"
        raise DataError(
            f"no dataset {name!r}: {folder.absolute()} holds no {stem}.npz or {stem}.safetensors; "
            f"registered are: {there}"
        )
    if len(found) > 1:
        raise DataError(f"dataset {name!r} is there twice: {found[0]} and {found[1].name}; remove one")
    path = found[0]
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{path} is a link to outside of its folder; put the file itself there")
    if not path.is_file():
        raise DataError(f"{path} is not a file")
    return path


def load(name: str, data_root: str | Path | None, largest_bytes: int = LARGEST_BYTES) -> Dataset:
    """Read and check a registered file.

    Args:
        name: "registered:<name>".
        data_root: Folder that holds ``registered/``.
        largest_bytes: Most bytes that all its arrays may have together.

    Raises:
        DataError: Missing, damaged, too large, or arrays that do not fit; names every array that is wrong,
            what it is and what is wanted.
    """
    path = find(name, data_root)
    try:
        reader = _read_npz if path.suffix == ".npz" else _read_safetensors
        arrays = reader(path, lambda headers: _check_headers(path, headers, largest_bytes))
    except DataError:
        raise
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise DataError(
            f"{path} is damaged or not a {path.suffix[1:]} file ({error}); write it again"
        ) from error
    return _dataset(name, path, arrays)


def _read_npz(path: Path, check: Callable[[Mapping[str, _Header]], None]) -> dict[str, Array]:
    with zipfile.ZipFile(path) as archive:
        headers = {}
        for member in archive.infolist():
            with archive.open(member) as stream:
                headers[member.filename.removesuffix(".npy")] = _npy_header(stream)
    check(headers)
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in headers}


def _npy_header(stream: IO[bytes]) -> _Header:
    version = np.lib.format.read_magic(stream)
    read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}.get(version[0])
    if read is None:
        raise ValueError(f"array format {version} is not supported")
    shape, _, dtype = read(stream)
    return _Header(shape, dtype)


def _read_safetensors(path: Path, check: Callable[[Mapping[str, _Header]], None]) -> dict[str, Array]:
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - only for such files

    try:
        with safe_open(path, framework="np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            headers = {}
            for name, piece in slices.items():
                dtype = _SAFE_DTYPES.get(piece.get_dtype())
                if dtype is None:
                    raise DataError(
                        f"{path}: {name} has dtype {piece.get_dtype()}; allowed are {', '.join(_SAFE_DTYPES)}"
                    )
                headers[name] = _Header(tuple(piece.get_shape()), np.dtype(dtype))
            check(headers)
            return {name: file.get_tensor(name) for name in headers}
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _check_headers(path: Path, headers: Mapping[str, _Header], largest_bytes: int) -> None:
    """Names, shapes and dtypes of all arrays, before their content is read."""
    problems = [f"{name!r} is not an array of a dataset" for name in sorted(set(headers) - set(_NAMES))]
    wanted = _TARGETS if {"train_targets", "test_targets"} & set(headers) else _LABELS
    if {"train_labels", "test_labels"} & set(headers) and wanted == _TARGETS:
        problems.append("it has labels and targets; keep one kind")
    if missing := [name for name in wanted if name not in headers]:
        problems.append(f"it lacks {', '.join(missing)} (it has {', '.join(sorted(headers)) or 'nothing'})")
    for name in (name for name in wanted if name in headers):
        problems += _header_problems(name, headers)
    total = sum(header.bytes for header in headers.values())
    if total > largest_bytes:
        problems.append(f"its arrays take {total:,} bytes; at most {largest_bytes:,} are allowed")
    if problems:
        raise DataError(f"{path}: {'; '.join(problems)}")


def _header_problems(name: str, headers: Mapping[str, _Header]) -> list[str]:
    header, part = headers[name], name.partition("_")[0]
    inputs = headers.get(f"{part}_inputs")
    rows = inputs.shape[0] if inputs is not None and inputs.shape else None
    n = "n" if rows is None or name.endswith("inputs") else str(rows)
    dimensions, kinds, shape, words = {
        "inputs": (2, "fiu", f"({n}, d)", "real numbers"),
        "labels": (1, "iu", f"({n},)", "integers"),
        "targets": (2, "f", f"({n}, k)", "floating-point numbers"),
    }[name.partition("_")[2]]
    problems = []
    if (
        len(header.shape) != dimensions
        or min(header.shape, default=0) < 1
        or (n != "n" and header.shape[0] != rows)
    ):
        problems.append(f"{name} has shape {header.shape}, wanted is {shape}, with no dimension 0")
    if header.dtype.kind not in kinds or header.dtype.itemsize > 8:
        problems.append(f"{name} has dtype {header.dtype}, wanted are {words} of at most 64 bits")
    kind = name.partition("_")[2]
    train = headers.get(f"train_{kind}")
    comparable = train is not None and dimensions == 2 == len(header.shape) == len(train.shape)
    if comparable and train is not None and header.shape[1] != train.shape[1]:
        problems.append(
            f"{name} has shape {header.shape}, its second number must be {train.shape[1]} as in train_{kind}"
        )
    return problems


def _dataset(name: str, path: Path, arrays: Mapping[str, Array]) -> Dataset:
    problems: list[str] = []
    real = {key: _floats(key, array, problems) for key, array in arrays.items() if not key.endswith("labels")}
    if "train_labels" not in arrays:
        if problems:
            raise DataError(f"{path}: {'; '.join(problems)}")
        train, test = (Split(real[f"{part}_inputs"], real[f"{part}_targets"]) for part in ("train", "test"))
        return Dataset(name, train, test, 0)
    problems += _label_problems(arrays["train_labels"], arrays["test_labels"])
    if problems:
        raise DataError(f"{path}: {'; '.join(problems)}")
    train, test = (
        Split(real[f"{part}_inputs"], arrays[f"{part}_labels"].astype(np.int64)) for part in ("train", "test")
    )
    return Dataset(name, train, test, int(train.labels.max()) + 1)


def _floats(name: str, array: Array, problems: list[str]) -> npt.NDArray[np.float32]:
    """The numbers in single precision."""
    with np.errstate(over="ignore"):  # numbers that overflow are reported
        values = np.ascontiguousarray(array, dtype=np.float32)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        place = tuple(int(i) for i in bad[0])
        problems.append(
            f"{name} has {len(bad):,} values that are not finite numbers of single precision, the first "
            f"{array[place]} at {list(place)}"
        )
    else:
        problems += [f"{name}: {text}" for text in size_problems(array, whole=name.startswith("train_"))]
    return values


def _label_problems(train: Array, test: Array) -> list[str]:
    problems = []
    for part, labels in (("train", train), ("test", test)):
        if (least := int(labels.min())) < 0:
            where = int(labels.argmin())
            problems.append(f"{part}_labels has the negative label {least} at [{where}]; labels are 0 .. C-1")
    if problems:
        return problems
    # At most as many classes as examples: larger labels cannot all be there, and are not counted one by one.
    largest = int(train.max())
    if largest >= len(train):
        return [
            f"train_labels goes up to {largest} in {len(train)} examples; labels must be 0 .. C-1, and "
            "each must occur"
        ]
    counts = np.bincount(train.astype(np.int64))
    if absent := np.flatnonzero(counts == 0).tolist():
        shown = ", ".join(map(str, absent[:10])) + (", ..." if len(absent) > 10 else "")
        problems.append(
            f"train_labels goes up to {largest} but lacks {shown}; labels must be 0 .. C-1, and "
            "each must occur"
        )
    if largest < 1:
        problems.append("train_labels has one class only; at least 2 are needed")
    if int(test.max()) > largest:
        where = int(test.argmax())
        problems.append(
            f"test_labels has {int(test.max())} at [{where}]; the training set has classes 0 .. {largest}"
        )
    return problems
