"""Studies by the SDK and the command line, on a real service."""

import json
import re
import threading

import pytest
from click.testing import CliRunner

import iplab
from iplab.cli import main
from iplab.cli.ask import ASKED
from iplab.results.states import StudyReason, StudyState, StudyVerdict
from iplab.studies.pictures import interval_picture
from iplab.studies.request import QUESTIONS, budget_of, study_message
from iplab.testing import FakeService
from iplab.v1.spec_pb2 import ExperimentSpec
from tests.iplab.asking import SPEC, driven
from tests.ipserver.studies.cases import BASE, driver

pytest_plugins = ["iplab.testing.fixtures"]


@pytest.fixture
def iplab_cli(service):
    """Run a command; gives click's result, with the two streams apart."""

    def call(*arguments):
        return CliRunner().invoke(main, ["--address", service.address, *arguments])

    return call


@pytest.fixture(scope="module")
def answered(service, client):
    """A coordinate check that was decided."""
    study = client.study(
        "coordinate-check", SPEC, budget="400 runs", tolerance=0.3, study_id="answered", isolated=False
    )
    with driven(service):
        return study.wait(timeout=300)


@pytest.fixture(params=["fake", "real"])
def answered_anywhere(request):
    """A client, and the coordinate check on it: decided by a real service, or made up."""
    if request.param == "real":
        return request.getfixturevalue("client"), request.getfixturevalue("answered")
    client = request.getfixturevalue("iplab_client")
    asked = {"budget": "400 runs", "tolerance": 0.3, "study_id": "answered", "isolated": False}
    return client, client.study("coordinate-check", SPEC, **asked).wait(progress=False)


def test_an_answered_study_has_rounds_experiments_and_an_answer(answered_anywhere):
    client, study = answered_anywhere
    assert (study.state, study.verdict, study.reason) == (
        StudyState.SUCCEEDED,
        StudyVerdict.AGREES,
        StudyReason.DECIDED,
    )
    assert [(one.subject, one.verdict) for one in study.answers] == [
        ("ntk (relu, 2 hidden layers)", StudyVerdict.AGREES)
    ]
    assert study.sentence
    assert study.spent.runs == study.spent.asked_runs == sum(one.runs for one in study.rounds)
    assert all(one.learned for one in study.rounds)
    experiments = list(study.trained())
    assert [it.name for it in experiments] == list(study.experiments)
    assert sorted({run.width for it in experiments for run in it.runs()}) == [8, 16, 32]
    assert {(it.labels["team"], it.labels["study"], it.state) for it in experiments} == {
        ("theory", "answered", "SUCCEEDED")
    }
    assert all(re.fullmatch(rf"answered-{study.uid[:6]}-[0-9]+", it.id) for it in experiments)
    assert list(study.spec.base.grid.widths) == [8, 16, 32]
    assert [it.verdict for it in study.watch()] == [StudyVerdict.AGREES], "an ended one is told once"
    assert study.cancel().state is StudyState.SUCCEEDED, "nothing to end"
    with pytest.raises(iplab.AlreadyExistsError, match="study 'answered' exists already; choose another id"):
        client.study("coordinate-check", SPEC, budget="400 runs", study_id="answered")
    assert client.study("answered").uid == study.uid, "an id alone finds it"
    with pytest.raises(iplab.NotFoundError, match="there is no study 'unasked'"):
        client.study("unasked")
    for asked in ({"question": "coordinate-check"}, {"question": "coordinate-chek", "budget": "10m"}):
        with pytest.raises(iplab.InvalidRequestError, match="spec: is missing: a question is about networks"):
            client.study(**asked)
    with pytest.raises(iplab.InvalidRequestError, match=r"budget: .* write 10m"):
        client.study("coordinate-check", SPEC)


@pytest.fixture(params=["fake", "real"])
def anywhere(request):
    """A client of an own service, and what lets a cancelled study end."""
    if request.param == "fake":
        with FakeService(hold=True) as fake, fake.connect() as client:
            yield client, lambda: None
    else:
        service = request.getfixturevalue("service")
        yield request.getfixturevalue("client"), driver(service.store).step


def test_studies_are_changed_ended_and_deleted_alike(anywhere):
    client, drive = anywhere
    asked = {"budget": "400 runs", "study_id": "alike", "request_id": "5e4e8ab0-8c5c-4b3e-9e0d-3a1a5c7f0002"}
    study = client.study("coordinate-check", {**SPEC, "notes": "first"}, **asked)
    assert client.study("coordinate-check", {**SPEC, "notes": "first"}, **asked).uid == study.uid
    with pytest.raises(iplab.RequestIdReusedError):
        client.study("coordinate-check", SPEC, **asked)
    first = study.etag
    assert study.update(labels={"paper": "3", "team": None}, notes="two\nlines", priority=2).etag != first
    assert (dict(study.labels), study.notes, study.priority) == ({"paper": "3"}, "two\nlines", 2)
    same = study.etag
    assert study.update(priority=2, etag=same).etag == same
    with pytest.raises(iplab.EtagMismatchError, match="read it again before you change it"):
        study.update(display_name="late", etag=first)
    with pytest.raises(
        iplab.InvalidRequestError, match="it is RUNNING; cancel it, and delete it when it has"
    ):
        study.delete()
    study.cancel()
    drive()
    assert study.wait(progress=False, timeout=60).state is StudyState.CANCELLED
    assert study.reason is StudyReason.CANCELLED
    with pytest.raises(iplab.InvalidRequestError, match="it is not deleted; delete it first"):
        study.purge()
    assert study.delete().delete_time < study.purge_time
    assert "alike" not in [it.id for it in client.studies()]
    assert "alike" in [it.id for it in client.studies(show_deleted=True)]
    with pytest.raises(iplab.AlreadyExistsError, match="'alike' was deleted but not purged; undelete it"):
        client.study("coordinate-check", SPEC, budget="400 runs", study_id="alike")
    assert study.undelete().delete_time is None
    study.delete().purge()
    with pytest.raises(iplab.InvalidRequestError, match="it is being purged and cannot be undeleted"):
        study.undelete()
    with pytest.raises(iplab.NotFoundError, match="there is no study 'nothing'"):
        client.get_study("nothing")
    methods = [it.method.partition("/")[2] for it in client.audit('resource = "studies/alike" AND code = OK')]
    assert [name.removesuffix("Study") for name in methods] == [
        *("Purge", "Delete", "Undelete", "Delete", "Cancel", "Update", "Update", "Create", "Create")
    ]


def test_incomplete_questions_are_refused_alike(anywhere):
    client, _ = anywhere
    checked = client.study("coordinate-check", SPEC, budget="400 runs", validate_only=True)
    assert (checked.id, list(checked.spec.base.grid.widths)) == ("", [8, 16, 32])
    wrong = {"spec": {"grid": {"seeds": [1]}}}
    with pytest.raises(iplab.InvalidRequestError) as caught:
        client.study("coordinate-check", wrong, budget="400 runs")
    grid = ("activations", "base_learning_rates", "hidden_layers", "parameterizations", "seeds")
    assert sorted({it.field for it in caught.value.violations}) == [
        *("spec.batch_size", "spec.dataset"),
        *(f"spec.grid.{name}" for name in grid),
        "spec.steps",
    ]


def test_a_fake_study_is_played_as_the_test_says():
    with FakeService(hold=True) as fake, fake.connect() as client:
        study = client.study("stationarity", {"spec": BASE}, budget="1h", study_id="s")
        seen, begun = [], threading.Event()

        def follow():
            for it in study.watch(timeout=60):
                seen.append((it.state, it.spent.runs))
                begun.set()

        watcher = threading.Thread(target=follow)
        watcher.start()
        assert begun.wait(60)
        fake.break_watches()
        fake.play(client.get_study("s").experiments[0].removeprefix("experiments/"))
        fake.play_study("s", "DISAGREES")
        watcher.join(60)
        assert seen[0] == ("RUNNING", 0)
        assert seen[-1] == ("SUCCEEDED", 12)
        assert client.get_study("s").verdict is StudyVerdict.DISAGREES
        with pytest.raises(ValueError, match="there is no verdict 'GOOD', only: AGREES, DISAGREES"):
            fake.play_study("s", "GOOD")
        with pytest.raises(KeyError):
            fake.play_study("t")


def test_a_question_is_answered(answered):
    assert (answered.state, answered.verdict, answered.reason) == (
        StudyState.SUCCEEDED,
        StudyVerdict.AGREES,
        StudyReason.DECIDED,
    )
    assert answered.question == "coordinate-check"
    assert "of 3 numbers 3 agree with theory" in answered.sentence
    (answer,) = answered.answers
    assert answer.subject == "ntk (relu, 2 hidden layers)"
    assert all(cell.low < cell.value < cell.high for cell in answer.cells)
    assert [one.number for one in answered.rounds] == list(range(1, len(answered.rounds) + 1))
    assert all(one.learned for one in answered.rounds)
    assert answered.spent.runs == answered.spent.asked_runs > 40
    assert {experiment.labels["team"] for experiment in answered.trained()} == {"theory"}
    assert repr(answered) == "<Study answered: coordinate-check, SUCCEEDED, AGREES>"
    assert answered.to_dict()["verdict"] == "AGREES"


def test_in_a_notebook_the_answer_comes_first(answered):
    text = answered._repr_html_()
    assert text.startswith("<div><strong>The coordinate check of ntk (relu, 2 hidden layers)")
    assert text.count("<tr>") == 4
    assert "text-align:left" in text


def test_a_picture_has_every_number(answered, tmp_path):
    picture = interval_picture(answered)
    assert [row["number"] for row in picture.rows()] == ["h^1 at step 0", "h^2 at step 0", "f at step 0"]
    assert answered.sentence in picture.caption
    pytest.importorskip("matplotlib")
    assert picture.save(tmp_path / "numbers.svg").read_text().startswith("<?xml")


def test_a_page_has_everything_inside(answered, iplab_cli, trained, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    file = tmp_path / "page.html"
    for name, expected in (
        ("answered", "The coordinate check of ntk (relu, 2 hidden layers)"),
        ("studies/answered", "The coordinate check of ntk (relu, 2 hidden layers)"),
        (trained.id, "eight small runs"),
    ):
        said = iplab_cli("report", name, "--html", str(file))
        assert said.stdout == f"{file}\n", said.stderr
        text = file.read_text()
        assert expected in text
        assert "data:image/svg+xml;base64," in text
        assert "http" not in text.replace("http-equiv", ""), "nothing is loaded from elsewhere"
    monkeypatch.chdir(tmp_path)
    assert iplab_cli("report", "studies/answered").stdout == f"{tmp_path / 'answered.html'}\n", "by default"
    missing = iplab_cli("report", "nothing", "--html", str(file))
    assert missing.exit_code == 4
    assert "no experiment and no study 'nothing'" in missing.stderr


def test_progress_tells_rounds_and_what_was_learned(answered, client, capsys):
    client.get_study("answered").wait(timeout=60)
    said = capsys.readouterr().err
    assert "round 1: 44 runs: the first look needs 4 seeds" in said
    assert said.index("round 1") < said.index("    The coordinate check") < said.index("round 2")


def test_studies_are_listed_cancelled_and_deleted(client, service):
    study = client.study("coordinate-check", SPEC, budget="400 runs", study_id="short")
    assert "short" in [one.id for one in client.studies()]
    assert [one.id for one in client.studies(limit=1)] == ["short"]
    with pytest.raises(iplab.InvalidRequestError, match="cancel it"):
        study.delete()
    assert study.cancel().state is StudyState.CANCELLING
    with driven(service):
        assert study.wait(progress=False, timeout=60).state is StudyState.CANCELLED
    assert study.delete().delete_time is not None
    assert "short" not in [one.id for one in client.studies()]
    assert "short" in [one.id for one in client.studies(show_deleted=True)]
    assert study.undelete().delete_time is None
    assert "short" in [one.id for one in client.studies()]
    with pytest.raises(iplab.InvalidRequestError, match="delete it first"):
        study.purge()
    assert study.delete().purge().purge_time is not None
    with pytest.raises(iplab.InvalidRequestError, match="being purged"):
        study.undelete()


def test_what_describes_a_study_is_updated(client, iplab_cli):
    noted = {**SPEC, "notes": "first"}
    study = client.study("coordinate-check", noted, budget="400 runs", study_id="described")
    first = study.etag
    assert study.notes == "first"
    assert study.update(labels={"paper": "3"}, notes="line 1\nline 2", priority=2) is study
    assert (study.labels["paper"], study.notes, study.priority) == ("3", "line 1\nline 2", 2)
    with pytest.raises(iplab.EtagMismatchError, match="read it again"):
        study.update(display_name="late", etag=first)
    arguments = ("--display-name", "Now", "--remove-label", "paper", "--remove-label", "team")
    done = iplab_cli("study", "update", "described", *arguments)
    assert (done.exit_code, done.stdout) == (0, "described: priority 2, Now\n"), done.stderr
    assert "line 1\nline 2\n" in iplab_cli("study", "show", "described").stdout
    assert iplab_cli("study", "update", "described").exit_code == 2
    ended = iplab_cli("study", "cancel", "described")
    assert (ended.exit_code, ended.stdout) == (0, "described is CANCELLING\n"), ended.stderr


def test_there_is_nothing_to_cancel_in_a_study_that_has_ended(answered, iplab_cli):
    late = iplab_cli("study", "cancel", "answered")
    assert (late.exit_code, late.stdout) == (8, "answered is SUCCEEDED\n")
    assert late.stderr == "nothing to cancel: it has ended\n"


def test_the_same_request_asks_once(client):
    asked = {"budget": "400 runs", "request_id": "123e4567-e89b-42d3-a456-426614174000"}
    first = client.study("stationarity", SPEC, **asked)
    assert client.study("stationarity", SPEC, **asked).id == first.id
    with pytest.raises(iplab.RequestIdReusedError):
        client.study("stationarity", SPEC, step=2, **asked)
    first.cancel()


def test_wrong_questions_are_named(client):
    with pytest.raises(iplab.InvalidRequestError, match="rate-transfer, stationarity"):
        client.study("weather", SPEC, budget="400 runs")
    with pytest.raises(iplab.InvalidRequestError, match="is not a setting of rate-transfer"):
        client.study("rate-transfer", SPEC, budget="400 runs", step=1)
    with pytest.raises(iplab.InvalidRequestError, match="give at least"):
        client.study("coordinate-check", SPEC, budget="5 runs")
    wrong = {"spec": BASE | {"dataset": "minst"}}
    with pytest.raises(iplab.SpecError) as caught:
        client.study("coordinate-check", wrong, budget="400 runs")
    assert [violation.field for violation in caught.value.violations] == ["spec.dataset"]


@pytest.mark.parametrize("text", ["", "10", "10 parsecs", "x m", "1.5 runs", "10m,"])
def test_budgets_that_are_none(text):
    with pytest.raises(iplab.InvalidRequestError, match="is not an amount"):
        budget_of(text)


def test_budgets():
    budget = budget_of("90s, 1.5 core-hours,20 runs")
    assert (budget.wall_seconds, budget.core_hours, budget.runs) == (90, 1.5, 20)
    assert budget_of("2h").wall_seconds == 7200


def test_every_question_has_a_command():
    assert set(ASKED) == set(QUESTIONS)
    for question in QUESTIONS:
        spec = study_message(question, ExperimentSpec(), "1h", None, None, {})
        assert spec.WhichOneof("question") == question.replace("-", "_")


def test_the_command_line_ends_with_the_answer(iplab_cli, service, tmp_path):
    asked = "study coordinate-check --no-isolated --parameterization ntk --hidden-layers 2"
    asked += " --widths 8,16,32 --steps 2"
    options = "--batch-size 16 --rate 0.1 --tolerance 0.3 --budget"
    picture = tmp_path / "numbers.svg"
    with driven(service):
        done = iplab_cli(
            *asked.split(), *options.split(), "400 runs", "--id", "told", "--picture", str(picture)
        )
    assert done.exit_code == 0, done.stderr
    assert "of 3 numbers 3 agree with theory" in " ".join(done.stdout.split())
    assert "round 1: 44 runs" in done.stderr
    assert "spent: " in done.stdout
    assert f"picture: {picture}" in done.stdout or "no picture" in done.stderr
    shown = iplab_cli("study", "show", "told")
    assert shown.stdout.startswith("The coordinate check of ntk")
    assert json.loads(iplab_cli("study", "show", "told", "--json").stdout)["verdict"] == "AGREES"
    assert "told" in iplab_cli("studies").stdout
    watched = iplab_cli("study", "watch", "told", "--picture", str(picture), "--json")
    assert json.loads(watched.stdout)["name"] == "studies/told"
    assert iplab_cli("study", "delete", "told").stdout.startswith(
        "told is deleted; it can be undeleted until "
    )
    assert "(deleted)" in iplab_cli("studies", "--deleted").stdout
    assert "it is deleted" in iplab_cli("study", "show", "told").stdout
    assert iplab_cli("study", "undelete", "told").stdout.startswith("told exists; it is not deleted; its ")
    iplab_cli("study", "delete", "told")
    assert iplab_cli("study", "purge", "told", "--yes").stdout.startswith("told is being purged; its ")


def test_exit_codes_tell_the_verdict(iplab_cli, service, tmp_path):
    asked = "study coordinate-check --no-isolated --parameterization ntk --hidden-layers 2"
    asked += " --widths 8,16,32 --steps 2"
    picture = ("--picture", str(tmp_path / "p.svg"))
    with driven(service):
        undecided = iplab_cli(*asked.split(), "--rate", "0.1", "--budget", "50 runs", *picture)
        meant = ("--reference", "ntk=mup", "--widths", "32,64,128", "--steps", "1")
        disagrees = iplab_cli(*asked.split(), "--rate", "0.1", "--budget", "900 runs", *meant, *picture)
    assert undecided.exit_code == 9
    assert "Undecided:" in undecided.stdout
    assert disagrees.exit_code == 6
    assert disagrees.stdout.startswith("Layer 3 is wrong: the f at step 0")
    wrong = iplab_cli(*asked.split(), "--budget", "5 runs")
    assert wrong.exit_code == 2
    assert "study.spec.budget.runs: 5 runs decide nothing" in wrong.stderr
    assert iplab_cli(*asked.split(), "--budget", "400 runs", "--dry-run").stdout == "the study is valid\n"
    assert iplab_cli("study", "show", "nothing").exit_code == 4
