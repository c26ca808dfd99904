"""Our composer does what kustomize does, and refuses the rest."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.kustomize import Refused, compose
from tests.deploy.manifests import DEPLOY, OVERLAYS, overlay


def _by_name(resources: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(r["kind"], r["metadata"]["name"]): r for r in resources}


@pytest.mark.parametrize("name", OVERLAYS)
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_as_kubectl_composes_it(name: str) -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", str(DEPLOY / "k8s" / name)], capture_output=True, text=True, check=True
    )
    assert _by_name(overlay(name)) == _by_name(list(yaml.safe_load_all(done.stdout)))


def _write(folder: Path, **said: object) -> None:
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(said))
    (folder / "map.yaml").write_text("{kind: ConfigMap, metadata: {name: m}, data: {a: '1'}}")


def test_what_is_not_understood_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, resources=["map.yaml"], namePrefix="x-")
    with pytest.raises(Refused, match="namePrefix"):
        compose(tmp_path)


@pytest.mark.parametrize(
    ("target", "operation", "message"),
    [
        ({"kind": "ConfigMap", "name": "other"}, "replace", "0 resources"),
        ({"kind": "ConfigMap", "name": "m"}, "add", "not understood"),
        ({"kind": "ConfigMap"}, "replace", "other than JSON 6902"),
    ],
)
def test_patches_that_match_nothing_are_refused(
    tmp_path: Path, target: dict[str, str], operation: str, message: str
) -> None:
    patch = yaml.safe_dump([{"op": operation, "path": "/data/a", "value": "2"}])
    _write(tmp_path, resources=["map.yaml"], patches=[{"target": target, "patch": patch}])
    with pytest.raises(Refused, match=message):
        compose(tmp_path)


def test_a_patch_replaces(tmp_path: Path) -> None:
    patch = yaml.safe_dump([{"op": "replace", "path": "/data/a", "value": "2"}])
    target = {"kind": "ConfigMap", "name": "m"}
    _write(tmp_path, resources=["map.yaml"], namespace="lab", patches=[{"target": target, "patch": patch}])
    assert compose(tmp_path) == [
        {"kind": "ConfigMap", "metadata": {"name": "m", "namespace": "lab"}, "data": {"a": "2"}}
    ]
