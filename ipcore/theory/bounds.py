"""Upper and lower bounds of the sizes of all steps, where alignment is in doubt."""

from __future__ import annotations

from dataclasses import replace

from ipcore.theory.given_alignment import Alignment
from ipcore.theory.parameterization import Parameterization
from ipcore.theory.rules import Rules
from ipcore.theory.trajectory import Trajectory, trajectory


def bounds(
    p: Parameterization, setting: Rules, steps: int | None = None, least: Alignment | None = None
) -> tuple[Trajectory, Trajectory]:
    """Upper and lower bounds of the sizes of all steps; they are equal if alignment is not in doubt.

    Sizes grow with every exponent of alignment: nothing is divided, and sums keep the largest term. So with
    alignment that is given, `least` bounds them from below. With normalized preactivations sizes are divided,
    and the two are no bounds (`ipcore.theory.normalization`).
    """
    upper = trajectory(p, setting, aligned=True, steps=steps)
    if setting.alignment is not None:
        same = least is None or least == setting.alignment
        return upper, upper if same else trajectory(
            p, replace(setting, alignment=least), aligned=True, steps=steps
        )
    return upper, trajectory(p, setting, aligned=False, steps=steps) if doubtful(p, setting) else upper


def doubtful(p: Parameterization, setting: Rules) -> bool:
    """Whether derived alignment may be known only by bounds.

    For aligned activations both bounds are equal, unless a mean may cancel.
    """
    return setting.activation.kind != "aligned" or (p.mean is not None and setting.cancels)
