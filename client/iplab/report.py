"""Measurement held against theory: what `Experiment.check` returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from iplab.plain import enum_name
from iplab.transport import Transport
from iplab.v1 import report_pb2 as pb
from iplab.v1 import report_service_pb2


class Verdict(StrEnum):
    """What measurement says of theory, at the widths that were measured."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Subject:
    """Runs that differ only in width and seed.

    Attributes:
        parameterization: Label of what was trained.
        reference: What theory was asked about: the same label, or what was given as intended.
        hidden_layers: L.
        activation: Name.
        base_learning_rate: eta; None with rate transfer, which compares several.
        layers: Weight matrices; the last layer is the output f.
    """

    parameterization: str
    reference: str
    hidden_layers: int
    activation: str
    base_learning_rate: float | None
    layers: int


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison.

    Attributes:
        kind: "COORDINATE", "STATIONARITY", "CALIBRATED_RATE" or "RATE_TRANSFER".
        subject: Whose runs.
        quantity: "h" or "h_change" with coordinates and stationarity, else "".
        layer: l, 1..n (n is the output f; L+1 of a perceptron); 0 with rate transfer.
        step: Updates done.
        predicted: Exponent, exact ("-1/2"); "" where theory predicts none.
        upper_bound: Whether the prediction is an upper bound only.
        tolerance: Distance from the prediction that still agrees.
        slope: Of log value against log width; with rate transfer octaves per doubling.
        low: Lower end of its 95 % interval over seeds; None with one seed.
        high: Upper end.
        drift: Change of the local slope from the smallest to the largest width.
        verdict: At these widths.
        sentence: All of it in words.
        widths: m, ascending.
        values: Geometric means over seeds, one per width; with rate transfer the best rates.
        seeds: How many were used.
    """

    kind: str
    subject: Subject
    quantity: str
    layer: int
    step: int
    predicted: str
    upper_bound: bool
    tolerance: float
    slope: float
    low: float | None
    high: float | None
    drift: float
    verdict: Verdict
    sentence: str
    widths: tuple[int, ...]
    values: tuple[float, ...]
    seeds: int

    @property
    def name(self) -> str:
        """What was compared, for tables: "h^2", "change of f", "rate of layer 2", "best rate"."""
        match self.kind:
            case "COORDINATE" | "STATIONARITY":
                size = "f" if self.layer == self.subject.layers else f"h^{self.layer}"
                name = size if self.quantity == "h" else f"change of {size}"
                return name if self.kind == "COORDINATE" else f"{name}: falls?"
            case "CALIBRATED_RATE":
                return f"rate of layer {self.layer}"
            case "RATE_TRANSFER":
                return "best rate"
        return self.kind


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What the coordinates of one subject say together.

    Attributes:
        subject: Whose runs.
        verdict: Disagrees if a check does; agrees if all that theory stands for do.
        sentence: The first layer that disagrees and from which step, or how many checks agree.
    """

    subject: Subject
    verdict: Verdict
    sentence: str


@dataclass(frozen=True, slots=True)
class Report:
    """Everything an experiment recorded that theory speaks of.

    Attributes:
        name: "experiments/{id}".
        checks: By subject; coordinates by step and layer.
        conclusions: One per subject with coordinates.
        notes: What could not be checked and why, and what to change.
    """

    name: str
    checks: tuple[Check, ...]
    conclusions: tuple[Conclusion, ...]
    notes: tuple[str, ...]

    @property
    def disagrees(self) -> bool:
        """Whether any check does."""
        return any(check.verdict is Verdict.DISAGREES for check in self.checks)

    def to_dict(self) -> dict[str, object]:
        """Plain values, as `iplab check --json` prints them."""
        return asdict(self)


def check_experiment(
    transport: Transport,
    name: str,
    references: Mapping[str, str],
    steps: Sequence[int],
    tolerance: float | None,
) -> Report:
    """See `Experiment.check`."""
    intended = [
        report_service_pb2.IntendedParameterization(parameterization=label, reference=reference)
        for label, reference in references.items()
    ]
    request = report_service_pb2.CheckExperimentRequest(
        name=name, references=intended, steps=steps, tolerance=tolerance
    )
    found = transport.call(transport.reports.CheckExperiment, request)
    return Report(
        found.name,
        tuple(_check(check) for check in found.checks),
        tuple(Conclusion(_subject(c.subject), _verdict(c.verdict), c.sentence) for c in found.conclusions),
        tuple(found.notes),
    )


def _check(message: pb.Check) -> Check:
    return Check(
        kind=enum_name(pb.CheckKind.DESCRIPTOR, message.kind),
        subject=_subject(message.subject),
        quantity=message.quantity,
        layer=message.layer,
        step=message.step,
        predicted=message.predicted,
        upper_bound=message.upper_bound,
        tolerance=message.tolerance,
        slope=message.slope,
        low=message.low if message.HasField("low") else None,
        high=message.high if message.HasField("high") else None,
        drift=message.drift,
        verdict=_verdict(message.verdict),
        sentence=message.sentence,
        widths=tuple(point.width for point in message.points),
        values=tuple(point.value for point in message.points),
        seeds=message.seeds,
    )


def _subject(message: pb.CheckSubject) -> Subject:
    return Subject(
        message.parameterization,
        message.reference,
        message.hidden_layers,
        message.activation,
        message.base_learning_rate or None,
        message.layers or message.hidden_layers + 1,  # a service that knows perceptrons alone says nothing
    )


def _verdict(number: int) -> Verdict:
    """A verdict of a newer service that this version lacks decides nothing here."""
    name = enum_name(pb.Verdict.DESCRIPTOR, number)
    return Verdict[name] if name in Verdict.__members__ else Verdict.UNDECIDED
