"""The whole service as a user has it: `ipserver up`, the SDK on its socket, Ray, MLflow, SQLite."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import urllib.request
from contextlib import closing
from pathlib import Path
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
from ipserver.store import open_store
from ipserver.store.states import ExperimentState
from ipserver.workers.local_executor import LocalExecutor
from tests.faults.processes import children, start_time
from tests.ipserver.scheduling.cases import ended, notices, points, run_until
from tests.ipserver.serving import SPEC, alive, serving, wait_for
from tests.ipserver.support import settings_in
from tests.ipserver.surroundings import FOREIGN, HOME, LEFT_BEHIND, LIBRARIES, ODD_SHELL, nameless

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("service") / HOME
    home.mkdir()
    return home


WITH_WEB = {"IPLAB_WEB": ""}
METRICS = {"IPLAB_METRICS_ADDRESS": "127.0.0.1:0"}
# Leases expire soon after a kill, and little is trained a second time.
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


def saved_checkpoints(home, experiment):
    """Rows of an experiment's checkpoints, read as by a backup."""
    with closing(sqlite3.connect(f"{home.as_uri()}/iplab.db?mode=ro", uri=True)) as store:
        return store.execute("SELECT step FROM checkpoints WHERE experiment = ?", [experiment]).fetchall()


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
    # One run, so one pack: in training when the backup is made, on any machine.
    grid = SPEC["spec"]["grid"] | {"parameterizations": [{"preset": "mup"}], "widths": [512], "seeds": [0]}
    long = {"spec": SPEC["spec"] | {"steps": 50_000, "evaluation_interval": 25_000, "grid": grid}}
    with iplab.connect(service["address"]) as client:
        going = client.create(long, experiment_id="going")
        wait_for(lambda: saved_checkpoints(home, "going"))
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
    dispatcher = Dispatcher(store, executor, settings, "elsewhere")
    trained = store.get_experiment("going").committed_steps
    run_until(dispatcher, lambda: store.get_experiment("going").committed_steps > trained, 400)
    store.cancel_experiment("going")
    run_until(dispatcher, ended(store, "going"), 400)
    executor.close()
    steps = sorted(step for _, metric, step in points(store, "going") if metric == "train_loss")
    assert steps == [1, *range(10, steps[-1] + 1, 10)]
    assert store.attempts("going", 0)[-1].first_step > 0, "it goes on"
    forwarder = Forwarder(store, mlflow, settings.artifact_root, "elsewhere")
    while any(store.get_experiment(name).mlflow_pending_runs for name in ("main-job", "going")):
        forwarder.step()
    client = MlflowClient(tracking_uri=settings.mlflow_uri)
    for name, statuses, count in (("main-job", ["FINISHED"] * 4, 6), ("going", ["KILLED"], len(steps))):
        found = client.search_runs([client.get_experiment_by_name(name).experiment_id])
        assert [run.info.status for run in found] == statuses
        assert len(client.get_metric_history(found[0].info.run_id, "train_loss")) == count
        assert found[0].info.artifact_uri.startswith(f"file://{copy}/")
    store.close()
    assert ipserver("doctor", "--home", str(copy)).exit_code == 0


@pytest.fixture(scope="module")
def unfinished(service):
    """A run that trains longer than all that happens to it in the tests below, on any machine."""
    grid = SPEC["spec"]["grid"] | {"parameterizations": [{"preset": "mup"}], "widths": [64], "seeds": [0]}
    long = {"spec": SPEC["spec"] | {"steps": 200_000, "evaluation_interval": 100_000, "grid": grid}}
    with iplab.connect(service["address"]) as client:
        client.create(long, experiment_id="unfinished")


def begun(experiment):
    """The number of attempts at its run 0."""
    return len(experiment.run(0).attempts)


def went_on(experiment, before):
    """Wait until more attempts at run 0 have begun than before, and one trains; the steps before that."""
    wait_for(lambda: begun(experiment) > before)
    committed = experiment.run(0).committed_steps
    wait_for(lambda: experiment.run(0).committed_steps > committed)
    return committed


def test_a_ray_that_dies_is_replaced(service, unfinished):
    with iplab.connect(service["address"]) as client:
        experiment = client.experiment("unfinished")
        wait_for(lambda: experiment.refresh().committed_steps > 0)
        below = children(service["parts"]["dispatch"])
        (raylet,) = (pid for pid, command in below.items() if "raylet/raylet" in command.split(" ")[0])
        before = begun(experiment)
        os.kill(raylet, signal.SIGKILL)
        wait_for(lambda: not alive(service["parts"]["dispatch"]))
        went_on(experiment, before)


@pytest.fixture(scope="module")
def restarted(started, unfinished, home, tmp_path_factory):
    """The service after kill -9 of every process in training, started again in other surroundings.

    For the last tests with the home. Yields its process, its address, and the number of attempts before.
    """
    process, status = started
    wait_for(lambda: saved_checkpoints(home, "unfinished"))
    with iplab.connect(status["address"]) as client:
        before = begun(client.experiment("unfinished"))
    parts = json.loads((home / "service.json").read_text())["parts"].values()  # the current ones
    for pid in parts:
        os.kill(pid, signal.SIGKILL)  # no checkpoint is written, and Ray is not stopped
    process.kill()
    process.wait()
    wait_for(lambda: not any(alive(pid) for pid in parts))
    (home / "service.json").unlink()

    working = tmp_path_factory.mktemp("working")
    for name in LIBRARIES:
        (working / f"{name}.py").write_text("raise ImportError('a file of the working folder')")
    temporary = tmp_path_factory.mktemp("t" * 80)
    temporary.chmod(0o777)  # for the user without a name
    odd = {"TMPDIR": str(temporary), "HOME": "/proc/nowhere", "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    options = FOREIGN | odd | {"IPLAB_CHECKPOINT_SECONDS": "600"}
    with serving(home, cwd=working, wrapper=[*ODD_SHELL, *nameless()], **options) as (process, status):
        yield process, status["address"], before


def test_a_restart_goes_on_with_what_was_unfinished(restarted):
    _, address, before = restarted
    with iplab.connect(address) as client:
        experiment = client.experiment("unfinished")
        committed = went_on(experiment, before)
        last = experiment.run(0).attempts[-1]
        steps = experiment.metrics(filter="index = 0", names=["train_loss"]).step.tolist()

    assert last.end_reason == ""
    assert last.first_step > 1, "from a checkpoint"
    assert steps[-1] > committed - 10
    assert steps == [1, *range(10, steps[-1] + 1, 10)], "each point once"


def test_a_stop_of_every_process_at_once_loses_nothing(restarted, home):
    """systemd stops a service in this way by default. The last test with the shared home."""
    process, _, _ = restarted
    below = {pid: start_time(pid) for pid in children(process.pid)}
    folders = short_folders(children(process.pid).values())
    assert all(folder.is_dir() for folder in folders)
    for pid in (*reversed(below), process.pid):  # the supervisor is the last
        with contextlib.suppress(ProcessLookupError):  # a short-lived process of Ray
            os.kill(pid, signal.SIGTERM)
    assert process.wait(180) == 0
    # An agent of Ray whose raylet ended first notices that in about a minute, on a busy machine later.
    wait_for(lambda: not remaining(below), 180, lambda: f"still there: {remaining(below)}")
    assert not (home / "service.json").exists()
    assert "starting it again" not in (home / "up.log").read_text().rpartition("Stop with Ctrl-C")[2]
    assert not list(home.glob("ray-?????*/"))
    assert not any(folder.exists() for folder in folders)

    # What a next dispatcher finds.
    settings = settings_in(home, checkpoint_seconds=600)
    with open_store(settings.store_dsn) as store:
        committed = store.get_experiment("unfinished").committed_steps
        trained = store.get_run("unfinished", 0).committed_steps
        executor = LocalExecutor(cpus=2)
        dispatcher = Dispatcher(store, executor, settings, "next")
        run_until(dispatcher, lambda: store.get_experiment("unfinished").committed_steps > committed)
        executor.close()
        resumed_at = store.attempts("unfinished", 0)[-1].first_step
        told = notices(store, "unfinished")
    assert resumed_at == trained, "nothing is trained a second time"
    assert f"pack p0000: resumed from the checkpoint of step {resumed_at}" in told


def short_folders(commands):
    """Ray's folders outside of the home, from the command lines of its processes."""
    found = {Path(name) for command in commands for name in re.findall(r"/[^ =,]*/iplab-\d+-\w+", command)}
    assert found, "Ray lies in the home"
    return found


def remaining(processes):
    """Commands of those of the processes (by id, with the time of their start) that run."""
    there = (pid for pid, begun in processes.items() if begun and start_time(pid) == begun)
    return [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode() for pid in there]


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
