"""What mypy says of users' code."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
OPTIONS = (
    "--config-file=",
    "--strict",
    "--no-error-summary",
    "--explicit-package-bases",
    "--namespace-packages",
)
OPTIONS += ("--no-site-packages", "--ignore-missing-imports")
CODE = """
from typing import assert_type

import iplab
from iplab import aio


def sync_user(client: iplab.Client) -> None:
    experiment = client.create({"spec": {}}).wait()
    assert_type(experiment, iplab.Experiment)
    assert_type(experiment.state, iplab.ExperimentState)
    assert_type([run.index for run in experiment.runs()], list[int])
    assert_type(experiment.metrics(), iplab.Metrics)
    for event in experiment.watch():
        assert_type(event, iplab.Event)


async def async_user() -> None:
    async with aio.connect() as client:
        assert_type(client, aio.AsyncClient)
        experiment = await (await client.create({"spec": {}})).wait(timeout=5)
        assert_type(experiment, aio.AsyncExperiment)
        assert_type(experiment.state, iplab.ExperimentState)
        assert_type([run.index async for run in experiment.runs()], list[int])
        assert_type(await experiment.metrics(), iplab.Metrics)
        assert_type((await experiment.run(0)).settings.seed, int)
        async for event in experiment.watch():
            assert_type(event, iplab.Event)


async def wrong_user(client: aio.AsyncClient) -> None:
    client.create({"spec": {}}).wait()
    await client.experiment(7)
    async for experiment in client.experiments(limit="3"):
        experiment.colour
"""
WRONG = {
    32: '"Coroutine[Any, Any, AsyncExperiment]" has no attribute "wait"',
    33: 'Argument 1 to "experiment" of "AsyncClient" has incompatible type "int"',
    34: 'Argument "limit" to "experiments" of "AsyncClient" has incompatible type "str"',
    35: '"AsyncExperiment" has no attribute "colour"',
}


def test_users_code_is_typed(tmp_path):
    assert (ROOT / "client/iplab/py.typed").exists(), "else mypy reads no types of an installed package"
    (tmp_path / "user.py").write_text(CODE)
    # Other people's packages are left out: numpy alone takes longer than all of ours.
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *OPTIONS, f"--cache-dir={tmp_path}", tmp_path / "user.py"],
        cwd=ROOT,
        env=os.environ | {"MYPYPATH": f"{ROOT / 'client'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in done.stdout.splitlines() if line.startswith(f"{tmp_path}/user.py:")]
    found = [line.split(":", 2) for line in ours if " error: " in line]
    assert [int(line) for _, line, _ in found] == list(WRONG), done.stdout
    for (_, _, message), expected in zip(found, WRONG.values(), strict=True):
        assert expected in message
