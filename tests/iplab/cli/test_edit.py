"""`iplab update`."""

import json

import pytest


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
