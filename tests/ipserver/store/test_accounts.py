"""Projects, roles and tokens, on both databases."""

import pytest
import sqlalchemy as sa

from ipserver.errors import AlreadyExists, InvalidRequest, NotFound
from ipserver.store.records.accounts import Grant, Role
from tests.ipserver.store.cases import new_experiment, new_runs

DAY = 86_400.0


def test_the_default_project_is_there_and_others_are_made_once(store):
    assert store.accounts.projects() == ["default"]
    store.accounts.create_project("lab")
    with pytest.raises(AlreadyExists):
        store.accounts.create_project("lab")
    assert store.accounts.projects() == ["default", "lab"]


def test_the_highest_role_of_all_principals_counts(store):
    accounts = store.accounts
    accounts.create_project("lab")
    accounts.grant("lab", "alice", Role.READER)
    accounts.grant("lab", "group:theory", Role.WRITER)
    accounts.grant("*", "alice", Role.READER)
    assert accounts.roles(["alice", "group:theory"]) == {"lab": Role.WRITER, "*": Role.READER}
    accounts.grant("lab", "alice", Role.ADMIN)
    assert accounts.roles(["alice"]) == {"lab": Role.ADMIN, "*": Role.READER}
    assert accounts.deny("lab", "alice")
    assert not accounts.deny("lab", "alice")
    assert accounts.grants() == [Grant("*", "alice", Role.READER), Grant("lab", "group:theory", Role.WRITER)]
    with pytest.raises(NotFound, match="ipserver project create nowhere"):
        accounts.grant("nowhere", "alice", Role.READER)


def test_a_token_is_known_until_it_expires_or_is_revoked(store, clock):
    accounts = store.accounts
    token = accounts.create_token("alice", DAY, "laptop")
    record = accounts.verify_token(token)
    assert (record.user, record.note, record.state, record.last_use_time) == (
        "alice",
        "laptop",
        "active",
        None,
    )
    clock.time += DAY
    assert accounts.verify_token(token).state == "expired"
    other = accounts.create_token("alice", DAY)
    accounts.revoke_token(other.split("_")[1])
    clock.time += 1
    first = accounts.revoke_token(other.split("_")[1])
    assert first.state == "revoked"
    assert first.revoke_time == clock.time - 1
    with pytest.raises(NotFound):
        accounts.revoke_token("0" * 12)


def test_the_store_does_not_hold_the_secret(store):
    token = store.accounts.create_token("alice", DAY)
    _, name, secret = token.split("_", 2)
    with store.database.engine.connect() as connection:
        row = " ".join(map(str, connection.execute(sa.text("SELECT * FROM tokens")).one()))
    assert name in row
    assert secret not in row
    assert store.accounts.verify_token(token[:-1] + ("A" if token[-1] != "A" else "B")) is None
    assert store.accounts.verify_token(f"iplab_{'0' * 12}_{secret}") is None
    assert store.accounts.verify_token("") is None


def test_uses_are_written_down_once_a_minute(store, clock):
    token = store.accounts.create_token("alice", DAY)
    name, start = token.split("_")[1], clock.time
    for seconds, seen in ((0, 0), (59, 0), (2, 61)):
        clock.time += seconds
        store.accounts.token_used(name)
        assert store.accounts.verify_token(token).last_use_time == start + seen


def test_an_experiment_belongs_to_a_project_that_is_there(store):
    store.create_experiment(new_experiment("e"), new_runs(1))
    assert store.accounts.project_of_experiment("e") == "default"
    assert store.accounts.project_of_experiment("f") is None
    assert store.accounts.project_of_study("s") is None
    with pytest.raises(InvalidRequest, match="there is no project 'nowhere'"):
        store.create_experiment(new_experiment("f", project="nowhere"), new_runs(1))
