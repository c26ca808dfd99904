"""Small studies with real training in threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from google.protobuf import json_format

from iplab.v1 import study_service_pb2 as pb
from ipserver.environment.artifact_root import ArtifactRoot
from ipserver.environment.settings import Settings
from ipserver.request.limits import limits_with
from ipserver.request.study import create_study
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store import Store
from ipserver.store.records.studies import StudyRecord
from ipserver.studies.driver import Studies
from ipserver.studies.outputs import Outputs
from ipserver.workers.local_executor import LocalExecutor

LIMITS = limits_with()
# What a study trains: small networks, a hundred of which take a second.
BASE: Final[dict[str, Any]] = {
    "dataset": "digits",
    "batch_size": 16,
    "steps": 2,
    "grid": {
        "parameterizations": [{"preset": "ntk"}],
        "hidden_layers": [2],
        "activations": ["relu"],
        "widths": [8, 16, 32],
        "base_learning_rates": [0.1],
    },
}


def study_request(name: str = "s", /, **changes: Any) -> pb.CreateStudyRequest:
    """Whether sizes at step 0 are those of theory: two rounds of a hundred runs, decided in a second."""
    grid = {key: value for key, value in (BASE["grid"] | changes.pop("grid", {})).items() if value != []}
    base = BASE | {"grid": grid} | changes.pop("base", {})
    asked = {"coordinate_check": {"isolated": False}, "tolerance": 0.3, "base": base, "budget": {"runs": 400}}
    spec = asked | changes.pop("spec", {})
    spec = {key: value for key, value in spec.items() if value is not None}
    request = {"study_id": name, "study": {"spec": spec} | changes.pop("study", {})} | changes
    return json_format.ParseDict(request, pb.CreateStudyRequest())


def ask(store: Store, name: str = "s", /, **changes: Any) -> StudyRecord:
    """Put a study into the store as the API does."""
    return create_study(store, study_request(name, **changes), LIMITS)


class Lab:
    """A dispatcher and, by turns, drivers of studies."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.executor = LocalExecutor()
        self.dispatcher = Dispatcher(store, self.executor, settings, "dispatcher")

    def train(self) -> None:
        """Train until nothing is left to do."""
        while not self.store.idle():
            self.dispatcher.renew()
            self.dispatcher.step()

    def drive(self, driver: Studies, study: str = "s", steps: int = 200) -> StudyRecord:
        """Let a driver and the dispatcher work until a study has ended."""
        for _ in range(steps):
            if (record := self.store.get_study(study)).state.terminal:
                return record
            driver.step()
            self.train()
        raise AssertionError(f"the study has not ended: {self.store.get_study(study)}")

    def close(self) -> None:
        """End the workers."""
        self.executor.close()


def driver(store: Store, owner: str = "driver", lease_seconds: float = 60.0) -> Studies:
    """A driver of studies; artifacts lie beside the store, as `settings_in` has them."""
    home = Path(store.database.engine.url.database or "").parent
    outputs = Outputs(store, ArtifactRoot(str(home / "artifacts")), None)
    return Studies(store, LIMITS, outputs, owner, lease_seconds)


def runs_of(store: Store, study: StudyRecord) -> set[tuple[object, ...]]:
    """All runs of a study's experiments; no two are the same."""
    found = [
        (run.parameterization, run.hidden_layers, run.width, run.activation, run.base_learning_rate, run.seed)
        for experiment in study.experiments
        for run in store.list_runs(experiment, limit=10_000)
    ]
    assert len(found) == len(set(found)), "a run was asked for twice"
    return set(found)
