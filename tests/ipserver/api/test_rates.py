"""Requests per second, and wrong tokens, with a clock of the test's own."""

import pytest

from ipserver.api.authentication import WRONG_TOKENS, Authenticator
from ipserver.api.blocking import Blocking
from ipserver.api.caller import ANYONE, Caller, set_caller
from ipserver.api.rates import Rates
from ipserver.errors import RateExceeded, Unauthenticated
from ipserver.store.records.accounts import EVERY, Role


@pytest.fixture
def blocking():
    pool = Blocking(1)
    yield pool
    pool.close()


@pytest.fixture
def accounts(store):
    for project in ("lab", "other"):
        store.accounts.create_project(project)
    return store.accounts


async def refused(rates, project, user):
    with pytest.raises(RateExceeded) as caught:
        await rates.take(project, user)
    return caught.value


async def test_requests_above_a_users_limit_leave_the_projects_to_others(store, accounts, blocking):
    accounts.set_quota("lab", "", "requests_per_second", 3)
    accounts.set_quota("lab", "eve", "requests_per_second", 1)
    rates = Rates(store, blocking, monotonic=lambda: 7.0)
    await rates.take("lab", "eve")
    for _ in range(9):
        error = await refused(rates, "lab", "eve")
        assert (error.subject, error.retry_seconds) == ("project:lab/user:eve", 1.0)
    await rates.take("lab", "bob")
    await rates.take("lab", "bob")
    assert (await refused(rates, "lab", "bob")).subject == "project:lab"


async def test_requests_without_a_project_count_for_one_of_the_callers(store, accounts, blocking):
    accounts.set_quota("*", "", "requests_per_second", 1)
    rates = Rates(store, blocking, monotonic=lambda: 7.0)
    for user, roles, project in (
        ("stranger", {}, ""),
        ("several", {"other": Role.READER, "lab": Role.ADMIN}, "lab"),
        ("known", {"other": Role.READER, "default": Role.READER, "lab": Role.ADMIN}, "default"),
        ("operator", {EVERY: Role.READER}, "default"),
    ):
        assert Caller(user, roles).charged() == project
    set_caller(Caller("stranger", {}))
    await rates.take_for_caller()
    with pytest.raises(RateExceeded, match=r"all users without a project together may send 1 requests"):
        await rates.take_for_caller()
    await rates.take("default", "known")  # what strangers send is no request of a project


async def test_without_authentication_nothing_is_counted(store, accounts, blocking):
    accounts.set_quota("*", "", "requests_per_second", 0)
    set_caller(ANYONE)
    await Rates(store, blocking, counting=False).take_for_caller()


class Checks:
    """An authenticator whose checks of tokens are counted."""

    def __init__(self, store, blocking):
        self.now, self.checked = 0.0, []
        verify = store.accounts.verify_token
        store.accounts.verify_token = lambda token: self.checked.append(token) or verify(token)
        self._authenticator = Authenticator(store, blocking, required=True, monotonic=lambda: self.now)

    async def code(self, token, host="10.0.0.7"):
        try:
            return (await self._authenticator.caller(f"Bearer {token}", host)).user
        except (Unauthenticated, RateExceeded) as error:
            return type(error).__name__


@pytest.fixture
def checks(store, accounts, blocking):
    return Checks(store, blocking)


def wrong(number):
    return f"iplab_{number:012x}_{'x' * 43}"


async def test_an_address_that_guesses_tokens_is_refused_unchecked(checks, accounts):
    known, new = (accounts.create_token(user, 3600) for user in ("known", "new"))
    assert await checks.code(known) == "known"
    codes = [await checks.code(wrong(number)) for number in range(100)]
    assert codes == ["Unauthenticated"] * int(WRONG_TOKENS) + ["RateExceeded"] * 40
    assert len(checks.checked) == 61
    assert await checks.code(new, host="10.0.0.8") == "new"
    checks.now = 20.0  # the check of the valid token has expired; twenty more wrong tokens may be shown
    for number in range(200, 220):
        assert await checks.code(wrong(number)) == "Unauthenticated"
    assert await checks.code(wrong(300)) == "RateExceeded"
    assert await checks.code(known) == "known"  # is checked again all the same
    accounts.revoke_token(known.split("_")[1])
    checks.now = 20.0 + 15.0
    for number in range(400, 415):
        await checks.code(wrong(number))
    assert await checks.code(known) == "Unauthenticated"
    assert await checks.code(known) == "Unauthenticated"


async def test_one_wrong_token_is_checked_once_and_hinders_nobody(checks, accounts):
    """A forgotten script with an old token must not lock out others behind the same proxy."""
    for _ in range(200):
        assert await checks.code(wrong(1)) == "Unauthenticated"
    assert len(checks.checked) == 1
    assert await checks.code(accounts.create_token("new", 3600)) == "new"
    checks.now = 15.0
    assert await checks.code(wrong(1)) == "Unauthenticated"
    assert checks.checked.count(wrong(1)) == 2


async def test_the_refusal_says_what_is_allowed(checks):
    for number in range(60):
        await checks.code(wrong(number))
    with pytest.raises(RateExceeded) as caught:
        await checks._authenticator.caller(f"Bearer {wrong(99)}", "10.0.0.7")
    assert (caught.value.subject, caught.value.retry_seconds) == ("address:10.0.0.7", 1.0)
    assert str(caught.value) == (
        "the address 10.0.0.7 has shown 60 wrong tokens, and may show 1 per second; correct them, and ask "
        "again in 1 s"
    )
