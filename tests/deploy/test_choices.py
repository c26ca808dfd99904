"""Everything that a user must choose is marked CHANGE-ME, with a comment on what to choose."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ipserver.environment.settings import load_settings
from ipserver.errors import StartupError
from tests.deploy.manifests import DEPLOY, is_ours, named, overlay, pods

K8S = DEPLOY / "k8s"
GPU = K8S / "overlays/gpu/kustomization.yaml"
FILES = [GPU, *sorted((K8S / "components").rglob("*.yaml"))]
MARK = "CHANGE-ME"


def _lines(file: Path) -> list[str]:
    """All lines that are not only a comment."""
    return [
        line for line in file.read_text().splitlines() if line.strip() and not line.lstrip().startswith("# ")
    ]


def _chosen(file: Path, pattern: str) -> list[str]:
    """Lines of a file with a value that a user chooses."""
    return [line for line in _lines(file) if re.search(pattern, line)]


def test_grep_shows_what_each_is_to_become() -> None:
    """One line each: the value, followed by a comment on what to choose."""
    for file in FILES:
        for line in (line for line in _lines(file) if MARK in line):
            assert re.search(rf"# {MARK}: \w+", line), f"{file.name}: {line}"


def test_the_overlay_says_nothing_but_choices() -> None:
    """The user chooses every value that replaces one of the base's, so each is marked."""
    values = _chosen(GPU, r"^\s+(value: .|newName:|newTag:|requests:|limits:)|^\s+- \.\./\.\./components")
    values = [line for line in values if not re.search(r"value:\s+#", line)]
    assert len(values) > 20
    assert [line for line in values if MARK not in line] == []


@pytest.mark.parametrize(
    "pattern",
    [
        r"newName: .*/iplab",
        r"newTag: .*-cuda",
        r"value: s3://.*/artifacts",
        r"value: s3://.*/mlflow",
        r"value: https://s3\.",
        r"value: CHANGE-ME +# CHANGE-ME: the bucket's region",
        r"value: mlflow:5000,.*,mlflow\.CHANGE-ME",
        r"""value: '\[\{"cpus": 4\}""",
        r"""value: "2147483648" """,
        r"""value: "8589934592" """,
        r"value: \d+ .* at most",
        r"limits: .*nvidia.com/gpu",
        r"components/datasets",
        r"components/aws-roles",
    ],
)
def test_what_is_to_be_chosen_is_marked(pattern: str) -> None:
    lines = [line for line in GPU.read_text().splitlines() if re.search(pattern, line)]
    assert lines and all(MARK in line for line in lines)


def test_the_volume_of_datasets_is_to_be_chosen() -> None:
    file = K8S / "components/datasets/volume.yaml"
    for pattern in (r"storageClassName:", r"storage: \d"):
        (line,) = _chosen(file, pattern)
        assert MARK in line


def _values(node: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], str]]:
    if isinstance(node, dict):
        return [found for key, value in node.items() for found in _values(value, (*path, str(key)))]
    if isinstance(node, list):
        return [found for i, value in enumerate(node) for found in _values(value, (*path, str(i)))]
    return [(path, str(node))]


def test_the_marks_arrive_where_they_belong() -> None:
    """Marks in the manifests that kubectl composes."""
    found = {
        (r["kind"], r["metadata"]["name"], path[-1])
        for r in overlay("overlays/gpu")
        for path, value in _values(r)
        if MARK in value and path[-1] != "image"
    }
    assert found == {
        ("ConfigMap", "iplab", "IPLAB_ARTIFACTS"),
        ("ConfigMap", "iplab", "IPLAB_S3_ENDPOINT_URL"),
        ("ConfigMap", "iplab", "IPLAB_S3_REGION"),
        ("ConfigMap", "mlflow", "MLFLOW_DEFAULT_ARTIFACT_ROOT"),
        ("ConfigMap", "mlflow", "MLFLOW_SERVER_ALLOWED_HOSTS"),
        ("PersistentVolumeClaim", "datasets", "storageClassName"),
    }
    images = [c["image"] for pod in pods(overlay("overlays/gpu")) for c in pod.spec["containers"]]
    assert all(image.startswith(MARK) and is_ours(image) for image in images)


def test_an_overlay_that_was_not_changed_does_not_start() -> None:
    """Unchosen values fail: registries have no names in capitals, and every part refuses the bucket."""
    data = named(overlay("overlays/gpu"), "ConfigMap")["iplab"]["data"]
    with pytest.raises(StartupError, match="IPLAB_ARTIFACTS='s3://CHANGE-ME/artifacts'"):
        load_settings(artifacts=data["IPLAB_ARTIFACTS"])


@pytest.mark.parametrize("name", ["base", "overlays/laptop"])
def test_a_laptop_has_nothing_to_choose(name: str) -> None:
    assert MARK not in yaml.safe_dump(overlay(name))


def test_datasets_are_the_same_folder_everywhere() -> None:
    """In the dispatcher, which lists the datasets, and in every worker, which reads them."""
    folder = named(overlay("overlays/gpu"), "ConfigMap")["iplab"]["data"]["IPLAB_DATA"]
    mounts = {
        pod.owner: {
            m["mountPath"]: m.get("readOnly", False) for m in pod.spec["containers"][0]["volumeMounts"]
        }
        for pod in pods(overlay("overlays/gpu"))
    }
    assert {owner: found[folder] for owner, found in mounts.items() if folder in found} == {
        "Deployment iplab-dispatch": False,
        "RayCluster iplab cpu": True,
        "RayCluster iplab gpu": True,
    }


def test_secrets_of_services_of_your_own_are_to_be_chosen(tmp_path: Path) -> None:
    """`make-secrets --managed` generates only the values that no managed service provides."""
    folder = tmp_path / "secrets"
    subprocess.run([DEPLOY / "make-secrets", "--managed", folder], check=True, capture_output=True)
    written = {path.name: path.read_text() for path in folder.iterdir()}
    assert written.keys() == {
        "store",
        "mlflow_store",
        "s3_access_key_id",
        "s3_secret_access_key",
        "ray_token",
    }
    assert {name for name, text in written.items() if MARK in text} == written.keys() - {"ray_token"}
    assert re.fullmatch(r"[0-9a-f]{48}", written["ray_token"])
    for name in ("store", "mlflow_store"):
        assert written[name].startswith("postgresql+psycopg://CHANGE-ME:CHANGE-ME@CHANGE-ME:5432/")


def test_the_readme_names_the_command_that_lists_them() -> None:
    readme = (DEPLOY / "README.md").read_text()
    (command,) = re.findall(r"^    (grep .*CHANGE-ME.*)$", readme, re.MULTILINE)
    assert command in GPU.read_text()
    folders = re.findall(r"deploy/\S+", command)
    assert all((DEPLOY.parent / folder).is_dir() for folder in folders if not folder.endswith("secrets"))
    listed = {file for folder in folders for file in (DEPLOY.parent / folder).rglob("*.yaml")}
    assert set(FILES) <= listed
