"""Reports and figures, computed once for all visitors. numpy and matplotlib are loaded at first use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from iplab.errors import InvalidRequestError
from ipserver.web.kept import Kept

if TYPE_CHECKING:
    from ipcore.figures import Picture
    from iplab.results.experiment import Experiment
    from iplab.results.report import Report
    from iplab.studies.study import Study

MEDIA: Final = {
    "svg": "image/svg+xml",
    "png": "image/png",
    "pdf": "application/pdf",
    "csv": "text/csv; charset=utf-8",
}
# matplotlib's settings are global to the process.
_drawing: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Measured:
    """The report and the figures of an experiment.

    Attributes:
        report: Comparison of the measurements with theory.
        pictures: Figures by kind.
    """

    report: Report
    pictures: dict[str, Picture]


class Pictures:
    """Cache of reports, figures and their files. Keys change with the data."""

    def __init__(self) -> None:
        self._measured = Kept[Measured](most=64)
        self._pictures = Kept["Picture | None"](most=64)
        self._files = Kept[bytes](most=512)

    def measured(self, experiment: Experiment) -> Measured:
        """The report and the figures of an experiment at its present version."""

        def make() -> Measured:
            from iplab.plotting import pictures  # noqa: PLC0415 - see above

            report = experiment.check(alignment="alignment" in experiment.spec.record.probes.quantities)
            return Measured(report, pictures(experiment, report))

        return self._measured.get(version(experiment), make)

    def picture(self, key: Hashable, make: Callable[[], Picture]) -> Picture | None:
        """A figure made by `make`; None if there is nothing to draw."""

        def attempt() -> Picture | None:
            from ipcore.figures import PictureError  # noqa: PLC0415 - see above
            from iplab.studies.pictures import NothingToDraw  # noqa: PLC0415

            try:
                return make()
            except (PictureError, NothingToDraw, InvalidRequestError):
                return None

        return self._pictures.get(key, attempt)

    def file(self, key: Hashable, picture: Picture, ending: str) -> bytes:
        """A figure as a file.

        Args:
            key: Key of the figure.
            picture: The figure.
            ending: One of `MEDIA`.

        Raises:
            PictureError: There is nothing to draw.
        """

        def draw() -> bytes:
            with _drawing:
                return picture.encoded(f".{ending}")

        return self._files.get((key, ending), draw)


def version(experiment: Experiment) -> tuple[str, int]:
    """Key of an experiment's data; changes with every event."""
    return experiment.uid, experiment.sequence


def version_of_study(study: Study) -> tuple[str, int, int]:
    """Key of a study's data; changes with its findings and the number of ended runs."""
    return study.uid, study.sequence, study.spent.runs
