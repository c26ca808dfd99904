"""Reports on rates, calibration and Adam."""

import numpy as np
import pytest

from iplab.v1 import report_pb2
from ipserver.store.summary import Summary
from tests.ipserver.api.reporting import AGREES, DISAGREES, STEPS, UNDECIDED, create, report, train


async def test_calibrated_rates_are_held_against_alignment(api, store):
    """tanh, L = 3: flat at layer 2, m^1/2 at layer 3; the readout's rates are the cap, and no data."""
    entry = {"preset": "ip-llr", "calibration": {"cap": 50}}
    await create(api, entry, record={}, hidden_layers=[3], activations=["tanh"])

    def rates(run):
        wobble = 1 + run.seed / 100
        return (0.1, 2.0 * wobble, 0.1 * run.width**0.5 * wobble, 50.0)

    train(store, lambda *_: None, rates=rates)
    found = await report(api)
    assert [(c.layer, c.predicted, c.verdict) for c in found.checks] == [(2, "0", AGREES), (3, "1/2", AGREES)]
    assert {c.kind for c in found.checks} == {report_pb2.CHECK_KIND_CALIBRATED_RATE}
    assert any("16 calibrated rates are left out: they are the cap 50" in note for note in found.notes)


async def test_rates_are_checked_where_there_are_three(api, store):
    rates = [2.0**-e for e in range(6)]
    await create(api, "mup", "sp", record={}, base_learning_rates=rates)

    def summary(run):
        octaves = np.log2(run.base_learning_rate) + (
            2 if run.parameterization == "mup" else np.log2(run.width / 64) + 1
        )
        return Summary(final_test_loss=float(np.exp(octaves**2 / 20)))

    train(store, summary=summary)
    found = await report(api)
    # Cross entropy: up to m^(-1/2) only the output grows.
    assert [(c.subject.parameterization, c.predicted, c.predicted_high, c.verdict) for c in found.checks] == [
        ("mup", "0", "0", AGREES),
        ("sp", "-1", "-1/2", AGREES),
    ]
    assert [c.slope for c in found.checks] == pytest.approx([0, -1], abs=1e-6)
    assert [p.value for p in found.checks[0].points] == pytest.approx([0.25] * 4)


async def test_rates_that_change_after_step_0_are_decided_too(api, store):
    calibrated = {"label": "calibrated", "preset": "ip-llr", "calibration": {"cap": 50}}
    rates = [2.0**-e for e in range(6)]
    await create(
        api,
        "ip-llr",
        calibrated,
        "ip",
        record={},
        base_learning_rates=rates,
        hidden_layers=[3],
        activations=["relu"],
    )

    def summary(run):
        # The best rate of calibrated runs falls by an octave per doubling, which contradicts theory.
        octaves = np.log2(run.base_learning_rate) + 2
        octaves += (run.parameterization == "calibrated") * (np.log2(run.width / 64) - 1)
        return Summary(final_test_loss=float(np.exp(octaves**2 / 20)))

    train(store, lambda *_: None, summary=summary)
    found = await report(api)
    transfers = [c for c in found.checks if c.kind == report_pb2.CHECK_KIND_RATE_TRANSFER]
    assert [(c.subject.parameterization, c.predicted, c.verdict) for c in transfers] == [
        ("ip-llr", "0", AGREES),
        ("calibrated", "0", DISAGREES),
        ("ip", "", UNDECIDED),
    ]
    assert "the output does not move; rates up to m^(0) are stable at all steps" in transfers[2].sentence


def adam_size(run, quantity, layer, step):
    """SP with signs of gradients: changes of order 1, m, m^2 after the first update; f starts at order 1."""
    return 0.0 if quantity == "h" else float(layer - 1)


def falling_gradients(factor):
    return lambda run: {
        (f"gradient/{layer}", step): factor * run.width**-0.5
        for layer in (1, 2, 3)
        for step in range(STEPS + 1)
    }


async def test_adam_is_held_against_the_epsilon_that_holds_at_these_widths(api, store):
    """SP with Adam's default epsilon, trained correctly: changes are those of signs, not of the limit."""
    await create(api, "sp", optimizer="adam")
    train(store, adam_size, more=falling_gradients(2e-2))
    found = await report(api, steps=[0, 1])
    coordinates = [c for c in found.checks if c.kind == report_pb2.CHECK_KIND_COORDINATE]
    assert [c.predicted for c in coordinates if c.step == 1] == ["0", "1", "2"]
    assert {c.verdict for c in found.checks} == {AGREES}
    (note,) = found.notes
    assert note.startswith(
        "sp, L=2, relu, base rate 0.1: Adam's epsilon is negligible in layers 1, 2, 3: mean |g| is at least "
        "8.8e+04 times epsilon, equal at m ~ "
    )
    assert note.endswith("(after 1 update)")


async def test_adam_without_gradients_is_undecided_where_epsilon_matters(api, store):
    await create(api, "sp", optimizer="adam")
    train(store, adam_size)
    found = await report(api, steps=[0, 1])
    verdicts = {(c.layer, c.step): c.verdict for c in found.checks if c.quantity == "h_change"}
    assert verdicts[1, 1] == UNDECIDED
    (note,) = found.notes
    assert "of which none were recorded: add gradients to record.probes.quantities" in note


async def test_gradients_of_earlier_steps_count_though_only_a_later_one_is_checked(api, store):
    """Update 2 uses the gradient of step 0 too, which was below epsilon."""
    await create(api, "mup", optimizer="adam")

    def more(run):
        gradients = {(f"gradient/{layer}", 0): 1e-15 for layer in (1, 2, 3)}
        return gradients | {(f"gradient/{layer}", 2): 1.0 for layer in (1, 2, 3)}

    train(store, lambda *_: 0.0, more=more)
    found = await report(api, steps=[2])
    assert {c.step for c in found.checks} == {2}
    (note,) = [note for note in found.notes if "epsilon" in note]
    assert "Adam's epsilon dominates in layers 1, 2, 3" in note
