"""Workers that are kept for a next pack hold no resources that other packs need."""

from ipserver.request.resources import ResourceRequest
from ipserver.workers.kept import Kept

ONE, TWO = ResourceRequest(cpus=1), ResourceRequest(cpus=2)


def pool():
    ended = []
    return Kept(ended.append), ended


def test_a_pack_of_the_same_size_gets_the_worker_on_its_node():
    kept, ended = pool()
    kept.keep("a", ONE, "n0", ())
    kept.keep("b", ONE, "n1", ())

    assert kept.sizes() == [(ONE, "n0"), (ONE, "n1")]
    assert kept.take(ONE, "n1") == "b"
    assert kept.sizes() == [(ONE, "n0")] and not ended


def test_another_size_needs_the_room():
    kept, ended = pool()
    kept.keep("a", ONE, "n0", ())
    kept.keep("b", ONE, "n1", ())

    assert kept.take(TWO, "n0") is None
    assert ended == ["a"], "the other node's need not go"
    assert kept.take(TWO, "") is None
    assert ended == ["a", "b"], "it may be placed anywhere"


def test_nothing_is_kept_where_a_worker_is_being_started():
    kept, ended = pool()
    kept.keep("a", ONE, "n0", {"n0"})
    kept.keep("b", ONE, "n1", {"n0"})
    kept.keep("c", ONE, "n1", {""})

    assert ended == ["a", "c"]
    assert kept.sizes() == [(ONE, "n1")]


def test_those_that_are_to_be_ready_stay():
    kept, ended = pool()
    for name in "abc":
        kept.keep(name, ONE, "n0", ())

    kept.trim(2)
    assert ended == ["c"]
    kept.trim()
    assert ended == ["c", "a", "b"]
