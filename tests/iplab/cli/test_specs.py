"""`iplab init`, `clone`, `diff` and `completion`."""

import json
import os
import re
import subprocess
import sys

import pytest
import yaml
from click.testing import CliRunner

from iplab.cli import main
from iplab.cli.specs import _written


def test_init_writes_a_spec_that_can_be_submitted(iplab, tmp_path):
    file = tmp_path / "mine.yaml"
    assert iplab("init", file).stdout.endswith(f"next: iplab submit {file} --dry-run\n")
    text = file.read_text()
    assert f"iplab submit {file} --watch" in text
    assert max(len(line.replace(str(file), "mine.yaml")) for line in text.splitlines()) <= 80
    assert "36 runs" in iplab("submit", file, "--dry-run").stdout
    # What is commented out may be there too.
    for line in ("labels:", "validation_size:", "optimizer:", "probes:"):
        text = text.replace(f"# {line}", line)
    file.write_text(text)
    assert iplab("submit", file, "--dry-run").exit_code == 0
    again = iplab("init", file)
    assert (again.exit_code, "exists already" in again.stderr) == (2, True)
    assert file.read_text() == text
    assert iplab("init", file, "--force").exit_code == 0
    assert yaml.safe_load(iplab("init", "-").stdout)["spec"]["dataset"] == "digits"


def test_clone_submits_the_spec_with_changes(iplab, trained, spec_file, tmp_path):
    made = iplab("clone", "trained", "--id", "cloned", "--set", "steps=7", "--set", "grid.seeds=[5, 6, 7]")
    assert (made.exit_code, made.stdout) == (0, "cloned\n")
    shown = json.loads(iplab("show", "cloned", "--json").stdout)
    assert (shown["spec"]["steps"], shown["spec"]["grid"]["seeds"]) == (7, [5, 6, 7])
    assert (shown["counts"]["total"], shown["labels"]) == (12, {"team": "theory"})
    iplab("cancel", "cloned")
    same = iplab("clone", "trained", "--dry-run")
    assert same.stdout == iplab("submit", spec_file, "--dry-run").stdout
    assert same.stdout.startswith("the spec is valid: 8 runs, 160 steps, at most about ")
    assert "it will have the same results" in same.stderr
    file = tmp_path / "out.yaml"
    assert (
        iplab("clone", "trained", "--set", "grid.base_learning_rates=[0.3]", "--output", file).exit_code == 0
    )
    assert yaml.safe_load(file.read_text())["spec"]["grid"]["base_learning_rates"] == [0.3]
    assert "8 runs" in iplab("submit", file, "--dry-run").stdout


def test_warnings_are_whole_where_they_are_asked_for(iplab, trained):
    """Theory's reasons stand behind the colon; without --dry-run a warning points there."""
    change = ("--set", "grid.parameterizations=[{preset: ip}]", "--set", "grid.hidden_layers=[4]")
    asked = iplab("clone", "trained", *change, "--dry-run")
    assert "f_t - f_0" in asked.stderr
    assert "--dry-run" not in asked.stderr
    made = iplab("clone", "trained", *change, "--id", "warned")
    assert "theory predicts trivial (more: --dry-run)" in " ".join(made.stderr.split())
    iplab("cancel", "warned")


def test_clone_names_what_is_wrong(iplab, trained):
    assert "write PATH=VALUE" in iplab("clone", "trained", "--set", "steps").stderr
    lost = iplab("clone", "trained", "--set", "grid.widths[9]=1", "--dry-run")
    assert (lost.exit_code, "there is no entry [9]" in lost.stderr) == (2, True)
    wrong = iplab("clone", "trained", "--set", "dataset=minst", "--dry-run")
    assert (wrong.exit_code, "did you mean 'mnist'" in wrong.stderr) == (2, True)
    lone = iplab("clone", "trained", "--set", "steps=many", "--dry-run")
    assert lone.stderr == "error: spec.steps: 'many' is not a whole number\n"
    unknown = iplab("clone", "trained", "--set", "stepps=3", "--dry-run")
    assert (unknown.exit_code, "did you mean steps" in unknown.stderr) == (2, True)


def test_diff_says_what_differs(iplab, trained, service):
    iplab("clone", "trained", "--id", "longer", "--set", "steps=60")
    service.train()
    shown = iplab("diff", "trained", "longer").stdout
    words = " ".join(shown.split())
    sentence = "1 field of the specs differs; the final test accuracy of longer minus that of trained is "
    assert words.startswith(sentence)
    interval = r"-?0\.\d{4} \(95 %: -?\d\.\d{4} \.\. \d\.\d{4}, 2 seeds\) on average over 4 groups"
    assert re.search(interval + r": higher in \d, lower in \d, undecided in \d", words)
    assert ["steps", "20", "60"] in [line.split() for line in shown.splitlines()]
    plain = json.loads(iplab("diff", "trained", "longer", "--json", "--metric", "final_test_loss").stdout)
    assert plain["specs"] == [{"field": "steps", "first": 20, "second": 60}]
    row = plain["results"][0]
    runs = {name: json.loads(iplab("runs", name, "--json").stdout) for name in ("trained", "longer")}
    own = {
        name: [
            run["summary"]["final_test_loss"]
            for run in found
            if (run["parameterization"], run["width"]) == (row["parameterization"], row["width"])
        ]
        for name, found in runs.items()
    }
    expected = [b - a for a, b in zip(own["trained"], own["longer"], strict=True)]
    assert row["difference"] == sum(expected) / 2
    assert row["low"] < row["difference"] < row["high"]
    assert "final test accuracy, 2 seeds each" in shown, "as no group has other seeds"
    assert len(plain["results"]) == 4
    overall = plain["overall"]
    assert overall["count"] == 2
    mean = sum(result["difference"] for result in plain["results"]) / 4
    assert overall["value"] == pytest.approx(mean)
    same = " ".join(iplab("diff", "trained", "trained").stdout.split())
    assert same.startswith(
        "The specs are equal; the final test accuracy of trained minus that of trained is 0.0000 "
        "(95 %: 0.0000 .. 0.0000, 2 seeds) on average over 4 groups: higher in 0, lower in 0, undecided in 4"
    )
    assert iplab("diff", "trained", "longer", "--metric", "colour").exit_code == 2


def test_specs_are_shown_as_files_have_them():
    value = {"preset": "mup", "base_learning_rates": [0.05, 40.0, 1 / 3], "label": "mine"}
    assert _written(value) == (
        "{preset: mup, base_learning_rates: [0.05, 40, 0.333333333333333], label: mine}"
    )


def test_a_shell_completes_commands_and_options():
    for shell, sign in (
        ("bash", "complete -o nosort -F"),
        ("zsh", "#compdef iplab"),
        ("fish", "complete --no-files"),
    ):
        result = CliRunner().invoke(main, ["completion", shell])
        assert (result.exit_code, sign in result.stdout) == (0, True), shell
        assert "_IPLAB_COMPLETE" in result.stdout
    assert "\n  zsh:   eval" in CliRunner().invoke(main, ["completion", "-h"]).output
    wrong = CliRunner().invoke(main, ["completion", "fisch"])
    assert (wrong.exit_code, "did you mean 'fish'" in wrong.output) == (2, True)
    asked = {"_IPLAB_COMPLETE": "bash_complete", "COMP_WORDS": "iplab exte", "COMP_CWORD": "1"}
    program = "import sys; sys.argv[0] = 'iplab'; from iplab.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | asked, capture_output=True, text=True, check=False
    )
    assert done.stdout == "plain,extend\n"
