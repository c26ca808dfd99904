"""The axes of the grid that define the network of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, get_type_hints


@dataclass(frozen=True, slots=True, order=True)
class NetworkShape:
    """The axes of the grid that define a network; the runs of a pack share them.

    Runs and packs are such shapes with more fields; their rows have columns of the same names.
    `ipserver.request.fields` names the grid's axes.
    """

    hidden_layers: int
    width: int
    activation: str

    @classmethod
    def of(cls, value: Any) -> NetworkShape:
        """The shape in a run, a pack, a row of either, or a configuration.

        >>> from ipserver.store.records.runs import NewRun
        >>> run = NewRun(2, 64, "relu", index=0, parameterization="mup", base_learning_rate=0.1, seed=0)
        >>> NetworkShape.of(run)
        NetworkShape(hidden_layers=2, width=64, activation='relu')
        """
        return NetworkShape(*_GET(value))

    @classmethod
    def of_depth(cls, hidden_layers: int) -> NetworkShape:
        """A shape with this depth, for uses that ignore the other axes, which are 1 or "".

        >>> NetworkShape.of_depth(3)
        NetworkShape(hidden_layers=3, width=1, activation='')
        """
        others = {axis: 1 if kind is int else "" for axis, kind in AXES.items()}
        return NetworkShape(**{**others, "hidden_layers": hidden_layers})  # type: ignore[arg-type]

    @classmethod
    def values_of(cls, value: Any) -> dict[str, Any]:
        """Values by name of the axis, from any argument of `of`."""
        return dict(zip(AXES, _GET(value), strict=True))

    def values(self) -> dict[str, Any]:
        """Values by name of the axis."""
        return self.values_of(self)


# Name and type of each axis, for columns of the store and fields of filters.
AXES: Final[Mapping[str, type[int] | type[str]]] = MappingProxyType(get_type_hints(NetworkShape))
_GET: Final = attrgetter(*AXES)
