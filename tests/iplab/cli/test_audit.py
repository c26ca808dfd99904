"""`iplab audit`."""

import json


def test_audit_shows_who_changed_what(iplab, spec_file):
    assert iplab("submit", spec_file, "--id", "audited").exit_code == 0
    assert iplab("cancel", "audited").exit_code == 0
    chosen = ("--filter", 'resource = "experiments/audited"')
    plain = json.loads(iplab("audit", *chosen, "--json").stdout)
    assert [entry["method"].rpartition("/")[2] for entry in plain] == ["CancelExperiment", "CreateExperiment"]
    for entry in plain:
        assert (entry["user"], entry["peer"], entry["code"]) == ("", "127.0.0.1", "OK")
        assert entry["time"] <= entry["end_time"]
    shown = iplab("audit", *chosen, "--limit", 1)
    assert "CancelExperiment" in shown.stdout
    both = iplab("audit", *chosen).stdout
    assert both.startswith("project default\n"), "said once"
    assert "CreateExperiment" not in shown.stdout
    assert "the newest 1; there are more" in shown.stderr
    assert "no calls match" in iplab("audit", "--filter", "user = nobody").stderr
    assert iplab("audit", "--filter", "who = me").exit_code == 2
