"""Ray Tune on the benchmark's runs: one trial per run, plain PyTorch on one core; only the loss is kept.

A trial trains in one call and reports once, which is less than the service records.
"""

from __future__ import annotations

import os
import tempfile
import time

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
import torch
from ray import tune

from ipcore.data import load_dataset
from tests.benchmarks.contestants import network, train_plainly


class _Trial(tune.Trainable):
    def setup(self, config: dict[str, int]) -> None:
        torch.set_num_threads(1)
        self._config = config

    def step(self) -> dict[str, float]:
        config = self._config
        torch.manual_seed(config["seed"])
        digits = load_dataset("digits")
        inputs, labels = torch.from_numpy(digits.train.inputs), torch.from_numpy(digits.train.labels)
        dims = [digits.input_dim, *[config["width"]] * config["hidden_layers"], digits.classes]
        net, optimizer = network(dims)
        for _ in range(config["steps"]):
            batch = torch.randint(0, len(labels), (config["batch_size"],))
            loss = train_plainly(net, optimizer, inputs, labels, batch)
        return {"loss": loss.item(), "done": True}

    def reset_config(self, new_config: dict[str, int]) -> bool:
        self._config = new_config
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        return None

    def load_checkpoint(self, checkpoint: object) -> None:
        return None


def seconds_per_trial(trials: int, shape: dict[str, int], cores: int, *, reuse: bool) -> float:
    """Wall-clock time of `trials` trials, divided by their number.

    Args:
        trials: Number of trials.
        shape: width, hidden_layers, batch_size, steps.
        cores: Trials at a time.
        reuse: Whether actors are kept for the next trial.
    """
    ray.init(address="local", num_cpus=cores, include_dashboard=False, log_to_driver=False)
    try:
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            tuner = tune.Tuner(
                tune.with_resources(_Trial, {"cpu": 1}),
                param_space={**shape, "seed": tune.grid_search(list(range(trials)))},
                tune_config=tune.TuneConfig(reuse_actors=reuse),
                run_config=tune.RunConfig(storage_path=folder, verbose=0),
            )
            results = tuner.fit()
            seconds = time.perf_counter() - begun
        if results.num_errors or len(results) != trials:
            raise SystemExit(f"{results.num_errors} of {len(results)} trials failed")
    finally:
        ray.shutdown()
    return seconds / trials
