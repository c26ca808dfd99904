"""One vocabulary for tables, filters, `--sort` and JSON, and the other names in use.

Headings of tables are the names of fields with spaces: `base_learning_rate` is "base learning rate".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

from ipcore.errors import nearest

# Other names of fields: names in the literature and in older tables.
OTHER_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "label": "parameterization",
        "preset": "parameterization",
        "l": "hidden_layers",
        "layers": "hidden_layers",
        "depth": "hidden_layers",
        "m": "width",
        "act": "activation",
        "base_rate": "base_learning_rate",
        "best_rate": "base_learning_rate",
        "learning_rate": "base_learning_rate",
        "rate": "base_learning_rate",
        "lr": "base_learning_rate",
        "eta": "base_learning_rate",
        "run": "index",
        "id": "experiment",
        "name": "experiment",
        "step": "committed_steps",
        "steps": "committed_steps",
        "theory": "predicted_regime",
        "seeds": "runs",
        "no_result": "unfinished",
        "loss": "test_loss",
        "accuracy": "test_accuracy",
        "acc": "test_accuracy",
        "test_loss": "final_test_loss",
        "test_accuracy": "final_test_accuracy",
        "final_test_loss": "test_loss",
        "final_test_accuracy": "test_accuracy",
    }
)


def field_named(name: str, known: Collection[str]) -> str | None:
    """The field of this name (in any case, spaces allowed) or of which it is another name; else None.

    >>> field_named("Base learning rate", {"base_learning_rate"}), field_named("lr", {"base_learning_rate"})
    ('base_learning_rate', 'base_learning_rate')
    """
    plain = name.strip().lower().replace(" ", "_")
    for choice in (name, plain):
        if choice in known:
            return choice
    # One or two steps: "accuracy" is "test_accuracy", which for a run is "final_test_accuracy".
    for _ in range(2):
        plain = OTHER_NAMES.get(plain, "")
        if plain in known:
            return plain
    return None


def meant(name: str, known: Collection[str]) -> str | None:
    """The field nearest to an unknown name; None if none is near."""
    plain = name.strip().lower().replace(" ", "_")
    others = [other for other, field in OTHER_NAMES.items() if field in known]
    close = nearest(plain, [*known, *others])
    return field_named(close, known) if close else None
