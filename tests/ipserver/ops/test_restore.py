"""A home that is backed up while it works, and restored elsewhere, as users do it."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

import iplab
from tests.ipserver.serving import SPEC, serving, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.takes(60)]


def ipserver(*words):
    return subprocess.run(
        [sys.executable, "-m", "ipserver", *words], check=False, capture_output=True, text=True, timeout=120
    )


def test_a_home_backed_up_while_it_works_goes_on_elsewhere(tmp_path):
    home, copy = tmp_path / "home", tmp_path / "copy"
    home.mkdir()
    # One run, so one pack: in training when the backup is made. Wide, so that few steps take long.
    grid = SPEC["spec"]["grid"] | {"parameterizations": [{"preset": "mup"}], "widths": [512], "seeds": [0]}
    long = {"spec": SPEC["spec"] | {"steps": 4000, "evaluation_interval": 2000, "grid": grid}}
    environment = {"IPLAB_CHECKPOINT_SECONDS": "0.5", "IPLAB_LEASE_SECONDS": "3"}
    with serving(home, **environment) as (_, status), iplab.connect(status["address"]) as client:
        done = client.create(SPEC, experiment_id="done").wait(progress=False, timeout=400)
        weights = {run.index: run.weights().arrays for run in done.runs()}
        wait_for(lambda: done.refresh().mlflow_pending_runs == 0)
        going = client.create(long, experiment_id="going")
        wait_for(lambda: going.refresh().committed_steps > 300)
        backup = ipserver("backup", str(copy), "--home", str(home))
        assert not going.refresh().state.terminal, "the backup is to be made while it trains"
    assert backup.returncode == 0, backup.stderr
    home.rename(tmp_path / "lost")

    # Elsewhere MLflow's files have other places: the doctor says so, and what to do.
    doctor = ipserver("doctor", "--home", str(copy))
    assert doctor.returncode == 1
    assert f"below {copy}/mlflow/artifacts: it was moved" in doctor.stdout
    assert "remove its folder mlflow and run `ipserver resend`" in doctor.stdout
    shutil.rmtree(copy / "mlflow")
    assert "will be sent to sqlite:" in ipserver("resend", "--home", str(copy)).stdout

    with serving(copy, **environment) as (_, status), iplab.connect(status["address"]) as client:
        done = client.experiment("done")
        assert done.state == "SUCCEEDED"
        for run in done.runs():
            again = run.weights().arrays  # the checksum is verified
            assert again.keys() == weights[run.index].keys()
            assert all(np.array_equal(again[name], array) for name, array in weights[run.index].items())
        going = client.experiment("going").wait(progress=False, timeout=400)
        assert going.state == "SUCCEEDED"
        steps = going.metrics(filter="index = 0", names=["train_loss"]).step
        assert steps.tolist() == [1, *range(10, 4001, 10)]
        assert going.run(0).attempts[-1].first_step > 0, "it goes on"
        wait_for(lambda: done.refresh().mlflow_pending_runs == going.refresh().mlflow_pending_runs == 0)
        mlflow = MlflowClient(tracking_uri=status["mlflow_tracking_uri"])
        for name, runs, points in (("done", 4, 6), ("going", 1, 401)):
            found = mlflow.search_runs([mlflow.get_experiment_by_name(name).experiment_id])
            assert [run.info.status for run in found] == ["FINISHED"] * runs
            assert len(mlflow.get_metric_history(found[0].info.run_id, "train_loss")) == points
            assert found[0].info.artifact_uri.startswith(f"file://{copy}/")
    assert ipserver("doctor", "--home", str(copy)).returncode == 0
