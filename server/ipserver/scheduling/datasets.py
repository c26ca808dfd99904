"""Datasets that this machine can load, checked again only when their files change."""

from __future__ import annotations

from pathlib import Path

from ipcore.catalogue import DATASETS, REGISTERED, DatasetInfo, dataset_info
from ipcore.data import check_dataset, files_signature, registered_names
from ipcore.data.loading import Signature
from ipcore.errors import DataError
from ipserver.store.records.cluster import DatasetReport


class DatasetChecks:
    """Check the built-in datasets and the registered files below a data folder (None: no data folder)."""

    def __init__(self, root: Path | None) -> None:
        self._root = root
        self._seen: dict[str, tuple[Signature, DatasetReport]] = {}

    def report(self) -> tuple[DatasetReport, ...]:
        """One report per built-in dataset and registered file."""
        try:
            registered = registered_names(self._root)
        except OSError:
            registered = ()  # the reports of built-in datasets in the same folder give the error
        reports = tuple(self._look(name) for name in (*DATASETS, *registered))
        self._seen = {name: seen for name, seen in self._seen.items() if name in {r.name for r in reports}}
        return reports

    def info(self, name: str) -> DatasetInfo:
        """Properties of a dataset by its name in specs.

        Raises:
            DataError: The registered file cannot be used.
        """
        if not name.startswith(REGISTERED):
            return dataset_info(name)
        report = self._look(name)
        if report.info is None:
            raise DataError(report.problem)
        return report.info

    def _look(self, name: str) -> DatasetReport:
        """Check files only if they have changed: checksums take most of a second for MNIST."""
        try:
            signature = files_signature(name, self._root)
        except OSError as error:
            return DatasetReport(name, f"the data folder cannot be read: {error}")
        seen = self._seen.get(name)
        if seen is not None and seen[0] == signature:
            return seen[1]
        try:
            report = DatasetReport(name, "", check_dataset(name, self._root))
        except DataError as error:
            report = DatasetReport(name, str(error))
        except OSError as error:
            return DatasetReport(name, f"the data folder cannot be read: {error}")
        self._seen[name] = (signature, report)
        return report
