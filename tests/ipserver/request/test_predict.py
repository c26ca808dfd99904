"""Predictions for a spec before training."""

import pytest

from ipcore import theory
from ipcore.theory import Regime
from ipserver.request.predict import predicted_regimes, prediction_warnings, predictions
from tests.ipserver.support import small_spec


def spec(*presets, **grid):
    entries = [{"preset": preset} for preset in presets]
    return small_spec(grid={"parameterizations": entries, "hidden_layers": [3], **grid})


def test_one_prediction_per_parameterization_depth_and_activation():
    found = predictions(spec("ip", "mup", hidden_layers=[2, 3], activations=["relu", "tanh"]))

    assert [(p.parameterization, p.hidden_layers, p.activation) for p in found] == [
        (label, depth, activation)
        for depth in (2, 3)
        for activation in ("relu", "tanh")
        for label in ("ip", "mup")
    ]


def test_the_regimes_of_the_presets():
    # Hajjar et al. (stationary IP beyond two hidden layers); Yang & Hu, table 1.
    assert predicted_regimes(spec("sp", "ntk", "mup", "ip", "ip-llr")) == {
        ("sp", 3, "relu"): Regime.UNSTABLE,
        ("ntk", 3, "relu"): Regime.KERNEL,
        ("mup", 3, "relu"): Regime.FEATURE_LEARNING,
        ("ip", 3, "relu"): Regime.TRIVIAL,
        ("ip-llr", 3, "relu"): Regime.FEATURE_LEARNING,
    }
    assert predicted_regimes(spec("ip", hidden_layers=[2])) == {("ip", 2, "relu"): Regime.FEATURE_LEARNING}


def test_trivial_and_unstable_are_warned_of_with_what_would_change_it():
    (warning,) = prediction_warnings(spec("ip", "mup", "ntk"))

    assert warning.startswith("ip, 3 hidden layers, relu: theory predicts trivial: ")
    (prediction,) = [p for p in predictions(spec("ip", "mup", "ntk")) if p.parameterization == "ip"]
    assert prediction.advice
    assert warning.endswith(prediction.advice[1:])


def test_controlled_divergence_depends_on_the_loss_and_is_warned_of():
    # SP with rate m^(-1/2): hidden layers stay, f grows like m^(1/2), which a squared error would feed back.
    sp = {"a": ["0"] * 3, "b": ["0", "1/2", "1/2"], "c": ["1/2"] * 3}
    grid = {"parameterizations": [{"label": "sp", "exponents": sp}], "hidden_layers": [3]}
    bounded, squared = (small_spec(grid=grid, loss=loss) for loss in ("cross_entropy", "mse"))
    assert predicted_regimes(bounded) == {("sp", 3, "relu"): Regime.CONTROLLED_DIVERGENCE}
    assert predicted_regimes(squared) == {("sp", 3, "relu"): Regime.UNSTABLE}
    (warning,) = prediction_warnings(bounded)
    assert warning.startswith(
        "sp, 3 hidden layers, relu: theory predicts controlled divergence: every hidden"
    )
    assert warning.endswith("The rates of the largest stable changes for these a and b are c = 0 | 1 | 1")


def test_activations_with_the_same_verdict_share_a_warning():
    warnings = list(prediction_warnings(spec("sp", activations=["relu", "elu"])))

    assert len(warnings) <= 2
    assert all("sp, 3 hidden layers" in warning for warning in warnings)


def test_networks_too_deep_to_analyse_at_once_have_no_verdict():
    (found,) = predictions(spec("mup", hidden_layers=[101]))

    assert found.regime is None
    assert found.summary.startswith("not analysed: more than 100 hidden layers")


def with_optimizer(name, *presets, **more):
    entries = [{"preset": preset} for preset in presets]
    grid = {"parameterizations": entries, "hidden_layers": [3], **more.pop("grid", {})}
    return small_spec(optimizer={"name": name}, grid=grid, **more)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_has_its_own_regimes(name):
    # Yang & Littwin, arXiv:2308.01814; SP with the framework's rates grows. IP needs no large first step.
    assert predicted_regimes(with_optimizer(name, "sp", "ntk", "mup", "ip")) == {
        ("sp", 3, "relu"): Regime.UNSTABLE,
        ("ntk", 3, "relu"): Regime.OPERATOR,
        ("mup", 3, "relu"): Regime.FEATURE_LEARNING,
        ("ip", 3, "relu"): Regime.FEATURE_LEARNING,
    }


def test_without_exponents_of_epsilon_it_does_not_change_with_the_width():
    zeros, gradients = ["0"] * 3, ["2", "5/2", "2"]
    ip = {"a": ["0", "1", "1"], "b": zeros, "c": zeros}
    entries = [
        {"label": "framework", "exponents": ip},
        {"label": "faithful", "exponents": ip | {"d": ["1", "2", "1"], "d_first_step": gradients}},
    ]
    found = predicted_regimes(with_optimizer("adam", grid={"parameterizations": entries}))
    # Its gradients, of order m^-2 and m^(-5/2) at first, are negligible against an epsilon of order 1.
    assert found["framework", 3, "relu"] is Regime.TRIVIAL
    assert found["faithful", 3, "relu"] is Regime.FEATURE_LEARNING


def test_momentum_has_the_regimes_of_gradient_descent():
    names = ("sp", "ntk", "mup", "ip", "ip-llr")
    descent = predicted_regimes(with_optimizer("sgd", *names))
    assert predicted_regimes(with_optimizer("momentum", *names)) == descent


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss": "exponential", "dataset": "parity"}, "exponential"),
        ({"grid": {"activations": ["sin"]}}, "sin"),
    ],
)
def test_what_theory_does_not_cover_is_said(changes, said):
    (found,) = predictions(with_optimizer("sgd", "mup", **changes))
    assert found.regime is None
    assert found.summary.startswith("not covered: ")
    assert said in found.summary
    (warning,) = prediction_warnings(with_optimizer("sgd", "mup", "ntk", **changes))
    assert warning.endswith(f": trained without a prediction; {found.summary}")


def test_settings_and_schedules_change_no_prediction():
    plain = predictions(with_optimizer("sgd", "mup", "ip"))
    more = {"schedule": {"name": "cosine", "warmup_steps": 3}, "validation_size": 10}
    decayed = with_optimizer("sgd", "mup", "ip", **more)
    decayed.optimizer.weight_decay = 0.1
    assert predictions(decayed) is plain, "not even computed again"


def explicit(count, first=0):
    """Entries that all differ: constant exponents a, b and different rate exponents."""
    zeros = ["0"] * 3
    return [
        {"label": f"p{i}", "exponents": {"a": zeros, "b": zeros, "c": [f"{i}/7"] * 3}}
        for i in range(first, first + count)
    ]


@pytest.fixture
def analysed(monkeypatch):
    """Numbers of hidden layers of all networks that the calculus analyzes."""
    asked = []
    analyze = theory.analyze

    def counted(value, **more):
        asked.append(value.hidden_layers)
        return analyze(value, **more)

    monkeypatch.setattr(theory, "analyze", counted)
    return asked


def test_a_grid_of_many_networks_is_analysed_as_far_as_the_budget_goes(analysed):
    depths = list(range(50, 100))
    found = predictions(spec("mup", "ntk", hidden_layers=depths))

    # 2 (50 + ... + 64) = 1710 and 2 (50 + ... + 66) = 1972 layers fit; neither mup nor ntk with 67 does.
    assert sum(analysed) <= 1972
    assert [p.hidden_layers for p in found if p.regime] == [d for d in range(50, 67) for _ in range(2)]
    left_out = {p.summary for p in found if p.hidden_layers >= 67}
    assert left_out == {
        "not analysed: this grid has too many different parameterizations and depths (iplab analyze can)"
    }


def test_nothing_is_analysed_again_for_the_same_spec(analysed):
    many = small_spec(grid={"parameterizations": explicit(5000), "hidden_layers": [20]})
    first = predictions(many)
    assert len(first) == 5000
    assert 0 < sum(analysed) <= 2000
    analysed.clear()

    copy = type(many).FromString(many.SerializeToString())
    copy.grid.seeds.append(99)
    copy.steps += 1
    assert predictions(copy) is first
    assert predicted_regimes(copy) is predicted_regimes(many)
    assert list(prediction_warnings(copy))
    assert analysed == []


def test_entries_that_differ_in_label_alone_cost_once(analysed):
    entries = [{"preset": "mup", "label": f"p{i}"} for i in range(500)]
    found = predictions(small_spec(grid={"parameterizations": entries, "hidden_layers": [47]}))

    assert {p.regime for p in found} == {Regime.FEATURE_LEARNING}
    assert len(analysed) <= 1


def test_warnings_stay_readable_however_many_parameterizations_are_bad():
    # With a = b = 0 hidden layers grow with the width whatever the rates are.
    *named, rest = prediction_warnings(small_spec(grid={"parameterizations": explicit(50)}))

    assert len(named) == 20
    assert rest.startswith("theory predicts trivial, unstable or controlled divergence for 30 more")


def test_a_prediction_says_what_epsilon_does_at_small_widths():
    """muP's exponents in the gauge b = 0 and the framework's epsilon, d = 0, which dominates in the limit."""
    exponents = {"a": ["0", "1/2", "1"], "b": ["0", "0", "0"], "c": ["0", "1/2", "0"]}
    entries = [{"label": "mine", "exponents": exponents}, {"preset": "mup"}]
    checked = with_optimizer("adam", grid={"parameterizations": entries, "activations": ["relu"]})
    mine, mup = predictions(checked)
    assert mine.regime is Regime.TRIVIAL
    assert "; at widths where epsilon is small beside the gradients: feature learning" in mine.summary
    assert "epsilon" not in mup.summary  # epsilon follows the gradients: the same at every width
    (warning,) = prediction_warnings(checked)
    assert "at widths where epsilon is small" in warning
