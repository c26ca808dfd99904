"""Shared by the server's tests: small specs, submitted directly to a store."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from google.protobuf import json_format

from iplab.v1.spec_pb2 import ExperimentSpec
from ipserver.environment.settings import Settings, load_settings
from ipserver.request.convert import resource_request
from ipserver.request.defaults import spec_hash, with_defaults
from ipserver.request.expand import expand
from ipserver.store import Store, migrate, open_store
from ipserver.store.records.experiments import ExperimentRecord, NewExperiment


def small_spec(**changes: Any) -> ExperimentSpec:
    """Two parameterizations, two seeds, width 16, two hidden layers, digits: four runs of one shape."""
    values: dict[str, Any] = {
        "dataset": "digits",
        "batch_size": 32,
        "steps": 20,
        "grid": {
            "parameterizations": [{"preset": "mup"}, {"preset": "ip-llr"}],
            "widths": [16],
            "hidden_layers": [2],
            "activations": ["relu"],
            "base_learning_rates": [0.1],
            "seeds": [0, 1],
        },
    }
    grid = values["grid"] | changes.pop("grid", {})
    return with_defaults(json_format.ParseDict(values | changes | {"grid": grid}, ExperimentSpec()))


def submit(
    store: Store,
    spec: ExperimentSpec,
    experiment: str = "e",
    priority: int = 0,
    labels: Mapping[str, str] | None = None,
) -> ExperimentRecord:
    """Put an experiment into the store as the API does."""
    new = NewExperiment(
        id=experiment,
        uid=f"uid-of-{experiment}",
        request_id="",
        request_hash=hashlib.sha256(experiment.encode()).hexdigest(),
        display_name=experiment,
        labels=labels or {},
        priority=priority,
        spec=spec.SerializeToString(deterministic=True),
        spec_hash=spec_hash(spec),
        steps=spec.steps,
        run_memory_bytes=0,
        resources=resource_request(spec).amounts(),
    )
    return store.create_experiment(new, expand(spec))


def settings_in(home: Path, **options: Any) -> Settings:
    """Settings below a folder, with short slices."""
    return load_settings(**{"home": str(home), "slice_seconds": 0.02, **options})


def store_in(settings: Settings) -> Store:
    """A new, migrated store."""
    settings.home.mkdir(parents=True, exist_ok=True)
    return open_store(migrated(settings.store_dsn))


def migrated(dsn: str) -> str:
    """The DSN, of a store that now has its tables. A new file is a copy, since migration is slow."""
    file = Path(dsn.removeprefix("sqlite:///"))
    if dsn.startswith("sqlite:") and not file.exists():
        file.write_bytes(_new_store())
    else:
        migrate(dsn)
    return dsn


@cache
def _new_store() -> bytes:
    with TemporaryDirectory() as folder:
        migrate(f"sqlite:///{folder}/iplab.db")
        return Path(folder, "iplab.db").read_bytes()
