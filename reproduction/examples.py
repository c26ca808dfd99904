"""Specs of `examples/`, as they are and made smaller."""

from __future__ import annotations

import copy
from typing import Any

import yaml

from reproduction.study import ROOT


def experiment(name: str) -> dict[str, Any]:
    """The experiment in examples/NAME.yaml."""
    document = yaml.safe_load((ROOT / "examples" / f"{name}.yaml").read_text())
    if not isinstance(document, dict):
        raise TypeError(f"examples/{name}.yaml is not a mapping")
    return document


def smaller(document: dict[str, Any], steps: int | None = None, **axes: list[Any]) -> dict[str, Any]:
    """A copy with other axes of the grid, and fewer steps (probes and intervals follow)."""
    result = copy.deepcopy(document)
    spec = result["spec"]
    spec["grid"].update(axes)
    if steps is not None:
        old = spec["steps"]
        spec["steps"] = steps
        if probes := spec.get("record", {}).get("probes"):
            within = {steps if step == old else step for step in probes["steps"]}
            probes["steps"] = sorted(step for step in within if step <= steps)
        if spec.get("evaluation_interval", 0) > steps:
            spec["evaluation_interval"] = 0
    return result
