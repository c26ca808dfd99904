"""Settings that distinguish the runs of a grid: the columns by which frames and figures group."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from ipcore.catalogue.widths import width_of
from iplab.errors import InvalidRequestError, Violation
from iplab.given import Handle
from iplab.specs.vocabulary import field_named, meant

if TYPE_CHECKING:
    from iplab.results.run_view import RunView
    from iplab.v1.run_service_pb2 import RunGroup


@dataclass(frozen=True, slots=True)
class NetworkSettings(Handle):
    """The axes of a grid that define the network of a run, and its exponents.

    Attributes:
        parameterization: Label of the parameterization.
        hidden_layers: L.
        width: m; math.inf for a limit.
        activation: Name.
    """

    parameterization: str
    hidden_layers: int
    width: float
    activation: str


# Their names, which are also fields of runs and of groups of runs.
NETWORK: Final = tuple(entry.name for entry in fields(NetworkSettings))


def network_of(group: RunGroup) -> dict[str, Any]:
    """The values of `NetworkSettings` of a group of runs, by name."""
    return {name: getattr(group, name) for name in NETWORK} | {"width": width_of(group.width)}


@dataclass(frozen=True, slots=True)
class Settings(NetworkSettings):
    """The point of the grid of a run, with the names of `Run`, filters and tables.

    Attributes:
        base_learning_rate: eta.
        seed: Seed of initial weights and batches.
    """

    base_learning_rate: float
    seed: int

    @classmethod
    def of(cls, run: RunView) -> Settings:
        """The settings of a run."""
        return cls(*(getattr(run, name) for name in AXES))


AXES: Final = tuple(entry.name for entry in fields(Settings))


def axis(name: str) -> str:
    """The axis with a name, in upper or lower case, or with a synonym of the name.

    Raises:
        InvalidRequestError: There is no such axis; the message lists the existing ones.

    >>> axis("depth"), axis("Base learning rate")
    ('hidden_layers', 'base_learning_rate')
    """
    found = field_named(name, AXES)
    if found is None:
        near = meant(name, AXES)
        hint = f"did you mean {near}? There are: " if near else "there are: "
        raise InvalidRequestError([Violation("by", f"there is no axis {name!r}; {hint}{', '.join(AXES)}")])
    return found


def varying(settings: Iterable[Settings]) -> list[str]:
    """The axes except seeds that have more than one value."""
    listed = list(settings)
    return [name for name in AXES if name != "seed" and len({getattr(s, name) for s in listed}) > 1]
