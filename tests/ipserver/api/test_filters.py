"""Filters: the text gives the right selection, and mistakes are explained."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipserver.api.filters import AUDIT_FIELDS, EXPERIMENT_FIELDS, RUN_FIELDS, parse_filter
from ipserver.errors import InvalidRequest
from ipserver.store.records.filters import ALL, Comparison, Junction, Negation
from ipserver.store.states import RunState

OPERATORS = ("=", "!=", "<", "<=", ">", ">=")


def quoted(text):
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def comparisons(name, kind):
    if kind is str:
        return st.builds(Comparison, st.just(name), st.sampled_from(("=", "!=")), st.text(max_size=20))
    if kind is int:
        return st.builds(
            Comparison, st.just(name), st.sampled_from(OPERATORS), st.integers(-(2**63), 2**63 - 1)
        )
    if kind is float:
        finite = st.floats(allow_nan=False, allow_infinity=False)
        return st.builds(Comparison, st.just(name), st.sampled_from(OPERATORS), finite)
    if kind is datetime:
        # Whole milliseconds, which doubles and texts both hold.
        seconds = st.integers(-(10**13), 10**14).map(lambda milliseconds: milliseconds / 1000)
        return st.builds(Comparison, st.just(name), st.sampled_from(("<", "<=", ">", ">=")), seconds)
    return st.builds(
        Comparison, st.just(name), st.sampled_from(("=", "!=")), st.sampled_from([s.value for s in kind])
    )


def both(*terms):
    return Junction("AND", terms)


terms = st.one_of([comparisons(name, kind) for name, kind in RUN_FIELDS.items()])


@given(st.lists(terms, max_size=6), st.sampled_from(["", " ", "\n "]))
def test_round_trip(where, space):
    def value(term):
        if RUN_FIELDS[term.field] is datetime:
            return datetime.fromtimestamp(term.value, UTC).isoformat(timespec="milliseconds")
        return quoted(term.value) if RUN_FIELDS[term.field] is str else str(term.value)

    text = " AND ".join(f"{term.field}{space}{term.op}{space}{value(term)}" for term in where)
    read = parse_filter(text, RUN_FIELDS)
    parts = read.parts if isinstance(read, Junction) else (read,)
    for found, term in zip(parts, where, strict=True):
        if RUN_FIELDS[term.field] is datetime:
            assert (found.field, found.op) == (term.field, term.op)
            assert round(found.value, 3) == term.value
        else:
            assert found == term
    assert [type(term.value) for term in parts] == [type(term.value) for term in where]


def test_an_example_of_each_kind():
    assert parse_filter(
        'state = RUNNING AND labels.team != "theory" AND priority >= -5', EXPERIMENT_FIELDS
    ) == both(
        Comparison("state", "=", "RUNNING"),
        Comparison("labels.team", "!=", "theory"),
        Comparison("priority", ">=", -5),
    )
    assert parse_filter("parameterization = ip-llr AND base_learning_rate < 1e-3", RUN_FIELDS) == both(
        Comparison("parameterization", "=", "ip-llr"),
        Comparison("base_learning_rate", "<", 0.001),
    )


def test_a_blank_filter_has_no_terms():
    assert parse_filter("", RUN_FIELDS) == parse_filter("  \n", RUN_FIELDS) == ALL


def test_every_state_can_be_asked_for():
    for state in RunState:
        assert parse_filter(f"state = {state.value}", RUN_FIELDS).value == state.value
        assert parse_filter(f"state = {state.value.lower()}", RUN_FIELDS).value == state.value


def test_and_or_not_bind_as_usual_and_take_any_case():
    three, four, five = (Comparison("width", "=", n) for n in (3, 4, 5))
    either = Junction("OR", (three, both(four, five)))
    for text in (
        "width = 3 OR width = 4 AND width = 5",
        "width = 3 or width = 4 and width = 5",
        "(width=3)Or((width=4) And width=5)",
    ):
        assert parse_filter(text, RUN_FIELDS) == either
    assert parse_filter("not width = 3 and width = 4", RUN_FIELDS) == both(Negation(three), four)
    assert parse_filter("NOT (width = 3 OR not width = 4)", RUN_FIELDS) == Negation(
        Junction("OR", (three, Negation(four)))
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("label = mup", Comparison("parameterization", "=", "mup")),
        ("L = 3", Comparison("hidden_layers", "=", 3)),
        ("depth = 3", Comparison("hidden_layers", "=", 3)),
        ("act != 'relu'", Comparison("activation", "!=", "relu")),
        ("lr <= 0.5", Comparison("base_learning_rate", "<=", 0.5)),
        ("Width == 64", Comparison("width", "=", 64)),
        ("run = r00007", Comparison("index", "=", 7)),
        ("test_loss < 1", Comparison("final_test_loss", "<", 1.0)),
        ("step > 5", Comparison("committed_steps", ">", 5)),
        ("activation = and", Comparison("activation", "=", "and")),
        ("base learning rate = 0.1", Comparison("base_learning_rate", "=", 0.1)),
        ("not Best validation loss < 2", Negation(Comparison("best_validation_loss", "<", 2.0))),
    ],
)
def test_fields_have_other_names_too(text, expected):
    assert parse_filter(text, RUN_FIELDS) == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        # `date -u -d ... +%s`
        ("2026-11-27T10:00:00Z", 1795773600),
        ("'2026-11-27t10:00:00z'", 1795773600),
        ("2026-11-27T10:00Z", 1795773600),
        ('"2026-11-27 11:00:00+01:00"', 1795773600),
        ("2026-11-27T04:30:00-05:30", 1795773600),
        ("2026-11-27T10:00:00.25Z", 1795773600.25),
        ("2026-11-27", 1795737600),
        ("1970-01-01", 0),
    ],
)
def test_times(text, seconds):
    # What is shown as that time, to the microsecond, is neither before nor after it.
    for op, fields, bound in (
        (">=", EXPERIMENT_FIELDS, seconds - 0.5e-6),
        ("<", AUDIT_FIELDS, seconds - 0.5e-6),
        (">", AUDIT_FIELDS, seconds + 0.5e-6),
        ("<=", EXPERIMENT_FIELDS, seconds + 0.5e-6),
    ):
        field = "create_time" if fields is EXPERIMENT_FIELDS else "time"
        assert parse_filter(f"{field}{op}{text}", fields) == Comparison(field, op, bound)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("widht = 3", "did you mean 'width'"),
        ("labels.team = x", "unknown field 'labels.team'"),
        ("state = runnning", "did you mean RUNNING"),
        ("state = QUEUE", "did you mean QUEUED"),
        ("state > RUNNING", "= and != only"),
        ("activation < relu", "= and != only"),
        ("width = 1.5", "compared with an integer"),
        ("width = wide", "compared with an integer"),
        ('width = "3"', "compared with an integer"),
        (f"width = {10**400}", "compared with an integer"),
        ("final_test_loss < nan", "compared with a number"),
        ("final_test_loss < inf", "compared with a number"),
        ("end_time > 2026-02-30", "not with '2026-02-30'"),
        ("end_time > 2026-11-27T10:00:00", "a time such as 2026-11-27T10:00:00Z"),
        ("end_time > 1795773600", "a time such as"),
        ("end_time > yesterday", "not with 'yesterday'"),
        ("end_time > 2026-W48-5", "not with '2026-W48-5'"),
        ("end_time = 2026-11-27", "<, <=, > and >= only"),
        ("width", "expected FIELD OPERATOR VALUE at 'width'"),
        ("width in (32, 64)", "for one of several values write (width = A OR width = B)"),
        ("base learning rte = 1", "unknown field 'base learning rte'; did you mean 'base_learning_rate'"),
        ("width =", "expected FIELD OPERATOR VALUE at 'width ='"),
        ("= 3 width", "expected FIELD OPERATOR VALUE"),
        ("width = 3 AND", "ends after AND"),
        ("width = 3 OR", "ends after OR"),
        ("width = 3 width = 4", "expected AND or OR at 'width'"),
        ("width = 3 && seed = 1", "expected AND or OR at '&&'; write AND"),
        ("width = 3, seed = 1", "not with '3,'; comparisons are joined by AND, not by a comma"),
        ("label = mup, seed = 1", "joined by AND, not by a comma"),
        ("(width = 3", "( without a )"),
        ("width = 3)", ") without a ("),
        ("NOT", "expected FIELD OPERATOR VALUE"),
        ("(" * 100 + "width = 3", "levels deep"),
        ("not " * 100 + "width = 3", "levels deep"),
        ("labl = mup", "did you mean 'parameterization'"),
        ("activation = 'relu", "a quote is not closed"),
        ('activation = "relu', "a quote is not closed"),
        ("width ! 3", "cannot be read"),
        ("width = 3 AND " * 500, "at most 4000"),
    ],
)
def test_mistakes_are_explained(text, told):
    with pytest.raises(InvalidRequest) as caught:
        parse_filter(text, RUN_FIELDS)
    (violation,) = caught.value.violations
    assert violation.field == "filter"
    assert told in violation.message


@pytest.mark.parametrize("fields", [RUN_FIELDS, EXPERIMENT_FIELDS, AUDIT_FIELDS])
def test_the_example_of_a_comparison_is_one_of_this_listing(fields):
    with pytest.raises(InvalidRequest) as caught:
        parse_filter("state", fields)
    (violation,) = caught.value.violations
    assert isinstance(parse_filter(violation.message.partition("example: ")[2], fields), Comparison)


def test_a_label_without_its_prefix_is_told_how_labels_are_written():
    with pytest.raises(InvalidRequest, match=r"did you mean 'labels\.team'"):
        parse_filter("team = me", EXPERIMENT_FIELDS)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text):
    try:
        parse_filter(text, RUN_FIELDS)
    except InvalidRequest as error:
        assert error.violations
