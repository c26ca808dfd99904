"""An experiment's report and its figures as files for MLflow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from ipcore.figures import PictureError
from iplab.display.answers import answers
from iplab.results.reading import read
from iplab.results.report import Report
from ipserver.reports.report import ALIGNMENT, report
from ipserver.request.stored import stored_spec

if TYPE_CHECKING:
    from ipserver.store import Store

# Pictures that MLflow shows, and their numbers.
_ENDINGS: Final = (".svg", ".csv")


def report_files(store: Store, experiment: str) -> Mapping[str, bytes]:
    """Files by path: the report, its answers in sentences, and its figures with their numbers.

    Args:
        store: The store.
        experiment: The experiment's id.

    Returns:
        No files if the experiment has measured nothing that theory predicts.
    """
    spec = stored_spec(store.get_experiment(experiment).spec)
    asked = ALIGNMENT if "alignment" in spec.record.probes.quantities else ()
    found = read(Report, report(store, experiment, spec, asked))
    if not found.checks:
        return {}
    sentences = [answer.sentence for answer in answers(found)] + [f"note: {note}" for note in found.notes]
    files = {
        "report.json": json.dumps(found.to_dict(), indent=2).encode(),
        "answers.txt": "".join(f"{sentence}\n" for sentence in sentences).encode(),
    }
    for kind, picture in found.pictures().items():
        try:
            files |= {f"figures/{kind}{ending}": picture.encoded(ending) for ending in _ENDINGS}
        except PictureError:  # nothing to draw, for example because every run has diverged
            continue
    return files
