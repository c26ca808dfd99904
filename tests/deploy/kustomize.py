"""What `kubectl kustomize` does, as far as our kustomizations use it; what they might say beyond is refused.

`tests/deploy/test_kustomize.py` compares it with the real one where that is installed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

Resource = dict[str, Any]
_FIELDS = {"apiVersion", "kind", "namespace", "labels", "resources", "images", "patches"}
_CLUSTER_WIDE = {"Namespace"}


class Refused(Exception):
    """A kustomization says something that this composer does not know."""


def compose(folder: Path) -> list[Resource]:
    """The resources of a kustomization, in the order in which they are named.

    Raises:
        Refused: A field, a patch or a target that is not understood or that nothing matches.
    """
    said = yaml.safe_load((folder / "kustomization.yaml").read_text())
    if unknown := said.keys() - _FIELDS:
        raise Refused(f"{folder}: {sorted(unknown)} is not understood")
    resources: list[Resource] = []
    for entry in said["resources"]:
        path = (folder / entry).resolve()
        resources += compose(path) if path.is_dir() else _documents(path)
    for patch in said.get("patches", ()):
        _patch(resources, patch)
    for resource in resources:
        if namespace := said.get("namespace"):
            _set_namespace(resource, namespace)
        for label in said.get("labels", ()):
            if label.keys() != {"pairs"}:
                raise Refused(f"{folder}: labels with {sorted(label)}")
            resource["metadata"].setdefault("labels", {}).update(label["pairs"])
        for container in _containers(resource):
            container["image"] = _image(container["image"], said.get("images", ()))
    return resources


def _documents(path: Path) -> list[Resource]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def _set_namespace(resource: Resource, namespace: str) -> None:
    if resource["kind"] not in _CLUSTER_WIDE:
        resource["metadata"]["namespace"] = namespace


def _containers(node: object) -> Iterable[dict[str, Any]]:
    """Containers at any depth: kustomize finds those of kinds that it does not know, too."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name in {"containers", "initContainers"}:
                yield from value
            else:
                yield from _containers(value)
    elif isinstance(node, list):
        for item in node:
            yield from _containers(item)


def _image(image: str, rules: Iterable[Mapping[str, str]]) -> str:
    for rule in rules:
        if unknown := rule.keys() - {"name", "newName", "newTag"}:
            raise Refused(f"images with {sorted(unknown)}")
        name, _, tag = image.partition(":")
        if name == rule["name"]:
            image = f"{rule.get('newName', name)}:{rule.get('newTag', tag)}"
    return image


def _patch(resources: list[Resource], patch: Mapping[str, Any]) -> None:
    if patch.keys() != {"target", "patch"} or patch["target"].keys() != {"kind", "name"}:
        raise Refused(f"a patch other than JSON 6902 for one kind and name: {patch}")
    kind, name = patch["target"]["kind"], patch["target"]["name"]
    found = [r for r in resources if r["kind"] == kind and r["metadata"]["name"] == name]
    if len(found) != 1:
        raise Refused(f"{len(found)} resources are {kind} {name}")
    for operation in yaml.safe_load(patch["patch"]):
        _apply(found[0], operation)


def _apply(resource: Resource, operation: Mapping[str, Any]) -> None:
    *parents, last = (part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:])
    node: Any = resource
    for part in parents:
        node = node[int(part) if isinstance(node, list) else part]
    key = int(last) if isinstance(node, list) else last
    there = key < len(node) if isinstance(node, list) else key in node
    if operation["op"] not in {"replace", "remove"} or not there:
        raise Refused(f"{operation['op']} at {operation['path']}: not understood, or nothing there")
    if operation["op"] == "remove":
        del node[key]
    else:
        node[key] = copy.deepcopy(operation["value"])
