"""The Kubernetes manifests: valid, complete, without privileges."""

import copy
import functools
import inspect
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from kubernetes_validate import utils

from ipserver.environment.settings import load_settings
from ipserver.scheduling.dispatcher import Dispatcher
from tests.cluster import compose
from tests.deploy import raycluster
from tests.deploy.manifests import COMPOSE, OVERLAYS, SECRETS, Pod, Resource, named, overlay, pods

KUBERNETES = ("1.31.0", "1.34.0", "1.37.0")
CRD = os.environ.get("IPLAB_TEST_RAYCLUSTER_CRD", "")


@pytest.fixture(scope="module")
def _schemas_are_read_once() -> Iterator[None]:
    """The library reads a megabyte of them for each resource."""
    with pytest.MonkeyPatch.context() as patch:
        for function in (utils.all_versions, utils.schema_contents):
            patch.setattr(utils, function.__name__, functools.cache(function))
        yield


@pytest.mark.usefixtures("_schemas_are_read_once")
@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("name", OVERLAYS)
def test_every_manifest_fits_its_schema(name: str, version: str) -> None:
    for resource in overlay(name):
        if resource["kind"] == "RayCluster":
            raycluster.validate(resource, version)
        else:
            kubernetes_validate.validate(resource, version, strict=True)


@pytest.fixture(scope="module")
def crd() -> dict[str, Any]:
    if not CRD:
        pytest.skip("IPLAB_TEST_RAYCLUSTER_CRD names no file with KubeRay's CRD")
    return raycluster.read_crd(Path(CRD))


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_ray_cluster_fits_the_real_crd(name: str, crd: dict[str, Any]) -> None:
    raycluster.validate_by_crd(named(overlay(name), "RayCluster")["iplab"], crd)


WRONG = pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "workerGroupSpec"), []),
        (("spec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("spec", "workerGroupSpecs", 0, "maxReplicas"), "8"),
        (("spec", "workerGroupSpecs", 0, "template", "spec", "container"), []),
        (("spec", "headGroupSpec", "template", "spec", "containers", 0, "image"), 1),
        (("spec", "authOptions", "mode"), "Token"),
    ],
)


def _wrong_ray_cluster(path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    resource = copy.deepcopy(named(overlay("base"), "RayCluster")["iplab"])
    node: Any = resource
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    return resource


@WRONG
def test_a_wrong_ray_cluster_is_refused(path: tuple[str | int, ...], value: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        raycluster.validate(_wrong_ray_cluster(path, value), KUBERNETES[-1])


@WRONG
def test_the_real_crd_refuses_it_too(path: tuple[str | int, ...], value: object, crd: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        raycluster.validate_by_crd(_wrong_ray_cluster(path, value), crd)


@pytest.mark.parametrize("name", OVERLAYS)
def test_no_resource_is_there_twice(name: str) -> None:
    keys = [(r["kind"], r["metadata"]["name"]) for r in overlay(name)]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("name", OVERLAYS)
def test_nothing_runs_as_root(name: str) -> None:
    for pod in pods(overlay(name)):
        security = pod.spec["securityContext"]
        assert security["runAsNonRoot"] is True, pod.owner
        assert security["runAsUser"] >= 999, pod.owner
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, pod.owner
        for container in pod.spec["containers"] + pod.spec.get("initContainers", []):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, pod.owner
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.spec.keys(), pod.owner
        assert not any("hostPath" in volume for volume in pod.spec["volumes"]), pod.owner


@pytest.mark.parametrize("name", OVERLAYS)
def test_requests_and_limits_are_set(name: str) -> None:
    for pod in pods(overlay(name)):
        for container in pod.spec["containers"]:
            for kind in ("requests", "limits"):
                assert {"cpu", "memory"} <= container["resources"][kind].keys(), pod.owner


@pytest.mark.parametrize("name", OVERLAYS)
def test_images_are_pinned(name: str) -> None:
    for pod in pods(overlay(name)):
        for container in pod.spec["containers"]:
            tag = container["image"].rpartition(":")[2]
            assert any(character.isdigit() for character in tag), container["image"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_what_a_pod_refers_to_is_there(name: str) -> None:
    resources = overlay(name)
    for pod in pods(resources):
        _refers_to_what_is_there(pod, resources)


def _refers_to_what_is_there(pod: Pod, resources: list[Resource]) -> None:
    if account := pod.spec.get("serviceAccountName"):
        assert account in named(resources, "ServiceAccount")
    volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
    mounted = set()
    for container in pod.spec["containers"]:
        mounted |= {mount["name"] for mount in container["volumeMounts"]}
        for source in container.get("envFrom", ()):
            assert source["configMapRef"]["name"] in named(resources, "ConfigMap")
    kind, resource = pod.owner.split()[:2]
    claims = named(resources, kind)[resource]["spec"].get("volumeClaimTemplates", ())
    assert mounted == volumes.keys() | {claim["metadata"]["name"] for claim in claims}
    for volume in volumes.values():
        for source in volume.get("projected", {"sources": [volume]})["sources"]:
            if "configMap" in source:
                assert source["configMap"]["name"] in named(resources, "ConfigMap")
            if "secret" in source:
                secret = source["secret"].get("secretName") or source["secret"]["name"]
                keys = {item["key"] for item in source["secret"].get("items", ())}
                assert keys <= SECRETS[secret]


@pytest.mark.parametrize("name", OVERLAYS)
def test_selectors_find_the_pods_that_they_mean(name: str) -> None:
    labels = [pod.labels for pod in pods(overlay(name))]

    def matches(selector: dict[str, str]) -> int:
        return sum(selector.items() <= found.items() for found in labels)

    for kind in ("Deployment", "StatefulSet", "PodDisruptionBudget"):
        for resource in named(overlay(name), kind).values():
            assert matches(resource["spec"]["selector"]["matchLabels"]) == 1
    for service in named(overlay(name), "Service").values():
        assert matches(service["spec"]["selector"]) == 1
    for policy in named(overlay(name), "NetworkPolicy").values():
        assert matches(policy["spec"]["podSelector"].get("matchLabels", {})) >= 1
        for expression in policy["spec"]["podSelector"].get("matchExpressions", ()):
            assert all(matches({expression["key"]: value}) == 1 for value in expression["values"])
        for peer in (p for rule in policy["spec"].get("ingress", ()) for p in rule["from"]):
            wanted = peer["podSelector"].get("matchLabels", {})
            # Only pods that are not ours have these labels.
            others = ({"iplab.io/client": "true"}, {"app.kubernetes.io/name": "prometheus"})
            assert matches(wanted) >= 1 or wanted in others
            for expression in peer["podSelector"].get("matchExpressions", ()):
                assert all(matches({expression["key"]: value}) == 1 for value in expression["values"])


@pytest.mark.parametrize("name", OVERLAYS)
def test_services_and_probes_name_ports_that_containers_have(name: str) -> None:
    resources = overlay(name)
    for service in named(resources, "Service").values():
        (pod,) = (p for p in pods(resources) if service["spec"]["selector"].items() <= p.labels.items())
        ports = {port["name"]: port["containerPort"] for port in pod.spec["containers"][0]["ports"]}
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]
    for pod in pods(resources):
        for container in pod.spec["containers"]:
            ports = {port["name"] for port in container.get("ports", ())}
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                if "httpGet" in (probe := container.get(kind, {})):
                    assert probe["httpGet"]["port"] in ports


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_head_trains_nothing_and_gpus_start_from_none(name: str) -> None:
    spec = named(overlay(name), "RayCluster")["iplab"]["spec"]
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["authOptions"] == {"mode": "token", "secretName": "iplab-ray"}
    gpus = [group for group in spec["workerGroupSpecs"] if group["groupName"] == "gpu"]
    assert len(gpus) == ("laptop" not in name)
    for group in gpus:
        assert (group["minReplicas"], group["replicas"]) == (0, 0) and group["maxReplicas"] > 0


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_dispatcher_expects_the_nodes_that_the_autoscaler_can_add(name: str) -> None:
    """A node offers its container's limits; packs wait only for such nodes."""
    offered = []
    for group in named(overlay(name), "RayCluster")["iplab"]["spec"]["workerGroupSpecs"]:
        (container,) = group["template"]["spec"]["containers"]
        limits = container["resources"]["limits"]
        gpus = {"gpus": limits["nvidia.com/gpu"]} if "nvidia.com/gpu" in limits else {}
        if group["maxReplicas"] > group["minReplicas"]:
            offered.append({"cpus": int(limits["cpu"])} | gpus)
    settings = named(overlay(name), "ConfigMap")["iplab"]["data"]
    assert json.loads(settings.get("IPLAB_EXPECTED_NODES", "[]")) == offered


def test_ray_takes_up_a_new_image() -> None:
    """KubeRay replaces pods. By default it keeps them, and old trainers would meet a new dispatcher."""
    for name in OVERLAYS:
        assert named(overlay(name), "RayCluster")["iplab"]["spec"]["upgradeStrategy"] == {"type": "Recreate"}


def test_the_laptop_overlay_fits_a_machine_of_four_cores() -> None:
    """Beside kind's own pods (0.95 cores), the KubeRay operator (0.1) and a second API during a rollout."""

    def cores(container: dict[str, Any]) -> float:
        said = container["resources"]["requests"]["cpu"]
        return float(said.removesuffix("m")) / (1000 if said.endswith("m") else 1)

    resources = overlay("overlays/laptop")
    ray = named(resources, "RayCluster")["iplab"]["spec"]
    replicas = {
        f"RayCluster iplab {group['groupName']}": group["replicas"] for group in ray["workerGroupSpecs"]
    }
    asked = sum(
        cores(container) * replicas.get(pod.owner, 1)
        for pod in pods(resources)
        for container in pod.spec["containers"]
    )
    (api,) = (pod for pod in pods(resources) if pod.owner == "Deployment iplab-api")
    rollout = cores(api.spec["containers"][0])
    assert asked + cores(ray["autoscalerOptions"]) + rollout + 0.95 + 0.1 <= 4


def _bytes(quantity: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", quantity).groups()  # type: ignore[union-attr]
    return int(number) << {"Mi": 20, "Gi": 30}[unit]


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_worker_holds_the_packs_that_are_planned_for_it(name: str) -> None:
    """One pack per core, each in a process with its libraries, beside Ray and its object store."""
    settings = load_settings(
        max_pack_memory_bytes=_data(name)["IPLAB_MAX_PACK_MEMORY_BYTES"],
        max_run_memory_bytes=_data(name)["IPLAB_MAX_RUN_MEMORY_BYTES"],
    )
    groups = named(overlay(name), "RayCluster")["iplab"]["spec"]["workerGroupSpecs"]
    for limits in (group["template"]["spec"]["containers"][0]["resources"]["limits"] for group in groups):
        left = _bytes(limits["memory"]) - (1 << 30)
        assert int(limits["cpu"]) * (settings.max_pack_memory_bytes + (1 << 29)) <= left
        assert settings.max_run_memory_bytes + (1 << 29) <= left


def _data(name: str) -> dict[str, str]:
    data: dict[str, str] = named(overlay(name), "ConfigMap")["iplab"]["data"]
    return data


def test_what_is_written_is_written_to_a_volume() -> None:
    """Roots are read-only, except for temporary files and for the home of parts with a heartbeat."""
    for name in OVERLAYS:
        for pod in (pod for pod in pods(overlay(name)) if pod.ours):
            for container in pod.spec["containers"]:
                writable = {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")}
                assert "/tmp" in writable, f"{name} {pod.owner}"
                if container.get("command", ("",))[0] in {"dispatch", "ipserver"}:
                    assert "/var/lib/iplab" in writable, f"{name} {pod.owner}"


@pytest.mark.parametrize(
    ("part", "seconds"),
    [
        # Checkpoints of all packs, then Ray's own end.
        ("dispatch", inspect.signature(Dispatcher.drain).parameters["seconds"].default + 10),
        # One call of MLflow's client in progress.
        ("forward", 15),
    ],
)
def test_parts_have_time_to_end(part: str, seconds: float) -> None:
    spec = named(overlay("base"), "Deployment")[f"iplab-{part}"]["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] >= seconds
    assert compose.seconds(COMPOSE["services"][part]["stop_grace_period"]) >= seconds


def test_the_api_drains_before_it_is_killed() -> None:
    """Removal from the Service (preStop), then the server's grace period for running calls."""
    from ipserver.api.server import ApiConfig

    spec = named(overlay("base"), "Deployment")["iplab-api"]["spec"]["template"]["spec"]
    command = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0] == "sleep"
    grace = ApiConfig.__dataclass_fields__["grace"].default
    assert spec["terminationGracePeriodSeconds"] >= float(command[1]) + grace + 10
