"""A study survives a few kills, in every run of the tests; 50 of them: `python -m tests.faults studies`."""

import random

import pytest

from tests.faults.scenarios import Scene
from tests.faults.studies import storm

pytestmark = pytest.mark.ray

# One worker trains all experiments of a study, as by default, instead of a new one for each.
SETTINGS = {"IPLAB_READY_WORKERS": "1"}


@pytest.mark.parametrize("scene", ["sqlite"], indirect=True)
def test_a_study_that_is_killed_ends_as_in_peace(scene: Scene) -> None:
    assert storm(scene, 3, random.Random(7)) >= 1
