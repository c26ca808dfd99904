"""Computes outputs of a run's network at fixed inputs, from its stored weights."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ipserver.artifacts import open_artifacts
from ipserver.environment.artifact_root import ArtifactRoot
from ipserver.store import Store
from ipserver.store.records.runs import RunRecord

if TYPE_CHECKING:
    from torch import Tensor

EXAMPLES: Final = 64


class Outputs:
    """Outputs f_t at the training inputs of the probes.

    torch is loaded when the first outputs are computed, because most studies need none.

    Args:
        store: The store, which has the locations of the weights.
        artifact_root: Root of the artifacts.
        data: The data folder, or None.
    """

    def __init__(self, store: Store, artifact_root: ArtifactRoot, data: Path | None) -> None:
        self._store = store
        self._artifacts = open_artifacts(artifact_root)
        self._data = data

    def at(self, run: RunRecord, dataset: str, step: int) -> tuple[float, ...] | None:
        """All outputs for all inputs, input by input; None if the run has no weights of this step.

        Args:
            run: An ended run.
            dataset: Name of its dataset.
            step: Updates done.

        Raises:
            ArtifactDamaged, ArtifactsUnavailable: The weights cannot be read.
            DataError: The dataset cannot be read.
        """
        kept = [file for file in self._store.artifacts(run.experiment, run.index) if file.step == step]
        if not kept:
            return None
        import torch  # noqa: PLC0415 - see above

        from ipcore.models.network import Network  # noqa: PLC0415

        inputs = _inputs(dataset, self._data)
        with self._artifacts.reading(kept[0].location, kept[0].sha256) as path, torch.no_grad():
            network = Network.load(path)
            found = network.forward(inputs.to(network.dtype))
        return tuple(found.flatten().tolist())


@functools.lru_cache(maxsize=4)
def _inputs(dataset: str, data: Path | None) -> Tensor:
    import torch  # noqa: PLC0415 - as above

    from ipcore.data.loading import load_dataset  # noqa: PLC0415
    from ipcore.randomness import probe_examples  # noqa: PLC0415

    train = load_dataset(dataset, data).train
    return torch.from_numpy(train.inputs[probe_examples(len(train), EXAMPLES)])
