"""Which refusals are repeated, and after how long."""

from iplab.connection.retries import RETRY_DELAYS, Retries
from iplab.errors import QuotaExceededError, UnavailableError


def test_a_call_above_the_limit_per_second_waits_as_long_as_the_service_says():
    limit = "requests_per_second"
    assert Retries().delay_after(QuotaExceededError("", limit, 1.5)) == 1.5
    assert Retries().delay_after(QuotaExceededError("", limit, 0.01)) == RETRY_DELAYS[0]
    for seconds in (5.1, None):
        assert Retries().delay_after(QuotaExceededError("", limit, seconds)) is None


def test_a_call_above_another_limit_is_not_repeated():
    assert Retries().delay_after(QuotaExceededError("", "core_hours", 1.0)) is None


def test_a_service_that_is_away_is_asked_five_times_more():
    retries = Retries()
    delays = [retries.delay_after(UnavailableError("")) for _ in range(6)]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.5, None]
