"""Looks up the dataset that a spec names in the catalogue and in the dispatcher's report."""

from __future__ import annotations

from ipcore.catalogue import DATASETS, REGISTERED, DatasetInfo, dataset_info, registered_file
from ipcore.errors import DataError
from ipserver.request.problems import Problems, unknown
from ipserver.store.records.cluster import CapacityReport, DatasetReport

_WHEN_SEEN = "(A new file is known after about 15 seconds.)"


def check_dataset(
    name: str, field: str, capacity: CapacityReport | None, problems: Problems
) -> DatasetInfo | None:
    """Check that a dataset can be used, from the last capacity report.

    Without a report, built-in datasets are accepted and registered files are refused.

    Returns:
        Properties of the dataset; None if the name is unknown.
    """
    if not name:
        problems.add(field, unknown("dataset", name, tuple(DATASETS)))
        return None
    if name.startswith(REGISTERED):
        return _check_registered(name, field, capacity, problems)
    try:
        info = dataset_info(name)
    except DataError as error:
        problems.add(field, str(error))
        return None
    if capacity is not None and (problem := _problems(capacity).get(info.name)):
        problems.add(field, problem)
    return info


def dataset_notes(name: str, capacity: CapacityReport | None) -> list[str]:
    """Warnings about properties of a dataset that a dispatcher could not verify."""
    report = _report(name, capacity)
    return [f"dataset {name!r}: {report.info.note}"] if report and report.info and report.info.note else []


def unknown_dataset(name: str, capacity: CapacityReport) -> list[str]:
    """A warning if the dataset needs files and is missing from the last report."""
    # Families need no files; an unknown registered file is refused.
    if name in DATASETS and _report(name, capacity) is None:
        return [f"the dataset {name!r} may be missing: no dispatcher has reported it"]
    return []


def _report(name: str, capacity: CapacityReport | None) -> DatasetReport | None:
    reports = capacity.datasets if capacity else ()
    return next((report for report in reports if report.name == name), None)


def _check_registered(
    name: str, field: str, capacity: CapacityReport | None, problems: Problems
) -> DatasetInfo | None:
    try:
        registered_file(name)
    except DataError as error:
        problems.add(field, str(error))
        return None
    if capacity is None:
        problems.add(
            field,
            f"{name!r} is not known yet: no dispatcher has reported which files are registered; submit again "
            "when `ipserver up` has said that it is ready, or start a dispatcher (ipserver dispatch)",
        )
        return None
    there = {report.name: report for report in capacity.datasets if report.name.startswith(REGISTERED)}
    if name not in there:
        if there:
            usable = tuple(file for file, report in there.items() if report.info is not None)
            problems.add(field, f"{unknown('registered dataset', name, usable)}. {_WHEN_SEEN}")
        else:
            stem = name.removeprefix(REGISTERED)
            folder = (
                f"below the dispatcher's data folder. {_WHEN_SEEN}"
                if capacity.data
                else "below a folder, and start the service with it, for it has no data folder: "
                "`ipserver up --data FOLDER` (IPLAB_DATA)"
            )
            problems.add(
                field,
                f"unknown registered dataset {name!r}; none is registered: put {stem}.npz or "
                f"{stem}.safetensors into registered/ {folder}",
            )
        return None
    report = there[name]
    if report.info is None:
        problems.add(field, report.problem)
    return report.info


def _problems(capacity: CapacityReport) -> dict[str, str]:
    return {report.name: report.problem for report in capacity.datasets}
