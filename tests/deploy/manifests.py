"""Our manifests as data, for the tests."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Resource = dict[str, Any]
DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
OVERLAYS = ("base", "overlays/laptop", "overlays/gpu")
# Created by hand, as deploy/README.md says, with these keys.
SECRETS = {
    "iplab": {"store", "s3_access_key_id", "s3_secret_access_key"},
    "iplab-mlflow": {"mlflow_store"},
    "iplab-ray": {"auth_token"},
    "iplab-postgres": {"postgres_password"},
}
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def kustomize(folder: Path) -> list[Resource]:
    """What `kubectl apply -k FOLDER` would apply, by the kubectl of the tests' environment.

    Raises:
        subprocess.CalledProcessError: kubectl refuses the folder.
    """
    kubectl = Path(sys.executable).with_name("kubectl")
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=True)
    return list(yaml.load_all(done.stdout, yaml.CSafeLoader))


@functools.cache
def overlay(name: str) -> list[Resource]:
    """The resources of an overlay (of `OVERLAYS`), read once: copy what you change."""
    return kustomize(DEPLOY / "k8s" / name)


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that a resource creates.

    Attributes:
        owner: Kind and name of the resource.
        labels: Labels of the pod.
        spec: Spec of the pod.
    """

    owner: str
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def ours(self) -> bool:
        """Whether it runs our image."""
        return all(is_ours(container["image"]) for container in self.spec["containers"])


def pods(resources: list[Resource]) -> Iterator[Pod]:
    """All pods, including those of the Ray cluster."""
    for resource in resources:
        owner = f"{resource['kind']} {resource['metadata']['name']}"
        spec = resource.get("spec", {})
        if resource["kind"] in {"Deployment", "StatefulSet", "Job"}:
            yield _pod(owner, spec["template"])
        elif resource["kind"] == "RayCluster":
            yield _pod(f"{owner} head", spec["headGroupSpec"]["template"])
            for group in spec["workerGroupSpecs"]:
                yield _pod(f"{owner} {group['groupName']}", group["template"])


def is_ours(image: str) -> bool:
    """Whether an image is built from deploy/Dockerfile."""
    return image.rpartition(":")[0].rpartition("/")[2] in {"iplab", "iplab-cuda"} or "IPLAB_IMAGE" in image


def named(resources: list[Resource], kind: str) -> dict[str, Resource]:
    """Resources of a kind by name."""
    return {r["metadata"]["name"]: r for r in resources if r["kind"] == kind}


def _pod(owner: str, template: dict[str, Any]) -> Pod:
    return Pod(owner, template["metadata"]["labels"], template["spec"])
