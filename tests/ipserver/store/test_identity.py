"""A store has an id, and the place of its artifacts."""

from ipserver.store import migrate, open_store


def test_a_store_is_the_same_one_ever_after(store, dsn):
    first = store.identity()

    assert len(first.uid) == 32
    assert first.artifact_root == ""
    with open_store(dsn) as again:
        assert again.identity() == first


def test_stores_differ(store, tmp_path):
    migrate(f"sqlite:///{tmp_path}/other.db")
    with open_store(f"sqlite:///{tmp_path}/other.db") as other:
        assert other.identity().uid != store.identity().uid


def test_the_first_to_claim_is_believed(store):
    uid = store.identity().uid

    assert store.claim_artifacts("/first").artifact_root == "/first"
    second = store.claim_artifacts("s3://second/one")
    assert (second.uid, second.artifact_root) == (uid, "/first")
    assert store.identity() == second
