"""Marks are written in groups, after the data are durable."""

import pytest

from ipserver.errors import StoreUnavailable
from ipserver.forward.marks import Marks, TakenOver
from ipserver.store.records.forwarding import Forwarded


class Log:
    """Replaces the store and MLflow, since only the order of calls matters here."""

    def __init__(self, late=()):
        self.calls = []
        self.late = list(late)
        self.error = None
        self.time = 0.0

    def sync(self):
        self.calls.append("sync")

    def mark_forwarded(self, sent):
        self.calls.append([one.index for one in sent])
        if self.error:
            raise self.error
        return self.late

    def discard(self, run_id):
        self.calls.append(f"discard {run_id}")

    def __call__(self):
        return self.time


def sent(index):
    return Forwarded("e", index, f"id{index}", new=True)


def test_what_was_sent_within_a_second_is_marked_together():
    log = Log()
    marks = Marks(log, log, log)
    for index in range(3):
        marks.add(sent(index))
        log.time += 0.4
    assert log.calls == []
    marks.add(sent(3))
    assert log.calls == ["sync", [0, 1, 2, 3]]
    marks.save()
    assert len(log.calls) == 2, "nothing is left"
    for index in range(50):
        marks.add(sent(index))
    assert log.calls[2:] == ["sync", list(range(50))]


def test_what_could_not_be_marked_is_sent_again():
    log = Log()
    marks = Marks(log, log, log)
    marks.add(sent(0))
    log.error = StoreUnavailable("away")
    with pytest.raises(StoreUnavailable):
        marks.save()
    log.error = None
    marks.add(sent(0))
    marks.save()
    assert log.calls == ["sync", [0], "sync", [0]]


def test_a_run_that_another_forwarder_has_created_too_is_deleted():
    log = Log(late=[sent(1)])
    marks = Marks(log, log, log)
    marks.add(sent(0))
    marks.add(sent(1))
    with pytest.raises(TakenOver):
        marks.save()
    assert log.calls == ["sync", [0, 1], "discard id1"]
