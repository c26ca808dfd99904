"""Entries of the catalogue: lookup by name, implementations, and the generated page."""

from pathlib import Path

import pytest

from ipcore import catalogue
from ipcore.catalogue.choices import Choice
from ipcore.catalogue.entries import implementation, table
from ipcore.catalogue.optimizers import OptimizerSettings
from ipcore.catalogue.schedules import Schedule
from ipcore.catalogue.settings import settings
from ipcore.catalogue.tables import page
from ipcore.engine.losses import Loss
from ipcore.engine.schedule import Course
from ipcore.models.activations import Activation

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("entries", "kind"),
    [
        (catalogue.ACTIVATIONS, Activation),
        (catalogue.LOSSES, Loss),
        (catalogue.SCHEDULES, Course),
        (catalogue.OPTIMIZERS, None),
    ],
)
def test_there_is_code_behind_every_entry(entries, kind):
    for name, entry in entries.items():
        assert entry.name == name
        found = implementation(entry.implementation)
        assert callable(found) if kind is None else isinstance(found, kind)


def test_two_entries_of_one_name_are_a_mistake():
    with pytest.raises(ValueError, match="'a'"):
        table([Choice("a", "one"), Choice("a", "two")])


def test_one_list_of_optimizers_is_what_trains_and_what_theory_covers():
    own = ["signum", "lion", "muon", "muon-unscaled", "muon-spectral", "muon-rms"]
    assert list(catalogue.OPTIMIZERS) == ["sgd", "momentum", "adam", "adamw", *own]
    assert list(catalogue.ANALYSED_OPTIMIZERS) == ["sgd", "momentum", "adam", "adamw", "sign", *own]


@pytest.mark.parametrize(
    ("owner", "entries"), [(OptimizerSettings, catalogue.OPTIMIZERS), (Schedule, catalogue.SCHEDULES)]
)
def test_every_setting_is_used_and_every_default_is_allowed(owner, entries):
    used = {name for entry in entries.values() for name in entry.settings}
    assert used | {"name"} >= set(settings(owner))
    for setting in settings(owner).values():
        if not setting.repeated:
            assert setting.problem(setting.default) == ""


def test_the_page_is_made_from_the_entries():
    """python -m ipcore.catalogue.tables > docs/catalogue.md"""
    assert (ROOT / "docs/catalogue.md").read_text() == page() + "\n"
