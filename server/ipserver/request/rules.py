"""Rules of a spec outside its grid: dataset, loss, training, recording, resources."""

from __future__ import annotations

from ipcore.catalogue import DatasetInfo, loss_misfit
from iplab.v1 import spec_pb2 as pb
from ipserver.request.convert import resource_request
from ipserver.request.datasets import check_dataset, unknown_dataset
from ipserver.request.problems import Problems, shown
from ipserver.store.records.cluster import CapacityReport

# Names that clusters use for the resources that have fields of their own in a spec.
_RESERVED = frozenset({"cpus", "gpus", "cpu", "gpu", "memory", "object_store_memory"})
_INTERNAL = ("node:", "accelerator_type:")
# Ray counts resources in units of 0.0001, in 64-bit integers.
_DECIMALS = 4
_MOST = 1_000_000
# Accelerators that Ray assigns only whole, and the numbers of chips into which a TPU host can be divided.
_WHOLE = frozenset({"HPU", "neuron_cores", "RBLN", "FURIOSA", "MBLT"})
_TPU_CHIPS = (1, 2, 4, 8)


def check_training(
    spec: pb.ExperimentSpec, path: str, capacity: CapacityReport | None, problems: Problems
) -> DatasetInfo | None:
    """Check the dataset, and that the loss fits it.

    Returns:
        Properties of the dataset; None if its name is unknown.
    """
    info = check_dataset(spec.dataset, f"{path}.dataset", capacity, problems)
    if info is not None and (misfit := loss_misfit(spec.loss, info)):
        problems.add(f"{path}.loss", misfit)
    return info


def check_weights(record: pb.Recording, path: str, problems: Problems) -> None:
    """Check that the interval of kept weights is given if and only if it is used."""
    field, interval = f"{path}.weights_interval", record.weights_interval
    if record.weights == "every" and interval == 0:
        problems.add(field, "must be at least 1 with weights 'every', not 0")
    elif record.weights != "every" and interval > 0:
        problems.add(field, f"is {interval} but is used only with weights 'every'; set weights or remove it")


def check_resources(resources: pb.Resources, path: str, problems: Problems) -> None:
    """Check that Ray can count and assign the amounts of a pack's resources."""
    _check_amount(resources.cpus, f"{path}.cpus", problems)
    gpus = resources.gpus
    if gpus != 0 and _check_amount(gpus, f"{path}.gpus", problems) and gpus > 1 and gpus != int(gpus):
        problems.add(f"{path}.gpus", f"above 1 must be whole, not {gpus}; a fraction shares one device")
    for name, amount in sorted(resources.custom.items()):
        field = f'{path}.custom["{name}"]'
        if not 1 <= len(name) <= 100 or not name.isprintable():
            problems.add(f"{path}.custom", f"{shown(name)} is not a name of 1 to 100 printable characters")
        elif name.lower() in _RESERVED:
            problems.add(field, f"{name!r} is not a custom resource; cpus and gpus have fields of their own")
        elif name.startswith(_INTERNAL):
            problems.add(field, f"{name!r} is reserved by the cluster; use another name")
        elif not _check_amount(amount, field, problems):
            continue
        elif name in _WHOLE and amount != int(amount):
            problems.add(field, f"must be whole, not {amount}: this accelerator cannot be shared")
        elif name == "TPU" and amount not in _TPU_CHIPS:
            problems.add(field, f"must be one of {', '.join(map(str, _TPU_CHIPS))}, not {amount}")


def _check_amount(amount: float, field: str, problems: Problems) -> bool:
    """Check that a nonzero amount is a multiple of Ray's unit."""
    # A multiple of 0.0001 is the double that rounding returns.
    if 0 < amount <= _MOST and round(amount, _DECIMALS) == amount:
        return True
    problems.add(field, f"must be a multiple of 0.0001 above 0, at most {_MOST:,}, not {amount}")
    return False


def capacity_warnings(spec: pb.ExperimentSpec, capacity: CapacityReport | None) -> list[str]:
    """Warnings about resources missing in the last report. They are not errors, because clusters may grow."""
    if capacity is None:
        return [
            "no dispatcher has reported yet, so neither dataset nor resources could be checked; the runs "
            "wait until one starts"
        ]
    warnings = unknown_dataset(spec.dataset, capacity)
    warnings += [
        f"a pack asks for {name}={amount:g} but the cluster had {capacity.resources.get(name, 0.0):g} "
        "when last seen; its runs wait until there is more"
        for name, amount in resource_request(spec).amounts().items()
        if amount > capacity.resources.get(name, 0.0)
    ]
    return warnings
