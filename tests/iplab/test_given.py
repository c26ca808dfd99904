"""Arguments of wrong types: errors name the argument, what was given, and what is allowed."""

import numpy as np
import pytest

import iplab


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: list(e.runs(5)), "filter: 5 is not text"),
        (lambda e: list(e.runs("", 5)), "order_by: 5 is not text"),
        (lambda e: e.summary(5), "filter: 5 is not text"),
        (lambda e: e.best_rates(by=1), "value: 1 is not text"),
        (lambda e: e.metrics(first_step="a"), "first_step: 'a' is not a whole number of 32 bits"),
        (lambda e: e.metrics(last_step=10**30), f"last_step: {10**30} is not a whole number of 32 bits"),
        (lambda e: e.metrics(names=3), "names: 3 is neither a name nor a list of names"),
        (lambda e: e.metrics(names=[3]), r"metrics: \[3\] is not a list, each entry text"),
        (
            lambda e: e.run("x"),
            "run: 'x' is neither the index of a run, as 7, nor the id of one, as 'r00007'",
        ),
        (lambda e: e.run(-1), "run: -1 is neither the index"),
        (lambda e: e.run(True), "run: True is neither the index"),
        (lambda e: e.get_runs([0, 1.5]), "run: 1.5 is neither the index"),
        (lambda e: e.check(tolerance="a"), "tolerance: 'a' is not a number"),
        (lambda e: e.check(steps=1), "steps: 1 is not a list, each entry a whole number"),
        (lambda e: e.update(labels="a"), "labels: 'a' is not a dict; write {'team': 'theory'}"),
        (lambda e: e.update(labels={"a": 3}), "labels: {'a': 3} is not a dict of texts"),
        (lambda e: e.update(priority="high"), "priority: 'high' is not a whole number of 32 bits"),
        (lambda e: e.plot(3), "kind: unknown figure '3'; there are: coordinates"),
        (lambda e: e.plot("curves", by=3), "by: 3 is neither a name nor a list of names"),
    ],
)
def test_arguments_of_experiments(trained, call, message):
    with pytest.raises(iplab.InvalidRequestError, match=message):
        call(trained)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.create(3), "3 is not a spec; give the path of a file or a dict"),
        (lambda c: c.experiments(limit="a"), "limit: 'a' is not a whole number from 0 on; None: no limit"),
        (lambda c: c.experiments(limit=-1), "limit: -1 is not a whole number from 0 on"),
        (lambda c: list(c.experiments(5)), "filter: 5 is not text"),
        (lambda c: list(c.audit(5)), "filter: 5 is not text"),
        (lambda c: c.parameterizations("a"), "hidden_layers: 'a' is not a whole number"),
        (lambda c: iplab.connect(5), "address: 5 is not an address; write HOST:PORT"),
        (lambda c: iplab.connect(timeout="x"), "timeout: 'x' is not a number of seconds"),
        (lambda c: c.study("rate-transfer", {"spec": {}}, budget=10), "budget: '10' is not an amount; write"),
        (
            lambda c: c.study("limit", {"spec": {}}, budget="9m", tolerance="x"),
            "tolerance: 'x' is not a number",
        ),
    ],
)
def test_arguments_of_clients(client, call, message):
    with pytest.raises(iplab.InvalidRequestError, match=message):
        call(client)


def test_runs_are_found_by_the_numbers_of_frames(trained):
    assert trained.run(np.int64(3)).id == "r00003"
    assert [run.id for run in trained.get_runs(trained.runs_frame()["run"][:2])] == ["r00000", "r00001"]


def test_all_wrong_arguments_are_named_together(trained):
    with pytest.raises(iplab.InvalidRequestError) as caught:
        trained.update(priority="high", notes=3)
    assert {violation.field for violation in caught.value.violations} == {"priority", "notes"}


def test_rows_say_what_they_have(trained):
    with pytest.raises(AttributeError, match=r"no attribute 'loss'; it has: parameterization, hidden_layers"):
        _ = trained.summary()[0].loss
