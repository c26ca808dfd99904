"""A schema of the part of `ray.io/v1` RayCluster that our manifests use; also the real one, if available.

The CRD itself is not in this repository, and no package carries it. `SCHEMA` was written from the field
reference of KubeRay 1.6 (https://ray-project.github.io/kuberay/reference/api/): every field that we use, its
type, and whether it is required. Other fields are refused, so misspelt ones are too. Pods, variables, mounts
and resources are checked against Kubernetes' own schemas, as in the CRD.

`IPLAB_TEST_RAYCLUSTER_CRD` may name a file with the CRD, from `kubectl get crd rayclusters.ray.io --output
yaml` or from KubeRay's sources (helm-chart/kuberay-operator/crds). Then manifests are checked against it too.
"""

from __future__ import annotations

import functools
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from referencing import Registry, Resource

_DEFINITIONS = "https://kubernetes.io/api/_definitions.json#/$defs/"


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _kubernetes(name: str) -> dict[str, Any]:
    return {"$ref": f"{_DEFINITIONS}{name}"}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_COUNT = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
_BOOLEAN = {"type": "boolean"}
_STRING = {"type": "string"}
# Values are parts of a command line; the API server refuses numbers and booleans.
_START = {"type": "object", "additionalProperties": _STRING}

_AUTOSCALER = _object(
    image=_STRING,
    idleTimeoutSeconds={"type": "integer"},
    upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
    env=_list(_kubernetes("io.k8s.api.core.v1.EnvVar")),
    resources=_kubernetes("io.k8s.api.core.v1.ResourceRequirements"),
    securityContext=_kubernetes("io.k8s.api.core.v1.SecurityContext"),
    volumeMounts=_list(_kubernetes("io.k8s.api.core.v1.VolumeMount")),
)
_HEAD = _object(
    ("template",), rayStartParams=_START, template=_kubernetes("io.k8s.api.core.v1.PodTemplateSpec")
)
_GROUP = _object(
    ("groupName", "maxReplicas", "minReplicas", "template"),
    groupName=_STRING,
    replicas=_COUNT,
    minReplicas=_COUNT,
    maxReplicas=_COUNT,
    rayStartParams=_START,
    template=_kubernetes("io.k8s.api.core.v1.PodTemplateSpec"),
)
SCHEMA = _object(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayCluster"},
    metadata=_kubernetes("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
    spec=_object(
        ("headGroupSpec",),
        rayVersion=_STRING,
        authOptions=_object(mode={"enum": ["disabled", "token"]}, secretName=_STRING),
        upgradeStrategy=_object(type={"enum": ["Recreate", "None"]}),
        enableInTreeAutoscaling=_BOOLEAN,
        autoscalerOptions=_AUTOSCALER,
        headGroupSpec=_HEAD,
        workerGroupSpecs=_list(_GROUP),
    ),
)


@functools.cache
def _registry(kubernetes: str) -> Registry[Any]:
    folder = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{kubernetes}-local-strict"
    definitions = json.loads((folder / "_definitions.json").read_text())
    return Resource.from_contents(definitions) @ Registry()


def validate(resource: dict[str, Any], kubernetes: str) -> None:
    """Check a RayCluster.

    Args:
        resource: The manifest.
        kubernetes: Version of the schemas of pods, such as "1.34.0".

    Raises:
        jsonschema.ValidationError: It is wrong.
    """
    jsonschema.Draft202012Validator(SCHEMA, registry=_registry(kubernetes)).validate(resource)


def read_crd(path: Path) -> dict[str, Any]:
    """The JSON schema of `ray.io/v1` in a file with the CRD.

    It is closed: it refuses unknown fields, which the API server would silently drop.
    """
    content = yaml.load(path.read_text(), yaml.CSafeLoader)
    (version,) = (v for v in content["spec"]["versions"] if v["name"] == "v1" and v["served"])
    schema: dict[str, Any] = _closed(version["schema"]["openAPIV3Schema"])
    return schema


def _closed(node: Any) -> Any:
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {name: _closed(value) for name, value in node.items()}
    said = isinstance(node.get("properties"), dict) and node.get("type") == "object"
    if said and not {"additionalProperties", "x-kubernetes-preserve-unknown-fields"} & node.keys():
        closed["additionalProperties"] = False
    return closed


def validate_by_crd(resource: dict[str, Any], schema: dict[str, Any]) -> None:
    """Check a RayCluster by `read_crd`'s schema.

    Raises:
        jsonschema.ValidationError: It is wrong.
    """
    jsonschema.Draft202012Validator(schema).validate(resource)
