"""What is timed. Each maker returns a function that does a given number of updates of K networks.

* loop: plain PyTorch, one network after another (nn.Sequential, autograd, torch.optim.SGD);
* autograd: all K at once by batched matmuls, with autograd and in-place updates;
* pack: `ipcore.training.trainer.Trainer`, with all that it records;
* matmuls: nothing but the matmuls of an update, batched as they come (no input gradient in the first layer).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ipcore.config import PackConfig, RunConfig
from ipcore.data import Dataset, Split, load_dataset
from ipcore.engine.replay import Replay
from ipcore.theory import preset
from ipcore.training.trainer import Trainer

Step = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Case:
    """Networks of one shape.

    Attributes:
        width: m.
        runs: K of each process that trains packs.
        hidden_layers: L.
        batch_size: Examples per update and network.
        dataset: "digits", or "images": random numbers in the shape of MNIST.
        activation: Activation of all networks.
        device: "cpu" or "cuda".
        precision: Precision of the matmuls of the pack and of `matmuls`.
    """

    width: int
    runs: int
    hidden_layers: int = 3
    batch_size: int = 64
    dataset: str = "digits"
    activation: str = "tanh"
    device: str = "cpu"
    precision: str = "fp32"

    @property
    def config(self) -> PackConfig:
        """Configuration of a pack that never ends."""
        name = "mnist" if self.dataset == "images" else self.dataset
        return PackConfig(
            name, self.hidden_layers, self.width, self.activation, self.batch_size,
            steps=10**7, weights="none", precision=self.precision,
        )  # fmt: skip

    def data(self) -> Dataset:
        """The dataset that they train on."""
        if self.dataset != "images":
            return load_dataset(self.dataset)
        rng = np.random.default_rng(0)
        split = Split(rng.standard_normal((4096, 784)).astype(np.float32), rng.integers(0, 10, 4096))
        return Dataset("mnist", split, split, classes=10)

    def dims(self, data: Dataset) -> list[int]:
        """Sizes of the layers, input first."""
        return [data.input_dim, *[self.width] * self.hidden_layers, data.classes]


def network(dims: list[int]) -> tuple[nn.Sequential, torch.optim.SGD]:
    """A network as one would write it, with a learning rate per layer."""
    layers: list[nn.Module] = []
    for number, (a, b) in enumerate(pairwise(dims[:-1])):
        layers += [nn.Linear(a, b, bias=number == 0), nn.Tanh()]
    net = nn.Sequential(*layers, nn.Linear(dims[-2], dims[-1], bias=False))
    groups = [{"params": list(layer.parameters())} for layer in net if isinstance(layer, nn.Linear)]
    return net, torch.optim.SGD(groups, lr=0.01)


def train_plainly(
    net: nn.Module,
    optimizer: torch.optim.SGD,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    batch: torch.Tensor,
) -> torch.Tensor:
    """One update; returns the loss."""
    optimizer.zero_grad()
    loss = functional.cross_entropy(net(inputs[batch]), labels[batch])
    loss.backward()
    optimizer.step()
    return loss


def loop(case: Case) -> Step:
    """One network after another. One network is timed for all, since their updates take equally long."""
    data = case.data()
    inputs, labels = (torch.from_numpy(a).to(case.device) for a in (data.train.inputs, data.train.labels))
    net, optimizer = network(case.dims(data))
    net.to(case.device)

    def step(updates: int) -> None:
        for _ in range(updates):
            batch = torch.randint(0, len(labels), (case.batch_size,), device=case.device)
            train_plainly(net, optimizer, inputs, labels, batch)

    return step


def autograd(case: Case) -> Step:
    """All networks at once, differentiated by autograd."""
    data = case.data()
    inputs, labels = torch.from_numpy(data.train.inputs), torch.from_numpy(data.train.labels)
    dims = case.dims(data)
    weights = [torch.randn(case.runs, b, a).div_(a**0.5).requires_grad_() for a, b in pairwise(dims)]
    bias = torch.zeros(case.runs, 1, case.width, requires_grad=True)
    rates = [torch.full((case.runs, 1, 1), 0.01) for _ in weights]

    def step(updates: int) -> None:
        for _ in range(updates):
            batch = torch.randint(0, len(labels), (case.runs, case.batch_size))
            x = inputs[batch]
            for layer, weight in enumerate(weights):
                h = torch.baddbmm(bias, x, weight.mT) if layer == 0 else torch.bmm(x, weight.mT)
                x = h if layer == len(weights) - 1 else torch.tanh(h)
            loss = functional.cross_entropy(x.flatten(0, 1), labels[batch].flatten(), reduction="sum")
            gradients = torch.autograd.grad(loss / case.batch_size, [*weights, bias])
            with torch.no_grad():
                for leaf, gradient, rate in zip([*weights, bias], gradients, [*rates, rates[0]], strict=True):
                    leaf.sub_(gradient.mul_(rate))

    return step


def pack(case: Case, graph: bool = True) -> Step:
    """The engine itself; without `graph`, a GPU's kernels are launched one by one."""
    mup = preset("mup", case.hidden_layers)
    runs = [RunConfig(mup, 0.01, seed) for seed in range(case.runs)]
    trainer = Trainer(case.config, runs, case.data(), device=case.device)
    if not graph:
        trainer._update = Replay(trainer._operations(), None)

    def step(updates: int) -> None:
        trainer.advance(max_steps=updates)

    return step


def matmuls(case: Case) -> Step:
    """The matmuls of an update alone, in the pack's number format."""
    dtype = torch.bfloat16 if case.precision == "bf16" else torch.float32
    dims = case.dims(case.data())

    def random(*size: int) -> torch.Tensor:
        return torch.randn(size, device=case.device, dtype=dtype)

    weights = [random(case.runs, b, a) for a, b in pairwise(dims)]
    x, h = ([random(case.runs, case.batch_size, n) for n in dims] for _ in range(2))
    # So small that any number of updates leaves the weights as they are.
    dh = [random(case.runs, case.batch_size, n).mul_(1e-6) for n in dims]
    new = [torch.empty_like(weight) for weight in weights] if dtype == torch.bfloat16 else weights

    def update() -> None:
        for layer, weight in enumerate(weights, start=1):
            torch.bmm(x[layer - 1], weight.mT, out=h[layer])
        for layer in range(len(weights), 0, -1):
            if layer > 1:
                torch.bmm(dh[layer], weights[layer - 1], out=h[layer - 1])
            if dtype == torch.bfloat16:
                torch.bmm(dh[layer].mT, x[layer - 1], out=new[layer - 1])
            else:
                new[layer - 1].baddbmm_(dh[layer].mT, x[layer - 1])

    def step(updates: int) -> None:
        with torch.inference_mode():
            for _ in range(updates):
                update()

    return step
