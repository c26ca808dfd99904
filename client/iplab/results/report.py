"""Comparison of measurements with theory: the result of `Experiment.check`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, Self

from iplab.connection.transport import Transport
from iplab.given import filled
from iplab.results.reading import computed, read
from iplab.v1 import report_pb2, report_service_pb2

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from ipcore.figures import PowerLaws


class Verdict(StrEnum):
    """Verdict of a comparison of measurement with theory, at the measured widths."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    UNDECIDED = "undecided"
    NOT_YET = "not yet"
    NOT_BRACKETED = "not bracketed"

    @classmethod
    def read(cls, name: str) -> Self:
        """The member of that name; UNDECIDED for a verdict of a newer service that this version lacks."""
        return cls[name] if name in cls.__members__ else cls["UNDECIDED"]


@dataclass(frozen=True, slots=True)
class Subject:
    """Runs that differ only in width and seed.

    Attributes:
        parameterization: Label of the trained parameterization.
        reference: Parameterization that theory was applied to: the same label, or the one given as intended.
        hidden_layers: L.
        activation: Name.
        base_learning_rate: eta; None with rate transfer, which compares several.
        layers: Number of weight matrices; the last layer is the output f.
    """

    parameterization: str
    reference: str
    hidden_layers: int
    activation: str
    base_learning_rate: float | None = field(metadata=computed(lambda m: m.base_learning_rate or None))
    layers: int = field(metadata=computed(lambda m: m.layers or m.hidden_layers + 1))  # older services


def _ends(
    check: report_pb2.Check, end: Literal["low", "high", "variance", "bias"]
) -> tuple[float | None, ...]:
    return tuple(getattr(point, end) if point.HasField(end) else None for point in check.points)


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison.

    Attributes:
        kind: "COORDINATE", "STATIONARITY", "CALIBRATED_RATE", "RATE_TRANSFER", "ALIGNMENT", "LIMIT"
            or "ISOLATED_UPDATE"; "UNKNOWN" if this version does not know it.
        subject: Settings that the runs share.
        quantity: "h" or "h_change" with coordinates and stationarity; "alignment_update" (theta),
            "alignment_backward" (theta') or "alignment_change" (omega) with alignment; "isolated_change" or
            "isolated_bias_change" with isolated updates; "output_sketch" with distances of outputs to the
            limit ("" with those of losses); else "".
        layer: l, 1..n (n is the output f; L+1 of a perceptron); 0 with rate transfer.
        step: Updates done.
        predicted: Exponent, exact ("-1/2"); "" if theory predicts none.
        predicted_high: With rate transfer the upper end of the predicted drift (`predicted` is the lower
            end); with alignment the upper bound, if theory has two; else "".
        upper_bound: Whether the prediction is an upper bound only.
        tolerance: Largest distance from the prediction that still counts as agreement.
        slope: Slope of log value against log width; with rate transfer octaves per doubling, None if the best
            rate of a width is not bracketed by the grid.
        low: Lower end of its 95 % interval over seeds; None with one seed.
        high: Upper end.
        drift: Change of the local slope from the smallest to the largest width; None if no line was fitted,
            as for a best rate.
        verdict: Verdict at the measured widths.
        sentence: The finding in one sentence.
        widths: m, ascending.
        values: Geometric means over seeds, one per width; with rate transfer the best rates; with distances
            to the limit root mean squares.
        lows: Lower ends of the values' 95 % intervals over seeds; None if they are not known (one seed).
        highs: Upper ends.
        seeds: Number of seeds used.
        expected: Slope at these widths computed from the parts of a change, measured at one width; None if
            they are not known.
        variances: With distances to the limit, the part of each squared value that is variance over seeds.
        biases: The other part, squared bias. The estimates are unbiased, so small ones may be negative.
    """

    kind: str
    subject: Subject
    quantity: str
    layer: int
    step: int
    predicted: str
    predicted_high: str
    upper_bound: bool
    tolerance: float
    slope: float | None
    low: float | None
    high: float | None
    drift: float | None
    verdict: Verdict
    sentence: str
    widths: tuple[int, ...] = field(metadata=computed(lambda m: tuple(p.width for p in m.points)))
    values: tuple[float, ...] = field(metadata=computed(lambda m: tuple(p.value for p in m.points)))
    lows: tuple[float | None, ...] = field(metadata=computed(lambda m: _ends(m, "low")))
    highs: tuple[float | None, ...] = field(metadata=computed(lambda m: _ends(m, "high")))
    seeds: int
    expected: float | None = None
    variances: tuple[float | None, ...] = field(default=(), metadata=computed(lambda m: _ends(m, "variance")))
    biases: tuple[float | None, ...] = field(default=(), metadata=computed(lambda m: _ends(m, "bias")))

    @property
    def sizes(self) -> tuple[tuple[int, float, float | None, float | None], ...]:
        """The points of figures: width, value, lower and upper end."""
        return tuple(zip(self.widths, self.values, self.lows, self.highs, strict=True))

    @property
    def name(self) -> str:
        """Name of the compared number, for tables: "h^2", "change of f", "rate of layer 2", "best rate"."""
        match self.kind:
            case "COORDINATE" | "STATIONARITY":
                size = "f" if self.layer == self.subject.layers else f"h^{self.layer}"
                name = size if self.quantity == "h" else f"change of {size}"
                return name if self.kind == "COORDINATE" else f"{name}: falls?"
            case "CALIBRATED_RATE":
                return f"rate of layer {self.layer}"
            case "RATE_TRANSFER" | "LIMIT":
                distance = "distance to the limit" if self.quantity else "distance of the loss to the limit"
                return "best rate" if self.kind == "RATE_TRANSFER" else distance
            case "ALIGNMENT":
                what = {"alignment_backward": "theta'", "alignment_change": "omega"}
                return f"{what.get(self.quantity, 'theta')} of W^{self.layer}"
            case "ISOLATED_UPDATE":
                size = "f" if self.layer == self.subject.layers else f"h^{self.layer}"
                return f"{size} by own {'bias' if self.quantity == 'isolated_bias_change' else 'matrix'}"
        words = self.kind.lower().replace("_", " ")
        return f"{words} of layer {self.layer}" if self.layer else words


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The joint conclusion from the coordinates, or the isolated updates, of one subject.

    Attributes:
        subject: Settings that the runs share.
        verdict: Disagrees if a check disagrees; agrees if all checks that theory predicts agree; not yet if
            all others agree.
        sentence: The first layer that disagrees and its first step, or the number of checks that agree.
    """

    subject: Subject
    verdict: Verdict
    sentence: str


@dataclass(frozen=True, slots=True)
class Report:
    """An experiment's measurements compared with theory.

    Attributes:
        name: "experiments/{id}".
        checks: By subject; coordinates by step and layer.
        conclusions: By subject: one on coordinates, one on isolated updates, if they were recorded.
        notes: Comparisons that could not be made, each with the reason and what to change.
        alignments: If alignment was asked for, one per subject: where the network leaves the calculus, and
            the regime with the measured alignment.
        measurements: Measurements that cannot be compared with theory: distances to the limit at too few
            widths for a slope.
    """

    name: str
    checks: tuple[Check, ...]
    conclusions: tuple[Conclusion, ...]
    notes: tuple[str, ...]
    alignments: tuple[Conclusion, ...] = ()
    measurements: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        from iplab.display import html  # noqa: PLC0415 - notebooks alone
        from iplab.display.answers import answers, overview  # noqa: PLC0415 - it imports this module

        found = answers(self)
        rows = [(answer.verdict.value, answer.sentence) for answer in found]
        return html.titled(
            f"{self.name} compared with theory",
            html.paragraph(overview(found)) if len(found) > 1 else "",
            html.table_html(("verdict", "answer"), rows)
            if rows
            else html.paragraph("nothing could be compared with theory"),
            html.listed(self.measurements),
            html.listed(self.notes),
            html.folded(f"every comparison: {len(self.checks)}", _comparisons(self.checks))
            if self.checks
            else "",
        )

    @property
    def disagrees(self) -> bool:
        """Whether any check disagrees."""
        return any(check.verdict is Verdict.DISAGREES for check in self.checks)

    def pictures(self) -> dict[str, PowerLaws]:
        """The figures of its checks, by kind: "coordinates", "drift", "calibrated-rates", ..."""
        from ipcore.figures import report_pictures  # noqa: PLC0415 - numpy only where it is drawn

        return report_pictures(self.checks, self.conclusions)

    def plot(
        self,
        kind: str | None = None,
        *,
        ax: Axes | None = None,
        figure: Figure | SubFigure | None = None,
    ) -> PowerLaws:
        """One of its figures, which shows itself in a notebook; `save` writes it to a file.

        Args:
            kind: A key of `pictures`; None: the first.
            ax: Axes of matplotlib to draw into, as with `Experiment.plot`.
            figure: A figure or subfigure to fill.

        Raises:
            PictureError: There is no figure of that kind, and the message names the existing ones; or it does
                not fit into `ax` or `figure`.
        """
        from ipcore.figures.reports import choose  # noqa: PLC0415 - as above

        return choose(self.pictures(), kind).placed_in(ax, figure)

    def to_dict(self) -> dict[str, object]:
        """Plain values, as `iplab check --json` prints them."""
        return asdict(self)


def check_experiment(
    transport: Transport,
    name: str,
    references: Mapping[str, str],
    steps: Sequence[int],
    tolerance: float | None,
    *,
    alignment: bool = False,
) -> Report:
    """See `Experiment.check`."""
    intended = [
        filled(report_service_pb2.IntendedParameterization, parameterization=label, reference=reference)
        for label, reference in references.items()
    ]
    request = filled(
        report_service_pb2.CheckExperimentRequest,
        name=name,
        references=intended,
        steps=steps,
        tolerance=tolerance,
        alignment=alignment,
    )
    found = transport.call(transport.reports.CheckExperiment, request)
    return read(Report, found)


def _comparisons(checks: Sequence[Check]) -> str:
    """A row per check, as HTML."""
    from iplab.display import html  # noqa: PLC0415 - notebooks alone

    rows = [
        (
            check.subject.parameterization,
            check.subject.hidden_layers,
            check.subject.activation,
            "" if check.subject.base_learning_rate is None else f"{check.subject.base_learning_rate:g}",
            check.verdict.value,
            check.sentence,
        )
        for check in checks
    ]
    return html.table_html(("parameterization", "L", "activation", "base rate", "verdict", "measured"), rows)
