"""Requests per second, and wrong tokens, with a clock of the test's own."""

import threading

import pytest

from ipserver.api.authentication import Authenticator
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
    """An authenticator whose checks of tokens are noted, with the thread."""

    def __init__(self, store, blocking, strangers):
        self.now, self.checked = 0.0, []
        verify = store.accounts.verify_token

        def noted(token):
            self.checked.append((token, threading.current_thread()))
            return verify(token)

        store.accounts.verify_token = noted
        self._authenticator = Authenticator(
            store, blocking, strangers, required=True, monotonic=lambda: self.now
        )

    async def user(self, token):
        return (await self._authenticator.caller(f"Bearer {token}")).user

    async def refused(self, token):
        with pytest.raises(Unauthenticated):
            await self.user(token)


@pytest.fixture
def checks(store, accounts, blocking):
    strangers = Blocking(1)
    yield Checks(store, blocking, strangers)
    strangers.close()


def wrong(number):
    return f"iplab_{number:012x}_{'x' * 43}"


async def test_tokens_that_were_valid_before_do_not_wait_for_others(checks, accounts):
    known = accounts.create_token("known", 3600)
    assert await checks.user(known) == "known"
    for number in range(3):
        await checks.refused(wrong(number))
    checks.now = 15.0
    assert await checks.user(known) == "known"
    threads = [thread for _, thread in checks.checked]
    assert threads[0] is threads[1] is threads[2] is threads[3], "those of strangers"
    assert threads[4] is not threads[0]
    accounts.revoke_token(known.split("_")[1])
    checks.now = 30.0
    await checks.refused(known)
    checks.now = 45.0
    await checks.refused(known)
    assert [thread is threads[0] for token, thread in checks.checked if token == known] == [
        True, False, False, True,
    ]  # fmt: skip


async def test_one_wrong_token_is_checked_once_in_a_while_and_hinders_nobody(checks, accounts):
    for _ in range(200):
        await checks.refused(wrong(1))
    assert len(checks.checked) == 1
    assert await checks.user(accounts.create_token("new", 3600)) == "new"
    checks.now = 15.0
    await checks.refused(wrong(1))
    assert [token for token, _ in checks.checked].count(wrong(1)) == 2
