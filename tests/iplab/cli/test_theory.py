"""Commands about theory, which need no service."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from iplab.cli import main


def test_parameterizations_need_no_service(iplab):
    table = iplab("parameterizations", "--hidden-layers", 4, address="127.0.0.1:1").stdout
    assert "from step 0: -5/2 | -3 | -5/2; from step 1: -1 | -2 | -1" in table
    plain = json.loads(iplab("parameterizations", "--json").stdout)
    assert next(p for p in plain if p["preset"] == "mup")["a"] == ["0", "1/2", "1/2", "1"]


def test_analysis_says_what_and_why():
    def call(*arguments):
        return CliRunner().invoke(main, ["analyze", *arguments])

    trivial = call("--preset", "ip", "--hidden-layers", "3")
    assert trivial.exit_code == 0
    assert "trivial" in trivial.stdout
    # IP at L = 3: h^1..h^3 have exponents 0, -1/2, -1 at the start and change by -1, -1/2, -1 in step 1.
    assert "0  -1/2  -1" in trivial.stdout
    assert "-1  -1/2  -1" in trivial.stdout
    by_hand = call("--a", "0,1,1", "--b", "0,0,0", "--c", "-1,-2,-1", "--json")
    assert json.loads(by_hand.stdout) == json.loads(call("--preset", "ip", "--json").stdout)
    assert "gelu" in call("--preset", "ip-llr", "--hidden-layers", "4", "--activation", "gelu").stdout


def test_epsilon_may_be_what_holds_at_the_widths_of_an_experiment():
    """SP with Adam and one epsilon, which dominates in the limit; if it is negligible, signs move h^1."""

    def call(*arguments):
        return CliRunner().invoke(main, ["analyze", "--preset", "sp", "--optimizer", "adam", *arguments])

    def first_change(*arguments):
        return json.loads(call("--steps", "1", "--json", *arguments).stdout)["steps"][1]["h_change"][0]

    assert first_change() == "-1/2"
    assert first_change("--epsilon", "negligible") == "0"
    assert first_change("--epsilon", "dominating, negligible, negligible, negligible") == "-1/2"
    assert "adam (epsilon: negligible), relu" in call("--epsilon", "negligible").stdout
    wrong = call("--epsilon", "small")
    assert wrong.exit_code == 2
    assert "unknown epsilon 'small'; there are: limit, negligible, dominating" in wrong.stderr


def test_alignment_and_blocks_may_be_given():
    def regime(*arguments):
        result = CliRunner().invoke(main, ["analyze", *arguments, "--json"])
        return json.loads(result.stdout)["regime"]

    # A readout that is not aligned with the changes of the layers passes on m^(1/2) less.
    assert regime("--preset", "sp-per-layer") == "controlled_divergence"
    assert regime("--preset", "sp-per-layer", "--alignment", "full") == "feature_learning"
    assert regime("--preset", "ip", "--hidden-layers", "4", "--block-matrices", "1") == "feature_learning"
    assert regime("--preset", "ip-llr", "--alignment", "1/2,1/2,1/2") == "trivial"
    rows = ("--alignment", "1/2", "--alignment-backward", "1/2", "--alignment-initial", "1/2")
    assert regime("--preset", "ip-llr", *rows) == regime("--preset", "ip-llr", "--alignment", "none")
    outside = CliRunner().invoke(main, ["analyze", "--preset", "ip", "--alignment", "1,5/4,1"])
    assert outside.exit_code == 2
    assert "alignment.forward[1]: must be between 1/2" in outside.stderr
    wrong = CliRunner().invoke(
        main, ["analyze", "--preset", "ip", "--alignment", "half", "--block-matrices", "3"]
    )
    assert wrong.exit_code == 2
    assert "unknown alignment 'half'; there are: full, none" in wrong.stderr
    assert "block_matrices" in wrong.stderr


def test_completing_ip_gives_ip_llr():
    result = CliRunner().invoke(main, ["complete", "--preset", "ip", "--hidden-layers", "6", "--json"])
    first = json.loads(result.stdout)["parameterization"]["phases"][0]
    assert first["c"] == ["-7/2", "-4", "-4", "-4", "-4", "-4", "-7/2"]
    text = CliRunner().invoke(main, ["complete", "--a", "0,1,1", "--b", "0,0,0", "--hidden-layers", "6"])
    assert "-7/2" in text.stdout


def test_completion_with_normalized_preactivations():
    args = ("complete", "--preset", "ip", "--hidden-layers", "3", "--normalization", "rms")
    found = json.loads(theory_says(*args, "--json"))
    assert [phase["c"] for phase in found["parameterization"]["phases"]] == [["-1"] * 4]
    assert found["changes"] == ["0", "-1/2", "-1/2"]


def test_the_largest_and_the_balanced_completion_go_by_their_names():
    lists = ["--a", "0,1,1/2", "--b", "0,0,0", "--hidden-layers", "2", "--json"]
    largest = json.loads(theory_says("complete", *lists))
    # c_1 = -1 is stable: h^1 may change by order 1, h^2 by m^(-1/2).
    assert largest["parameterization"]["phases"][0]["c"] == ["-1", "-1", "-1"]
    assert (largest["changes"], largest["maximal"], largest["r"]) == (["0", "-1/2"], True, None)
    balanced = json.loads(theory_says("complete", *lists, "--kind", "balanced"))
    assert balanced["parameterization"]["phases"][0]["c"] == ["-1/2", "-1", "-1"]
    assert (balanced["changes"], balanced["maximal"], balanced["r"]) == (["-1/2", "-1/2"], False, "1/2")
    assert "the largest completion" in balanced["reason"]


def test_how_the_largest_stable_base_rate_moves_is_said():
    sp = ["analyze", "--preset", "sp"]
    assert "largest stable base rate falls like m^(-1); up to order m^(-1/2) only the" in " ".join(
        theory_says(*sp).split()
    )
    rate = json.loads(theory_says(*sp, "--loss", "mse", "--json"))["largest_rate"]
    assert (rate["stable"], rate["controlled"], rate["exact"]) == ("-1", "-1", True)
    llr = " ".join(theory_says("analyze", "--preset", "ip-llr", "--calibrated").split())
    assert "base rate: the largest stable base rate does not depend on the width" in llr
    tanh = json.loads(
        theory_says("analyze", "--preset", "ip-llr", "--calibrated", "--activation", "tanh", "--json")
    )
    assert tanh["largest_rate"] is None
    assert any("calibrated rates with tanh" in note for note in tanh["notes"])
    deep = theory_says("analyze", "--preset", "mup", "--hidden-layers", "201")
    assert "given for at most 200 hidden layers" in deep.replace("\n", " ")


def test_stable_rates_are_shown_on_request():
    shown = theory_says("complete", "--preset", "ip", "--pareto")
    assert "0  -1/2  0: c = -2  -2  -3  -2" in shown
    assert "stable rates of step 0" not in theory_says("complete", "--preset", "ip")
    points = json.loads(theory_says("complete", "--preset", "ip", "--pareto", "--json"))["stable"]["points"]
    assert len(points) == 4


def theory_says(*arguments):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_what_complete_prints_can_be_fed_back():
    # IP with Adam: no large first step, but epsilon follows the gradients.
    done = json.loads(theory_says("complete", "--preset", "ip", "--optimizer", "adam", "--json"))
    first, later = done["parameterization"]["phases"]
    assert (first["d"], later["d"]) == (["2", "5/2", "5/2", "2"], ["1", "2", "2", "1"])
    lists = {"a": "0,1,1", "b": "0,0,0", "c": "0,0,0", "d": "1,2,1", "d-first-step": "2,5/2,2"}
    options = [text for name, entries in lists.items() for text in (f"--{name}", entries)]
    found = json.loads(theory_says("analyze", *options, "--optimizer", "adam", "--json"))
    assert found["parameterization"] == done["parameterization"]
    assert found["regime"] == "feature_learning"
    # A preset has other exponents with Adam: the same.
    preset = json.loads(theory_says("analyze", "--preset", "ip", "--optimizer", "adam", "--json"))
    assert preset == found
    adamw = json.loads(theory_says("analyze", *options, "--optimizer", "adamw", "--json"))
    assert adamw == found | {"optimizer": "adamw"}
    for_descent = ["--a", "0,1,1", "--b", "0,0,0", "--c=-1,-2,-1", "--optimizer", "adam", "--json"]
    advice = json.loads(theory_says("analyze", *for_descent))["advice"]
    assert "c = 0 | 0 | 0 with d = 2 | 5/2 | 2 at step 0" in advice


@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.parametrize("command", [["analyze", "--c", "-1,-2,-1"], ["complete"]])
def test_rounded_decimals_are_said(command, form):
    said = theory_says(*command, "--a", "0.3333,1,1", "--b", "0,0.5,0", *form)
    assert "'0.3333' is taken as exactly 3333/10000; write '1/3' if that is meant" in said
    assert "'0.5'" not in said


def test_long_analyses_are_folded_to_a_terminal():
    text = theory_says("analyze", "--preset", "ip", "--hidden-layers", "12", "--steps", "1000")
    table = text.partition("trivial:")[0].splitlines()
    assert max(map(len, table)) <= 80
    assert any(line.startswith("1..1000 ") for line in table)
    assert "0  -1/2 .. -11/2" in text
    assert "0 (x998)" in theory_says("analyze", "--preset", "mup", "--hidden-layers", "998")


def test_the_number_of_steps_shown_does_not_change_the_verdict():
    lists = ["--a", "0,1/2,1", "--b", "0,0,0", "--c", "-1,-1,-1", "--c-first-step", "5,5,5"]
    found = json.loads(theory_says("analyze", *lists, "--steps", "1", "--json"))
    assert (found["regime"], found["settled"]) == ("feature_learning", True)
    assert found["features"][0] == {"layer": 1, "step": 2}
    assert [sizes["step"] for sizes in found["steps"]] == [0, 1]


def test_presets_show_what_goes_beyond_their_exponents():
    table = theory_says("parameterizations")
    assert "w_0 x m^-k from step 1, k = 0 | 1/2 | 0" in table
    assert "k = 0 | removed | 0" in table
    assert "biases: a = 0 | 0 | 0" in table
    assert "not at this depth: mfp" in table
    assert "not at this depth" not in theory_says("parameterizations", "--hidden-layers", "1")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["complete", "--preset", "hp"], "re-weighted initial matrices"),
        (["complete", "--preset", "hpz"], "re-weighted initial matrices"),
        (["analyze", "--preset", "ip", "--d", "0,0,0"], "not both"),
        (["analyze"], "missing: --a, --b, --c"),
        (["analyze", "--preset", "ipp"], "ip"),
        (["analyze", "--preset", "ip", "--a", "1,1,1"], "not both"),
        (["analyze", "--preset", "ip", "--hidden-layers", "0"], "hidden_layers"),
        (["analyze", "--preset", "ip", "--steps", "0"], "steps"),
        (["analyze", "--preset", "ip", "--activation", "rellu"], "relu"),
        (["analyze", "--a", "0,1/0,1", "--b", "0,0,0", "--c", "0,0,0"], "denominator"),
        (["complete", "--a", "0,1", "--b", "0,0,0"], "entries"),
        (["complete", "--a", "0,1,1"], "missing: --b"),
        (["complete", "--preset", "ip", "--kind", "balance"], "did you mean 'balanced'?"),
    ],
)
def test_what_theory_refuses_exits_2(arguments, said):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["parameterizations", "--hidden-layers", "6"],
        ["analyze", "--preset", "ip", "--activation", "tanh"],
    ],
)
def test_a_terminal_gets_whole_exponents_and_no_line_wider_than_it(arguments):
    ours, theirs = os.openpty()
    # Size of a terminal that reports none.
    command = [sys.executable, "-m", "iplab", *arguments]
    process = subprocess.Popen(command, stdout=theirs, env=os.environ | {"COLUMNS": "80"})
    os.close(theirs)
    chunks = []
    while chunk := _read(ours):
        chunks.append(chunk)
    os.close(ours)
    assert process.wait(120) == 0
    shown = b"".join(chunks).decode().splitlines()

    assert max(map(len, shown)) <= 80
    whole = theory_says(*arguments).split()
    assert " ".join(shown).split() == whole, "folded between words alone"


def _read(terminal):
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


def test_normalized_preactivations_may_be_asked_for():
    result = CliRunner().invoke(main, ["analyze", "--preset", "ip", "--normalization", "rms", "--json"])
    found = json.loads(result.stdout)
    assert (found["regime"], found["normalization"]) == ("feature_learning", "rms")
    wrong = CliRunner().invoke(main, ["analyze", "--preset", "ip", "--normalization", "layer"])
    assert wrong.exit_code == 2
    assert "unknown normalization 'layer'" in wrong.stderr


JUNK = ("", "x", "\u0663", "1/0", "nan", "1e999", "-1", "9" * 40)


@pytest.mark.parametrize(
    "command",
    [
        ["analyze", "--preset", "mup", "--hidden-layers", "2"],
        ["complete", "--preset", "mup", "--hidden-layers", "2"],
        ["phases", "--preset", "mup", "--hidden-layers", "1", "--free", "a_last=0:1", "--free", "c=-1:1"],
    ],
)
def test_whatever_an_option_holds_is_answered_or_refused_in_words(command):
    """Exit code 0 or 2, never a traceback."""
    options = [p for p in main.get_command(None, command[0]).params if not getattr(p, "is_flag", False)]
    for option in options:
        for junk in JUNK:
            result = CliRunner().invoke(main, [*command, option.opts[0], junk])
            assert result.exception is None or isinstance(result.exception, SystemExit), (option.name, junk)
            assert result.exit_code in {0, 2}, (option.name, junk, result.output)
            assert len(result.stderr) < 2_000
