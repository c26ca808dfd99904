"""The Dockerfile and the scripts that go into the image."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser

from tests.deploy.manifests import DEPLOY

ROOT = DEPLOY.parent
PARSER = DockerfileParser(str(DEPLOY / "Dockerfile"))
STEPS = [(step["instruction"], step["value"]) for step in PARSER.structure]
SCRIPTS = sorted((DEPLOY / "bin").iterdir())
SHELL = [*(path for path in SCRIPTS if path.read_text().startswith("#!/bin/sh")), DEPLOY / "make-secrets"]
BIN = Path(sys.executable).parent


def test_the_linter_finds_nothing() -> None:
    done = subprocess.run(
        [BIN / "hadolint", DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", SHELL, ids=lambda path: path.name)
def test_the_shell_linter_finds_nothing(path: Path) -> None:
    done = subprocess.run([BIN / "shellcheck", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_can_be_run(path: Path) -> None:
    assert path.stat().st_mode & 0o111 == 0o111


def test_it_ends_as_a_numeric_user_without_a_health_check() -> None:
    instructions = [instruction for instruction, _ in STEPS]
    assert [value for instruction, value in STEPS if instruction == "USER"] == ["10001:10001"]
    # No step after it changes files as root.
    assert not {"RUN", "COPY", "ADD"} & set(instructions[instructions.index("USER") :])
    assert "HEALTHCHECK" not in instructions


def test_it_has_two_stages_and_the_second_takes_only_what_was_built() -> None:
    starts = [index for index, (instruction, _) in enumerate(STEPS) if instruction == "FROM"]
    assert len(starts) == 2
    copies = [value for instruction, value in STEPS[starts[1] :] if instruction == "COPY"]
    assert copies == ["--from=build /opt/iplab /opt/iplab"]


def test_versions_come_from_the_constraints() -> None:
    runs = " ".join(value for instruction, value in STEPS if instruction == "RUN")
    installs = re.findall(r"uv pip install (?:(?!&&).)*", runs)
    assert len(installs) == 2
    # Only our own wheel is installed without dependencies, which are present.
    assert ["-c constraints.txt" in install or "--no-deps" in install for install in installs] == [True, True]
    assert "--build-constraint constraints.txt" in runs
    assert all("--compile-bytecode" in install for install in installs)


def test_boto3_is_asked_for_by_its_name() -> None:
    """An extra of a library that brought it was gone with the library's next version."""
    assert "import boto3" in (DEPLOY / "bin" / "make-bucket").read_text()
    installs = [
        value for instruction, value in STEPS if instruction == "RUN" and "-r pyproject.toml" in value
    ]
    assert ["boto3" in install.split() for install in installs] == [True]


def test_cuda_is_a_build_argument() -> None:
    arguments = [value for instruction, value in STEPS if instruction == "ARG"]
    assert "TORCH_BACKEND=cpu" in arguments


def test_what_is_copied_is_not_ignored() -> None:
    """.dockerignore lists the context's files, which must include all that the Dockerfile copies."""
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in ignore if line.startswith("!")}
    assert "*" in ignore
    copied: set[str] = set()
    for instruction, value in STEPS:
        if instruction == "COPY" and "--from" not in value:
            *sources, _ = (part for part in value.split() if not part.startswith("--"))
            copied |= {source.rstrip("/") for source in sources}
    assert copied == allowed
    assert all((ROOT / source).exists() for source in copied)


def test_the_home_that_it_makes_is_the_home_that_it_sets() -> None:
    home = PARSER.envs["IPLAB_HOME"]
    assert any(f"-o 10001 -g 10001 -m 0700 {home}" in value for _, value in STEPS)
    assert PARSER.envs["PATH"].startswith("/opt/iplab/bin:")
