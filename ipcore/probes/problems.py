"""Validation of probes: every problem at once. Standard library only."""

from __future__ import annotations

from ipcore.catalogue import PROBES
from ipcore.config import PackConfig, Probes
from ipcore.errors import unknown
from ipcore.models import Mlp, described
from ipcore.probes.quantities import QUANTITIES, inside


def probe_problems(config: PackConfig, train_size: int | None = None) -> list[str]:
    """Problems that keep a pack's probes from being measured.

    Args:
        config: Configuration of the pack; its depth and number of updates count.
        train_size: Examples that are trained on (the validation set is not among them); None: not known.

    Returns:
        One sentence per wrong field; none without probes.

    >>> probe_problems(PackConfig("digits", 2, 8, "relu", 4, 10, probes=Probes(("coordinates",), (4,), (0,))))
    ['probes.layers[0]: there is no layer 4; with 2 hidden layers there are layers 1..3 (3 is the output)']
    """
    if config.probes is None:
        return []
    return [f"probes.{field}: {text}" for field, text in probe_violations(config, config.probes, train_size)]


def probe_violations(config: PackConfig, probes: Probes, train_size: int | None) -> list[tuple[str, str]]:
    """As `probe_problems`, but (field of `Probes`, sentence)."""
    return [
        *_quantity_violations(config, probes),
        *_layer_violations(config, probes),
        *_step_violations(config.steps, probes),
        *_example_violations(probes, train_size),
    ]


def layers_sentence(probe: str) -> str:
    """Which layers the quantities of a probe have.

    >>> layers_sentence("kernels")
    'cka has layers 1..L'
    >>> layers_sentence("coordinates")
    'h, h_change have layers 1..L+1; x, x_change have layers 1..L'
    """
    together: dict[str, list[str]] = {}
    for q in QUANTITIES[probe]:
        together.setdefault(f"{q.first}..{'L+1' if q.readout else 'L'}", []).append(q.name)
    return "; ".join(
        f"{', '.join(names)} {'have' if len(names) > 1 else 'has'} layers {layers}"
        for layers, names in together.items()
    )


def _quantity_violations(config: PackConfig, probes: Probes) -> list[tuple[str, str]]:
    found = []
    exist = [layer for layer in probes.layers if 1 <= layer <= config.layers]
    if not probes.quantities:
        found.append(("quantities", f"names at least one of {', '.join(PROBES)}"))
    for i, name in enumerate(probes.quantities):
        field = f"quantities[{i}]"
        if name not in PROBES:
            found.append((field, unknown("probe", name, PROBES)))
        elif name in probes.quantities[:i]:
            found.append((field, f"{name} is there twice"))
        elif PROBES[name].chains_only and not isinstance(config.model, Mlp):
            text = f"{name} are those of a multilayer perceptron, not of {described(config.model)}"
            found.append((field, text))
        elif PROBES[name].of_outputs:
            continue  # it does not measure layers
        elif exist and not any(
            layer in quantity.layers(config.layers) for quantity in QUANTITIES[name] for layer in exist
        ):
            chosen = ", ".join(map(str, exist))
            found.append(
                (field, f"{name} has nothing in layers {chosen} (L={config.hidden_layers}): {_has(name)}")
            )
    return found


def _has(name: str) -> str:
    return f"{layers_sentence(name)}; add such a layer or leave the layers out, which means all"


def _layer_violations(config: PackConfig, probes: Probes) -> list[tuple[str, str]]:
    last = config.layers
    return [
        (
            f"layers[{i}]",
            f"there is no layer {layer}; with {config.hidden_layers} hidden layers there are layers "
            f"1..{last} ({last} is the output)",
        )
        for i, layer in enumerate(probes.layers)
        if not 1 <= layer <= last
    ]


def _step_violations(last: int, probes: Probes) -> list[tuple[str, str]]:
    if last < 1:  # the number of updates is wrong itself
        return []
    found = []
    if probes.interval < 0:
        found.append(("interval", f"must be 0 (only at steps) or at least 1, not {probes.interval}"))
    if not probes.steps and probes.interval == 0:
        found.append(
            ("steps", "name the steps at which to measure (0 is the initialization), or an interval")
        )
    found += [
        (f"steps[{i}]", f"must lie in 0..{last} (the number of updates), not {step}")
        for i, step in enumerate(probes.steps)
        if not 0 <= step <= last
    ]
    return found


def _example_violations(probes: Probes, train_size: int | None) -> list[tuple[str, str]]:
    if probes.examples < 1:
        return [("examples", f"must be at least 1, not {probes.examples}")]
    if inside(probes) is not None and train_size is not None and probes.examples > train_size:
        return [("examples", f"{probes.examples} is more than the {train_size} training examples")]
    return [
        ("examples", f"{name} compare examples: at least {PROBES[name].least_examples} are needed")
        for name in probes.quantities
        if name in PROBES and probes.examples < PROBES[name].least_examples
    ]
