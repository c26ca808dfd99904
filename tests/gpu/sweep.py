"""The sweep of the published revision (2023): `python -m tests.gpu.sweep --json FILE`.

28 base rates, 4 activations, 5 seeds, 5 methods, 2 datasets: 5,600 runs of five hidden layers of width 1024,
batches of 512, MNIST 600 updates on 50,000 images and CIFAR-10 grey 1,200 on 40,000; 10,000 images validate.
First rates of IP-LLR are calibrated with readout target 1 and cap 1000. Validation and test accuracy are
recorded every 100 updates, so that the test accuracy of the best validation checkpoint is in the file.

A pack holds the 140 runs of a dataset, an activation and a seed, all of one size, fewer where the device's
memory asks for it. Seed 0 of everything comes first. Matmuls are computed in tf32 unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch

from ipcore.catalogue import dataset_info
from ipcore.config import Calibration, PackConfig
from tests.benchmarks import output
from tests.gpu.data import load
from tests.gpu.methods import ACTIVATIONS, DATASETS, SMALL, job
from tests.gpu.packs import PackJob, fitting, read, train_all

RATES: Final = tuple(
    round(digit * unit, 6)
    for unit, last in ((1e-4, 9), (1e-3, 9), (1e-2, 10))
    for digit in range(1, last + 1)
)
_CALIBRATION = Calibration(readout_target=1.0, cap=1000.0)
_CHECKPOINTS: Final = 100


def jobs(device: str, precision: str, memory: int = 0) -> Iterator[PackJob]:
    """All packs, the most important first, for a GPU with this much memory in bytes."""
    small = device == "cpu"
    for seed in range(1 if small else 5):
        for dataset, steps in sorted((SMALL if small else DATASETS).items(), reverse=True):
            for activation in ACTIVATIONS:
                config = PackConfig(
                    dataset,
                    hidden_layers=5,
                    width=16 if small else 1024,
                    activation=activation,
                    batch_size=64 if small else 512,
                    steps=steps,
                    metrics_interval=steps,
                    evaluation_interval=6 if small else _CHECKPOINTS,
                    weights="none",
                    validation_size=300 if small else 10_000,
                    precision=precision,
                )
                pack = job(config, RATES[::9] if small else RATES, [seed], _CALIBRATION)
                yield from [pack] if small else fitting(pack, dataset_info(dataset), memory)


def main() -> None:
    """Train as much as time allows, and print a summary."""
    parser = output.device_parser(__doc__)
    parser.add_argument("--precision", choices=["fp32", "tf32", "bf16"])
    options = parser.parse_args()
    precision = options.precision or ("tf32" if options.device == "cuda" else "fp32")
    memory = torch.cuda.get_device_properties(0).total_memory if options.device == "cuda" else 0
    packs = jobs(options.device, precision, memory)
    told = train_all(packs, options.json, options.device, options.limit, load)
    for reason, names in told.items():
        print(f"{reason}: {len(names)} packs")
    lines = [line for line in read(options.json) if line["finished"]]
    print(f"{sum(line['K'] for line in lines)} runs in {sum(line['seconds'] for line in lines):.0f} s")


if __name__ == "__main__":
    main()
