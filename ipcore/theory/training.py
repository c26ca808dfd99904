"""Which parameterizations the trainer can train; theory covers more."""

from __future__ import annotations

from ipcore.theory.parameterization import Parameterization


def untrainable_reason(parameterization: Parameterization) -> str | None:
    """Why `ipcore` cannot train a parameterization yet.

    It trains multipliers, centred initial weights and rates in phases, with SGD.

    Args:
        parameterization: Any.

    Returns:
        A sentence that names what is missing, or None if it can be trained.

    >>> from ipcore.theory.presets import preset
    >>> untrainable_reason(preset("ip-llr", 3)) is None
    True
    """
    missing = []
    if parameterization.biases is not None:
        missing.append("biases with exponents of their own")
    if parameterization.mean is not None:
        missing.append("initial weights with a mean")
    if parameterization.reweightings:
        missing.append("re-weighting or removal of the initial matrices")
    if any(phase.d is not None for phase in parameterization.phases):
        missing.append("epsilon exponents of Adam")
    if not missing:
        return None
    return f"training does not support {', '.join(missing)}; analysis does"
