"""Projects, tokens and limits from the command line."""

import getpass
import json
import socket

import pytest
from click.testing import CliRunner

from ipserver.cli import main
from ipserver.store import open_store


def _run(home, *arguments, code=0):
    done = CliRunner().invoke(main, [*arguments, "--home", str(home)], env={"IPLAB_HOME": ""})
    assert done.exit_code == code, done.output
    return done.output


def test_projects_and_tokens_from_the_command_line(tmp_path):
    _run(tmp_path, "migrate")
    _run(tmp_path, "project", "create", "lab")
    assert "there is a project 'lab' already" in _run(tmp_path, "project", "create", "lab", code=2)
    _run(tmp_path, "project", "grant", "lab", "alice", "writer")
    token = _run(tmp_path, "token", "create", "alice", "--note", "laptop").strip()
    (listed,) = json.loads(_run(tmp_path, "token", "list", "--json"))
    assert (listed["user"], listed["note"], listed["state"]) == ("alice", "laptop", "active")
    assert token.startswith(f"iplab_{listed['id']}_")
    assert token.split("_", 2)[2] not in json.dumps(listed)
    _run(tmp_path, "token", "revoke", listed["id"])
    assert "revoked" in _run(tmp_path, "token", "list")
    _run(tmp_path, "quota", "set", "lab", "live_experiments", "3", "--user", "alice")
    with open_store(f"sqlite:///{tmp_path}/iplab.db") as store:
        entries = store.audit_entries(limit=99)
    done = [(one.method, one.resource, one.project, one.code) for one in reversed(entries)]
    assert done == [
        ("ipserver project create", "projects/lab", "lab", "OK"),
        ("ipserver project create", "projects/lab", "lab", "ALREADY_EXISTS"),
        ("ipserver project grant writer", "projects/lab/users/alice", "lab", "OK"),
        ("ipserver token create", "users/alice", "", "OK"),
        ("ipserver token revoke", f"tokens/{listed['id']}", "", "OK"),
        ("ipserver quota set live_experiments 3", "projects/lab/users/alice", "lab", "OK"),
    ]
    assert {(one.user, one.peer) for one in entries} == {(f"os:{getpass.getuser()}", socket.gethostname())}
    assert token.split("_", 2)[2] not in repr(entries)
    assert json.loads(_run(tmp_path, "project", "list", "--json"))["grants"] == [
        {"project": "lab", "principal": "alice", "role": "writer"}
    ]
    assert "default" in _run(tmp_path, "project", "list")
    _run(tmp_path, "project", "deny", "lab", "alice")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("project", "grant", "nowhere", "alice", "reader"), "there is no project 'nowhere'"),
        (("project", "create", "No Id"), "is not an id"),
        (("project", "deny", "default", "alice"), "alice has no role in default"),
        (("token", "create", "alice\x1b[31m"), "is not a user"),
        (("token", "create", "group:all"), "is a group"),
        (("token", "revoke", "0" * 12), "there is no token"),
    ],
)
def test_wrong_accounts_are_named(tmp_path, arguments, said):
    _run(tmp_path, "migrate")
    assert said in _run(tmp_path, *arguments, code=2)
