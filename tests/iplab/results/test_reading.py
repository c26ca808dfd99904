"""Messages read as frozen dataclasses; runs and experiments as views of messages."""

import inspect
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime

import pytest
from google.protobuf.descriptor import FieldDescriptor

from iplab.results import artifacts, events, experiment, experiment_view, report, run, run_view
from iplab.results.reading import computed, read
from iplab.results.states import ExperimentState, Regime, RunState
from iplab.v1 import experiment_pb2, report_pb2, run_pb2, theory_pb2

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)

READ = [
    (artifacts.Artifact, run_pb2.Artifact),
    (events.Event, experiment_pb2.ExperimentEvent),
    (experiment_view.Counts, experiment_pb2.RunCounts),
    (experiment_view.Prediction, theory_pb2.Prediction),
    (run_view.Attempt, run_pb2.Attempt),
    (run_view.Failure, run_pb2.Failure),
    (report.Subject, report_pb2.CheckSubject),
    (report.Check, report_pb2.Check),
    (report.Conclusion, report_pb2.Conclusion),
    (report.Report, report_pb2.Report),
]


@pytest.mark.parametrize(("kind", "message"), READ, ids=lambda given: given.__name__)
def test_every_field_of_a_dataclass_is_read(kind, message):
    # Raises if a field is misspelt or missing in the message.
    assert isinstance(read(kind, message()), kind)


def test_values_of_every_type():
    @dataclass
    class Attempt:
        number: int
        owner: str
        start_time: datetime
        end_time: datetime | None
        end_reason: str
        doubled: int = field(metadata=computed(lambda message: 2 * message.number))

    message = run_pb2.Attempt(number=3, owner="d", end_reason="FAILURE_REASON_WORKER_LOST")
    message.start_time.FromDatetime(NOON)
    assert read(Attempt, message) == Attempt(3, "d", NOON, None, "WORKER_LOST", 6)
    message.end_time.FromDatetime(NOON)
    assert read(Attempt, message).end_time == NOON


def test_enums_of_a_newer_service():
    assert read(experiment_view.Prediction, theory_pb2.Prediction(regime=99)).regime is Regime.UNKNOWN
    check = read(report.Check, report_pb2.Check(kind=99, verdict=99))
    assert (check.kind, check.verdict) == ("UNKNOWN", report.Verdict.UNDECIDED)


def test_nested_messages_and_lists():
    message = report_pb2.Report(name="experiments/e", notes=["a", "b"])
    added = message.checks.add(verdict="VERDICT_AGREES", low=-0.5)
    added.subject.parameterization = "mup"
    added.points.add(width=64, value=2.0)
    added.points.add(width=128, value=1.0)
    found = read(report.Report, message)
    (check,) = found.checks
    assert found.notes == ("a", "b")
    assert check.subject == report.Subject("mup", "", 0, "", None, 1)
    assert (check.low, check.high, check.verdict) == (-0.5, None, report.Verdict.AGREES)
    assert (check.widths, check.values) == ((64, 128), (2.0, 1.0))


def test_what_a_message_lacks_is_given():
    change = experiment_pb2.RunsStateChanged(state="RUN_STATE_PAUSED", run_indices=[2, 5])
    with pytest.raises(TypeError, match=r"sequence.*time"):
        read(events.RunsChanged, change)
    event = read(events.RunsChanged, change, sequence=4, time=NOON)
    assert event == events.RunsChanged(4, NOON, RunState.PAUSED, (2, 5))


def test_every_kind_of_event_has_its_class():
    (kinds,) = experiment_pb2.ExperimentEvent.DESCRIPTOR.oneofs
    for entry in kinds.fields:
        message = experiment_pb2.ExperimentEvent(sequence=3)
        message.time.FromDatetime(NOON)
        getattr(message, entry.name).SetInParent()
        event = events.event_of(message)
        assert (event.sequence, event.time) == (3, NOON)
        assert type(event) is not events.Event
        assert {own.name for own in entry.message_type.fields} == {own.name for own in fields(event)} - {
            "sequence",
            "time",
        }
    assert type(events.event_of(experiment_pb2.ExperimentEvent(sequence=3))) is events.Event


@pytest.mark.parametrize(
    ("view", "message", "apart"),
    [
        # The values of the summary are attributes of the run itself.
        (run.Run, run_pb2.Run, {"summary"}),
        (run.Run, run_pb2.RunSummary, set()),
        (experiment.Experiment, experiment_pb2.Experiment, set()),
    ],
)
def test_a_view_has_every_field_of_its_message(view, message, apart):
    for entry in message.DESCRIPTOR.fields:
        if entry.name not in apart:
            attribute = inspect.getattr_static(view, entry.name)
            assert isinstance(attribute, property)
            assert attribute.__doc__


def test_a_view_reads_what_its_message_says():
    message = run_pb2.Run(name="experiments/e/runs/r00003", width=64, calibrated_rates=[0.5, 0.25])
    message.summary.final_test_loss = 0.0
    message.end_time.FromDatetime(NOON)
    view = run.Run(None, message)
    assert (view.id, view.width, view.calibrated_rates) == ("r00003", 64, (0.5, 0.25))
    assert (view.start_time, view.end_time) == (None, NOON)
    assert (view.final_test_loss, view.final_test_accuracy, view.diverged_step) == (0.0, None, None)
    assert {name for name, value in view.results.items() if value is not None} == {"final_test_loss"}
    with pytest.raises(AttributeError):
        view.width = 128

    message = experiment_pb2.Experiment(labels={"team": "theory"}, state="EXPERIMENT_STATE_PAUSED")
    view = experiment.Experiment(None, message)
    view.labels["team"] = "another"  # a copy
    assert (view.labels, view.state) == ({"team": "theory"}, ExperimentState.PAUSED)


def test_types_of_generated_attributes_are_those_of_the_fields():
    kinds = {
        FieldDescriptor.TYPE_DOUBLE: "float",
        FieldDescriptor.TYPE_INT32: "int",
        FieldDescriptor.TYPE_INT64: "int",
        FieldDescriptor.TYPE_UINT32: "int",
        FieldDescriptor.TYPE_STRING: "str",
    }
    for view, message in (
        (run_view.RunFields, run_pb2.Run),
        (run_view.RunSummaryFields, run_pb2.RunSummary),
        (experiment_view.ExperimentFields, experiment_pb2.Experiment),
    ):
        for entry in message.DESCRIPTOR.fields:
            if entry.type in kinds:
                kind = kinds[entry.type]
                wanted = f"tuple[{kind}, ...]" if entry.is_repeated else kind
                wanted += " | None" if entry.has_presence else ""
                returned = inspect.getattr_static(view, entry.name).fget.__annotations__["return"]
                assert returned == wanted, entry.name
