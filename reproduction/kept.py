"""Parts of a study that are measured once: an interrupted study continues after the last of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from reproduction.study import ROOT, Measured, Spec, key


def kept(study: str, part: Spec, measure: Callable[[], Iterable[Measured]]) -> list[Measured]:
    """What was measured of a part, now or before.

    Args:
        study: Name.
        part: All that determines its numbers.
        measure: Measures it.
    """
    path = ROOT / ".reproduce" / "parts" / study / f"{key(part)[:24]}.json"
    if path.exists():
        rows: list[dict[str, Any]] = json.loads(path.read_text())
        return [Measured(**row) for row in rows]
    found = list(measure())
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps([asdict(one) for one in found]))
    draft.replace(path)
    return found
