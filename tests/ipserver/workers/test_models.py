"""A residual MLP from its spec to weights that read back, slice by slice, without an executor."""

import pytest

from ipcore import evaluate, load_dataset
from ipcore.models import ResidualMlp
from ipcore.models.network import Network
from ipserver.artifacts import open_artifacts
from ipserver.forward.params import run_params
from ipserver.request.convert import pack_config
from ipserver.request.expand import expand
from ipserver.request.planner import PlanLimits, plan
from ipserver.scheduling.assembly import make_job
from ipserver.store.states import RunState
from ipserver.workers.trainer import PackTrainer
from tests.ipserver.support import settings_in, small_spec, store_in, submit

MODEL = {"name": "residual-mlp", "branch_multiplier": "depth^-1", "block_matrices": 2}
SPEC = {
    "model": MODEL,
    "grid": {"parameterizations": [{"preset": "mup"}, {"preset": "sp"}], "hidden_layers": [3]},
    "record": {"probes": {"quantities": ["coordinates"], "steps": [0, 20]}},
}


@pytest.fixture
def trained(tmp_path):
    """The store and settings after the experiment's only pack was planned and trained."""
    settings = settings_in(tmp_path, slice_seconds=1e9, checkpoint_seconds=1e9)
    store = store_in(settings)
    submit(store, small_spec(**SPEC))
    experiment, waiting = store.lease_unplanned("planner", 60)
    spec = small_spec(**SPEC)
    configured = [(run, pack_config(spec, run)) for run in waiting]
    packs = plan(configured, load_dataset("digits").info, PlanLimits(slots=1, max_runs=64, max_bytes=1 << 30))
    assert [len(pack.run_indices) for pack in packs] == [4]
    store.save_plan(experiment.id, "planner", packs)
    pack = store.lease_pack("e", "d", 60)
    trainer = PackTrainer(make_job(pack, settings))
    while True:
        report = trainer.advance()
        assert report.failure is None, report.failure
        store.commit_slice("e", pack.id, pack.token, report.commit)
        if report.commit.finished:
            return store, settings, report.commit


def test_weights_read_back_and_give_the_committed_metrics(trained):
    store, settings, commit = trained
    artifacts = open_artifacts(settings.artifact_root)
    for new in commit.artifacts:
        with artifacts.reading(new.location, new.sha256) as path:
            network = Network.load(path)
        assert network.model == ResidualMlp("depth^-1", 2)
        assert (network.hidden_layers, len(network.weights)) == (3, 8)
        run = store.get_run("e", new.run_index)
        assert run.state is RunState.SUCCEEDED
        assert evaluate(network, load_dataset("digits").test).loss == run.summary.final_test_loss


def test_mlflow_is_told_of_the_model():
    spec = small_spec(**SPEC)
    told = run_params(spec, expand(spec)[0])
    assert told["model"] == "residual-mlp branch_multiplier=depth^-1 block_matrices=2"
    assert len(told["a"].split()) == 8
