"""The whole service as a user has it: `ipserver up`, the SDK on its socket, Ray, MLflow, SQLite."""

import json
import os
import shutil
import signal
import socket
import urllib.request
from urllib.parse import urlsplit

import numpy as np
import pytest
from click.testing import CliRunner
from mlflow.tracking import MlflowClient
from prometheus_client.parser import text_string_to_metric_families

import iplab
from ipcore import Network, evaluate, load_dataset
from ipserver.artifacts import open_artifacts
from ipserver.cli import main
from ipserver.environment.settings import Settings
from ipserver.forward.connect import connect
from ipserver.forward.forwarder import Forwarder
from ipserver.ops.startup import open_service
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store.states import ExperimentState
from ipserver.workers.local_executor import LocalExecutor
from tests.faults.processes import children
from tests.ipserver.scheduling.cases import ended, points, run_until
from tests.ipserver.serving import SPEC, alive, serving, wait_for
from tests.ipserver.support import settings_in

pytestmark = pytest.mark.ray


# Variables that other programs leave in people's environments. None is meant for a service on loopback.
_NOWHERE = "http://127.0.0.1:9"
LEFT_BEHIND = {
    **dict.fromkeys(("http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY", "HTTPS_PROXY"), _NOWHERE),
    **{"all_proxy": "socks5://127.0.0.1:9", "no_proxy": "example.org"},
    **{"RAY_ADDRESS": "192.0.2.1:6379", "RAY_NAMESPACE": "mine", "RAY_RUNTIME_ENV_HOOK": "no.such.hook"},
    **{"MLFLOW_TRACKING_URI": _NOWHERE, "MLFLOW_RUN_ID": "mine", "MLFLOW_EXPERIMENT_NAME": "mine"},
    **{"MLFLOW_ENABLE_ASYNC_LOGGING": "true", "MLFLOW_ACTIVE_MODEL_ID": "m-1"},
    **{"PYTHONWARNINGS": "error", "PYTHONSTARTUP": "/nowhere.py", "PYTHONINSPECT": "", "PYTHONOPTIMIZE": "1"},
    **{"OMP_NUM_THREADS": "", "MKL_NUM_THREADS": "0", "CUDA_VISIBLE_DEVICES": "", "TZ": "Nowhere/City"},
    **{"RANK": "3", "WORLD_SIZE": "8", "MASTER_ADDR": "192.0.2.1", "SLURM_NTASKS": "8", "COLUMNS": "abc"},
    **{"PROMETHEUS_MULTIPROC_DIR": "/nowhere"},
    **{"PGHOST": "192.0.2.1", "PGOPTIONS": "-cdefault_transaction_read_only=on", "AWS_PROFILE": "nobody"},
    **{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "GRPC_DNS_RESOLVER": "native"},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


# Leases expire soon after a kill, and little is trained a second time.
WITH_WEB = {"IPLAB_WEB": ""}
METRICS = {"IPLAB_METRICS_ADDRESS": "127.0.0.1:0"}
IMPATIENT = LEFT_BEHIND | {"IPLAB_CHECKPOINT_SECONDS": "0.5", "IPLAB_LEASE_SECONDS": "3"}
READY = {"IPLAB_READY_WORKERS": str(Settings.model_fields["ready_workers"].default)}


@pytest.fixture(scope="module")
def started(home):
    with serving(home, **IMPATIENT, **READY, **WITH_WEB, **METRICS) as service:
        yield service


@pytest.fixture(scope="module")
def service(started):
    return started[1]


@pytest.fixture(scope="module")
def experiment(service):
    with iplab.connect(service["address"]) as client:
        yield client.create(SPEC, experiment_id="main-job").wait(progress=False, timeout=400)


def test_the_main_job(experiment):
    assert experiment.state == "SUCCEEDED"
    runs = list(experiment.runs())
    assert [run.parameterization for run in runs] == ["mup", "mup", "ip-llr", "ip-llr"]
    assert all(run.state == "SUCCEEDED" for run in runs)


def test_weights_read_back_give_the_recorded_metrics_exactly(experiment):
    test = load_dataset("digits").test
    for run in experiment.runs():
        weights = run.weights()
        measured = evaluate(Network.from_arrays(weights.arrays, weights.metadata), test)
        assert measured.loss == run.final_test_loss
        assert measured.accuracy == run.final_test_accuracy


# One grid may mix biases in every layer, weights with a mean, re-weighted initial matrices and calibration.
VARIANTS = {
    "dataset": "digits",
    "batch_size": 32,
    "steps": 60,
    "evaluation_interval": 20,
    "validation_size": 237,
    "schedule": {"name": "cosine", "final_fraction": 0.1},
    "grid": {
        "parameterizations": [
            {"preset": "ip-bias"},
            {"preset": "ip-non-centered"},
            {"preset": "hp"},
            {"preset": "ip-llr", "calibration": {}},
        ],
        "widths": [16],
        "hidden_layers": [3],
        "activations": ["relu"],
        "base_learning_rates": [0.1],
        "seeds": [0],
    },
    "record": {"probes": {"quantities": ["coordinates", "ranks"], "interval": 30, "examples": 16}},
}
ADAM = VARIANTS | {
    "optimizer": {"name": "adamw", "weight_decay": 0.01},
    "grid": VARIANTS["grid"] | {"parameterizations": [{"preset": "mup"}, {"preset": "ip"}]},
}


@pytest.fixture(scope="module")
def variants(service):
    """Momentum with every kind of parameterization, and AdamW."""
    momentum = VARIANTS | {"optimizer": {"name": "momentum", "momentum": 0.5}}
    with iplab.connect(service["address"]) as client:
        created = [client.create({"spec": spec}) for spec in (momentum, ADAM)]
        yield [experiment.wait(progress=False, timeout=400) for experiment in created]


def test_every_variant_trains_and_its_weights_give_its_metrics_exactly(variants):
    digits = load_dataset("digits")
    for experiment in variants:
        assert experiment.state == "SUCCEEDED"
        for run in experiment.runs():
            assert run.state == "SUCCEEDED"
            weights = run.weights()
            network = Network.from_arrays(weights.arrays, weights.metadata)
            measured = evaluate(network, digits.test)
            assert (measured.loss, measured.accuracy) == (run.final_test_loss, run.final_test_accuracy)
    first, second = (list(experiment.runs()) for experiment in variants)
    assert {"b1", "b2", "b3", "b4"} < set(first[0].weights().arrays), "ip-bias: one in each layer"
    assert max(run.final_test_accuracy for run in second) > 0.5, "Adam has learned"


def test_summaries_say_what_was_best_by_validation(variants):
    for experiment in variants:
        measured = experiment.metrics(names=["validation_accuracy", "validation_loss", "test_accuracy"])
        for run in experiment.runs():
            series = {name: {} for name in measured.names}
            for point in range(len(measured)):
                if measured.run[point] == run.index:
                    name = measured.names[measured.metric[point]]
                    series[name][int(measured.step[point])] = float(measured.value[point])
            accuracies = series["validation_accuracy"]
            assert list(accuracies) == [0, 20, 40, 60]
            best = min(accuracies, key=lambda step: (-accuracies[step], step))
            assert (run.best_validation_step, run.best_validation_accuracy) == (best, accuracies[best])
            assert run.test_accuracy_at_best_validation == series["test_accuracy"][best]
            assert run.best_validation_loss == min(series["validation_loss"].values())


def test_probes_measure_what_was_asked_for(variants):
    for experiment in variants:
        moved = experiment.metrics(names=["h_change/3", "h/4", "update_stable_rank/2"], filter="index = 0")
        assert sorted(set(moved.step.tolist())) == [0, 30, 60]
        change = moved.value[moved.metric == moved.names.index("h_change/3")]
        assert change[0] == 0
        assert (change[1:] > 0).all()


def test_mlflow_holds_all_of_it(experiment, service):
    wait_for(lambda: experiment.refresh().mlflow_pending_runs == 0)
    mlflow = MlflowClient(tracking_uri=service["mlflow_tracking_uri"])
    found = mlflow.search_runs([mlflow.get_experiment_by_name("main-job").experiment_id])

    assert sorted(run.info.status for run in found) == ["FINISHED"] * 4
    for run in found:
        assert [file.path for file in mlflow.list_artifacts(run.info.run_id, "weights")] == [
            "weights/final.safetensors"
        ]


def test_the_web_page_is_up_with_the_service(experiment, service, home):
    assert f"Web page: {service['web']}" in (home / "up.log").read_text()
    assert service["web"].startswith("http://127.0.0.1:")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{service['web']}experiments/main-job?whole=1", timeout=60) as answer:
        text = answer.read().decode()
    assert "4 runs, 4 succeeded" in text
    assert text.count("<figure>") >= 1
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", urlsplit(service["web"]).port), timeout=5)


def scraped(url):
    """Samples of a part's metrics, by name and values of labels, in the order of the labels' names."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=60) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = (sample for family in families for sample in family.samples)
    return {(it.name, *(v for _, v in sorted(it.labels.items()))): it.value for it in samples}


def test_every_part_has_metrics(experiment, service, variants):
    """Of four runs of 50 updates (main-job) and those of the variants; each part tells of itself."""
    found = {part: scraped(url) for part, url in service["metrics"].items()}

    assert list(found) == ["api", "dispatch", "forward"]
    assert found["api"]["iplab_api_calls_total", "OK", "ExperimentService/CreateExperiment"] >= 3
    updates = sum(it.committed_steps for it in (experiment, *variants))
    assert found["dispatch"]["iplab_dispatch_updates_total",] >= updates > 0
    assert found["dispatch"]["iplab_cluster_total", "cpus"] == 2
    wait_for(lambda: all(it.refresh().mlflow_pending_runs == 0 for it in (experiment, *variants)))
    sent = scraped(service["metrics"]["forward"])
    assert sent["iplab_forward_runs_total", "taken"] >= sum(it.counts.total for it in (experiment, *variants))
    assert sent["iplab_forward_points_total",] > 0
    assert sent["iplab_forward_unsent_runs",] == 0
    values = {value for samples in found.values() for _, *labels in samples for value in labels}
    assert "main-job" not in values, "no names of experiments"


def ipserver(*words):
    """The result of a command, in this process: the start of another would take seconds."""
    return CliRunner().invoke(main, words)


def test_niceness_counts_and_ctrl_c_reaches_the_supervisor_alone(service):
    """Niceness has an effect within a session; Ctrl-C is sent to a process group."""
    supervisor, parts = service["pid"], service["parts"].values()
    assert {os.getsid(pid) for pid in parts} == {os.getsid(supervisor)}
    assert [os.getpgid(pid) for pid in parts] == list(parts)
    assert os.getpriority(os.PRIO_PROCESS, service["parts"]["forward"]) == 19


def test_a_second_service_in_the_same_home_is_refused(service, home):
    done = ipserver("up", "--home", str(home), "--address", "127.0.0.1:0")

    assert done.exit_code == 2
    assert f"another `ipserver up` runs in {home} (process {service['pid']})" in done.stderr


def test_a_home_backed_up_while_it_works_goes_on_elsewhere(service, experiment, home, tmp_path):
    copy = tmp_path / "copy"
    weights = {run.index: run.weights().arrays for run in experiment.runs()}
    # One run, so one pack: in training when the backup is made. Wide, so that few steps take long.
    grid = SPEC["spec"]["grid"] | {"parameterizations": [{"preset": "mup"}], "widths": [512], "seeds": [0]}
    long = {"spec": SPEC["spec"] | {"steps": 1200, "evaluation_interval": 600, "grid": grid}}
    with iplab.connect(service["address"]) as client:
        going = client.create(long, experiment_id="going")
        wait_for(lambda: going.refresh().committed_steps > 200)
        backup = ipserver("backup", str(copy), "--home", str(home))
        assert not going.refresh().state.terminal, "the backup is to be made while it trains"
        going.cancel()
    assert backup.exit_code == 0, backup.stderr

    # Elsewhere MLflow's files have other places: the doctor says so, and what to do.
    doctor = ipserver("doctor", "--home", str(copy))
    assert doctor.exit_code == 1
    assert f"below {copy}/mlflow/artifacts: it was moved" in doctor.stdout
    assert "remove its folder mlflow and run `ipserver resend`" in doctor.stdout
    shutil.rmtree(copy / "mlflow")
    assert "will be sent to sqlite:" in ipserver("resend", "--home", str(copy)).stdout

    # A dispatcher and a forwarder go on from there.
    settings = settings_in(copy)
    store, mlflow = open_service(settings, write=True), connect(settings)
    assert store.get_experiment("main-job").state is ExperimentState.SUCCEEDED
    for run, arrays in weights.items():
        artifact = store.get_artifact("main-job", run, "weights/final.safetensors")
        with open_artifacts(settings.artifact_root).reading(artifact.location, artifact.sha256) as path:
            again = Network.load(path).arrays()
        assert again.keys() == arrays.keys()
        assert all(np.array_equal(again[name], array) for name, array in arrays.items())
    executor = LocalExecutor(cpus=2)
    run_until(Dispatcher(store, executor, settings, "elsewhere"), ended(store, "going"), 400)
    executor.close()
    assert store.get_experiment("going").state is ExperimentState.SUCCEEDED
    steps = sorted(step for _, metric, step in points(store, "going") if metric == "train_loss")
    assert steps == [1, *range(10, 1201, 10)]
    assert store.attempts("going", 0)[-1].first_step > 0, "it goes on"
    forwarder = Forwarder(store, mlflow, settings.artifact_root, "elsewhere")
    while any(store.get_experiment(name).mlflow_pending_runs for name in ("main-job", "going")):
        forwarder.step()
    client = MlflowClient(tracking_uri=settings.mlflow_uri)
    for name, runs, count in (("main-job", 4, 6), ("going", 1, 121)):
        found = client.search_runs([client.get_experiment_by_name(name).experiment_id])
        assert [run.info.status for run in found] == ["FINISHED"] * runs
        assert len(client.get_metric_history(found[0].info.run_id, "train_loss")) == count
        assert found[0].info.artifact_uri.startswith(f"file://{copy}/")
    store.close()
    assert ipserver("doctor", "--home", str(copy)).exit_code == 0


def test_a_ray_that_dies_is_replaced(service):
    long = {"spec": SPEC["spec"] | {"steps": 4000}}
    with iplab.connect(service["address"]) as client:
        experiment = client.create(long, experiment_id="long")
        wait_for(lambda: experiment.refresh().committed_steps > 0)
        below = children(service["parts"]["dispatch"])
        (raylet,) = (pid for pid, command in below.items() if "raylet/raylet" in command.split(" ")[0])
        os.kill(raylet, signal.SIGKILL)
        wait_for(lambda: not alive(service["parts"]["dispatch"]))
        assert experiment.wait(progress=False, timeout=400).state == "SUCCEEDED"
        again = client.create(SPEC, experiment_id="again")
        assert again.wait(progress=False, timeout=400).state == "SUCCEEDED"


def test_a_restart_goes_on_with_what_was_unfinished(started, home):
    """The last test with the shared service, which it kills."""
    process, status = started
    grid = SPEC["spec"]["grid"] | {"widths": [64]}
    long = {"spec": SPEC["spec"] | {"steps": 2500, "evaluation_interval": 1000, "grid": grid}}
    with iplab.connect(status["address"]) as client:
        experiment = client.create(long, experiment_id="unfinished")
        wait_for(lambda: experiment.refresh().committed_steps > 4 * 1000)
        # On a busy machine others may have ended.
        index = next(run.index for run in experiment.runs() if run.state == "RUNNING")
    parts = json.loads((home / "service.json").read_text())["parts"].values()  # the current ones
    for pid in parts:
        os.kill(pid, signal.SIGKILL)  # no checkpoint is written, and Ray is not stopped
    process.kill()
    process.wait()
    wait_for(lambda: not any(alive(pid) for pid in parts))
    (home / "service.json").unlink()

    with serving(home, **IMPATIENT) as (_, status), iplab.connect(status["address"]) as client:
        experiment = client.experiment("unfinished").wait(progress=False, timeout=400)
        steps = experiment.metrics(filter=f"index = {index}", names=["train_loss"]).step
        attempts = experiment.run(index).attempts
    assert not any(alive(pid) for pid in status["parts"].values())
    assert not (home / "service.json").exists()

    assert experiment.state == "SUCCEEDED"
    assert steps.tolist() == [1, *range(10, 2501, 10)]
    assert len(attempts) >= 2
    assert attempts[-1].first_step > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--address", "0.0.0.0:50051"], "beyond loopback"),
        (["--home", "/proc/nowhere"], "cannot create the folder /proc/nowhere"),
        (["--store", "oracle://x"], "oracle"),
    ],
)
def test_what_cannot_start_says_why(options, message, tmp_path):
    done = ipserver("up", "--home", str(tmp_path), *options)

    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_refused(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = ipserver("up", "--home", str(tmp_path), "--address", address)

    assert done.exit_code == 2
    assert f"cannot listen on {address}" in done.stderr
