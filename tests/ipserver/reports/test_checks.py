"""Reports are converted to messages by field name."""

from dataclasses import fields
from fractions import Fraction

import pytest

from ipcore.analysis import Check, Conclusion, Report, Subject, Verdict, WidthValue
from ipcore.analysis.kinds import KINDS
from iplab.v1 import report_pb2 as pb
from ipserver.reports.checks import report_message

SUBJECT = Subject("mine", "mup", 2, "relu", 0.1, 3)
CHECK = Check(
    kind="RATE_TRANSFER",
    subject=SUBJECT,
    slope=-0.5,
    low=None,
    high=0.0,
    verdict=Verdict.NOT_YET,
    sentence="words",
    points=(WidthValue(64, 0.5), WidthValue(128, 0.25)),
    seeds=3,
    predicted=Fraction(-1, 2),
)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Subject, pb.CheckSubject),
        (WidthValue, pb.WidthValue),
        (Check, pb.Check),
        (Conclusion, pb.Conclusion),
        (Report, pb.Report),
    ],
)
def test_fields_of_reports_are_those_of_messages(value, message):
    beside = {"name"} if message is pb.Report else set()
    assert {field.name for field in fields(value)} | beside == {f.name for f in message.DESCRIPTOR.fields}


def test_every_kind_of_check_has_a_value():
    sent = {f"CHECK_KIND_{kind.name}" for kind in KINDS}
    assert sent == set(pb.CheckKind.keys()) - {"CHECK_KIND_UNSPECIFIED"}


def test_enums_exponents_lists_and_what_is_not_set():
    report = Report((CHECK,), (Conclusion(SUBJECT, Verdict.AGREES, "all"),), ("a note",))
    found = report_message("experiments/e", report)
    (check,) = found.checks
    assert (check.kind, check.verdict) == (pb.CHECK_KIND_RATE_TRANSFER, pb.VERDICT_NOT_YET)
    assert (check.predicted, check.predicted_high) == ("-1/2", "")
    assert not check.HasField("low")
    assert check.HasField("high")
    assert [(point.width, point.value) for point in check.points] == [(64, 0.5), (128, 0.25)]
    assert (check.subject.reference, check.subject.layers) == ("mup", 3)
    assert found.conclusions[0].subject == check.subject
    assert (found.name, list(found.notes)) == ("experiments/e", ["a note"])
