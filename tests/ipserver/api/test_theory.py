"""Theory over gRPC: analysis, completion, and predictions that experiments carry."""

import grpc
import pytest

from ipcore.theory import analyze, phases, preset
from iplab.v1 import experiment_service_pb2, run_service_pb2, spec_pb2
from iplab.v1 import parameterization_service_pb2 as pb
from iplab.v1.theory_pb2 import AlignmentExponents, Regime

NAIVE_IP = spec_pb2.Exponents(a=["0", "1", "1"], b=["0", "0", "0"], c=["-1", "-2", "-1"])
IP_AB = spec_pb2.Exponents(a=["0", "1", "1"], b=["0", "0", "0"])


async def test_analysis_is_the_analysis_of_ipcore(api):
    answer = await api.parameterizations.AnalyzeParameterization(
        pb.AnalyzeParameterizationRequest(preset="ip", hidden_layers=3)
    )

    expected = analyze(preset("ip", 3))
    assert answer.regime == Regime.REGIME_TRIVIAL
    assert answer.summary == expected.summary
    # Hajjar et al.: h^l_0 shrinks by m^(-1/2) per layer; hand-worked changes after one step.
    assert list(answer.steps[0].h) == ["0", "-1/2", "-1"]
    assert answer.steps[0].f == "-3/2"
    assert list(answer.steps[1].h_change) == ["-1", "-1/2", "-1"]
    assert answer.vanishing_at_initialization
    assert [layer.layer for layer in answer.alignment] == [2, 3, 4]


async def test_controlled_divergence_is_a_regime_of_its_own(api):
    sp = spec_pb2.Exponents(a=["0"] * 3, b=["0", "1/2", "1/2"], c=["1/2"] * 3)
    request = pb.AnalyzeParameterizationRequest(exponents=sp, hidden_layers=3)
    answer = await api.parameterizations.AnalyzeParameterization(request)
    assert answer.regime == Regime.REGIME_CONTROLLED_DIVERGENCE
    assert answer.hidden_bounded and answer.settled

    request.loss = "mse"
    answer = await api.parameterizations.AnalyzeParameterization(request)
    assert answer.regime == Regime.REGIME_UNSTABLE
    assert not answer.hidden_bounded


async def test_alignment_may_be_given_by_name_exactly_and_as_bounds(api):
    async def regime(**given):
        request = pb.AnalyzeParameterizationRequest(preset="ip-llr", hidden_layers=3, **given)
        return (await api.parameterizations.AnalyzeParameterization(request)).regime

    exact, half = AlignmentExponents(forward=["1"]), AlignmentExponents(forward=["1/2"] * 3)
    assert await regime(alignment=exact) == Regime.REGIME_FEATURE_LEARNING
    assert await regime(alignment=half) == Regime.REGIME_TRIVIAL
    assert await regime(alignment=exact, least_alignment=half) == Regime.REGIME_MEASURE
    assert await regime(named_alignment="none") == Regime.REGIME_TRIVIAL
    none = AlignmentExponents(forward=["1/2"], backward=["1/2"], initial=["1/2"])
    assert await regime(alignment=none) == Regime.REGIME_TRIVIAL


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        (
            {"alignment": AlignmentExponents(forward=["1", "2", "1/4"])},
            ["alignment.forward[1]", "alignment.forward[2]"],
        ),
        ({"alignment": AlignmentExponents(forward=["5/4"])}, ["alignment.forward"]),
        ({"alignment": AlignmentExponents(backward=["1"] * 3)}, ["alignment.backward"]),
        ({"alignment": AlignmentExponents(initial=["0.5", "nan", "1"])}, ["alignment.initial[1]"]),
        (
            {"alignment": AlignmentExponents(), "least_alignment": AlignmentExponents(forward=["0"])},
            ["least_alignment.forward"],
        ),
        ({"least_alignment": AlignmentExponents(), "named_alignment": "full"}, ["least_alignment"]),
        (
            {
                "alignment": AlignmentExponents(forward=["1/2"]),
                "least_alignment": AlignmentExponents(forward=["1"]),
            },
            ["alignment"],
        ),
        ({"named_alignment": "half"}, ["named_alignment"]),
        ({"named_alignment": ""}, ["named_alignment"]),
        ({"epsilon": ["tiny"]}, ["epsilon"]),
        ({"block_matrices": 3}, ["block_matrices"]),
        ({"normalization": "layer"}, ["normalization"]),
    ],
)
async def test_bad_alignment_names_the_fields(api, given, fields):
    request = pb.AnalyzeParameterizationRequest(preset="mup", hidden_layers=3, **given)
    failed = await api.fails(api.parameterizations.AnalyzeParameterization(request))
    assert failed.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(failed.violations) == fields


async def test_blocks_and_epsilon_are_passed_on(api):
    request = pb.AnalyzeParameterizationRequest(preset="ip", hidden_layers=5, block_matrices=2)
    answer = await api.parameterizations.AnalyzeParameterization(request)
    assert answer.summary == analyze(preset("ip", 5), block_matrices=2).summary
    request = pb.AnalyzeParameterizationRequest(preset="ip", hidden_layers=3, normalization="rms")
    answer = await api.parameterizations.AnalyzeParameterization(request)
    assert answer.summary == analyze(preset("ip", 3), normalization="rms").summary
    rate = answer.largest_rate
    assert (rate.stable, rate.controlled, rate.exact, rate.only_output) == ("0", "", True, True)
    request = pb.AnalyzeParameterizationRequest(preset="sp", hidden_layers=3, optimizer="adam", steps=1)
    request.epsilon.append("negligible")
    answer = await api.parameterizations.AnalyzeParameterization(request)
    assert list(answer.steps[1].h_change) == ["0", "1", "2"]


async def test_answers_stay_small_however_many_steps_are_asked_for(api):
    request = pb.AnalyzeParameterizationRequest(preset="sp", hidden_layers=100, steps=1000)
    answer = await api.parameterizations.AnalyzeParameterization(request)
    assert answer.regime == Regime.REGIME_UNSTABLE
    assert answer.ByteSize() < 200_000
    assert any("not shown" in note for note in answer.notes)


async def test_marginal_verdicts_say_so(api):
    request = pb.AnalyzeParameterizationRequest(preset="ip", hidden_layers=3)
    assert (await api.parameterizations.AnalyzeParameterization(request)).marginal


async def test_exponents_written_out_give_the_same(api):
    by_name = pb.AnalyzeParameterizationRequest(preset="ip", hidden_layers=2)
    written = pb.AnalyzeParameterizationRequest(exponents=NAIVE_IP, hidden_layers=2)

    answer = await api.parameterizations.AnalyzeParameterization(written)

    assert answer == await api.parameterizations.AnalyzeParameterization(by_name)
    assert [(move.layer, move.step) for move in answer.features] == [(1, 2), (2, 1)]


@pytest.mark.parametrize("scheme", [{"preset": "ip"}, {"exponents": IP_AB}], ids=["preset", "exponents"])
async def test_completing_ip_gives_ip_llr(api, scheme):
    answer = await api.parameterizations.CompleteParameterization(
        pb.CompleteParameterizationRequest(hidden_layers=4, **scheme)
    )

    assert [(phase.start, list(phase.c)) for phase in answer.phases] == [
        (0, ["-5/2", "-3", "-3", "-3", "-5/2"]),
        (1, ["-1", "-2", "-2", "-2", "-1"]),
    ]
    assert answer.r == "0"
    assert answer.maximal


@pytest.mark.parametrize(
    ("request_", "field", "message"),
    [
        (pb.AnalyzeParameterizationRequest(preset="ip"), "hidden_layers", "1 .. 1,000"),
        (pb.AnalyzeParameterizationRequest(preset="ip", hidden_layers=1001), "hidden_layers", "not 1001"),
        (pb.AnalyzeParameterizationRequest(hidden_layers=2), "preset", "required"),
        (pb.AnalyzeParameterizationRequest(preset="mupp", hidden_layers=2), "preset", "mup"),
        (
            pb.AnalyzeParameterizationRequest(preset="ip", hidden_layers=2, activation="rleu"),
            "activation",
            "relu",
        ),
        (pb.AnalyzeParameterizationRequest(preset="ip", hidden_layers=2, steps=-1), "steps", "at least 1"),
        (
            pb.AnalyzeParameterizationRequest(
                exponents=spec_pb2.Exponents(a=["0", "x", "1"], b=["0"] * 3, c=["0"] * 3), hidden_layers=2
            ),
            "exponents.a[1]",
            "'x' is not an exponent",
        ),
    ],
)
async def test_bad_input_names_the_field(api, request_, field, message):
    failed = await api.fails(api.parameterizations.AnalyzeParameterization(request_))

    assert failed.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(failed.violations) == [field]
    assert message in failed.violations[field]


@pytest.mark.parametrize("name", ["c", "c_first_step", "d", "d_first_step"])
async def test_completion_takes_no_rates(api, name):
    given = spec_pb2.Exponents(a=IP_AB.a, b=IP_AB.b, **{name: ["0"] * 3})
    request = pb.CompleteParameterizationRequest(exponents=given, hidden_layers=2)

    failed = await api.fails(api.parameterizations.CompleteParameterization(request))

    assert list(failed.violations) == [f"exponents.{name}"]


async def test_presets_have_their_exponents_for_the_optimizer(api):
    adam = {"hidden_layers": 3, "optimizer": "adam"}
    ip = await api.parameterizations.AnalyzeParameterization(
        pb.AnalyzeParameterizationRequest(preset="ip", **adam)
    )
    # IP with Adam, epsilon scaled: c = 0 at every step.
    assert ip.regime == Regime.REGIME_FEATURE_LEARNING
    failed = await api.fails(
        api.parameterizations.AnalyzeParameterization(
            pb.AnalyzeParameterizationRequest(preset="ip-llr", **adam)
        )
    )
    assert "use ip" in failed.violations["preset"]
    # Without d, epsilon is the same at every width, and larger than IP's gradients.
    written = spec_pb2.Exponents(a=IP_AB.a, b=IP_AB.b, c=["0"] * 3)
    drowned = await api.parameterizations.AnalyzeParameterization(
        pb.AnalyzeParameterizationRequest(exponents=written, **adam)
    )
    assert drowned.regime == Regime.REGIME_TRIVIAL


async def test_analysis_says_how_the_largest_stable_base_rate_moves(api):
    sp = await api.parameterizations.AnalyzeParameterization(
        pb.AnalyzeParameterizationRequest(preset="sp", hidden_layers=3)
    )
    assert (sp.largest_rate.stable, sp.largest_rate.controlled, sp.largest_rate.exact) == ("-1", "-1/2", True)
    assert "falls like m^(-1)" in sp.largest_rate.summary
    calibrated = {"preset": "ip-llr", "hidden_layers": 4, "calibrated": True}
    relu = await api.parameterizations.AnalyzeParameterization(
        pb.AnalyzeParameterizationRequest(**calibrated)
    )
    assert relu.largest_rate.stable == "0"
    tanh = await api.parameterizations.AnalyzeParameterization(
        pb.AnalyzeParameterizationRequest(activation="tanh", **calibrated)
    )
    assert not tanh.HasField("largest_rate")
    assert any("calibrated rates with tanh" in note for note in tanh.notes)


async def test_completion_says_what_is_unique_and_what_is_not(api):
    uneven = {"exponents": spec_pb2.Exponents(a=["0", "1", "1/2"], b=["0"] * 3), "hidden_layers": 2}
    largest = await api.parameterizations.CompleteParameterization(
        pb.CompleteParameterizationRequest(**uneven)
    )
    assert (largest.kind, largest.maximal, largest.r) == ("largest", True, "")
    assert list(largest.changes) == ["0", "-1/2"]
    assert list(largest.phases[0].c) == ["-1", "-1", "-1"]
    assert not largest.HasField("stable")
    balanced = await api.parameterizations.CompleteParameterization(
        pb.CompleteParameterizationRequest(kind="balanced", **uneven)
    )
    assert (balanced.kind, balanced.maximal, balanced.r) == ("balanced", False, "1/2")
    normalized = await api.parameterizations.CompleteParameterization(
        pb.CompleteParameterizationRequest(preset="ip", hidden_layers=3, normalization="rms")
    )
    assert [list(phase.c) for phase in normalized.phases] == [["-1"] * 4]

    ip = await api.parameterizations.CompleteParameterization(
        pb.CompleteParameterizationRequest(preset="ip", hidden_layers=3, pareto=True)
    )
    assert not ip.unique
    assert [list(point.phases[0].c) for point in ip.stable.points] == [
        ["-2", "-5/2", "-5/2", "-2"],
        ["-2", "-5/2", "-2", "-5/2"],
        ["-2", "-2", "-3", "-2"],
        ["-2", "-2", "-2", "-3"],
    ]
    assert list(ip.stable.unit) == ["-2", "-5/2", "-5/2", "-2"]
    failed = await api.fails(
        api.parameterizations.CompleteParameterization(
            pb.CompleteParameterizationRequest(preset="ip", hidden_layers=3, kind="larges")
        )
    )
    assert "did you mean 'largest'" in failed.violations["kind"]


async def test_experiments_and_runs_carry_predictions(api):
    created = await api.create(
        grid={"parameterizations": [{"preset": "ip"}, {"preset": "mup"}], "hidden_layers": [3]}
    )

    assert [(p.parameterization, p.regime) for p in created.predictions] == [
        ("ip", Regime.REGIME_TRIVIAL),
        ("mup", Regime.REGIME_FEATURE_LEARNING),
    ]
    assert any("theory predicts trivial" in warning for warning in created.warnings)
    got = await api.experiments.GetExperiment(experiment_service_pb2.GetExperimentRequest(name=created.name))
    assert got.predictions == created.predictions
    runs = await api.runs.ListRuns(run_service_pb2.ListRunsRequest(parent=created.name))
    assert [run.predicted_regime for run in runs.runs] == [Regime.REGIME_TRIVIAL] * 2 + [
        Regime.REGIME_FEATURE_LEARNING
    ] * 2


async def test_validate_only_predicts_too(api):
    preview = await api.create(validate_only=True)

    assert {p.parameterization for p in preview.predictions} == {"mup", "ip-llr"}


@pytest.mark.parametrize("name", ["hp", "hpz"])
async def test_completion_refuses_reweighted_initial_matrices(api, name):
    request = pb.CompleteParameterizationRequest(preset=name, hidden_layers=3)

    failed = await api.fails(api.parameterizations.CompleteParameterization(request))

    assert failed.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "re-weighted initial matrices" in failed.violations["preset"]


async def test_rounded_decimals_are_said(api):
    rounded = spec_pb2.Exponents(a=["0.3333", "1", "1"], b=["0", "0.5", "0"], c=["-1", "-2", "-1"])
    said = "'0.3333' is taken as exactly 3333/10000; write '1/3' if that is meant"

    answer = await api.parameterizations.AnalyzeParameterization(
        pb.AnalyzeParameterizationRequest(exponents=rounded, hidden_layers=3)
    )
    del rounded.c[:]
    completed = await api.parameterizations.CompleteParameterization(
        pb.CompleteParameterizationRequest(exponents=rounded, hidden_layers=3)
    )

    assert said in answer.notes
    assert said in completed.reason


async def test_maps_of_phases_are_those_of_ipcore(api):
    request = pb.MapPhasesRequest(preset="mup", hidden_layers=3)
    request.free.add(name="a_last", low="0", high="3/2")
    request.free.add(name="c", low="-2", high="1")
    answer = await api.parameterizations.MapPhases(request)

    expected = phases(preset("mup", 3), {"a_last": ("0", "3/2"), "c": ("-2", "1")})
    assert answer.text == str(expected)
    assert [(f.name, f.low, f.high) for f in answer.free] == [("a_last", "0", "3/2"), ("c", "-2", "1")]
    for area, same in zip(answer.areas, expected.areas, strict=True):
        assert [(at.x, at.y) for at in area.outline.corners] == [(str(x), str(y)) for x, y in same.outline]
    (kernel,) = [b for b in answer.borders if b.phase.regime == Regime.REGIME_KERNEL]
    assert {(at.x, at.y) for at in (kernel.start, kernel.end)} == {("1/2", "0"), ("1", "-1")}
    sides = {kernel.left.regime, kernel.right.regime}
    assert sides == {Regime.REGIME_TRIVIAL, Regime.REGIME_CONTROLLED_DIVERGENCE}
    (mup,) = [marked for marked in answer.presets if marked.preset == "mup"]
    assert (mup.at.x, mup.at.y, list(mup.phase.layers)) == ("1", "-1", [1, 2, 3])
    assert len(answer.corners) == len(expected.corners)


async def test_maps_say_what_they_leave_undecided(api, monkeypatch):
    monkeypatch.setattr("ipserver.api.parameterizations._PHASES_WORK", 20_000)
    request = pb.MapPhasesRequest(preset="ip", hidden_layers=3, activation="gelu")
    for name in ("c_first_step_hidden", "c_last"):
        request.free.add(name=name, low="-4", high="1")
    answer = await api.parameterizations.MapPhases(request)
    regimes = {area.phase.regime for area in answer.areas}
    assert Regime.REGIME_UNSPECIFIED in regimes
    assert regimes - {Regime.REGIME_UNSPECIFIED}
    assert "not decided" in answer.notes[0]


@pytest.mark.parametrize(
    ("free", "field", "message"),
    [
        ([("c", "0", "1")], "free", "2 free exponents, not 1"),
        ([("c", "0", "1"), ("c", "0", "2")], "free", "given twice"),
        ([("c", "0", "1"), ("e", "0", "2")], "free", "unknown free exponent 'e'"),
        ([("c", "1", "0"), ("a_1", "0", "2")], "free[c]", "empty"),
        ([("c", "0", "9" * 900), ("a_1", "0", "2")], "free[c]", "not an exponent"),
    ],
)
async def test_bad_maps_name_the_field(api, free, field, message):
    request = pb.MapPhasesRequest(preset="mup", hidden_layers=3)
    for name, low, high in free:
        request.free.add(name=name, low=low, high=high)
    failed = await api.fails(api.parameterizations.MapPhases(request))
    assert failed.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(failed.violations) == [field]
    assert message in failed.violations[field]
