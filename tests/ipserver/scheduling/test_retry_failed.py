"""A failed pack goes on from where it stopped, and ends as if it had never failed."""

from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store.records.runs import Failure
from ipserver.store.states import ExperimentState, FailureReason
from ipserver.workers.local_executor import LocalExecutor
from tests.ipserver.scheduling.cases import ended, final_weights, points, run_until
from tests.ipserver.support import settings_in, small_spec, store_in, submit


def trained(home, failing):
    """Final weights and points; with `failing`, all runs fail once after the first slice."""
    settings = settings_in(home, checkpoint_seconds=1e9, slice_seconds=1e-9 if failing else 1.0)
    with store_in(settings) as store:
        submit(store, small_spec(record={"weights": "initial_and_final"}))
        executor = LocalExecutor()
        dispatcher = Dispatcher(store, executor, settings, "d")
        if failing:
            run_until(dispatcher, lambda: store.get_experiment("e").committed_steps > 0)
            dispatcher.drain()
            pack = store.lease_pack("e", "tester", 60.0)
            assert 0 < pack.committed_steps < pack.steps
            broke = Failure(FailureReason.TRAINING_ERROR, "it broke")
            store.end_attempt("e", pack.id, pack.token, failure=broke, retry=False)
            assert store.get_experiment("e").state is ExperimentState.FAILED
            store.retry_failed("e")
            dispatcher = Dispatcher(store, executor, settings_in(home), "d")
        run_until(dispatcher, ended(store))
        executor.close()
        assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
        return final_weights(store, settings), points(store)


def test_it_ends_as_if_it_had_never_failed(tmp_path):
    assert trained(tmp_path / "failed", failing=True) == trained(tmp_path / "whole", failing=False)
