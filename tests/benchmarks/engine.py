"""Speed of the training engine against what one would write without it.

    python -m tests.benchmarks.engine [--threads 2] [--seconds 1.0] [--json FILE] [--large]

For each width, K networks (tanh, L = 3, batch 64, digits) are trained by

* loop: a plain PyTorch loop, one network after another (nn.Sequential, autograd, torch.optim.SGD with a
  rate per layer, batches by indexing);
* autograd: all K at once by batched matmuls, with autograd and in-place updates;
* pack: `ipcore.trainer.Trainer`, with its recording.

Figures are milliseconds for one update of all K networks, the best of several rounds in which the three take
turns, so that ratios hold on a machine that does other things too. With --large also one network of L = 6,
m = 1024, batch 512, 784 inputs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ipcore.config import PackConfig, RunConfig
from ipcore.data import Dataset, Split, load_dataset
from ipcore.theory import preset
from ipcore.trainer import Trainer

Step = Callable[[int], None]
ROUNDS = 5


def loop(config: PackConfig, data: Dataset, runs: int) -> Step:
    """One update of each of `runs` networks, one after another; a few stand for all of them."""
    few = min(runs, 4)
    inputs, labels = torch.from_numpy(data.train.inputs), torch.from_numpy(data.train.labels)
    dims = [data.input_dim, *[config.width] * config.hidden_layers]
    nets = []
    for _ in range(few):
        layers: list[nn.Module] = []
        for number, (a, b) in enumerate(pairwise(dims)):
            layers += [nn.Linear(a, b, bias=number == 0), nn.Tanh()]
        net = nn.Sequential(*layers, nn.Linear(config.width, data.classes, bias=False))
        groups = [{"params": list(layer.parameters())} for layer in net if isinstance(layer, nn.Linear)]
        nets.append((net, torch.optim.SGD(groups, lr=0.01)))

    def step(updates: int) -> None:
        for _ in range(updates):
            for net, optimizer in nets:
                batch = torch.randint(0, len(labels), (config.batch_size,))
                optimizer.zero_grad()
                functional.cross_entropy(net(inputs[batch]), labels[batch]).backward()
                optimizer.step()

    return step


def autograd(config: PackConfig, data: Dataset, runs: int) -> Step:
    """One update of all networks by batched matmuls, differentiated by autograd."""
    inputs, labels = torch.from_numpy(data.train.inputs), torch.from_numpy(data.train.labels)
    dims = [data.input_dim, *[config.width] * config.hidden_layers, data.classes]
    weights = [torch.randn(runs, b, a).div_(a**0.5).requires_grad_() for a, b in pairwise(dims)]
    bias = torch.zeros(runs, 1, config.width, requires_grad=True)
    rates = [torch.full((runs, 1, 1), 0.01) for _ in weights]

    def step(updates: int) -> None:
        for _ in range(updates):
            batch = torch.randint(0, len(labels), (runs, config.batch_size))
            x = inputs[batch]
            for layer, weight in enumerate(weights):
                h = torch.baddbmm(bias, x, weight.mT) if layer == 0 else torch.bmm(x, weight.mT)
                x = h if layer == len(weights) - 1 else torch.tanh(h)
            loss = functional.cross_entropy(x.flatten(0, 1), labels[batch].flatten(), reduction="sum")
            gradients = torch.autograd.grad(loss / config.batch_size, [*weights, bias])
            with torch.no_grad():
                for leaf, gradient, rate in zip([*weights, bias], gradients, [*rates, rates[0]], strict=True):
                    leaf.sub_(gradient.mul_(rate))

    return step


def pack(config: PackConfig, data: Dataset, runs: int) -> Step:
    """The engine itself."""
    mup = preset("mup", config.hidden_layers)
    trainer = Trainer(config, [RunConfig(mup, 0.01, seed) for seed in range(runs)], data)
    return lambda updates: void(trainer.advance(max_steps=updates))


def void(_: object) -> None:
    """Forget a result."""


def measure(steps: dict[str, Step], seconds: float) -> dict[str, float]:
    """Milliseconds per update of each, best of `ROUNDS` rounds of about seconds / ROUNDS each."""
    counts = {}
    for name, step in steps.items():
        step(2)
        begun = time.perf_counter()
        step(2)
        each = (time.perf_counter() - begun) / 2
        counts[name] = max(1, int(seconds / ROUNDS / each))
    best = dict.fromkeys(steps, float("inf"))
    for _ in range(ROUNDS):
        for name, step in steps.items():
            begun = time.perf_counter()
            step(counts[name])
            best[name] = min(best[name], (time.perf_counter() - begun) / counts[name] * 1e3)
    return best


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Set torch's thread count for a block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    yield
    torch.set_num_threads(before)


def compare(width: int, runs: int, seconds: float, data: Dataset) -> dict[str, float]:
    """All three at one width."""
    config = PackConfig("digits", 3, width, "tanh", batch_size=64, steps=10**7, weights="none")
    steps = {make.__name__: make(config, data, runs) for make in (loop, autograd, pack)}
    result = measure(steps, seconds)
    result["loop"] *= runs / min(runs, 4)
    result["loop/pack"] = result["loop"] / result["pack"]
    result["autograd/pack"] = result["autograd"] / result["pack"]
    return {"width": width, "runs": runs, **{name: round(value, 2) for name, value in result.items()}}


def large(seconds: float) -> dict[str, float]:
    """One network of the size of the published experiments, on random inputs."""
    rng = np.random.default_rng(0)
    split = Split(rng.standard_normal((2048, 784)).astype(np.float32), rng.integers(0, 10, 2048))
    data = Dataset("mnist", split, split, classes=10)
    config = PackConfig("mnist", 6, 1024, "tanh", batch_size=512, steps=10**7, weights="none")
    result = measure({"loop": loop(config, data, 1), "pack": pack(config, data, 1)}, seconds)
    return {"width": 1024, "runs": 1, **{name: round(value, 1) for name, value in result.items()}}


def run(threads: int = 2, seconds: float = 1.5, with_large: bool = False) -> dict[str, object]:
    """Measure everything.

    Args:
        threads: Torch's threads.
        seconds: For each of the three at each width.
        with_large: Also the large network.
    """
    digits = load_dataset("digits")
    with torch_threads(threads):
        rows = [compare(width, runs, seconds, digits) for width, runs in ((64, 64), (128, 64), (256, 32))]
        return {"threads": threads, "small": rows, "large": large(5 * seconds) if with_large else None}


def main() -> None:
    """Print a table and write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result = run(arguments.threads, arguments.seconds, arguments.large)
    print(f"ms per update of K networks, L = 3, batch 64, digits, {arguments.threads} threads")
    for row in result["small"]:  # type: ignore[attr-defined]  # a list of rows
        print("  ".join(f"{name} {value:<8}" for name, value in row.items()))
    if result["large"]:
        print("L = 6, batch 512, 784 inputs:", result["large"])
    text = json.dumps(result)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
