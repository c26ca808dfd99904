"""What a notebook shows: short errors, and handles as HTML."""

import io
from types import SimpleNamespace

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from rich.console import Console

import iplab
from iplab.display.progress import follow, follow_study
from iplab.results.experiment import Experiment
from iplab.results.report import Check, Conclusion, Report, Subject, Verdict
from iplab.v1 import experiment_pb2


@pytest.fixture(scope="module")
def shell():
    """The one of this process, as in a notebook: `display` asks for it."""
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


def shown(shell, source, **names):
    """What a cell writes."""
    shell.push(names)
    with capture_output() as output:
        shell.run_cell(source)
    return output.stdout + output.stderr


@pytest.mark.parametrize(
    "source, said",
    [
        ("client.experiment('nothing-of-that-name')", "NotFoundError: "),
        ("client.create(bad)", "SpecError: spec.grid.activations[0]: unknown activation 'rellu'"),
        ("trained.metrics(names=['trainloss'])", "InvalidRequestError: "),
        ("trained.plot('rats')", "InvalidRequestError: "),
        ("list(trained.runs('wdith = 8'))", "InvalidRequestError: "),
        ("client.experiment(7)", "InvalidRequestError: experiment: 7 is not text"),
        ("client.get_study(None)", "InvalidRequestError: study: None is not text"),
        ("trained.extend(seeds=3)", "InvalidRequestError: seeds: 3 is not a list; write [3]"),
        ("trained.extend(widths=[64.5])", "InvalidRequestError: widths: 64.5 is not a whole number"),
        (
            "trained.extend(base_learning_rates='0.1')",
            "base_learning_rates: '0.1' is not a list; write [0.1]",
        ),
        ("trained.wait(timeout='5')", "InvalidRequestError: timeout: '5' is not a number of seconds"),
        ("trained.plot('curves', by='widths')", "did you mean width?"),
        ("client.create(trained.as_spec(), experiment_id='trained')", "client.experiment('trained')"),
    ],
)
def test_an_error_shows_the_own_line_and_the_message_alone(shell, client, trained, source, said):
    bad = trained.as_spec({"grid.activations": ["rellu"]})
    text = shown(shell, source, client=client, trained=trained, bad=bad)
    assert said in text
    assert source in text
    assert "transport" not in text and "grpc" not in text
    assert len(text.splitlines()) <= 4, text


@pytest.mark.parametrize(
    "wrong, near",
    [
        ("client.get_experiment", "'get_experiments' or 'experiment'"),
        ("trained.sumary", "'summary'"),
        ("trained.run(0).weight", "'weights'"),
        ("trained.metrics().to_panda", "'to_pandas'"),
    ],
)
def test_an_unknown_attribute_names_the_nearest(client, trained, wrong, near):
    with pytest.raises(AttributeError, match=f"did you mean {near}?"):
        eval(wrong, {"client": client, "trained": trained})
    assert not hasattr(trained, "_repr_latex_") and not hasattr(trained, "zzzzzzzz")


def test_an_unknown_attribute_names_what_begins_so_or_all_methods(shell, client, trained):
    text = shown(shell, "trained.best()", trained=trained)
    assert text.splitlines()[-1].endswith(
        "'Experiment' object has no attribute 'best'; did you mean 'best_rates'?"
    )
    assert "File" not in text
    assert "its methods: audit, catalog," in shown(shell, "client.zzz", client=client)


@pytest.mark.parametrize(
    "source, said",
    [
        (
            "iplab.theory.preset('mupp', hidden_layers=2)",
            "TheoryError: unknown preset 'mupp'; did you mean 'mup'?",
        ),
        ("iplab.theory.analyze('mup')", "TheoryError: parameterization: must be a Parameterization"),
        ("trained.plot('curves').save('x.bmp')", "PictureError: "),
    ],
)
def test_errors_of_theory_and_figures_are_as_short(shell, trained, source, said):
    text = shown(shell, source, iplab=iplab, trained=trained)
    assert said in text
    assert source in text
    assert len(text.splitlines()) <= 3, text


def displayed(shell, source, **names):
    """The HTML of a cell's result, and what the cell shows beside it."""
    shell.push(names)
    with capture_output() as output:
        result = shell.run_cell(source).result
    data, _ = shell.display_formatter.format(result)
    return data.get("text/html", ""), [each.data for each in output.outputs] if output.outputs else []


@pytest.mark.parametrize("source", ["trained.summary()", "trained.best_rates()"])
def test_a_table_is_shown_once(shell, monkeypatch, trained, source):
    """Rich would display a table of its own for the text of each, as it does in every kernel."""
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    html, beside = displayed(shell, source, trained=trained)
    assert "<table" in html
    assert len(beside) <= 1  # the result itself


def test_messages_of_the_service_are_tables_in_a_notebook(shell, client, trained):
    shell.push({"iplab": iplab, "address": client._transport.address})
    own = "iplab.connect(address)"
    catalog, _ = displayed(shell, f"{own}.catalog()")
    assert "<td" in catalog and "8x8 handwritten digits" in catalog and "<details>" in catalog
    assert "relu, leaky_relu" in catalog
    assert "project default: everyone is admin; no limits" in displayed(shell, f"{own}.quotas()")[0]
    spec, _ = displayed(shell, "trained.spec", trained=trained)
    assert "dataset: digits" in spec and "widths: [" in spec
    presets, _ = displayed(shell, f"{own}.parameterizations(hidden_layers=2)")
    row = presets.partition(">mup</td>")[2].partition("</tr>")[0]
    assert ">0  1/2  1</td>" in row and ">-1  -1  -1</td>" in row  # a and c of muP


def test_results_of_the_theory_are_shown_as_text(shell):
    html, _ = displayed(shell, "iplab.theory.preset('mup', hidden_layers=2)", iplab=iplab)
    assert "first | hidden | last" in html and "Fraction" not in html
    html, _ = displayed(
        shell, "iplab.theory.analyze(iplab.theory.preset('ip', hidden_layers=4))", iplab=iplab
    )
    assert "trivial: f_t - f_0 is at most of order m^(-2)" in html


def test_a_report_shows_its_answers_and_folds_its_comparisons():
    subject = Subject("mup", "mup", 2, "relu", 0.1, 3)
    checks = [
        Check(
            kind="COORDINATE", subject=subject, quantity="h", layer=layer, step=1, predicted="0",
            predicted_high="", upper_bound=False, tolerance=0.1, slope=0.0, low=-0.1, high=0.1, drift=None,
            verdict=Verdict.AGREES, sentence=f"h^{layer} agrees", seeds=3, widths=(), values=(), lows=(),
            highs=(),
        )
        for layer in (1, 2)
    ]  # fmt: skip
    told = Conclusion(subject, Verdict.AGREES, "2 of 2 sizes agree")
    html = Report("experiments/e", tuple(checks), (told,), ("a note",))._repr_html_()
    before, fold, details = html.partition("<details>")
    assert fold and "2 of 2 sizes agree" in before and "a note" in before and "h^1 agrees" not in before
    assert "every comparison: 2" in details and "h^1 agrees" in details and "h^2 agrees" in details


def test_a_single_metric_needs_no_list(trained):
    assert set(trained.metrics(names="train_loss").names) == {"train_loss"}


def test_an_error_in_a_function_of_a_file_shows_its_place(shell, tmp_path, client, monkeypatch):
    (tmp_path / "mine.py").write_text("def find(client):\n    return client.experiment('nothing')\n")
    monkeypatch.syspath_prepend(tmp_path)
    text = shown(shell, "import mine\nmine.find(client)", client=client)
    assert "mine.py, line 2: return client.experiment('nothing')" in text


def test_theory_and_aio_are_attributes():
    assert iplab.theory.preset("ip", hidden_layers=3).hidden_layers == 3
    assert iplab.aio.connect.__doc__


def test_an_experiment_without_any_result_says_so():
    message = experiment_pb2.Experiment(name="experiments/e", state="EXPERIMENT_STATE_SUCCEEDED")
    message.counts.total = message.counts.diverged = 2
    assert "No run has a result" in Experiment(None, message)._repr_html_()
    message.counts.diverged = 1
    assert "No run has a result" not in Experiment(None, message)._repr_html_()


def test_an_experiment_with_failed_runs_says_what_to_do():
    message = experiment_pb2.Experiment(name="experiments/e", state="EXPERIMENT_STATE_FAILED")
    message.counts.total = message.counts.failed = 2
    assert "2 runs failed: " in Experiment(None, message)._repr_html_()
    assert "retry_failed()" in Experiment(None, message)._repr_html_()
    message.counts.failed = 0
    assert "retry_failed()" not in Experiment(None, message)._repr_html_()


def test_best_rates_show_themselves_and_become_a_frame(trained):
    best = trained.best_rates()
    assert "<table" in best._repr_html_()
    frame = best.to_pandas()
    assert list(frame["base_learning_rate"]) == [row.base_learning_rate for row in best]
    assert frame["test_loss"].dtype == float
    assert "no runs" in trained.best_rates("width = 3")._repr_html_()


def test_columns_without_any_value_are_numbers(trained):
    frame = trained.runs_frame()
    assert frame["diverged_step"].isna().all()
    assert frame["diverged_step"].dtype == float
    assert str(trained.summary().to_pandas()["limit_error_sd"].dtype) == "float64"


def test_an_unknown_question_names_the_nearest(shell, client):
    text = shown(shell, "client.study('rate-tranfer', {'spec': {}}, budget='9 runs')", client=client)
    assert "did you mean 'rate-transfer'?" in text


def test_a_cell_whose_waiting_is_stopped_says_that_the_training_goes_on(shell):
    def events(say):
        raise KeyboardInterrupt
        yield

    console = Console(file=io.StringIO(), force_jupyter=True)
    shell.push({"follow": follow, "follow_study": follow_study, "events": events, "console": console})
    for call, goes_on in (("follow(events, 'e'", "the training"), ("follow_study(events", "the study")):
        with capture_output() as output:
            result = shell.run_cell(f"{call}, show=True, console=console)")
        assert isinstance(result.error_in_exec, KeyboardInterrupt)
        shown = [each.data["text/html"] for each in output.outputs if "text/html" in each.data]
        assert f"{goes_on} continues: wait() waits again" in shown[-1]
        text = "\n".join(result.error_in_exec._render_traceback_())
        assert text.endswith("WaitingStopped") and "progress.py" not in text


def test_a_cell_shows_rounds_of_a_study_and_how_many_runs_have_ended(shell):
    """The handle is the same one after each change, as `Study.watch` yields it."""
    first = SimpleNamespace(number=1, runs=6, why="the best rate is <sought>", learned=[])
    study = SimpleNamespace(rounds=[first], spent=SimpleNamespace(runs=0, asked_runs=6))

    def changes(say):
        yield study
        study.spent.runs = 4
        yield study
        say("the service does not answer")
        study.spent.runs, first.learned = 6, ["it is 0.5"]
        yield study

    console = Console(file=io.StringIO(), force_jupyter=True)
    shell.push({"follow_study": follow_study, "changes": changes, "console": console})
    with capture_output() as output:
        shell.run_cell("follow_study(changes, show=True, console=console)").raise_error()
    shown = [each.data["text/html"] for each in output.outputs if "text/html" in each.data]
    assert len({each.metadata.get("display_id", "") for each in output.outputs}) == 1
    assert "4 of 6 runs" in "".join(shown)
    for text in ("round 1: 6 runs: the best rate is &lt;sought&gt;", "the service does not", "    it is 0.5"):
        assert text in shown[-1]
    assert "6 of 6 runs" in shown[-1]
