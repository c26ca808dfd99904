"""ReportService over a channel: synthetic sizes are committed as a dispatcher commits them."""

import grpc
import numpy as np
import pytest

from ipcore.theory import analyze, preset
from iplab.v1 import report_pb2
from iplab.v1 import report_service_pb2 as pb
from ipserver.store.states import RunState
from ipserver.store.summary import Summary
from tests.ipserver.api.reporting import (
    AGREES,
    DISAGREES,
    PROBES,
    SEEDS,
    STEPS,
    UNDECIDED,
    WIDTHS,
    create,
    exponent,
    replaced,
    report,
    train,
)


async def test_measurement_that_follows_theory_agrees(api, store):
    await create(api, "mup", "ip")
    train(store)
    found = await report(api)
    assert list(found.notes) == []
    assert [(c.subject.parameterization, c.verdict) for c in found.conclusions] == [
        ("mup", AGREES),
        ("ip", AGREES),
    ]
    assert {c.verdict for c in found.checks} == {AGREES}
    coordinates = [c for c in found.checks if c.kind == report_pb2.CHECK_KIND_COORDINATE]
    # Two parameterizations, three layers, sizes at step 0 and changes after steps 1, 2, 3.
    assert len(coordinates) == 2 * 3 * 4
    first = coordinates[0]
    assert (first.quantity, first.layer, first.step, first.predicted) == ("h", 1, 0, "0")
    assert first.low < first.slope < first.high
    assert [p.width for p in first.points] == list(WIDTHS)
    assert first.seeds == len(SEEDS)
    (still,) = [
        c
        for c in found.checks
        if c.kind == report_pb2.CHECK_KIND_STATIONARITY and c.subject.parameterization == "mup"
    ]
    assert (still.layer, still.step) == (3, 3)
    assert "it does not fall with the width" in still.sentence


async def test_isolated_updates_have_a_conclusion_of_their_own(api, store):
    """The rate of layer 2 falls short by a half; its change, with what comes from below, shows nothing."""
    record = {"probes": {"quantities": ["coordinates", "isolated_updates"], "steps": [0, 1, 2, 3]}}
    await create(api, "mup", record=record)

    def isolated(run):
        powers = {1: 0.0, 2: -0.5, 3: 0.0}
        noise = np.random.default_rng(run.index)
        return {
            (f"isolated_change/{layer}", step): run.width**power * np.exp(noise.normal(0, 0.01))
            for layer, power in powers.items()
            for step in (1, 2, 3)
        }

    train(store, more=isolated)
    found = await report(api)
    checks = [c for c in found.checks if c.kind == report_pb2.CHECK_KIND_ISOLATED_UPDATE]
    assert [(c.layer, c.step, c.verdict) for c in checks] == [
        (layer, step, DISAGREES if layer == 2 else AGREES) for step in (1, 2, 3) for layer in (1, 2, 3)
    ]
    coordinates, updates = found.conclusions
    assert coordinates.verdict == AGREES
    assert updates.verdict == DISAGREES
    assert updates.sentence.startswith("isolated updates: layer 2 disagrees at update 1: slope -0.50")


@pytest.mark.parametrize("widths", [(512,), WIDTHS])
async def test_what_survives_divergence_does_not_agree(api, store, widths):
    """Runs of some widths diverge before step 3, so they have no sizes there."""
    await create(api, "mup")

    def size(run, quantity, layer, step):
        return None if step == 3 and run.width in widths else exponent(run, quantity, layer, step)

    train(store, size, ended=lambda run: RunState.DIVERGED if run.width in widths else RunState.SUCCEEDED)
    found = await report(api)
    assert {c.verdict for c in found.checks if c.step < 3} == {AGREES}
    assert {c.verdict for c in found.checks if c.step == 3} <= {UNDECIDED}
    (conclusion,) = found.conclusions
    assert conclusion.verdict == UNDECIDED
    assert conclusion.sentence.endswith("3 could not be checked, or not at all widths and seeds")
    said = "runs at width 512 have no value" if len(widths) == 1 else "all of them diverged"
    notes = [note for note in found.notes if "step 3" in note]
    assert [said in note for note in notes] == [True] * 3


async def test_a_reference_names_the_layer_that_is_wrong(api, store):
    # a_2 is 0 instead of 1/2: h^2 is larger by m^{1/2} from step 0 on.
    wrong = {"a": ["0", "0", "1"], "b": ["0", "0", "0"], "c": ["-1", "-1", "-1"]}
    await create(api, {"label": "mine", "exponents": wrong})

    def size(run, quantity, layer, step):
        return {1: 0.0, 2: 0.5, 3: 0.0}[layer]

    train(store, size)
    found = await report(
        api, references=[pb.IntendedParameterization(parameterization="mine", reference="mup")]
    )
    (conclusion,) = found.conclusions
    assert conclusion.verdict == DISAGREES
    assert conclusion.subject.reference == "mup"
    assert conclusion.sentence.startswith("layer 2 disagrees from step 0: slope 0.5")
    # Compared with its own exponents, sizes at step 0 are right.
    own = await report(api, steps=[0])
    assert {c.verdict for c in own.checks} == {AGREES}


@pytest.mark.parametrize(("name", "verdict"), [("ip", AGREES), ("mup", DISAGREES)])
async def test_a_reference_may_be_a_label(api, store, name, verdict):
    written = {"a": ["0", "1", "1"], "b": ["0", "0", "0"], "c": ["-1", "-2", "-1"]}
    await create(api, "mup", "ip", {"label": "mine", "exponents": written})
    train(
        store,
        lambda run, *where: (
            exponent(replaced(run, "ip"), *where) if run.parameterization == "mine" else exponent(run, *where)
        ),
    )
    found = await report(
        api, references=[pb.IntendedParameterization(parameterization="mine", reference=name)]
    )
    assert [c.verdict for c in found.conclusions] == [AGREES, AGREES, verdict]


async def test_without_probes_a_note_says_what_to_add(api, store):
    await create(api, "mup", record={})
    train(store)
    found = await report(api)
    assert not found.checks
    assert not found.conclusions
    (note,) = found.notes
    assert "record.probes {quantities: [coordinates], steps: [0, 1, 2, 3]}" in note


async def test_too_few_widths_and_runs_that_wait_are_noted(api, store):
    await create(api, "mup", widths=[64, 128])
    found = await report(api)
    assert not found.checks
    assert list(found.notes) == [
        "8 runs have not ended; only what is committed is checked",
        "a slope needs at least 3 widths, the experiment has 64, 128: add widths to grid.widths",
    ]


async def test_all_diverged_is_noted(api, store):
    await create(api, "mup")
    train(store, lambda *_: None, ended=lambda run: RunState.DIVERGED)
    found = await report(api)
    assert not found.checks
    assert list(found.notes) == [
        "mup, L=2, relu, base rate 0.1: every run diverged; lower the base rate",
        "mup, L=2, relu, base rate 0.1: no run has recorded coordinates yet at the steps that are checked",
    ]


async def test_one_seed_decides_nothing(api, store):
    await create(api, "mup", seeds=[0])
    train(store)
    found = await report(api)
    assert {c.verdict for c in found.checks} == {UNDECIDED}
    assert not found.checks[0].HasField("low")
    assert "one seed has no interval" in found.checks[0].sentence


def ip_llr(run, quantity, layer, step):
    """IP-LLR, L=2: h^2 is made of what W_0 passes on, 40 m^-1/2, and its own updates, 1."""
    if quantity == "h":
        return {1: 0.0, 2: -0.5, 3: -1.0}[layer]
    hidden = np.log(np.hypot(40 * run.width**-0.5, 1.0)) / np.log(run.width)
    return {1: 0.0, 2: hidden, 3: hidden}[layer]


async def test_what_does_not_show_yet_is_said_to_be_so(api, store):
    await create(api, "ip-llr")

    def parts(run):
        x = np.hypot(40 * run.width**-0.5, 1.0)
        sizes = {"change_below/2": 40 * run.width**-0.5, "change_own/2": 1.0}
        sizes |= {"change_below/3": x / 2, "change_own/3": x / 2}
        return {(name, 1): value for name, value in sizes.items()}

    train(store, ip_llr, more=parts)
    found = await report(api, steps=[0, 1])
    not_yet = report_pb2.VERDICT_NOT_YET
    changes = {c.layer: c for c in found.checks if c.quantity == "h_change" and c.predicted}
    assert {layer: c.verdict for layer, c in changes.items()} == {1: AGREES, 2: not_yet, 3: not_yet}
    assert changes[2].expected == pytest.approx(changes[2].slope, abs=0.02)
    assert "its parts measured at width 256 make" in changes[2].sentence
    (still,) = [c for c in found.checks if c.kind == report_pb2.CHECK_KIND_STATIONARITY]
    assert still.verdict == not_yet
    (conclusion,) = found.conclusions
    assert (conclusion.verdict, conclusion.sentence) == (
        not_yet,
        "4 of 6 sizes agree, 2 cannot show yet at these widths (by the measured parts of their "
        "changes), none disagrees",
    )
    assert list(found.notes) == []


@pytest.mark.parametrize(
    ("request_", "field", "said"),
    [
        (
            {"references": [pb.IntendedParameterization(parameterization="mupp", reference="ip")]},
            "references[0].parameterization",
            "there are: mup",
        ),
        (
            {"references": [pb.IntendedParameterization(parameterization="mup", reference="ipp")]},
            "references[0].reference",
            "did you mean 'ip'",
        ),
        ({"steps": [2, 7]}, "steps[1]", "step 7 is not recorded; coordinates are recorded at 0, 1, 2, 3"),
        ({"steps": list(range(30))}, "steps", "has 30 entries; at most 20"),
        ({"tolerance": 0.0}, "tolerance", "must be > 0 and at most 1, not 0"),
        ({"tolerance": 1.5}, "tolerance", "not 1.5"),
    ],
)
async def test_wrong_requests_name_the_field(api, store, request_, field, said):
    await create(api, "mup")
    failed = await api.fails(report(api, **request_))
    assert failed.code is grpc.StatusCode.INVALID_ARGUMENT
    assert said in failed.violations[field]


async def test_there_must_be_such_an_experiment(api):
    assert (await api.fails(report(api))).code is grpc.StatusCode.NOT_FOUND
    bad = api.reports.CheckExperiment(pb.CheckExperimentRequest(name="e"))
    assert (await api.fails(bad)).code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("normalization", ["none", "rms"])
async def test_residual_networks_are_held_against_theory(api, store, normalization):
    grid = {"parameterizations": [{"preset": "ip"}], "widths": list(WIDTHS), "seeds": list(SEEDS)}
    model = {"name": "residual-mlp", "block_matrices": 1, "normalization": normalization}
    await api.create(
        grid=grid | {"hidden_layers": [2]}, spec={"steps": STEPS, "record": PROBES, "model": model}
    )
    analysis = analyze(preset("ip", 3), block_matrices=1, normalization=normalization)
    # `train` has values of L + 1 = 3 of the 4 layers; h stays of order 1.
    train(store, size=lambda run, quantity, layer, step: analysis.steps[1].h_change[layer - 1])
    found = await report(api)
    sizes = [check for check in found.checks if check.kind == report_pb2.CHECK_KIND_COORDINATE]
    assert {(check.layer, check.predicted, check.verdict) for check in sizes} == {
        (layer, "0", AGREES) for layer in (1, 2, 3)
    }


async def test_what_theory_does_not_cover_is_measured(api, store):
    grid = {
        "parameterizations": [{"preset": "hp"}],
        "widths": list(WIDTHS),
        "hidden_layers": [2],
        "seeds": list(SEEDS),
        "base_learning_rates": [0.1, 0.2, 0.4],
    }
    await api.create(grid=grid, spec={"steps": STEPS, "record": PROBES, "model": {"name": "residual-mlp"}})
    loss = {0.1: 0.3, 0.2: 0.1, 0.4: 0.2}
    train(
        store,
        size=lambda run, quantity, layer, step: 0,
        summary=lambda run: Summary(final_test_loss=loss[run.base_learning_rate] + 0.001 * run.seed),
    )
    found = await report(api)
    transfer = [check for check in found.checks if check.kind == report_pb2.CHECK_KIND_RATE_TRANSFER]
    sizes = [check for check in found.checks if check.kind == report_pb2.CHECK_KIND_COORDINATE]
    assert len(transfer) == 1
    assert len(transfer) + len(sizes) == len(found.checks)
    # Three base rates, layers 1..3 of 4 with values, steps 0..3: sizes of order 1.
    assert {(check.subject.base_learning_rate, check.layer, check.step) for check in sizes} == {
        (rate, layer, step) for rate in (0.1, 0.2, 0.4) for layer in (1, 2, 3) for step in range(4)
    }
    assert {(check.predicted, check.verdict, check.subject.layers) for check in sizes} == {("", UNDECIDED, 4)}
    assert all(abs(check.slope) < 0.05 for check in sizes)
    assert "no prediction" in sizes[0].sentence
    assert [note for note in found.notes if "not covered: residual blocks with re-weighted" in note]
    assert not found.conclusions
