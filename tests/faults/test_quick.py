"""A few faults, in every run of the tests, on one service.

The whole matrix is `make faults`, a study that is killed 50 times is `python -m tests.faults studies`.
PostgreSQL: tests/ipserver/scheduling/test_cut_off.py.
"""

import random

import pytest

from tests.faults.scenarios import Scene, play
from tests.faults.studies import storm

pytestmark = [pytest.mark.ray, pytest.mark.parametrize("scene", ["sqlite"], indirect=True)]

# A worker for each of its cores is kept for the next pack, as by default, instead of a new one for each.
SETTINGS = {"IPLAB_READY_WORKERS": "2"}


def test_every_part_may_be_killed_in_turn(scene: Scene) -> None:
    play(
        scene,
        ("API killed", "after"),
        ("API killed while it extends", "after"),
        ("trainer killed", "during"),
        ("trainer killed at a checkpoint", "during"),
        ("dispatcher killed", "after"),
        ("forwarder killed at its first marks", "before"),
    )
    play(scene, ("API killed while it deletes", "after"))


def test_a_study_that_is_killed_ends_as_in_peace(scene: Scene) -> None:
    assert storm(scene, 3, random.Random(7)) >= 1
