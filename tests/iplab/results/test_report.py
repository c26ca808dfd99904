"""Reports of a trained experiment: muP, and an implementation that is wrong in one layer."""

import dataclasses
import json
import re
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

import iplab as sdk
from iplab.cli import main
from iplab.cli.check import print_report
from iplab.results.report import Report, Verdict
from tests.iplab.conftest import small_spec

# a_2 is 0 instead of 1/2.
WRONG = {"label": "mine", "exponents": {"a": ["0", "0", "1"], "b": ["0", "0", "0"], "c": ["-1", "-1", "-1"]}}


@pytest.fixture
def iplab(service):
    """Run a command; return click's result, with separate output streams."""
    return lambda *args: CliRunner().invoke(main, ["--address", service.address, *map(str, args)])


@pytest.fixture(scope="module")
def checked(service, client):
    """Widths 64 to 256, eight seeds, two updates, on digits."""
    spec = small_spec(
        parameterizations=[{"preset": "mup"}, WRONG],
        widths=[64, 128, 256],
        seeds=list(range(8)),
    )
    spec["spec"] |= {
        "steps": 2,
        "record": {"weights": "none", "probes": {"quantities": ["coordinates"], "steps": [0, 1, 2]}},
    }
    experiment = client.create(spec, experiment_id="checked")
    service.train()
    return experiment.refresh()


def test_a_wrong_multiplier_is_found_in_its_layer(checked):
    report = checked.check(references={"mine": "mup"})
    mup, mine = report.conclusions
    assert mup.verdict is not Verdict.DISAGREES, mup.sentence
    assert mine.verdict is Verdict.DISAGREES
    assert mine.sentence.startswith("layer 2 disagrees from step 0: slope 0.")
    assert report.disagrees
    assert not checked.check(steps=[0]).disagrees, "its own exponents describe it"


def test_alignment_says_where_activations_leave_the_calculus(service, client, iplab):
    """IP-LLR with ReLU: updates stay aligned; the predictions for tanh would not hold."""
    spec = small_spec(
        parameterizations=[{"preset": "ip-llr"}],
        widths=[64, 128, 256],
        hidden_layers=[3],
        activations=["relu"],
        seeds=list(range(4)),
    )
    probes = {"quantities": ["alignment"], "steps": [1, 2]}
    spec["spec"] |= {"steps": 2, "record": {"weights": "none", "probes": probes}}
    experiment = client.create(spec, experiment_id="aligned")
    service.train()
    report = experiment.check(alignment=True)
    assert {check.kind for check in report.checks} == {"ALIGNMENT"}
    updates = [check for check in report.checks if check.name.startswith("theta of W^")]
    assert {(check.name, check.predicted) for check in updates} == {
        (f"theta of W^{layer}", "1") for layer in (2, 3, 4)
    }
    assert all(abs(check.slope - 1) < 0.2 for check in updates)
    (conclusion,) = report.alignments
    assert "the calculus" in conclusion.sentence
    shown = iplab("check", "aligned", "--alignment").stdout
    assert f"of {len(report.checks)} alignments, " in " ".join(shown.split())
    assert "theory with the measured alignment" in " ".join(shown.split())
    assert json.loads(iplab("check", "aligned", "--alignment", "--json").stdout)["alignments"]


def test_checks_are_values(checked):
    report = checked.check(steps=[0])
    first = report.checks[0]
    assert (first.kind, first.name, first.layer, first.step, first.predicted) == (
        "COORDINATE",
        "h^1",
        1,
        0,
        "0",
    )
    assert first.widths == (64, 128, 256)
    assert first.low < first.slope < first.high
    assert first.verdict is Verdict.AGREES, first.sentence
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.slope = 0.0
    assert json.loads(json.dumps(report.to_dict()))["checks"][0]["verdict"] == "agrees"


def test_a_tolerance_that_is_too_small_decides_nothing(checked):
    report = checked.check(tolerance=1e-6)
    coordinates = [check for check in report.checks if check.kind == "COORDINATE"]
    assert coordinates
    assert Verdict.AGREES not in {check.verdict for check in coordinates}


def test_wrong_arguments_are_named(checked):
    with pytest.raises(sdk.InvalidRequestError, match="there are: mup, mine") as caught:
        checked.check(references={"yours": "mup"}, steps=[5])
    assert [v.field for v in caught.value.violations] == ["references[0].parameterization", "steps[0]"]


def test_without_probes_there_is_only_a_note(trained):
    report = trained.check()
    assert not report.disagrees
    assert "record.probes" in report.notes[0]


def test_the_command_answers_first(iplab, checked):
    result = iplab("check", "checked", "--reference", "mine=mup")
    assert result.exit_code == 6
    lines = result.stdout.splitlines()
    assert lines[0].startswith("of 4 answers, 1 disagrees")
    assert lines[1].startswith("  mine compared with mup (2 hidden"), "what disagrees stands first"
    text = " ".join(result.stdout.split())
    assert "mine compared with mup (2 hidden layers, relu, base rate 0.1): disagrees: layer 2" in text
    assert re.search(
        r"change of f after step 2: slope -?\d\.\d\d \(95 %: -?\d\.\d\d \.\. -?\d\.\d\d\), theory", text
    )
    assert max(map(len, lines)) <= 80
    assert "95 % interval" not in text, "no table"


def test_why_shows_every_comparison_in_tables_that_fit(iplab, checked):
    result = iplab("check", "checked", "--reference", "mine=mup", "--why")
    assert result.exit_code == 6
    lines = result.stdout.splitlines()
    assert "mup, L=2, relu, base rate 0.1" in lines
    assert max(map(len, lines)) <= 80, "text is folded where there is no terminal too"
    assert any(line.startswith("mine: layer 2 disagrees from step 0") for line in lines)
    # Three layers at steps 0, 1, 2 and the stationarity, of both.
    row = re.compile(r" +(-|\d) .*(agrees|undecided)$")
    assert sum(bool(row.match(line.rstrip())) for line in lines) == 20


def test_the_command_says_why_something_is_undecided(iplab, checked):
    arguments = ("check", "checked", "--step", 0, "--tolerance", 1e-6)
    assert iplab(*arguments).stderr == "every comparison, and why: --why\n"
    result = iplab(*arguments, "--why")
    assert result.stderr == ""
    reasons = [line for line in result.stdout.splitlines() if " undecided: slope " in line]
    assert len(reasons) == 6


def test_a_best_rate_at_an_edge_of_the_grid_has_no_slope(service, client, iplab):
    """Rates far too small: the largest is best at every width."""
    spec = small_spec(
        parameterizations=[{"preset": "mup"}],
        widths=[16, 32, 64],
        base_learning_rates=[0.001, 0.002, 0.004],
        seeds=[0, 1, 2],
    )
    spec["spec"] |= {"steps": 10, "record": {"weights": "none"}}
    experiment = client.create(spec, experiment_id="edge")
    service.train()
    (check,) = experiment.check().checks
    assert check.verdict is Verdict.NOT_BRACKETED
    assert check.slope is check.low is check.high is None
    result = iplab("check", "edge", "--why")
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    assert text.startswith(
        "mup (2 hidden layers, relu): the best rate is not bracketed at widths 16, 32, 64 (at 0.004: add "
        "larger rates, from 0.008 on)"
    )
    assert "0.00 " not in text
    (shown,) = json.loads(iplab("check", "edge", "--json").stdout)["checks"]
    assert shown["slope"] is shown["drift"] is None, "0 would read like a perfect transfer"


def test_the_command_prints_json_and_succeeds_where_nothing_disagrees(iplab, checked):
    result = iplab("check", "checked", "--step", 0, "--json")
    assert result.exit_code == 0
    assert len(json.loads(result.stdout)["checks"]) == 6


def test_nothing_checked_is_said(iplab, trained):
    result = iplab("check", "trained")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("nothing could be compared with theory\nnote: ")
    assert "record.probes" in result.stderr


def test_distances_at_too_few_widths_are_the_answer(capsys):
    """No slope can be held against theory, but distances were asked for, and measured."""
    distance = (
        "mup, L=2: distance to the limit: after 10 updates the outputs are 12 % [10 %, 15 %] at width 64"
    )
    note = "a slope needs at least 3 widths"
    print_report(Report("experiments/e", (), (), (note,), measurements=(distance,)))
    said = capsys.readouterr()
    assert said.out.startswith(distance[:60])
    assert said.err == "nothing could be compared with theory\nnote: a slope needs at least 3 widths\n"


def test_a_picture(iplab, checked, tmp_path):
    file = tmp_path / "report.svg"
    result = iplab("check", "checked", "--step", 0, "--plot", file)
    assert f"saved {file}\n" in result.stderr
    assert result.stdout == iplab("check", "checked", "--step", 0).stdout, "and the report"
    assert ElementTree.parse(file).getroot().tag.endswith("svg")
    assert "must end in .svg" in iplab("check", "checked", "--plot", tmp_path / "a.txt").stderr


def test_what_cannot_be_drawn_does_not_take_the_report_away(iplab, checked, tmp_path):
    plain = iplab("check", "checked", "--step", 0)
    result = iplab("check", "checked", "--step", 0, "--plot", tmp_path / "absent" / "report.svg")
    assert result.exit_code == 2
    assert result.stdout == plain.stdout
    assert "there is no picture" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--reference", "mine"], 2, "write LABEL=NAME"),
        (["--reference", "mine=mup", "--reference", "mine=ip"], 2, "given twice"),
        (["--reference", "mine=mupp"], 2, "did you mean 'mup'"),
        (["--tolerance", "-1"], 2, "must be > 0"),
    ],
)
def test_wrong_usage(iplab, checked, arguments, code, said):
    result = iplab("check", "checked", *arguments)
    assert result.exit_code == code
    assert said in result.stderr


def test_no_such_experiment(iplab):
    assert iplab("check", "absent").exit_code == 4


def test_what_disagrees_beside_coordinates_is_said(checked, capsys):
    """A conclusion is about coordinates; a falling f is another check."""
    report = checked.check(references={"mine": "mup"})
    *others, still = [check for check in report.checks if check.subject.parameterization == "mine"]
    assert still.kind == "STATIONARITY"
    falls = dataclasses.replace(still, verdict=Verdict.DISAGREES, sentence="it falls")
    print_report(dataclasses.replace(report, checks=(*others, falls)))
    printed = capsys.readouterr().out
    assert "mine compared with mup (2 hidden layers, relu, base rate 0.1): it falls" in printed


def test_what_does_not_show_yet_is_said_explained_and_drawn(checked, capsys, tmp_path):
    report = checked.check()
    *_, change = [check for check in report.checks if check.kind == "COORDINATE"]
    hidden = dataclasses.replace(change, verdict=Verdict.NOT_YET, expected=-0.4, sentence="parts make -0.40")
    report = dataclasses.replace(report, checks=(hidden,), conclusions=(), notes=())
    assert not report.disagrees
    print_report(report)
    shown = capsys.readouterr()
    assert "not yet" in shown.out
    assert shown.err == "every comparison, and why: --why\n"
    print_report(report, why=True)
    assert "    parts make -0.40" in capsys.readouterr().out.splitlines()
    report.plot().save(tmp_path / "report.svg")
    # One more line than for an exponent that is visible.
    dataclasses.replace(report, checks=(change,)).plot().save(tmp_path / "plain.svg")
    dotted = [(tmp_path / name).read_text().count("stroke-dasharray") for name in ("report.svg", "plain.svg")]
    assert dotted[0] == dotted[1] + 1


def test_a_caption_says_whose_conclusion_it_is(checked):
    report = checked.check()
    first = report.conclusions[0]
    two = [
        dataclasses.replace(
            first,
            subject=dataclasses.replace(first.subject, parameterization=name, reference=name),
            sentence=f"{count} agree",
        )
        for name, count in (("mup", 3), ("sp", 4))
    ]
    alone = dataclasses.replace(report, conclusions=tuple(two[:1])).plot("coordinates").caption
    both = dataclasses.replace(report, conclusions=tuple(two)).plot("coordinates").caption
    assert "3 agree." in alone
    assert "3 agree (mup). 4 agree (sp)." in both
