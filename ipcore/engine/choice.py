"""Choice of the engine that trains a model."""

from __future__ import annotations

from ipcore.engine.autograd import AutogradEngine
from ipcore.engine.engine import Engine
from ipcore.engine.pack import Pack
from ipcore.models import HAND_WRITTEN, Model


def engine_of(model: Model) -> type[Engine]:
    """The fastest engine that trains a model: the hand-written pack where there is one, else autograd."""
    return Pack if model in HAND_WRITTEN else AutogradEngine
