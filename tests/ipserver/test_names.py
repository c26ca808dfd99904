"""Resource names are built and parsed; other names are refused with their field."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipserver import names
from ipserver.errors import InvalidRequest

ids = st.from_regex(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
indices = st.integers(0, 99_999)
paths = st.lists(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True), min_size=1, max_size=3
).map("/".join)


@given(ids, indices, paths)
def test_names_come_apart_as_they_were_put_together(experiment, index, path):
    assert names.is_experiment_id(experiment)
    assert names.parse_experiment(names.experiment_name(experiment), "name") == experiment
    assert names.parse_run(names.run_name(experiment, index), "name") == names.RunName(experiment, index)
    artifact = names.artifact_name(experiment, index, path)
    assert names.parse_artifact(artifact, "name") == (names.RunName(experiment, index), path)


def test_a_run_id_is_a_function_of_its_index():
    assert [names.run_id(i) for i in (0, 7, 19_999)] == ["r00000", "r00007", "r19999"]


@pytest.mark.parametrize("bad", ["", "A", "1a", "a/b", "a-", "ä", "a" * 64, "x" * 300, "a\n", "a b", ".."])
def test_what_is_no_experiment_id(bad):
    assert not names.is_experiment_id(bad)
    with pytest.raises(InvalidRequest) as caught:
        names.parse_experiment(f"experiments/{bad}", "parent")
    assert [violation.field for violation in caught.value.violations] == ["parent"]


@pytest.mark.parametrize(
    "bad",
    ["experiments/a", "experiments/a/runs/0", "experiments/a/runs/r123456", "experiments/a/runs/r00000/"],
)
def test_what_is_no_run_name(bad):
    with pytest.raises(InvalidRequest, match="of the form experiments"):
        names.parse_run(bad, "name")


@pytest.mark.parametrize(
    "path", ["", "../secret", "weights/../../secret", "/etc/passwd", "a//b", ".hidden", "a/"]
)
def test_an_artifact_path_cannot_leave_its_run(path):
    with pytest.raises(InvalidRequest):
        names.parse_artifact(f"experiments/a/runs/r00000/artifacts/{path}", "name")
