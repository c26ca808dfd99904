"""The page docs/catalogue.md, from the entries: `python -m ipcore.catalogue.tables > docs/catalogue.md`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from ipcore.catalogue.activations import ACTIVATIONS, POWERS, Behaviour
from ipcore.catalogue.choices import BIASES, KEPT_WEIGHTS, METRICS, NORMALIZATIONS, PRECISIONS
from ipcore.catalogue.datasets import DATASETS
from ipcore.catalogue.entries import Entry
from ipcore.catalogue.losses import LOSSES
from ipcore.catalogue.optimizers import KNOWN_OPTIMIZERS, OptimizerSettings
from ipcore.catalogue.optimizers import users_of as optimizers_with
from ipcore.catalogue.probes import PROBES
from ipcore.catalogue.schedules import SCHEDULES, Schedule
from ipcore.catalogue.schedules import users_of as schedules_with
from ipcore.catalogue.settings import settings

_HEAD: Final = """# Catalogue

What specs may name. Made from `ipcore.catalogue` (`python -m ipcore.catalogue.tables`); `iplab catalog` shows
the same of a service, with its datasets. "Not covered" means that runs train without a prediction.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_sections()])


def _sections() -> Iterator[str]:
    yield "## Activations\n"
    rows: list[tuple[str, ...]] = [
        (entry.name, entry.description, f"{entry.variance:g}", _behaviour(entry.behaviour))
        for entry in ACTIVATIONS.values()
    ]
    power = (POWERS, "max(h, 0)^p, p a rational number >= 1", "1 / E[max(z, 0)^(2p)]", "aligned, degree p")
    yield _table(("name", "phi(h)", "s^2", "theory"), [*rows, power])
    yield "## Losses\n"
    rows = [
        (entry.name, entry.description, entry.derivative.description if entry.derivative else "not covered")
        for entry in LOSSES.values()
    ]
    yield _table(("name", "loss of an example", "theory"), rows)
    yield "## Optimizers\n"
    rows = [
        (entry.name, entry.description, ", ".join(entry.uses), _analysed(entry.name, entry.analysed_as))
        for entry in KNOWN_OPTIMIZERS.values()
    ]
    yield _table(("name", "what it is", "settings", "theory"), rows)
    yield _settings(OptimizerSettings, {name: optimizers_with(name) for name in settings(OptimizerSettings)})
    yield "## Schedules\n"
    yield _table(("name", "factor of all rates after the warm-up"), _lines(SCHEDULES.values()))
    names = [name for name in settings(Schedule) if name != "name"]
    yield _settings(Schedule, {name: schedules_with(name) for name in names})
    for title, entries in (
        ("Precisions", PRECISIONS),
        ("Biases", BIASES),
        ("Normalizations of models", NORMALIZATIONS),
        ("Weights that are kept", KEPT_WEIGHTS),
        ("Probes", PROBES),
        ("Datasets", DATASETS),
    ):
        yield f"## {title}\n"
        yield _table(("name", "what it is"), _lines(entries.values()))
    yield "Families of datasets and registered files: [data.md](data.md). "
    yield f"Metrics of every run: {', '.join(METRICS)}."


def _behaviour(rule: Behaviour | None) -> str:
    if rule is None:
        return "not covered"
    marks = ["bounded"] * rule.bounded + ["odd"] * rule.odd + ["phi' constant"] * (not rule.nonlinear)
    return ", ".join([rule.kind, *marks])


def _analysed(name: str, rule: str) -> str:
    return {"": "not covered", name: "covered"}.get(rule, f"as {rule}")


def _lines(entries: Iterable[Entry]) -> list[tuple[str, str]]:
    return [(entry.name, entry.description) for entry in entries]


def _settings(owner: type, users: Mapping[str, Sequence[str]]) -> str:
    found = settings(owner)
    rows = [
        (name, ", ".join(used), found[name].meaning, found[name].allowed, str(found[name].default))
        for name, used in users.items()
    ]
    return _table(("setting", "used by", "meaning", "allowed", "default"), rows)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


if __name__ == "__main__":
    print(page())
