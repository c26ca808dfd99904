"""iplab's Python SDK: submit experiments, follow them, get metrics and weights back.

    import iplab

    with iplab.connect() as client:
        experiment = client.create("examples/quickstart.yaml").wait()
        for row in experiment.summary():
            print(row)
        weights = experiment.run(0).weights()

Importing this package loads neither grpc nor numpy; modules that need them are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from iplab.errors import (
    AlreadyExistsError,
    ArtifactDamagedError,
    EtagMismatchError,
    InvalidRequestError,
    IplabError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    RequestIdReusedError,
    ServerError,
    SpecError,
    TimedOutError,
    TooExpensiveError,
    UnauthenticatedError,
    UnavailableError,
    Violation,
    WatchOverflowError,
)
from iplab.results.states import ExperimentState, Regime, RunState, StudyState, StudyVerdict

if TYPE_CHECKING:
    from ipcore import theory
    from iplab import aio
    from iplab.client import Client, connect
    from iplab.results.artifacts import Artifact
    from iplab.results.events import (
        Event,
        Extended,
        Notice,
        PackProgressed,
        RunsChanged,
        StateChanged,
        Updated,
    )
    from iplab.results.experiment import Experiment
    from iplab.results.experiment_view import Prediction
    from iplab.results.metrics import Metrics
    from iplab.results.report import Check, Report, Verdict
    from iplab.results.run import Run
    from iplab.results.summary import Spread, SummaryRow
    from iplab.results.weights import Weights
    from iplab.specs.specfile import load_spec
    from iplab.studies.study import Study

__all__ = [
    "AlreadyExistsError",
    "Artifact",
    "ArtifactDamagedError",
    "Check",
    "Client",
    "EtagMismatchError",
    "Event",
    "Experiment",
    "ExperimentState",
    "Extended",
    "InvalidRequestError",
    "IplabError",
    "Metrics",
    "NotFoundError",
    "Notice",
    "PackProgressed",
    "PermissionDeniedError",
    "Prediction",
    "QuotaExceededError",
    "Regime",
    "Report",
    "RequestIdReusedError",
    "Run",
    "RunState",
    "RunsChanged",
    "ServerError",
    "SpecError",
    "Spread",
    "StateChanged",
    "Study",
    "StudyState",
    "StudyVerdict",
    "SummaryRow",
    "TimedOutError",
    "TooExpensiveError",
    "UnauthenticatedError",
    "UnavailableError",
    "Updated",
    "Verdict",
    "Violation",
    "WatchOverflowError",
    "Weights",
    "aio",
    "connect",
    "load_spec",
    "theory",
]

_LAZY = {
    "Artifact": "results.artifacts",
    "Check": "results.report",
    "Client": "client",
    "Event": "results.events",
    "Experiment": "results.experiment",
    "Extended": "results.events",
    "Updated": "results.events",
    "Metrics": "results.metrics",
    "Notice": "results.events",
    "PackProgressed": "results.events",
    "Prediction": "results.experiment_view",
    "Report": "results.report",
    "Run": "results.run",
    "RunsChanged": "results.events",
    "Spread": "results.summary",
    "StateChanged": "results.events",
    "Study": "studies.study",
    "SummaryRow": "results.summary",
    "Verdict": "results.report",
    "Weights": "results.weights",
    "connect": "client",
    "load_spec": "specs.specfile",
}

# Modules that are attributes of `iplab`, for completion in notebooks.
_MODULES = {"aio": "iplab.aio", "theory": "ipcore.theory"}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name not in _LAZY:
        raise AttributeError(f"module 'iplab' has no attribute {name!r}")
    return getattr(importlib.import_module(f"iplab.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
