"""`iplab update`, `delete`, `undelete` and `purge`."""

import json
import re

import pytest

from ipserver.store.records.runs import Failure
from ipserver.store.states import FailureReason


def test_update_changes_what_is_given(iplab, spec_file, tmp_path):
    assert iplab("submit", spec_file, "--id", "edited").exit_code == 0
    notes = tmp_path / "notes.txt"
    notes.write_text("first line\n\nlast line\n")
    result = iplab(
        "update",
        "edited",
        "--label",
        "a=b=c",
        "--remove-label",
        "team",
        "--priority",
        4,
        "--notes-file",
        notes,
    )
    assert (result.exit_code, result.stdout) == (0, "edited: priority 4, eight small runs, a=b=c\n")
    shown = iplab("show", "edited").stdout
    assert "first line\n\nlast line\n" in shown
    plain = json.loads(iplab("update", "edited", "--display-name", "", "--notes", "", "--json").stdout)
    assert (plain["labels"], plain["priority"]) == ({"a": "b=c"}, 4)
    assert (plain.get("notes", ""), plain.get("display_name", "")) == ("", "")
    stale = iplab("update", "edited", "--priority", 1, "--etag", "0" * 16)
    assert (stale.exit_code, "read it again" in stale.stderr) == (5, True)
    iplab("cancel", "edited")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "nothing to change"),
        (("--label", "team"), "write KEY=VALUE"),
        (("--label", "a=1", "--remove-label", "a"), "given twice"),
        (("--notes", "x", "--notes-file", "-"), "give one of them"),
    ],
)
def test_update_says_what_is_wrong(iplab, options, told):
    result = iplab("update", "e", *options)
    assert (result.exit_code, told in result.stderr) == (2, True)


def test_delete_undelete_and_purge(iplab, spec_file):
    for name in ("first-gone", "second-gone"):
        iplab("submit", spec_file, "--id", name)
    refused = iplab("delete", "first-gone")
    assert (refused.exit_code, "cancel it" in refused.stderr) == (2, True)
    iplab("cancel", "first-gone")
    iplab("cancel", "second-gone")
    result = iplab("delete", "first-gone", "second-gone")
    assert result.exit_code == 0
    line = r"first-gone is deleted; it can be undeleted until \d{4}-\d\d-\d\d \d\d:\d\d UTC\n"
    assert re.match(line, result.stdout)
    assert "first-gone" not in iplab("list", "--limit", 1000).stdout
    row = next(row for row in iplab("list", "--deleted").stdout.splitlines() if "first-gone" in row)
    assert "CANCELLED (deleted)" in row
    assert "it is deleted" in iplab("show", "first-gone").stdout
    assert iplab("undelete", "second-gone").stdout == "second-gone exists; it is not deleted\n"
    assert iplab("purge", "first-gone", stdin="n\n").exit_code == 130
    assert iplab("purge", "first-gone", stdin="y\n").stdout == "first-gone is being purged\n"
    (plain,) = json.loads(iplab("purge", "first-gone", "--yes", "--json").stdout)
    assert plain["name"] == "experiments/first-gone"
    assert iplab("undelete", "first-gone").exit_code == 2


def test_retry(iplab, service, spec_file):
    iplab("submit", spec_file, "--id", "retried")
    nothing = iplab("retry", "retried")
    assert (nothing.exit_code, "no run failed" in nothing.stderr) == (8, True)
    service.store.lease_unplanned("test", 60.0)
    broke = Failure(FailureReason.TRAINING_ERROR, "it broke")
    service.store.refuse_plan("retried", "test", broke)
    assert iplab("retry", "retried", 3).stdout == "r00003 is QUEUED\n"
    done = iplab("retry", "retried")
    assert done.stdout == "retried is QUEUED; trained again: 7 failed runs\n"
    iplab("cancel", "retried")
