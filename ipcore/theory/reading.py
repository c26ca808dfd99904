"""Parameterizations from data of `Parameterization.to_dict`, or written by hand: names every wrong field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from ipcore.theory.checks import check_start
from ipcore.theory.errors import Findings, TheoryError, shown
from ipcore.theory.exponents import as_exponent, read_row, sequence
from ipcore.theory.names import check_name
from ipcore.theory.parameterization import Biases, Exponents, Parameterization, RatePhase, Reweighting


def read_parameterization(data: Mapping[str, Any]) -> Parameterization:
    """A parameterization from JSON-ready data.

    Raises:
        TheoryError: Missing or unknown keys, values that are not exponents, steps that are not integers;
            `problems` has all of them with their paths.
    """
    _check_keys(data, ("a", "b", "phases"), ("biases", "mean", "reweightings"), "")
    findings = Findings()
    a: Exponents = ()
    b: Exponents = ()
    phases: tuple[RatePhase, ...] = ()
    biases: Biases | None = None
    mean: tuple[Fraction | None, ...] | None = None
    reweightings: tuple[Reweighting, ...] = ()
    with findings.noted():
        a = read_row(data["a"], "a")
    with findings.noted():
        b = read_row(data["b"], "b")
    with findings.noted():
        phases = _phases(data["phases"], "phases")
    with findings.noted():
        biases = None if data.get("biases") is None else _biases(data["biases"])
    with findings.noted():
        mean = None if data.get("mean") is None else _optional_row(data["mean"], "mean")
    with findings.noted():
        reweightings = _reweightings(data.get("reweightings", ()))
    findings.check()
    return Parameterization(a, b, phases, biases, mean, reweightings)


def _biases(data: Any) -> Biases:
    _check_keys(data, ("a", "b", "phases"), (), "biases.")
    findings = Findings()
    rows: dict[str, Exponents] = {}
    phases: tuple[RatePhase, ...] = ()
    for name in ("a", "b"):
        with findings.noted():
            rows[name] = read_row(data[name], f"biases.{name}")
    with findings.noted():
        phases = _phases(data["phases"], "biases.phases")
    findings.check()
    return Biases(rows["a"], rows["b"], phases)


def _phases(entries: Any, field: str) -> tuple[RatePhase, ...]:
    findings = Findings()
    phases = []
    for i, entry in enumerate(sequence(entries, field)):
        path = f"{field}[{i}]"
        with findings.noted():
            _check_keys(entry, ("start", "c"), ("d",), f"{path}.")
            inner = Findings()
            with inner.noted():
                check_start(entry["start"], 0, f"{path}.start")
            with inner.noted():
                c = read_row(entry["c"], f"{path}.c")
            with inner.noted():
                d = None if entry.get("d") is None else read_row(entry["d"], f"{path}.d")
            inner.check()
            phases.append(RatePhase(entry["start"], c, d))
    findings.check()
    return tuple(phases)


def _reweightings(entries: Any) -> tuple[Reweighting, ...]:
    findings = Findings()
    found = []
    for i, entry in enumerate(sequence(entries, "reweightings")):
        path = f"reweightings[{i}]"
        with findings.noted():
            _check_keys(entry, ("start", "k"), (), f"{path}.")
            inner = Findings()
            with inner.noted():
                check_start(entry["start"], 1, f"{path}.start")
            with inner.noted():
                k = _optional_row(entry["k"], f"{path}.k")
            inner.check()
            found.append(Reweighting(entry["start"], k))
    findings.check()
    return tuple(found)


def _check_keys(data: Any, needed: Sequence[str], optional: Sequence[str], prefix: str) -> None:
    if not isinstance(data, Mapping):
        where = prefix.removesuffix(".")
        raise TheoryError(f"must be a mapping with {', '.join(needed)}, not {shown(data)}", where)
    findings = Findings()
    for key in needed:
        with findings.noted():
            if key not in data:
                raise TheoryError("is missing", prefix + key)
    for key in data:
        with findings.noted():
            check_name(key, [*needed, *optional], f"{prefix}key")
    findings.check()


def _optional_row(entries: Any, field: str) -> tuple[Fraction | None, ...]:
    findings = Findings()
    values: list[Fraction | None] = []
    for i, entry in enumerate(sequence(entries, field)):
        with findings.noted():
            values.append(None if entry is None else as_exponent(entry, f"{field}[{i}]"))
    findings.check()
    return tuple(values)
