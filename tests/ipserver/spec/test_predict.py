"""What theory says of a spec before anything trains."""

from ipcore.theory import Regime
from ipserver.spec.predict import predicted_regimes, prediction_warnings, predictions
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


def test_activations_with_the_same_verdict_share_a_warning():
    warnings = list(prediction_warnings(spec("sp", activations=["relu", "elu"])))

    assert len(warnings) <= 2
    assert all("sp, 3 hidden layers" in warning for warning in warnings)


def test_networks_too_deep_to_analyse_at_once_have_no_verdict():
    (found,) = predictions(spec("mup", hidden_layers=[101]))

    assert found.regime is None
    assert found.summary.startswith("not analysed: more than 100 hidden layers")
