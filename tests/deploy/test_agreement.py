"""The manifests agree with the code: settings, commands, ports, versions."""

import inspect
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from dockerfile_parse import DockerfileParser

from iplab.cli import main as client
from ipserver.cli import main
from ipserver.environment.settings import Settings, load_settings
from ipserver.ops import metric_addresses, parts, places
from tests.deploy.manifests import COMPOSE, DEPLOY, OVERLAYS, SECRETS, is_ours, named, overlay, pods

ROOT = DEPLOY.parent
SETTINGS = {f"IPLAB_{name.upper()}" for name in Settings.model_fields}
CONSTRAINTS = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
)
MANIFESTS = ("compose", *OVERLAYS)
DOCKERFILE = DockerfileParser(str(DEPLOY / "Dockerfile"))


def _containers(manifest: str) -> Iterator[tuple[str, list[str], dict[str, str]]]:
    """(place, command, environment) of every container with our image in a manifest of `MANIFESTS`."""
    if manifest == "compose":
        for name, service in COMPOSE["services"].items():
            if is_ours(service["image"]):
                yield name, service["command"], service["environment"]
        return
    resources = overlay(manifest)
    maps = named(resources, "ConfigMap")
    for pod in pods(resources):
        for container in pod.spec["containers"] if pod.ours else ():
            environment = {e["name"]: e["value"] for e in container.get("env", ())}
            for source in container.get("envFrom", ()):
                environment |= maps[source["configMapRef"]["name"]]["data"]
            # KubeRay generates the command of Ray's nodes.
            yield pod.owner, container.get("command", ["ray"]), environment


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    """Options of `ray start` and `mlflow server`, and MLflow's variables."""
    import mlflow.cli
    import mlflow.environment_variables
    import ray.scripts.scripts

    commands = {"ray": ray.scripts.scripts.cli.commands["start"], "mlflow": mlflow.cli.server}
    known = {
        name: {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
        for name, command in commands.items()
    }
    variables = {one.envvar for one in mlflow.cli.server.params}
    return known | {"variables": variables | set(dir(mlflow.environment_variables))}


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_variables_are_settings(manifest: str, options: dict[str, set[str]]) -> None:
    """Our settings, MLflow's, and the few of Ray and AWS that `make cluster-test` uses."""
    known = SETTINGS | options["variables"] | {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "AWS_DEFAULT_REGION"}
    for where, _, environment in _containers(manifest):
        assert environment.keys() <= known, where


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_values_are_accepted(manifest: str, tmp_path: Path) -> None:
    for secret, value in (("s3_access_key_id", "key"), ("s3_secret_access_key", "secret")):
        (tmp_path / secret).write_text(value)
    (tmp_path / "store").write_text("postgresql+psycopg://iplab:secret@postgres:5432/iplab")
    for where, _, environment in _containers(manifest):
        with pytest.MonkeyPatch.context() as patch:
            for name in SETTINGS:
                patch.delenv(name, raising=False)
            for name, value in environment.items():
                # Chosen by the user, as the overlay for GPUs requires.
                patch.setenv(name, value.replace("CHANGE-ME", "mine"))
            patch.setenv("IPLAB_SECRETS", str(tmp_path))
            settings = load_settings()
        assert settings.store_dsn == "postgresql+psycopg://iplab:secret@postgres:5432/iplab", where
        assert not environment.get("IPLAB_ARTIFACTS") or settings.artifact_root.url.startswith("s3://"), where


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_commands_are_there(manifest: str, options: dict[str, set[str]]) -> None:
    for where, (program, *arguments), _ in _containers(manifest):
        if program == "ipserver":
            context = click.Context(main)
            assert len(arguments) == 1 and main.get_command(context, arguments[0]) is not None, where
        elif program == "ray":
            assert arguments[:1] in ([], ["start"]), where
            assert {argument.partition("=")[0] for argument in arguments[1:]} <= options["ray"], where
        else:
            assert (DEPLOY / "bin" / program).exists(), where


def test_signs_of_life_are_looked_for_where_they_are_given() -> None:
    """Heartbeats of the dispatcher and the forwarder in the image's home; the web page is not deployed."""
    home = re.search(r"IPLAB_HOME=(\S+)", (DEPLOY / "Dockerfile").read_text())
    given = set(re.findall(r'heartbeat_file\(settings, "(\w+)"\)', inspect.getsource(parts)))
    files = {"dispatch": ("dispatch", "studies"), "forward": ("forward",)}
    assert home is not None and given == {"web", *itertools.chain(*files.values())}
    settings = load_settings(home=home[1])
    deployments = named(overlay("base"), "Deployment")
    for name, parts_of_it in files.items():
        (container,) = deployments[f"iplab-{name}"]["spec"]["template"]["spec"]["containers"]
        probes = [container[probe]["exec"]["command"] for probe in ("startupProbe", "livenessProbe")]
        for command in (COMPOSE["services"][name]["healthcheck"]["test"][1:], *probes):
            assert command[:2] == ["healthy", "fresh"]
            watched = [address.rpartition(":")[0] for address in command[2:]]
            assert watched == [str(places.heartbeat_file(settings, part)) for part in parts_of_it]


def test_ray_start_parameters_are_options(options: dict[str, set[str]]) -> None:
    """KubeRay writes each parameter as --NAME=VALUE."""
    spec = named(overlay("base"), "RayCluster")["iplab"]["spec"]
    for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]:
        assert {f"--{name}" for name in group["rayStartParams"]} <= options["ray"]


@pytest.mark.parametrize(("script", "program"), [("dispatch", "ray"), ("mlflow-server", "mlflow")])
def test_what_scripts_run_is_there(script: str, program: str, options: dict[str, set[str]]) -> None:
    text = (DEPLOY / "bin" / script).read_text()
    assert set(re.findall(r"--[a-z-]+", text)) <= options[program]
    (last,) = re.findall(r"^exec (.+)$", text, re.MULTILINE)
    if last.startswith("ipserver"):
        assert main.get_command(click.Context(main), last.split()[1]) is not None


def test_ports_of_ray_nodes_are_the_same_everywhere() -> None:
    """The port is also outside the range 10002 .. 19999, from which Ray draws ports for its processes."""
    spec = named(overlay("base"), "RayCluster")["iplab"]["spec"]
    wanted = {
        "node-manager-port": "6380",
        "object-manager-port": "6381",
        "min-worker-port": "20000",
        "max-worker-port": "20999",
    }
    for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]:
        assert wanted.items() <= group["rayStartParams"].items()
    for name in ("ray-head", "ray-worker"):
        arguments = COMPOSE["services"][name]["command"]
        assert {f"--{key}={value}" for key, value in wanted.items()} <= set(arguments)
    script = (DEPLOY / "bin" / "dispatch").read_text()
    assert all(f"--{key}={value}" in script for key, value in wanted.items())


def test_addresses_are_where_something_listens() -> None:
    """The default port of the API, MLflow's port in its script, and 6379, the default of Ray's head."""
    resources = overlay("overlays/laptop")
    services = named(resources, "Service")
    data = named(resources, "ConfigMap")["iplab"]["data"]
    assert Settings.model_fields["address"].default.endswith(":50051")
    assert services["iplab-api"]["spec"]["ports"][0]["port"] == 50051
    assert "--port 5000" in (DEPLOY / "bin" / "mlflow-server").read_text()
    for url, name in ((data["IPLAB_MLFLOW_TRACKING_URI"], "mlflow"), (data["IPLAB_S3_ENDPOINT_URL"], "s3")):
        assert url == f"http://{name}:{services[name]['spec']['ports'][0]['port']}"
    (dispatch,) = (pod for pod in pods(resources) if pod.owner == "Deployment iplab-dispatch")
    environment = {entry["name"]: entry["value"] for entry in dispatch.spec["containers"][0]["env"]}
    # KubeRay names the head's Service after the cluster.
    assert environment["IPLAB_RAY_ADDRESS"] == "iplab-head-svc:6379"
    for name in ("mlflow", "s3"):
        assert name in COMPOSE["services"]
    assert COMPOSE["services"]["dispatch"]["environment"]["IPLAB_RAY_ADDRESS"] == "ray-head:6379"
    assert "--port=6379" in COMPOSE["services"]["ray-head"]["command"]


def test_metrics_are_where_prometheus_looks_and_may_come() -> None:
    """Port, annotations and policy name the port of the setting; with compose the ports of `ipserver up`."""
    resources = overlay("base")
    address = named(resources, "ConfigMap")["iplab"]["data"]["IPLAB_METRICS_ADDRESS"]
    port = int(address.removeprefix("0.0.0.0:"))
    policy = named(resources, "NetworkPolicy")["prometheus-to-metrics"]["spec"]
    (expression,) = policy["podSelector"]["matchExpressions"]
    assert expression["values"] == [f"iplab-{part}" for part in metric_addresses.PARTS]
    assert policy["ingress"][0]["ports"] == [{"protocol": "TCP", "port": port}]
    for part in metric_addresses.PARTS:
        template = named(resources, "Deployment")[f"iplab-{part}"]["spec"]["template"]
        marks = {"prometheus.io/scrape": "true", "prometheus.io/port": str(port)}
        assert template["metadata"]["annotations"] == marks
        assert {"name": "metrics", "containerPort": port} in template["spec"]["containers"][0]["ports"]
        outside = metric_addresses.part_address(f"127.0.0.1:{port}", part)
        assert f"{outside}:{port}" in COMPOSE["services"][part]["ports"]


def test_compose_and_kubernetes_share_their_settings() -> None:
    """Sizes may differ: containers of the compose file may use the whole machine's memory."""
    data = dict(named(overlay("overlays/laptop"), "ConfigMap")["iplab"]["data"])
    for size in ("IPLAB_MAX_PACK_MEMORY_BYTES", "IPLAB_MAX_RUN_MEMORY_BYTES"):
        del data[size]
    shared = dict(COMPOSE["x-settings"])
    assert (data.pop("IPLAB_SECRETS"), shared.pop("IPLAB_SECRETS")) == ("/run/secrets/iplab", "/run/secrets")
    assert data == shared


def test_versions_agree_with_the_constraints() -> None:
    assert named(overlay("base"), "RayCluster")["iplab"]["spec"]["rayVersion"] == CONSTRAINTS["ray"]
    readme = (DEPLOY / "README.md").read_text()
    for package in ("ray", "mlflow"):
        assert f"{package} {CONSTRAINTS[package]}" in readme.lower()
    python = re.search(r"ARG PYTHON_VERSION=(\d+\.\d+)\.\d+", DOCKERFILE.content)
    assert python is not None
    assert f"Programming Language :: Python :: {python[1]}" in (ROOT / "pyproject.toml").read_text()


def test_the_image_has_the_projects_version() -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert f"ARG VERSION={version[1]}" in DOCKERFILE.content
    for name in ("base", "overlays/laptop"):
        ours = {c["image"] for pod in pods(overlay(name)) for c in pod.spec["containers"] if pod.ours}
        assert {image.rpartition(":")[2] for image in ours} == {version[1]}
    assert COMPOSE["x-image"]["image"] == f"${{IPLAB_IMAGE:-iplab:{version[1]}}}"


def test_commands_of_the_readme_are_there() -> None:
    """Commands of `ipserver` and `iplab` with their options."""
    readme = (DEPLOY / "README.md").read_text()
    found = set(re.findall(r"(?<!-n )\b(ipserver|iplab) ([a-z]+)((?: --[a-z-]+)*)", readme))
    assert {command for _, command, _ in found} >= {
        "doctor",
        "settings",
        "submit",
        "show",
        "watch",
        "weights",
    }
    for program, name, options in found:
        group = main if program == "ipserver" else client
        command = group.get_command(click.Context(group), name)
        assert command is not None, f"{program} {name}"
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(options.split()) <= known, f"{program} {name}{options}"


def test_what_the_readme_names_in_the_cluster_is_there() -> None:
    readme = (DEPLOY / "README.md").read_text()
    resources = overlay("overlays/laptop")
    for kind, name in re.findall(r"\b(deployment|service|job|statefulset)/([a-z][a-z0-9-]*)", readme):
        there = {(r["kind"].lower(), r["metadata"]["name"]) for r in resources}
        assert name == "$part" or (kind, name) in there, f"{kind}/{name}"
    labels = {f"{key}={value}" for pod in pods(resources) for key, value in pod.labels.items()}
    # KubeRay labels its pods with their cluster's name.
    wanted = set(re.findall(r"-l ([^ `]+)", readme)) - {"ray.io/cluster=iplab"}
    assert wanted and wanted <= labels
    for path in re.findall(r"deploy/[a-zA-Z0-9_./-]*[a-zA-Z]", readme):
        assert (ROOT / path).exists() or path.startswith("deploy/secrets"), path


def test_secrets_of_the_readme_are_those_that_pods_mount() -> None:
    """Each `kubectl create secret` with the keys that the laptop overlay's pods ask for."""
    readme = (DEPLOY / "README.md").read_text().replace("\\\n", "")
    made = {
        name: {file.partition("=")[0] for file in re.findall(r"--from-file=(\S+)", files)}
        for name, files in re.findall(r"create secret generic (\S+)((?:\s+--from-file=\S+)+)", readme)
    }
    assert made == SECRETS
