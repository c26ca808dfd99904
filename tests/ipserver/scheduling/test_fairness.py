"""Fair share between projects of equal priority."""

from ipserver.scheduling.fairness import fair_order
from ipserver.store.records.board import Claim, Queued

ONE, GPU = '{"cpus":1.0}', '{"cpus":1.0,"gpus":1.0}'
TOTAL = {"cpus": 8.0, "gpus": 2.0}


def queued(name, project, time, priority=0):
    return Queued(name, ONE, priority, time, 1, project)


def claim(project, shape=ONE, leaving=False):
    return Claim("x", "p", 1, "d", shape, 0, "node", leaving, project)


def order(waiting, claims):
    return [it.experiment for it in fair_order(waiting, claims, TOTAL)]


def test_the_project_that_holds_less_comes_first():
    waiting = [queued("a1", "a", 1), queued("a2", "a", 2), queued("b1", "b", 3)]
    assert order(waiting, []) == ["a1", "a2", "b1"]
    assert order(waiting, [claim("a")]) == ["b1", "a1", "a2"]
    assert order(waiting, [claim("a"), claim("b")]) == ["a1", "a2", "b1"]


def test_priority_comes_before_shares():
    waiting = [queued("a1", "a", 1, priority=1), queued("b1", "b", 2)]
    assert order(waiting, [claim("a")] * 5) == ["a1", "b1"]


def test_the_scarcest_resource_decides():
    # One of two GPUs weighs more than three of eight cores.
    waiting = [queued("a1", "a", 1), queued("b1", "b", 2)]
    assert order(waiting, [claim("a", GPU), *[claim("b")] * 3]) == ["b1", "a1"]


def test_what_leaves_holds_nothing():
    waiting = [queued("a1", "a", 1), queued("b1", "b", 2)]
    assert order(waiting, [claim("a", leaving=True)]) == ["a1", "b1"]


def test_projects_converge_to_equal_shares():
    waiting = [queued("a1", "a", 1), queued("b1", "b", 2), queued("c1", "c", 3)]
    claims = []
    for _ in range(8):
        claims.append(claim(fair_order(waiting, claims, TOTAL)[0].project))
    assert sorted(sum(it.project == name for it in claims) for name in "abc") == [2, 3, 3]
