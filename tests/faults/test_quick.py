"""A few faults; the whole matrix is `make faults`. PostgreSQL: tests/ipserver/scheduling/test_cut_off.py."""

import pytest

from tests.faults.scenarios import Scene, play

pytestmark = pytest.mark.ray


@pytest.mark.parametrize("scene", ["sqlite"], indirect=True)
def test_every_part_may_be_killed_in_turn(scene: Scene) -> None:
    play(
        scene,
        ("API killed", "after"),
        ("API killed while it extends", "after"),
        ("trainer killed", "during"),
        ("trainer killed at a checkpoint", "during"),
        ("dispatcher killed", "after"),
        ("forwarder killed", "before"),
    )
    play(scene, ("API killed while it deletes", "after"))
