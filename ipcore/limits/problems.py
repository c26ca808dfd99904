"""Settings that are refused for a limit, or with deferred weights. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ipcore.catalogue import OPTIMIZERS, DatasetInfo
from ipcore.config import PackConfig, RunConfig
from ipcore.limits.cost import cost, dense_width, largest_steps, largest_width
from ipcore.limits.kinds import limit_of_run
from ipcore.limits.limit import NoLimit, Reason
from ipcore.models import MLP
from ipcore.probes.quantities import inside


def limit_problems(
    config: PackConfig, run: RunConfig, info: DatasetInfo, memory: int | None = None
) -> Iterator[tuple[str, str]]:
    """Problems of a run of a pack with `infinite_width` or `deferred`.

    Args:
        config: Configuration of the pack.
        run: The run.
        info: Properties of the dataset.
        memory: Available bytes; None: not known.

    Yields:
        (field of `PackConfig` or `RunConfig`, sentence).
    """
    if config.infinite_width:
        found = limit_of_run(config, run)
        if isinstance(found, NoLimit):
            yield _FIELDS[found.reason], f"at m = infinity: {found.sentence}"
            return
    elif OPTIMIZERS[config.optimizer].entrywise:
        yield (
            "optimizer",
            f"weights cannot be deferred with {config.optimizer}, whose updates are not sums of products of "
            "two vectors: use sgd or momentum, or train densely",
        )
        return
    elif config.model != MLP:
        yield "model", f"weights of {config.model.name} cannot be deferred, only those of a perceptron"
        return
    where = "at m = infinity" if config.infinite_width else "with deferred weights"
    if config.weights != "none":
        yield "weights", f"{where} there are no matrices to keep, not {config.weights!r}: use 'none'"
    if (probes := inside(config.probes)) is not None:
        named = ", ".join(probes.quantities)
        yield "probes", f"{named} cannot be measured {where}, where no matrices are held: only outputs can"
    if config.precision != "fp32":
        yield "precision", f"{where} training is in single precision: use 'fp32', not {config.precision!r}"
    if config.infinite_width and config.deferred:
        yield "deferred", "is for finite widths: leave it out with infinite_width"
    if memory is not None and (need := cost(config, run, info).memory_bytes) > memory:
        yield _too_large(config, run, info, need, memory)


def _too_large(
    config: PackConfig, run: RunConfig, info: DatasetInfo, need: int, memory: int
) -> tuple[str, str]:
    updates = f"{config.steps:,} updates of {config.batch_size}"
    said = f"needs {_size(need)} for {updates}, and {_size(memory)} are there"
    fits = []
    if width := largest_width(config, run, info, memory):
        what = "particles (width)" if config.infinite_width else "a width of"
        fits.append(f"{what} {width:,}")
    if steps := largest_steps(config, run, info, memory):
        fits.append(f"{steps:,} updates")
    instead = " or ".join(fits) if fits else "no smaller width or number of updates"
    said += f": {instead} would fit"
    if not config.infinite_width and dense_width(config, info, memory) >= config.width:
        said += "; dense training at this width would, too"
    return "width", said


def _size(count: int) -> str:
    """Bytes for people.

    >>> _size(5 << 30), _size(2_500_000)
    ('5.0 GiB', '2.4 MiB')
    """
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


_FIELDS: Final[dict[Reason, str]] = {
    "activation": "activation",
    "calibration": "calibration",
    "constant": "parameterization",
    "decay": "settings.weight_decay",
    "initial_weights": "parameterization",
    "model": "model",
    "optimizer": "optimizer",
    "unstable": "parameterization",
    "unknown": "parameterization",
}
