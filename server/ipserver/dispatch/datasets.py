"""Which datasets this machine can load, looked at again only when their files change."""

from __future__ import annotations

from pathlib import Path

from ipcore.catalogue import DATASETS
from ipcore.data import check_dataset
from ipcore.errors import DataError
from ipserver.store.records import DatasetReport

_Signature = tuple[tuple[str, int, int], ...]


class DatasetChecks:
    """Checks all known datasets below a data folder (None: there is none)."""

    def __init__(self, root: Path | None) -> None:
        self._root = root
        self._seen: dict[str, tuple[_Signature, str]] = {}

    def report(self) -> tuple[DatasetReport, ...]:
        """One report per known dataset."""
        return tuple(DatasetReport(name, self._problem(name)) for name in DATASETS)

    def _problem(self, name: str) -> str:
        """What keeps a dataset from being used, or ""; checksums take most of a second for MNIST."""
        try:
            signature = self._signature(name)
            seen, problem = self._seen.get(name, ((), ""))
            if name not in self._seen or seen != signature:
                check_dataset(name, self._root)
                problem = ""
        except DataError as error:
            problem = str(error)
        except OSError as error:
            return f"the data folder cannot be read: {error}"
        self._seen[name] = (signature, problem)
        return problem

    def _signature(self, name: str) -> _Signature:
        """Names, sizes and times of the dataset's files."""
        folder = self._root / name if self._root else None
        if folder is None or not folder.is_dir():
            return ()
        files = sorted((path.name, path.stat()) for path in folder.iterdir())
        return tuple((file, status.st_size, status.st_mtime_ns) for file, status in files)
