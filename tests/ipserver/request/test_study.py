"""What is wrong with a study is said at its submission, by field."""

from dataclasses import replace

import pytest

from ipcore import studies
from ipcore.catalogue.widths import INFINITE_WIDTH
from ipserver.errors import InvalidRequest
from ipserver.request.limits import limits_with
from ipserver.request.measured import metrics_of, recorded_step
from ipserver.request.question import question_of
from ipserver.request.study import check_study
from tests.ipserver.studies.cases import study_request

LIMITS = limits_with()


def checked(limits=LIMITS, **changes):
    return check_study(study_request(**changes), limits, None)


def violations(limits=LIMITS, **changes):
    with pytest.raises(InvalidRequest) as caught:
        checked(limits, **changes)
    return {wrong.field: wrong.message for wrong in caught.value.violations}


def test_a_good_study_gets_its_defaults():
    spec = checked().spec
    assert spec.error_rate == 0.05
    assert checked(spec={"coordinate_check": {}}).spec.coordinate_check.isolated
    assert (list(spec.base.grid.widths), list(spec.base.grid.seeds)) == ([8, 16, 32], [])
    assert spec.base.optimizer.name == "sgd"
    filled = checked(grid={"widths": [], "base_learning_rates": []}).spec.base.grid
    assert (list(filled.widths), list(filled.base_learning_rates)) == ([64, 128, 256, 512, 1024], [0.125])
    drift = {"coordinate_check": None, "rate_transfer": {}, "budget": {"runs": 1000}}
    assert list(checked(spec=drift, grid={"widths": []}).spec.base.grid.widths) == [128, 256, 512, 1024]
    again = question_of(spec, LIMITS, None)
    assert isinstance(again, studies.CoordinateCheck)
    assert [str(subject) for subject in again.subjects] == ["ntk (relu, 2 hidden layers)"]
    assert again.max_width == 8192


def test_references_say_what_was_meant():
    spec = {"coordinate_check": {"references": {"mine": "mup"}}}
    label = [{"label": "mine", "preset": "ntk"}]
    (subject,) = question_of(
        checked(spec=spec, grid={"parameterizations": label}).spec, LIMITS, None
    ).subjects
    assert subject.trained is not None
    assert subject.trained != subject.exponents
    wrong = {"coordinate_check": {"references": {"mine": "nonsense"}}}
    found = violations(spec=wrong, grid={"parameterizations": label})
    assert "nonsense" in found["study.spec.coordinate_check.references"]


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"study_id": "Upper"}, {"study_id": "'Upper' is not an id"}),
        ({"request_id": "x"}, {"request_id": "is not a UUID"}),
        ({"study": {"name": "studies/x"}}, {"study.name": "is set by the service"}),
        ({"study": {"labels": {"study": "x"}}}, {"study.labels": "is set by the service"}),
        ({"study": {"labels": {"No": "x"}}}, {"study.labels": "'No' is not a key"}),
        ({"spec": {"coordinate_check": None}}, {"study.spec.question": "is required; ask one of"}),
        ({"spec": {"base": None}}, {"study.spec.base": "is required"}),
        ({"grid": {"seeds": [0]}}, {"study.spec.base.grid.seeds": "chosen by the study"}),
        (
            {"grid": {"base_learning_rates": [0.1, 0.2]}},
            {"study.spec.base.grid.base_learning_rates": "has 2 rates"},
        ),
        ({"base": {"dataset": "minst"}}, {"study.spec.base.dataset": "did you mean 'mnist'"}),
        (
            {"grid": {"activations": ["rleu"], "hidden_layers": [0]}},
            {
                "study.spec.base.grid.activations[0]": "did you mean 'relu'",
                "study.spec.base.grid.hidden_layers[0]": "0",
            },
        ),
        ({"grid": {"widths": [8, 16, 33]}}, {"study.spec.base.grid.widths": "each is twice the last"}),
        ({"spec": {"tolerance": -1}}, {"study.spec.tolerance": "must be a positive number, not -1"}),
        ({"spec": {"error_rate": 0.7}}, {"study.spec.error_rate": "0.7"}),
        ({"spec": {"budget": {}}}, {"study.spec.budget": "is empty"}),
        ({"spec": {"budget": {"runs": 3}}}, {"study.spec.budget.runs": "give at least 44"}),
        (
            {"spec": {"budget": {"wall_seconds": 1e-6}}},
            {"study.spec.budget.wall_seconds": "give at least that"},
        ),
        (
            {"grid": {"parameterizations": [{"preset": "ntk"}, {"label": "again", "preset": "ntk"}]}},
            {"study.spec.base.grid.parameterizations": "same network"},
        ),
        (
            {"spec": {"coordinate_check": None, "stationarity": {"step": 9}}},
            {"study.spec.stationarity.step": "must be in 1..2"},
        ),
        (
            {"spec": {"coordinate_check": None, "phase_boundary": {"boundary": "x/2"}}},
            {"study.spec.phase_boundary.boundary": "is not an exact number"},
        ),
        (
            {"spec": {"coordinate_check": None, "equivalence": {}}},
            {"study.spec.base.grid.parameterizations": "give two parameterizations"},
        ),
    ],
)
def test_everything_wrong_is_named(changes, fields):
    found = violations(**changes)
    for field, text in fields.items():
        assert text in found.get(field, ""), found


@pytest.mark.parametrize(
    ("preset", "changes", "field", "text"),
    [
        (
            "ip",
            {"grid": {"hidden_layers": [3]}},
            "base.grid.parameterizations[0]",
            "large first rates avoid this",
        ),
        ("ip-llr", {"grid": {"activations": ["tanh"]}}, "base.grid.activations[0]", "hpz has the limit"),
        ("mup", {"base": {"optimizer": {"name": "adam"}}}, "base.optimizer.name", "use sgd or momentum"),
        (
            "ntk",
            {"base": {"deferred_weights": "always"}},
            "base.deferred_weights",
            "which deferred weights do",
        ),
        ("sp", {}, "base.grid.parameterizations[0]", "the network diverges as it grows"),
        ("mup", {"base": {"precision": "bf16"}}, "base.precision", "use 'fp32', not 'bf16'"),
    ],
)
def test_subjects_without_a_limit_to_compare_with_are_refused(preset, changes, field, text):
    grid = {"parameterizations": [{"preset": preset}]} | changes.pop("grid", {})
    found = violations(spec={"coordinate_check": None, "infinite_width": {}}, grid=grid, **changes)
    assert text in found.get(f"study.spec.{field}", ""), found


def test_only_a_study_of_distances_has_limits():
    assert "ask infinite-width" in violations(grid={"infinite_width": True})["study.spec.base.grid.widths"]
    asked = {"coordinate_check": None, "infinite_width": {}, "tolerance": None}
    one = {"parameterizations": [{"preset": "ip-llr"}]}
    spec = checked(spec=asked, grid=one, base={"infinite_width": {"particles": 256, "replicas": 2}}).spec
    question = question_of(spec, LIMITS, None)
    # Networks become no wider than a quarter of all particles.
    assert question.max_width == 128
    assert question.run_cost.limit > question.run_cost.at(8)


def test_networks_of_kernels_are_held_against_machines_of_their_own_start():
    asked = {"coordinate_check": None, "infinite_width": {}, "tolerance": None}
    found = checked(spec=asked, grid={"parameterizations": [{"preset": "ntk"}, {"preset": "up:1/4"}]})
    question = question_of(found.spec, LIMITS, None)
    assert question.paired == ("ntk (relu, 2 hidden layers)",)
    # up:1/4 starts from f_0 = 0, as its limit does.
    requests = studies.plan(question, studies.Results()).requests
    assert {r.subject.split()[0] for r in requests if r.width == INFINITE_WIDTH} == {"up-1-4"}
    # No particles: networks may become as wide as a study goes.
    assert question.max_width == 8192


def beside_mup(**grid):
    grid = {"parameterizations": [{"preset": "mup"}, {"preset": "ip-llr"}]} | grid
    return {"spec": {"coordinate_check": None, "infinite_width": {}, "tolerance": None}, "grid": grid}


def test_far_wider_networks_stand_for_limits_that_are_not_computed():
    found = checked(**beside_mup(widths=[64, 128, 256]))
    assert any("networks 16 times wider, with deferred weights, replace" in text for text in found.warnings)
    question = question_of(found.spec, LIMITS, None)
    assert question.without_limit == ("mup (relu, 2 hidden layers)",)
    # The particles of ip-llr are not many enough for wider ones.
    assert question.max_width == 4096
    costs = dict(question.run_cost.deferred)
    assert list(costs) == [16 * m for m in (256, 512, 1024, 2048, 4096)]
    # All see 32 examples: work is proportional to the width.
    assert costs[16 * 512] == pytest.approx(2 * costs[16 * 256], rel=0.01)
    first = studies.plan(question, studies.Results())
    asked = {(r.subject.split()[0], r.width, r.deferred) for r in first.requests}
    assert asked == {(name, m, False) for name in ("mup", "ip-llr") for m in (64, 128, 256)} | {
        ("mup", 4096, True),
        ("ip-llr", INFINITE_WIDTH, False),
    }


def test_mup_of_one_hidden_layer_has_its_limit():
    spec = checked(**beside_mup(parameterizations=[{"preset": "mup"}], hidden_layers=[1])).spec
    assert question_of(spec, LIMITS, None).without_limit == ()


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (
            {"max_width": 2000},
            "width 256 is compared with a network of width 4,096 with deferred weights, which is more than "
            "the 2,000 that this service allows: go up to width 125",
        ),
        ({"max_run_memory_bytes": 6_000_000}, "of width 4,096 with deferred weights, which needs "),
    ],
)
def test_what_stands_for_a_limit_must_fit(limits, text):
    asked = beside_mup(parameterizations=[{"preset": "mup"}], widths=[64, 128, 256])
    assert text in violations(limits_with(**limits), **asked)["study.spec.base.grid.widths[2]"]


def test_widths_that_memory_forbids():
    small = limits_with(max_run_memory_bytes=1_000_000)
    found = violations(small, grid={"widths": [256, 512, 1024]})
    assert "the limit is" in found["study.spec.base.grid.widths[1]"]
    assert question_of(checked(small).spec, small, None).max_width < 512


def test_what_this_version_does_not_record_is_refused(monkeypatch):
    monkeypatch.setattr("ipserver.request.study.probe_of", lambda metric: None)
    found = violations()
    assert found["study.spec.coordinate_check"] == (
        "needs h, which this version does not record; ask another question"
    )


def test_what_theory_does_not_cover_is_measured_all_the_same():
    accepted = checked(
        spec={"coordinate_check": None, "rate_transfer": {}, "budget": {"runs": 1000}, "tolerance": None},
        grid={"parameterizations": [{"preset": "ip-llr"}], "activations": ["elu"]},
        base={"optimizer": {"name": "sgd"}},
    )
    decision = studies.plan(question_of(accepted.spec, LIMITS, None), studies.Results())
    assert isinstance(decision, studies.RunNext)


def test_what_runs_record_does_not_depend_on_the_budget():
    question = question_of(checked().spec, LIMITS, None)
    poor = replace(question, budget=studies.Budget(core_hours=1e-9))
    assert metrics_of(poor) == metrics_of(question) != ()


@pytest.mark.parametrize("steps", [1, 2])
def test_updates_by_later_rates_are_recorded_where_there_are_any(steps):
    """IP-LLR changes its rates after the first update; the second is measured if it is made."""
    later = {"parameterizations": [{"preset": "ip-llr"}]}
    accepted = checked(spec={"coordinate_check": {}}, grid=later, base={"steps": steps}).spec
    metrics = metrics_of(question_of(accepted, LIMITS, None))
    updates = {recorded_step(metric) for metric in metrics if metric.quantity == studies.ISOLATED}
    assert updates == set(range(1, steps + 1))
