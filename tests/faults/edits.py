"""Faults of writes to what is there already: updates, deletions, retries, retention, and their audit entries.

Each request is repeated until it is acknowledged, while the process that writes is killed before, during or
after its transaction.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import iplab
from ipserver.artifacts import open_artifacts
from ipserver.environment.artifact_root import ArtifactRoot
from ipserver.errors import NotFound
from ipserver.store.records.filters import Comparison, Junction
from ipserver.store.records.runs import Failure
from ipserver.store.states import FailureReason
from tests.faults import checks
from tests.faults.lab import Lab, wait_for
from tests.ipserver.studies.cases import BASE

SECONDS: Final = 300.0
STEPS, INTERVAL = 100, 10
SPEC: Final[dict[str, Any]] = {
    "spec": {
        "dataset": "digits",
        "batch_size": 32,
        "steps": STEPS,
        "evaluation_interval": 50,
        "record": {"metrics_interval": INTERVAL},
        "grid": {
            "parameterizations": [{"preset": "mup"}],
            "widths": [16],
            "hidden_layers": [2],
            "activations": ["relu"],
            "base_learning_rates": [0.05],
            "seeds": [0, 1],
        },
    }
}


# Sizes at step 0 of small networks: two rounds, a hundred runs, five experiments and their extensions.
QUESTION: Final[dict[str, Any]] = {
    "question": "coordinate-check",
    "spec": {"spec": BASE},
    "budget": "400 runs",
    "tolerance": 0.3,
    "isolated": False,
}


@dataclass(frozen=True)
class Edit:
    """A write that is interrupted.

    Attributes:
        prepare: Makes what it is about, of this id.
        ask: Asks for it until that is acknowledged.
        check: What holds from then on, or soon.
        method: Method of the API, if the API writes: its calls that took effect are in the audit log.
        removes: Whether a repetition may find nothing any more.
    """

    prepare: Callable[[Lab, str], object]
    ask: Callable[[Lab, str], object]
    check: Callable[[Lab, str], object]
    method: str = ""
    removes: bool = False


def repeat(lab: Lab, seconds: float, ask: Callable[[iplab.Client], object]) -> None:
    """Send a request again and again until it is acknowledged."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with lab.client() as client:
                ask(client)
        except iplab.UnavailableError:
            if time.monotonic() > deadline:
                raise
        else:
            return


def check_audited(lab: Lab, name: str, edit: Edit, committed: bool) -> None:
    """A call has an entry with OK exactly if its transaction was committed.

    Args:
        lab: Where it was made.
        name: Id of what it was about.
        edit: The call.
        committed: Whether the call that was killed had committed before, so that there are two.
    """
    resources = [Comparison("resource", "=", f"{kind}/{name}") for kind in ("experiments", "studies")]
    where = Junction("AND", (Junction("OR", tuple(resources)), Comparison("code", "=", "OK")))
    entries = lab.store.audit_entries(where, limit=1000)
    found = [entry for entry in entries if entry.method.endswith(f"/{edit.method}")]
    expected = {1, 2} if committed and edit.removes else {2} if committed else {1}
    assert len(found) in expected, f"{expected} calls of {edit.method} took effect; the audit log has {found}"


def trained(lab: Lab, name: str, project: str = "") -> None:
    """An experiment that has ended, with its weights."""
    experiment = {**SPEC, "project": project} if project else SPEC
    repeat(lab, SECONDS, lambda client: client.create(experiment, experiment_id=name))
    await_end(lab, name)


def await_end(lab: Lab, name: str) -> None:
    """Wait until an experiment has ended, in MLflow too."""

    def done() -> bool:
        record = lab.store.get_experiment(name)
        return record.state.terminal and record.mlflow_pending_runs == 0

    wait_for(done, SECONDS, lambda: f"{lab.store.get_experiment(name)}; {lab.tail('dispatch')}")


def failed(lab: Lab, name: str) -> None:
    """An experiment all of whose runs have failed, by a dispatcher that is not there any more."""
    assert lab.terminate("dispatch") == 0, lab.tail("dispatch")
    repeat(lab, SECONDS, lambda client: client.create(SPEC, experiment_id=name))
    leased = lab.store.lease_unplanned("tests", 60.0)
    assert leased is not None
    assert leased[0].id == name
    lab.store.refuse_plan(name, "tests", Failure(FailureReason.TRAINING_ERROR, "it broke"))
    assert lab.store.get_experiment(name).state.value == "FAILED"
    lab.start("dispatch")
    lab.await_dispatcher()


def retried(lab: Lab, name: str) -> None:
    """Every run has been trained once, to the weights of a run that never failed."""
    await_end(lab, name)
    runs = lab.store.list_runs(name, limit=10)
    assert {run.state.value for run in runs} == {"SUCCEEDED"}
    events = lab.store.events(name, after=0, limit=1000)
    queued = [event for event in events if event.kind == "runs_state" and event.payload["state"] == "QUEUED"]
    assert len(queued) == 1, queued
    points = checks.check_steps(lab.store, name, interval=INTERVAL)
    checks.check_mlflow(lab.mlflow_uri, lab.store, name, points)
    checks.check_weights(lab, name)


def updated(lab: Lab, name: str) -> None:
    """All of the update is there."""
    record = lab.store.get_experiment(name)
    assert (record.notes, record.labels, record.priority) == ("late", {"kind": "fault"}, 3)
    events = lab.store.events(name, after=0, limit=1000)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))


def asked(lab: Lab, name: str) -> None:
    """A study that has just begun."""
    request = str(uuid.uuid4())
    repeat(lab, SECONDS, lambda client: client.study(**QUESTION, study_id=name, request_id=request))


def study_updated(lab: Lab, name: str) -> None:
    """All of the update is there; the study ends when it is cancelled."""
    record = lab.store.get_study(name)
    assert (record.notes, record.labels, record.priority) == ("late", {"kind": "fault"}, 3)
    repeat(lab, SECONDS, lambda client: client.get_study(name).cancel())
    wait_for(lambda: lab.store.get_study(name).state.terminal, SECONDS, lambda: lab.tail("dispatch"))
    for experiment in lab.store.get_study(name).experiments:
        await_end(lab, experiment)


def deleted(lab: Lab, name: str) -> None:
    """It is hidden, and can be brought back with all of its files."""
    record = lab.store.get_experiment(name)
    assert record.delete_time is not None
    assert record.purge_time is not None
    assert name not in {one.id for one in lab.store.list_experiments(limit=1000)}
    _complete(lab, name)


def there(lab: Lab, name: str) -> None:
    """It is as it was before it was deleted."""
    record = lab.store.get_experiment(name)
    assert (record.delete_time, record.purge_time) == (None, None)
    assert name in {one.id for one in lab.store.list_experiments(limit=1000)}
    _complete(lab, name)


def _complete(lab: Lab, name: str) -> None:
    checks.check_steps(lab.store, name, interval=INTERVAL)
    checks.check_weights(lab, name)


def purged(lab: Lab, name: str) -> None:
    """Nothing of it is left but that its name was used."""

    def gone() -> bool:
        try:
            lab.store.get_experiment(name)
        except NotFound:
            return True
        return False

    wait_for(gone, SECONDS, lambda: f"{lab.store.get_experiment(name)}; {lab.tail('dispatch')}")
    files = open_artifacts(ArtifactRoot(str(lab.home / "artifacts")))
    assert list(files.below(name)) == []
    try:
        repeat(lab, SECONDS, lambda client: client.create(SPEC, experiment_id=name))
    except iplab.AlreadyExistsError:
        return
    raise AssertionError(f"{name} is used again")


def _trained_and_deleted(lab: Lab, name: str) -> None:
    trained(lab, name)
    repeat(lab, SECONDS, lambda client: client.experiment(name).delete())


def _kept(lab: Lab, name: str) -> None:
    """An ended experiment in a project of its own."""
    lab.store.accounts.create_project(name)
    trained(lab, name, project=name)


def _retention(lab: Lab, name: str) -> None:
    lab.store.accounts.set_quota(name, "", "retention_days", 0.0)


def _retired(lab: Lab, name: str) -> None:
    def hidden() -> bool:
        return lab.store.get_experiment(name).delete_time is not None

    wait_for(hidden, SECONDS, lambda: lab.tail("dispatch"))
    deleted(lab, name)
    # The next case must find the point `delete` passed by nobody else.
    lab.store.accounts.set_quota(name, "", "retention_days", None)


def _request(ask: Callable[[iplab.Client, str], object]) -> Callable[[Lab, str], object]:
    return lambda lab, name: repeat(lab, SECONDS, lambda client: ask(client, name))


def _retry(client: iplab.Client, name: str) -> None:
    client.experiment(name).retry_failed(request_id=str(uuid.uuid5(uuid.NAMESPACE_OID, name)))


def _purge_if_there(client: iplab.Client, name: str) -> None:
    with contextlib.suppress(iplab.NotFoundError):
        client.experiment(name).purge()


_UPDATE: Final[dict[str, Any]] = {"notes": "late", "labels": {"kind": "fault"}, "priority": 3}
_update = _request(lambda client, name: client.experiment(name).update(**_UPDATE))
_update_study = _request(lambda client, name: client.get_study(name).update(**_UPDATE))
_delete = _request(lambda client, name: client.experiment(name).delete())
_undelete = _request(lambda client, name: client.experiment(name).undelete())
_purge = _request(_purge_if_there)
EDITS: Final = {
    "update": Edit(trained, _update, updated, "UpdateExperiment"),
    "update of a study": Edit(asked, _update_study, study_updated, "UpdateStudy"),
    "delete": Edit(trained, _delete, deleted, "DeleteExperiment"),
    "undelete": Edit(_trained_and_deleted, _undelete, there, "UndeleteExperiment"),
    "purge": Edit(_trained_and_deleted, _purge, purged, "PurgeExperiment", removes=True),
    "removal": Edit(_trained_and_deleted, _purge, purged),
    "retry": Edit(failed, _request(_retry), retried, "RetryFailedRuns"),
    "retention": Edit(_kept, _retention, _retired),
}
