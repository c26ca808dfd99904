"""Specs: accepted forms, and the error for every mistake."""

import contextlib
import json
import math
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import iplab
from iplab.errors import SpecError
from iplab.specs.messages import message_of
from iplab.specs.plain import to_plain
from iplab.specs.problems import Problems
from iplab.specs.specfile import load_spec, parse_spec, read_spec
from iplab.v1.experiment_pb2 import Experiment
from iplab.v1.experiment_service_pb2 import CreateExperimentRequest


def exponents(**lists):
    scheme = {"label": "mine", "exponents": {"a": [0], "b": [0], "c": [0]} | lists}
    return {"spec": {"grid": {"parameterizations": [scheme]}}}


def wrong(source):
    """Errors of a dict or YAML text as {path: message}."""
    with pytest.raises(iplab.SpecError) as caught:
        parse_spec(source, "spec.yaml").checked() if isinstance(source, str) else load_spec(source)
    return {violation.field: violation.message for violation in caught.value.violations}


def test_yaml_json_and_dict_give_the_same_message(tmp_path):
    plain = {
        "display_name": "one",
        "labels": {"team": "theory"},
        "priority": 3,
        "spec": {"dataset": "digits", "grid": {"widths": [64], "base_learning_rates": [0.01]}},
    }
    yaml_file, json_file = tmp_path / "spec.yaml", tmp_path / "spec.json"
    yaml_file.write_text(
        "display_name: one\nlabels: {team: theory}\npriority: 3\n"
        "spec:\n  dataset: digits\n  grid:\n    widths: [64]\n    base_learning_rates: [1e-2]\n"
    )
    json_file.write_text(
        '{"displayName": "one", "labels": {"team": "theory"}, "priority": 3,'
        '\t"spec": {"dataset": "digits", "grid": {"widths": [64], "baseLearningRates": [0.01]}}}'
    )
    from_dict = load_spec(plain)
    assert from_dict.spec.grid.base_learning_rates[0] == 0.01
    assert load_spec(yaml_file) == load_spec(str(json_file)) == from_dict == load_spec(from_dict)


def places(kind, path=()):
    """Fields of a spec that are neither messages nor maps, each with its path."""
    for entry in kind.fields:
        if kind is Experiment.DESCRIPTOR and entry.name not in ("display_name", "priority", "spec"):
            continue
        if not entry.message_type:
            yield *path, entry
        elif not entry.message_type.GetOptions().map_entry:
            yield from places(entry.message_type, (*path, entry))


@pytest.mark.parametrize(
    "path", list(places(Experiment.DESCRIPTOR)), ids=lambda path: ".".join(e.name for e in path)
)
def test_every_field_is_read_and_printed(path):
    """Fields of all types, since neither the reader nor the printer knows fields by name."""
    values = {
        FieldDescriptor.TYPE_DOUBLE: 0.5,
        FieldDescriptor.TYPE_STRING: "1/2",
        FieldDescriptor.TYPE_BOOL: True,
    }
    value = values.get(path[-1].type, 7)
    plain, wanted = value, Experiment()
    message = wanted
    for entry in reversed(path):
        plain = {entry.name: [plain] if entry.is_repeated else plain}
    for entry in path[:-1]:
        message = getattr(message, entry.name)
        message = message.add() if entry.is_repeated else message
    if path[-1].is_repeated:
        getattr(message, path[-1].name).append(value)
    else:
        setattr(message, path[-1].name, value)
    loaded = load_spec(plain)
    assert loaded == wanted
    printed = to_plain(loaded)
    for entry in path:
        printed = printed[entry.name][0] if entry.is_repeated else printed[entry.name]
    assert printed == value


def test_a_truth_value_is_true_or_false():
    """No field of a spec has this type yet, so a request's message is used."""
    problems, kind = Problems(), CreateExperimentRequest.DESCRIPTOR
    assert message_of({"validate_only": True}, kind, "", problems) == {"validate_only": True}
    assert not problems.found
    assert message_of({"validate_only": "yes"}, kind, "", problems) == {}
    assert problems.found == [("validate_only", "'yes' is neither true nor false")]


def test_a_message_is_copied():
    message = Experiment(display_name="mine")
    loaded = load_spec(message)
    loaded.display_name = "changed"
    assert message.display_name == "mine"


@pytest.mark.parametrize(
    ("written", "kept"),
    [("1", "1"), ("-2", "-2"), ("0.5", "0.5"), ("-5/2", "-5/2"), ("'1/2'", "1/2"), ("1e-1", "0.1")],
)
def test_exponents_in_yaml_are_kept_exactly(written, kept):
    text = f"spec: {{grid: {{parameterizations: [{{exponents: {{a: [{written}]}}}}]}}}}"
    loaded = parse_spec(text, "spec.yaml").message
    assert list(loaded.spec.grid.parameterizations[0].exponents.a) == [kept]


@given(st.fractions(max_denominator=100))
def test_fractions_in_a_dict_are_kept_exactly(value):
    loaded = load_spec(exponents(a=[value, float(value), np.float64(value), Decimal("0.1"), np.int64(2)]))
    exact, rounded, also_rounded, tenth, two = loaded.spec.grid.parameterizations[0].exponents.a
    assert Fraction(exact) == value
    assert float(rounded) == float(also_rounded) == float(value)
    assert (tenth, two) == ("0.1", "2")


def test_settings_of_optimizers_schedules_and_probes_have_names_and_types():
    spec = {
        "optimizer": {"name": "adam", "beta": 0.9, "epsilon": "small"},
        "schedule": {"nmae": "cosine", "milestones": 5},
        "record": {"probes": {"quantities": "ranks", "step": [0]}},
        "validation": 100,
    }
    found = wrong({"spec": spec})
    assert set(found) == {
        "spec.optimizer.beta",
        "spec.optimizer.epsilon",
        "spec.schedule.nmae",
        "spec.schedule.milestones",
        "spec.record.probes.quantities",
        "spec.record.probes.step",
        "spec.validation",
    }
    assert "did you mean beta" in found["spec.optimizer.beta"]
    assert "steps" in found["spec.record.probes.step"]
    assert "validation_size" in found["spec.validation"]
    loaded = load_spec(exponents(d=[1, 0.5, "1/3"], d_first_step=[0, 0, 0]))
    assert list(loaded.spec.grid.parameterizations[0].exponents.d) == ["1", "0.5", "1/3"]


def test_numpy_arrays_and_ranges_are_lists():
    grid = {"widths": 2 ** np.arange(6, 9), "seeds": range(3), "base_learning_rates": np.array([0.5, 1.0])}
    loaded = load_spec({"spec": {"grid": grid}}).spec.grid
    assert list(loaded.widths) == [64, 128, 256]
    assert list(loaded.seeds) == [0, 1, 2]
    assert list(loaded.base_learning_rates) == [0.5, 1.0]


def test_every_mistake_is_named_at_once_with_its_line(tmp_path):
    file = tmp_path / "spec.yaml"
    file.write_text(
        "display_nam: x\n"
        "state: RUNNING\n"
        "widths: [1]\n"
        "spec:\n"
        "  batch_size: many\n"
        "  steps: 1.5\n"
        "  batchSize: 2\n"
        "  grid:\n"
        "    widths: 64\n"
        "    seeds:\n"
        "      - 0\n"
        "      - -1\n"
        "    parameterizations:\n"
        "      - preset: ip\n"
        "        calibration:\n"
        "        exponents: {a: [true]}\n"
    )
    with pytest.raises(iplab.SpecError) as caught:
        load_spec(file)
    found = {v.field: (v.line, v.message) for v in caught.value.violations}
    assert found == {
        "display_nam": (1, "unknown field; did you mean display_name?"),
        "state": (2, "is set by the service; leave it out"),
        "widths": (3, "unknown field here; it belongs at spec.grid.widths"),
        "spec.batch_size": (5, "'many' is not a whole number"),
        "spec.steps": (6, "1.5 is not a whole number"),
        "spec.grid.widths": (9, "64 is not a list; write [64] for a single value"),
        "spec.grid.seeds[1]": (12, "-1 is out of range; it must lie between 0 and 4294967295"),
        "spec.grid.parameterizations[0].calibration": (
            15,
            "is empty; write {} for its defaults, or leave it out",
        ),
        "spec.grid.parameterizations[0].exponents.a[0]": (
            16,
            "true is not an exponent; write 1, -5/2 or 0.5",
        ),
        "spec.grid.parameterizations[0]": (14, "has preset and exponents; keep one of them"),
    }
    assert str(caught.value).splitlines()[0] == (
        f"{file}: line 1: display_nam: unknown field; did you mean display_name?"
    )


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("width", "spec.grid.widths"),
        ("lr", "spec.grid.base_learning_rates"),
        ("depth", "spec.grid.hidden_layers"),
    ],
)
def test_an_axis_by_another_name_in_another_place_is_suggested(name, place):
    assert f"did you mean {place}?" in wrong({"spec": {name: [1]}})[f"spec.{name}"]


def test_a_field_of_the_very_name_elsewhere_is_meant_rather_than_one_that_is_like_it():
    assert "it belongs at spec.steps" in wrong({"steps": 10})["steps"], "not notes"
    assert "did you mean labels?" in wrong({"label": {"a": "b"}})["label"], "but for a plural"


def test_a_name_in_place_of_a_mapping_is_told_how_to_write_it():
    found = wrong({"spec": {"optimizer": "adam", "grid": {"parameterizations": ["mup"]}}})
    assert "'adam' is not a mapping; write {name: 'adam'}; it may have" in found["spec.optimizer"]
    assert "write {preset: 'mup'}" in found["spec.grid.parameterizations[0]"]


def test_an_id_in_the_file_and_merging_are_told_what_to_do_instead():
    for name in ("name", "id", "experiment_id"):
        assert "the id is given when it is submitted (--id" in wrong({name: "first", "spec": {}})[name]
    assert "write the fields out" in wrong({"spec": {"<<": {"steps": 1}}})["spec.<<"]


def test_a_field_under_both_its_names_is_refused():
    assert wrong({"spec": {"batch_size": 1, "batchSize": 2}}) == {
        "spec.batchSize": "is batch_size, given twice; keep one"
    }


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("spec: [1,\n  b: }", 2, "column 6: not YAML"),
        ("spec:\n\tdataset: digits", 2, "column 1: not YAML"),
        ("a: 1\n---\nb: 2", 2, "column 1: not YAML"),
        ("spec: {}\nspec: {}", 2, "is given more than once, first in line 1; keep one"),
        ("spec: \x01", 0, "not YAML: unacceptable character"),
        ("a: &a [*a]\n", 1, "contains itself, by an alias"),
        ("[" * 5000, 1, "column 52: is nested more than 50 levels deep"),
        (
            "a: &a " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 40 + "*a" + "]" * 40,
            2,
            "column 44: is nested more than 50",
        ),
        ("? [a]\n: 1", 1, "has a list or mapping as a key"),
    ],
)
def test_malformed_yaml_shows_line_and_column(text, line, message):
    with pytest.raises(iplab.SpecError) as caught:
        parse_spec(text, "spec.yaml")
    (violation,) = caught.value.violations
    assert violation.line == line
    assert violation.message.startswith(message)


def test_aliases_of_aliases_are_bounded():
    """Nine levels of nine aliases each stand for 9^10 values."""
    levels = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    levels += [f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in pairwise("abcdefghij")]
    assert "more than 200,000 values" in wrong("\n".join(levels))[""]


def test_an_alias_may_be_used_again():
    text = "spec: {grid: {widths: &few [4, 8], seeds: *few}}"
    assert list(parse_spec(text, "spec.yaml").checked().spec.grid.seeds) == [4, 8]


def test_malformed_json_shows_line_and_column():
    with pytest.raises(iplab.SpecError, match=r"spec\.json: line 2: column 11: not JSON"):
        parse_spec('{"spec":\n {"steps" 1}}', "spec.json")
    for text, place in (("[" * 5000, "line 1: column 51"), ('\n{"a":' * 1_000_000, "line 52: column 1")):
        with pytest.raises(iplab.SpecError, match=rf"{place}: is nested more than 50 levels deep"):
            parse_spec(text, "spec.json")
    name = "[{" * 60 + '"[{'
    assert parse_spec(json.dumps({"display_name": name}), "spec.json").message.display_name == name
    with pytest.raises(iplab.SpecError, match="steps: is given more than once"):
        parse_spec('{"spec": {"steps": 1, "steps": 2}}', "spec.json")


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        ("spec: {steps: !!int abc}", "spec.steps", "'abc' is not of the type that its tag !!int says"),
        ("spec: {steps: !!float abc}", "spec.steps", "'abc' is not of the type that its tag !!float says"),
        ("spec: {steps: !!timestamp abc}", "spec.steps", "has the tag !!timestamp"),
        ("spec: !!python/object/apply:os.system [ls]", "spec", "has the tag !!python/object/apply:os.system"),
        ("spec: {dataset: !mine x}", "spec.dataset", "has the tag !mine"),
        ("spec: !!set {a, b}", "spec", "has the tag !!set"),
        ("spec: {steps: " + "9" * 5000 + "}", "spec.steps", "is too large for this field"),
        ("spec: {steps: 0x" + "f" * 5000 + "}", "spec.steps", "is too large for this field"),
        ("spec: {steps: 1e99999999}", "spec.steps", "is too large for this field"),
        ("spec: {steps: '-1e99999999'}", "spec.steps", "is too small for this field"),
        ("spec: {steps: 1e99999999999999999999999}", "spec.steps", "exponent that is far too large"),
        ("spec: {steps: 1e-99999999}", "spec.steps", "is not a whole number"),
        (
            "spec: {grid: {parameterizations: [{exponents: {a: [1e99999999]}}]}}",
            "spec.grid.parameterizations[0].exponents.a[0]",
            "is not an exponent",
        ),
        ("spec: *a", "", "there is no anchor &a"),
        ("a" * 9_000_000, "", "a spec has at most 8,000,000"),
        (f"spec: {{grid: {{seeds: [{'0,' * 300_000}]}}}}", "", "more than 200,000 values"),
    ],
)
def test_hostile_yaml_is_refused_by_field(text, field, message):
    with pytest.raises(iplab.SpecError) as caught:
        parse_spec(text, "spec.yaml").checked()
    (violation,) = caught.value.violations
    assert violation.field == field
    assert message in violation.message
    assert len(violation.message) < 300


def test_large_numbers_in_json_and_dicts_are_refused_too():
    for digits in ("9" * 5000, "1e99999999"):
        with pytest.raises(iplab.SpecError, match=r"spec\.steps: .* is too large"):
            parse_spec(f'{{"spec": {{"steps": {digits}}}}}', "spec.json").checked()
    assert "is too large" in wrong({"spec": {"steps": 10**5000}})["spec.steps"]
    with pytest.raises(iplab.SpecError, match="exponent that is far too large"):
        parse_spec('{"spec": {"steps": 1e99999999999999999999}}', "spec.json")
    exponents = {"spec": {"grid": {"parameterizations": [{"exponents": {"a": [10**5000]}}]}}}
    (message,) = wrong(exponents).values()
    assert "more than 400 digits is not an exponent" in message


def test_thousands_of_wrong_fields_are_counted():
    loaded = parse_spec("spec:\n" + "".join(f"  key{i}: 1\n" for i in range(20_000)), "spec.yaml")
    assert len(loaded.violations) == 51
    assert loaded.violations[-1].message == "19,950 more fields are wrong"


@pytest.mark.parametrize("text", ["", "- 1", "just text"])
def test_what_is_no_mapping_is_refused(text):
    assert "is not a mapping" in wrong(text)[""]


def test_yaml_is_read_as_version_1_2():
    loaded = parse_spec("display_name: no\nlabels: {on: yes, date: 2026-01-01}", "spec.yaml").message
    assert loaded.display_name == "no"
    assert dict(loaded.labels) == {"on": "yes", "date": "2026-01-01"}


def test_what_exceeds_its_field_is_no_rule_of_the_service():
    assert wrong({"spec": {"batch_size": 2**40, "grid": {"widths": [10**12, -(10**12)]}}}) == {
        "spec.batch_size": "1099511627776 is too large for this field",
        "spec.grid.widths[0]": "1000000000000 is too large for this field",
        "spec.grid.widths[1]": "-1000000000000 is too small for this field",
    }


def test_what_the_gaps_have_caused_is_not_said():
    loaded = read_spec(
        {"spec": {"datast": "x", "batchSize": "many", "gird": {}, "grid": {"widths": ["abc", 8, 0]}}}
    )
    said = ["dataset", "batch_size", "grid.widths[0]", "grid.widths[2]", "grid.widths", "steps"]
    error = loaded.error([iplab.Violation(f"experiment.spec.{name}", "is wrong") for name in said])
    fields = [violation.field for violation in error.violations]
    own, theirs = fields[:4], fields[4:]
    assert own == ["spec.datast", "spec.batchSize", "spec.gird", "spec.grid.widths[0]"]
    assert theirs == ["spec.grid.widths[2]", "spec.grid.widths", "spec.steps"]


def test_labels_must_be_text():
    assert wrong("labels: {team: 7}") == {"labels.team": "7 is not text; quote it"}
    assert set(wrong({"display_name": "\ud800", "labels": {"\ud800": "x"}})) == {"display_name", "labels"}


def test_a_missing_file_is_a_spec_error(tmp_path):
    with pytest.raises(iplab.SpecError, match=r"nowhere\.yaml: cannot read the spec: No such file"):
        load_spec(tmp_path / "nowhere.yaml")
    (tmp_path / "quickstart.yaml").write_text("spec: {}")
    with pytest.raises(iplab.SpecError, match=r"did you mean .*/quickstart\.yaml\?"):
        load_spec(tmp_path / "quickstrat.yaml")
    (tmp_path / "notes.txt").write_text("")
    for far in ("first.yaml", "note.txt"):  # alike only in their endings; no spec
        with pytest.raises(iplab.SpecError, match=r"No such file or directory$"):
            load_spec(tmp_path / far)


def test_ranges_and_commas_in_place_of_lists_are_told_how_to_write_them():
    given = {"spec": {"grid": {"seeds": "0..2", "widths": "64, 128", "base_learning_rates": 0.1}}}
    assert wrong(given) == {
        "spec.grid.seeds": "'0..2' is not a list; write [0, 1, 2]",
        "spec.grid.widths": "'64, 128' is not a list; write [64, 128]",
        "spec.grid.base_learning_rates": "0.1 is not a list; write [0.1] for a single value",
    }
    assert wrong({"spec": {"grid": {"seeds": "2..0"}}}) == {
        "spec.grid.seeds": "'2..0' is not a list; write ['2..0'] for a single value"
    }


def test_objections_of_the_service_are_shown_in_place(tmp_path):
    file = tmp_path / "spec.yaml"
    file.write_text("spec:\n  grid:\n    widths: [64, 0]\n")
    loaded = read_spec(file)
    error = loaded.error(
        [
            iplab.Violation("experiment.spec.grid.widths[1]", "0 is too small"),
            iplab.Violation("experiment.spec.grid.seeds", "is empty"),
            iplab.Violation("experiment_id", "has a slash"),
        ]
    )
    assert error.lines() == [
        "experiment_id: has a slash",  # not said in the file
        f"{file}: line 2: spec.grid.seeds: is empty",
        f"{file}: line 3: spec.grid.widths[1]: 0 is too small",
    ]


NAMES = [
    "spec",
    "labels",
    "grid",
    "widths",
    "seeds",
    "parameterizations",
    "exponents",
    "a",
    "steps",
    "nonsense",
]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.fractions()
TREES = st.recursive(
    LEAVES,
    lambda tree: st.lists(tree, max_size=3) | st.dictionaries(st.sampled_from(NAMES), tree, max_size=4),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TREES.filter(lambda tree: not isinstance(tree, str)))
def test_nothing_but_a_spec_error_comes_of_any_value(tree):
    value = tree if isinstance(tree, dict) else {"spec": tree}
    try:
        load_spec(value)
    except iplab.SpecError as error:
        assert error.violations


@settings(deadline=None)
@given(st.text(alphabet="ab:{}[]-,'\"#&*!|>%@\n\t 01.e\x00\ud800", max_size=30))
def test_nothing_but_a_spec_error_comes_of_any_text(text):
    for name in ("spec.yaml", "spec.json"):
        with contextlib.suppress(iplab.SpecError):
            parse_spec(text, name).checked()


def test_numbers_that_only_the_service_can_judge_pass():
    rates = parse_spec("spec: {grid: {base_learning_rates: [.nan, -.inf, 1e400, '0.5']}}", "s.yaml").message
    nan, low, high, half = rates.spec.grid.base_learning_rates
    assert np.isnan(nan)
    assert (low, high, half) == (-np.inf, np.inf, 0.5)


@pytest.mark.parametrize("inf", ["inf", ".inf", "Infinity"])
def test_infinity_is_a_width(tmp_path, inf):
    path = tmp_path / "spec.yaml"
    path.write_text(f"spec: {{dataset: digits, grid: {{widths: [64, 128, {inf}]}}}}\n")
    grid = load_spec(path).spec.grid
    assert (list(grid.widths), grid.infinite_width) == ([64, 128], True)


def test_infinity_is_a_width_in_python_and_json(tmp_path):
    path = tmp_path / "spec.json"
    path.write_text('{"spec": {"grid": {"widths": [64, "inf"]}}}')
    for source in (path, {"spec": {"grid": {"widths": (64, math.inf)}}}):
        grid = load_spec(source).spec.grid
        assert (list(grid.widths), grid.infinite_width) == ([64], True)
    assert not load_spec({"spec": {"grid": {"widths": [64]}}}).spec.grid.infinite_width


@pytest.mark.parametrize("widths", [["inf", 64], ["inf", "inf"]])
def test_infinity_is_the_last_width_and_there_once(widths):
    with pytest.raises(SpecError, match="last width"):
        load_spec({"spec": {"grid": {"widths": widths}}})


@pytest.mark.parametrize("width", ["-inf", "nan", "infinite"])
def test_other_words_are_no_widths(width):
    with pytest.raises(SpecError, match="whole number"):
        load_spec({"spec": {"grid": {"widths": [width]}}})
