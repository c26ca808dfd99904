from __future__ import annotations

import doctest
import importlib
import subprocess
import sys

import pytest

import ipcore


@pytest.mark.parametrize(
    "module",
    [
        "ipcore",
        "ipcore.catalogue.activations",
        "ipcore.catalogue.datasets",
        "ipcore.catalogue.entries",
        "ipcore.catalogue.formats",
        "ipcore.catalogue.losses",
        "ipcore.catalogue.optimizers",
        "ipcore.catalogue.schedules",
        "ipcore.catalogue.settings",
        "ipcore.config",
        "ipcore.data.loading",
        "ipcore.errors",
        "ipcore.planning.memory",
        "ipcore.randomness",
        "ipcore.training.recording",
        "ipcore.models",
        "ipcore.models.model",
        "ipcore.models.residual_mlp",
        "ipcore.models.scales",
        "ipcore.models.tally",
        "ipcore.analysis.measured_slopes",
        "ipcore.engine.schedule",
    ],
)
def test_examples_in_docstrings(module: str):
    """One of them trains an IP-LLR network in ten lines, without a server."""
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted
    assert not result.failed


def test_importing_ipcore_loads_nothing_heavy():
    code = "import sys, ipcore; sys.exit(bool({'torch', 'numpy', 'sklearn'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_can_be_had():
    for name in ipcore.__all__:
        assert getattr(ipcore, name) is not None
        assert name in dir(ipcore)
    with pytest.raises(AttributeError, match="Trainr"):
        _ = ipcore.Trainr


def test_what_is_missing_is_said_with_what_to_install():
    program = "import sys; sys.modules['torch'] = None; import ipcore; ipcore.preset('mup', 3); ipcore.train"
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith(
        "ModuleNotFoundError: ipcore.train needs torch, which is not installed: pip install 'iplab[core]'"
    )
