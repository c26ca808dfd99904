"""Rules of a spec outside its grid: dataset, loss, training, recording, resources."""

from __future__ import annotations

from ipcore.catalogue import DatasetInfo, loss_misfit
from iplab.v1 import spec_pb2 as pb
from ipserver.request.convert import resource_request
from ipserver.request.datasets import check_dataset, unknown_dataset
from ipserver.request.problems import Problems, shown
from ipserver.store.records.cluster import CapacityReport

# Names under which a cluster counts what the spec's own fields ask for.
_RESERVED = frozenset({"cpus", "gpus", "cpu", "gpu", "memory", "object_store_memory"})
_INTERNAL = ("node:", "accelerator_type:")
# Ray counts resources in units of 0.0001, in 64-bit integers.
_DECIMALS = 4
_MOST = 1_000_000
# Accelerators that Ray assigns as a whole, and the parts into which a TPU host can be divided.
_WHOLE = frozenset({"HPU", "neuron_cores", "RBLN", "FURIOSA", "MBLT"})
_TPU_CHIPS = (1, 2, 4, 8)


def check_training(
    spec: pb.ExperimentSpec, path: str, capacity: CapacityReport | None, problems: Problems
) -> DatasetInfo | None:
    """The dataset, and the loss that has to fit it.

    Returns:
        What is known of the dataset; None if its name means nothing here.
    """
    info = check_dataset(spec.dataset, f"{path}.dataset", capacity, problems)
    if info is not None and (misfit := loss_misfit(spec.loss, info)):
        problems.add(f"{path}.loss", misfit)
    return info


def check_weights(record: pb.Recording, path: str, problems: Problems) -> None:
    """Check that the interval of kept weights is given exactly if it is used."""
    field, interval = f"{path}.weights_interval", record.weights_interval
    if record.weights == "every" and interval == 0:
        problems.add(field, "must be at least 1 with weights 'every', not 0")
    elif record.weights != "every" and interval > 0:
        problems.add(field, f"is {interval} but is used only with weights 'every'; set weights or remove it")


def check_resources(resources: pb.Resources, path: str, problems: Problems) -> None:
    """Check the amounts of a pack's resources: Ray must be able to count and to assign them."""
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
            problems.add(field, f"{name!r} is a name that the cluster keeps for itself; ask for another")
        elif not _check_amount(amount, field, problems):
            continue
        elif name in _WHOLE and amount != int(amount):
            problems.add(field, f"must be whole, not {amount}: this accelerator cannot be shared")
        elif name == "TPU" and amount not in _TPU_CHIPS:
            problems.add(field, f"must be one of {', '.join(map(str, _TPU_CHIPS))}, not {amount}")


def _check_amount(amount: float, field: str, problems: Problems) -> bool:
    """Whether an amount that is not 0 can be counted."""
    # The double nearest to a multiple of 0.0001 is what rounding gives again.
    if 0 < amount <= _MOST and round(amount, _DECIMALS) == amount:
        return True
    problems.add(field, f"must be a multiple of 0.0001 above 0, at most {_MOST:,}, not {amount}")
    return False


def capacity_warnings(spec: pb.ExperimentSpec, capacity: CapacityReport | None) -> list[str]:
    """Warnings from the last capacity report, while runs wait. They never refuse, since clusters grow."""
    if capacity is None:
        return [
            "no dispatcher has reported yet: whether the dataset and the resources are there is not known; "
            "the runs wait until one starts"
        ]
    warnings = unknown_dataset(spec.dataset, capacity)
    warnings += [
        f"a pack asks for {name}={amount:g} but the cluster had {capacity.resources.get(name, 0.0):g} "
        "when last seen; its runs wait until there is more"
        for name, amount in resource_request(spec).amounts().items()
        if amount > capacity.resources.get(name, 0.0)
    ]
    return warnings
