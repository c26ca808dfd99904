"""Replaying a step: when it is recorded, and that a trainer's step can be recorded.

The recorder here replaces a CUDA graph, which needs a GPU: it counts its calls, and replays by running the
operations again. The condition of replay (the same operations on the same tensors at every step) is checked
on the CPU. With a GPU, tests/ipcore/test_cuda.py trains by graphs.
"""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ipcore.catalogue import OPTIMIZERS
from ipcore.config import PackConfig, RunConfig, Schedule
from ipcore.data import Dataset
from ipcore.engine.replay import WARM_UP, Replay
from ipcore.theory import preset
from ipcore.training.trainer import Trainer


class Recording:
    """Replaces a CUDA graph."""

    def __init__(self, operations):
        self.operations, self.replays = operations, 0

    def replay(self):
        self.replays += 1
        self.operations()


def test_operations_run_alone_first_and_are_then_recorded_once():
    ran, recorded = [], []

    def recorder(operations):
        recorded.append(Recording(operations))
        return recorded[-1]

    step = Replay(lambda: ran.append(1), recorder)
    for _ in range(WARM_UP):
        step()
    assert not recorded and len(ran) == WARM_UP

    for _ in range(4):
        step()

    assert [graph.replays for graph in recorded] == [4]
    assert len(ran) == WARM_UP + 4  # recording runs nothing


def test_what_cannot_be_recorded_goes_on_one_by_one(caplog: pytest.LogCaptureFixture):
    ran, asked = [], []

    def recorder(operations):
        asked.append(operations)
        raise RuntimeError("operation not permitted when stream is capturing")

    step = Replay(lambda: ran.append(1), recorder)
    for _ in range(WARM_UP + 3):
        step()

    assert (len(ran), len(asked)) == (WARM_UP + 3, 1)
    assert "one by one" in caplog.text


class Trace(TorchDispatchMode):
    """Records every operation, and the addresses of those of its tensors that existed before the step."""

    def __init__(self):
        super().__init__()
        self.operations: list[tuple[str, tuple[int, ...]]] = []
        self._made: set[int] = set()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        keywords = keywords or {}
        given = [*arguments, *keywords.values()]
        places = [t.untyped_storage().data_ptr() for t in given if isinstance(t, torch.Tensor)]
        found = function(*arguments, **keywords)
        lasting = tuple(place for place in places if place not in self._made)
        self.operations.append((str(function), lasting))
        results = found if isinstance(found, (tuple, list)) else (found,)
        self._made |= {t.untyped_storage().data_ptr() for t in results if isinstance(t, torch.Tensor)} - set(
            places
        )
        return found


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "signum", "lion", "muon"])
@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_a_step_is_the_same_operations_on_the_same_tensors(tiny: Dataset, optimizer: str, loss: str):
    """Across a change of rates, an epoch's end and the stop of a run."""
    schedule = Schedule("linear", warmup_steps=2)
    config = PackConfig(
        "digits", 2, 12, "relu", 8, steps=30, loss=loss, optimizer=optimizer, schedule=schedule
    )
    p = preset("mup" if OPTIMIZERS[optimizer].entrywise else "ip-llr", 2, optimizer=optimizer)
    trainer = Trainer(config, [RunConfig(p, 0.1, seed) for seed in (0, 1)], tiny)
    traces = []
    operations = trainer._update._operations

    def traced():
        trace = Trace()
        with trace:
            operations()
        traces.append(trace.operations)

    trainer._update._operations = traced
    trainer.advance(max_steps=7)
    trainer.stop([1])
    trainer.advance(max_steps=3)

    assert len(traces) == 10 and len(traces[0]) > 20
    # Torch may reuse the memory of temporary tensors; only tensors that outlive a step are compared.
    ours = {tensor.untyped_storage().data_ptr() for tensor in _lasting(trainer)}
    kept = [[(name, tuple(p for p in places if p in ours)) for name, places in trace] for trace in traces]
    assert all(trace == kept[0] for trace in kept)
    strangers = {p for trace in traces for _, places in trace for p in places} - ours
    assert not strangers


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "signum", "lion", "muon"])
def test_a_trainer_that_nobody_holds_is_gone_at_once(tiny: Dataset, optimizer: str):
    """The trainer is freed at once, not at the next garbage collection: the next one needs its GPU memory."""
    config = PackConfig("digits", 2, 12, "relu", 8, steps=5, optimizer=optimizer)
    trainer = Trainer(config, [RunConfig(preset("mup", 2, optimizer=optimizer), 0.1, 0)], tiny)
    trainer.advance()
    left = [weakref.ref(trainer), weakref.ref(trainer.pack)]
    gc.disable()
    try:
        del trainer
        assert [ref() for ref in left] == [None, None]
    finally:
        gc.enable()


def _lasting(trainer: Trainer) -> list[torch.Tensor]:
    """Every tensor that a trainer keeps between steps."""
    rates = trainer._rates._moved
    mine = [*trainer._inputs.tensors(), trainer._labels, trainer._batch, trainer._batches.slot, rates]
    return [*mine, *trainer.pack.buffers(), *trainer._optimizer.buffers()]
