"""ReportService over a channel: synthetic sizes are committed as a dispatcher commits them."""

from dataclasses import replace
from functools import cache

import grpc
import numpy as np
import pytest

from ipcore.theory import analyze, preset
from iplab.v1 import report_pb2
from iplab.v1 import report_service_pb2 as pb
from ipserver.store.records.packs import NewPack
from ipserver.store.records.slices import SliceCommit
from ipserver.store.segments import encode
from ipserver.store.states import RunState
from ipserver.store.summary import Summary

WIDTHS, SEEDS, STEPS = (64, 128, 256, 512), (0, 1, 2, 3), 3
PROBES = {"probes": {"quantities": ["coordinates"], "steps": [0, 1, 2, 3]}}
AGREES, DISAGREES, UNDECIDED = (
    report_pb2.VERDICT_AGREES,
    report_pb2.VERDICT_DISAGREES,
    report_pb2.VERDICT_UNDECIDED,
)


async def create(api, *parameterizations, record=PROBES, optimizer="sgd", **grid):
    entries = [{"preset": p} if isinstance(p, str) else p for p in parameterizations]
    axes = {"parameterizations": entries, "widths": list(WIDTHS), "hidden_layers": [2], "seeds": list(SEEDS)}
    await api.create(
        grid=axes | grid, spec={"steps": STEPS, "record": record, "optimizer": {"name": optimizer}}
    )


@cache
def analysis_of(parameterization, hidden_layers):
    return analyze(preset(parameterization, hidden_layers))


def exponent(run, quantity, layer, step):
    """The exponents of theory for the run's preset."""
    analysis = analysis_of(run.parameterization, run.hidden_layers)
    sizes = next(s for s in reversed(analysis.steps) if s.step <= step)
    if quantity == "h":
        return [*sizes.h, sizes.f][layer - 1]
    return [*sizes.h_change, sizes.f_change][layer - 1]


def train(
    store,
    size=exponent,
    summary=lambda run: Summary(),
    ended=lambda run: RunState.SUCCEEDED,
    rates=lambda run: (),
    more=lambda run: {},
):
    """Commit coordinates m^size, with 1 % of noise, more metrics by (name, step), and how runs ended."""
    noise = np.random.default_rng(0)
    leased = store.lease_unplanned("tester", 60.0)
    packs = [
        NewPack(
            run.hidden_layers,
            run.width,
            run.activation,
            id=f"p{run.index:03d}",
            run_indices=(run.index,),
            steps=STEPS,
            memory_bytes=1,
        )
        for run in leased[1]
    ]
    store.save_plan(leased[0].id, "tester", packs)
    for run in leased[1]:
        names, rows = ["train_loss"], [(0, 1, 2.0)]
        for layer in range(1, run.hidden_layers + 2):
            for quantity in ("h", "h_change"):
                for step in range(STEPS + 1):
                    power = None if (quantity, step) == ("h_change", 0) else size(run, quantity, layer, step)
                    if power is not None:
                        names.append(f"{quantity}/{layer}")
                        rows.append(
                            (len(names) - 1, step, run.width ** float(power) * np.exp(noise.normal(0, 0.01)))
                        )
        for (name, step), value in more(run).items():
            names.append(name)
            rows.append((len(names) - 1, step, value))
        metric, step, value = zip(*rows, strict=True)
        same = np.full(len(rows), run.index)
        pack = store.lease_pack(leased[0].id, "tester", 60.0)
        index = pack.runs[0].index
        assert index == run.index
        commit = SliceCommit(
            first_step=1,
            last_step=STEPS,
            segment=encode(same, metric, names, step, np.ones(len(rows)), value),
            summaries={index: summary(run)},
            calibrated_rates={index: rates(run)} if rates(run) else {},
            ended={index: ended(run)},
            finished=True,
        )
        store.commit_slice(leased[0].id, pack.id, pack.token, commit)


async def report(api, **request):
    return await api.reports.CheckExperiment(pb.CheckExperimentRequest(name="experiments/e", **request))


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


def replaced(run, parameterization):
    return replace(run, parameterization=parameterization)


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
    assert "the output does not move; rates up to m^(0) are stable for ever" in transfers[2].sentence


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


ALIGNED = {"probes": {"quantities": ["coordinates", "alignment"], "steps": [0, 1, 2, 3]}}


def alignments(theta):
    """Log alignment ratios of updates, with a constant factor 1/2, by (layer, step)."""

    def more(run):
        return {
            (f"alignment_update/{layer}", step): theta(run, layer, step)
            + (np.log(0.5) + 0.002 * run.seed) / np.log(run.width)
            for layer in (1, 2, 3)
            for step in (1, 2, 3)
        }

    return more


async def test_alignment_says_where_a_network_leaves_the_calculus(api, store):
    await create(api, "mup", "ip", record=ALIGNED)

    def theta(run, layer, step):
        return 0.6 if (run.parameterization, layer) == ("ip", 3) and step >= 2 else 1.0

    train(store, more=alignments(theta))
    found = await report(api, alignment=True)
    mup, ip = found.alignments
    assert (mup.verdict, ip.verdict) == (AGREES, DISAGREES)
    assert mup.sentence.startswith("follows the calculus: all 6 exponents of alignment agree")
    assert mup.sentence.endswith("theory with the measured alignment: feature learning")
    assert ip.sentence.startswith("leaves the calculus at W^3 from step 2: alignment 0.60")
    checks = [check for check in found.checks if check.kind == report_pb2.CHECK_KIND_ALIGNMENT]
    assert {(c.layer, c.step, c.predicted, c.predicted_high) for c in checks} == {
        (layer, step, "1", "") for layer in (2, 3) for step in (1, 2, 3)
    }
    assert not (await report(api)).alignments
    assert [c.sentence for c in (await report(api, alignment=True, steps=[2])).alignments][1] == ip.sentence


async def test_alignment_needs_its_probe_alone(api, store):
    only = {"probes": {"quantities": ["alignment"], "steps": [1, 2, 3]}}
    await create(api, "mup", record=only)
    train(store, more=alignments(lambda run, layer, step: 1.0))
    found = await report(api, alignment=True)
    assert {check.kind for check in found.checks} == {report_pb2.CHECK_KIND_ALIGNMENT}
    assert [c.verdict for c in found.alignments] == [AGREES]
    assert [note for note in found.notes if note.startswith("coordinates and stationarity are not checked")]
    assert not (await report(api)).checks


async def test_alignment_that_was_not_recorded_is_said(api, store):
    await create(api, "mup")
    train(store)
    found = await report(api, alignment=True)
    assert [note for note in found.notes if "alignment is not checked" in note]
    assert not found.alignments
