"""Interrupted watches: what their readers are told."""

import pytest

from iplab.connection.resuming import Resuming
from iplab.errors import UnavailableError


def test_a_reader_is_told_once_that_the_service_is_away_and_once_that_it_is_back():
    said = []
    resuming = Resuming("experiments/e", say=said.append)
    resuming.found()
    assert said == []
    for _ in range(3):
        resuming.survive(UnavailableError("away"))
    assert said == ["the service does not answer; it is awaited for 60 s"]
    resuming.found()
    resuming.found()
    assert said[1:] == ["the service answers again"]


def test_a_reader_who_does_not_ask_is_told_nothing_and_the_error_comes_all_the_same():
    resuming = Resuming("experiments/e", patience=-1.0)
    with pytest.raises(UnavailableError):
        resuming.survive(UnavailableError("away"))
