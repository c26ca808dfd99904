"""Tensor files: safetensors, written whole or not at all, verified when read. No pickle."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor


def write_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, str], *, durable: bool = True
) -> None:
    """Write tensors and a flat header so that readers see the old file or the new one, never a torn one.

    The file is written beside `path`, flushed to disk and renamed. A digest of the tensors goes into the
    header under "sha256".

    Args:
        path: File to write; its folder must exist.
        tensors: By name, on any device.
        header: Text by name.
        durable: False: write to `path` itself without flushing; the caller renames and flushes.

    Raises:
        OSError: The folder is missing, not writable or full.
    """
    # Imported where it is used: training without files needs torch alone.
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.torch import save_file  # noqa: PLC0415

    path = Path(path)
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp") if durable else path
    try:
        try:
            save_file(on_cpu, temporary, metadata={**header, "sha256": _digest(on_cpu)})
        except SafetensorError as error:
            raise _os_error(f"{path} cannot be written: {error}") from error
        if not durable:
            return
        _fsync(temporary)
        temporary.replace(path)
    finally:
        if durable:
            temporary.unlink(missing_ok=True)
    _fsync(path.parent)


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors (on the CPU) and header of a file of `write_tensors`.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Torn, altered, or not such a file; says which.
    """
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - as above

    try:
        with safe_open(path, framework="pt") as file:
            header = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise ValueError(f"{path} is torn or not a safetensors file: {error}") from error
    recorded = header.pop("sha256", None)
    if recorded is None:
        raise ValueError(f"{path} was not written by ipcore: its header has no digest")
    if recorded != _digest(tensors):
        raise ValueError(f"{path} is damaged: its tensors do not have the digest in its header")
    return tensors, header


def _os_error(message: str) -> OSError:
    """An OSError with the number in safetensors' message ("... (os error 28)"), if there is one."""
    number = re.search(r"os error (\d+)", message)
    return OSError(int(number[1]), message) if number else OSError(message)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
