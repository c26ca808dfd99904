"""One self-contained page about an experiment or a study: the answer, tables, and figures inside."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from typing import TYPE_CHECKING, Final

from iplab.display.html import listed, of_table, paragraph, table_html
from iplab.studies.answers import interval_text, prediction_text, spent_text

if TYPE_CHECKING:
    from ipcore.figures import Picture
    from iplab.results.experiment import Experiment
    from iplab.studies.study import Study

_STYLE: Final = """
:root { color-scheme: light dark }
body { font: 1rem/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th { border-bottom: 1px solid; text-align: left } td, th { padding: .2em .6em }
figure { margin: 1.5rem 0 } figure img { max-width: 100%; background: white }
.answer { font-size: 1.15rem; font-weight: 600 }
"""


def study_page(study: Study) -> str:
    """A page about a study: the answer first.

    Raises:
        ImportError: matplotlib is missing; `pip install 'iplab[plot]'`.
    """
    from iplab.studies.pictures import NothingToDraw, picture_of  # noqa: PLC0415 - numpy only for pictures

    parts = [f'<p class="answer">{escape(study.sentence or "Nothing is known yet.")}</p>']
    parts.append(paragraph(f"{study.id} is {study.state}. Spent: {spent_text(study.spent)}."))
    parts += [paragraph(f"Warning: {text}") for text in study.warnings]
    try:
        parts.append(_figure(picture_of(study)))
    except NothingToDraw as error:
        parts.append(paragraph(f"No figure: {error}."))
    rows = [
        (answer.subject, cell.name, interval_text(cell), prediction_text(cell), cell.verdict.words, cell.why)
        for answer in study.answers
        for cell in answer.cells
    ]
    headings = ("subject", "quantity", "95 % interval", "theory", "verdict", "why")
    parts.append(table_html(headings, rows, "Numbers"))
    parts.append("<h2>Rounds</h2>")
    for one in study.rounds:
        parts.append(paragraph(f"{one.number}. {one.runs} runs: {one.why}"))
        parts.append(listed(one.learned))
    parts.append("<h2>Experiments</h2>")
    parts.append(listed(study.experiments))
    return _page(study.display_name or f"Study {study.id}: {study.question}", parts)


def experiment_page(experiment: Experiment) -> str:
    """A page about an experiment: comparison with theory, figures, results.

    Raises:
        ImportError: matplotlib is missing; `pip install 'iplab[plot]'`.
    """
    from iplab.display.tables import summary_table  # noqa: PLC0415 - rich only where something is drawn
    from iplab.plotting import pictures  # noqa: PLC0415 - numpy only for pictures

    parts = [
        paragraph(f"{experiment.headline}; {experiment.committed_steps} of {experiment.total_steps} steps.")
    ]
    report = experiment.check(alignment="alignment" in experiment.spec.record.probes.quantities)
    answers = [f"{one.subject.parameterization}: {one.sentence}" for one in report.conclusions]
    parts = [f'<p class="answer">{escape(text)}</p>' for text in answers] + parts
    parts += [paragraph(f"Warning: {text}") for text in experiment.warnings]
    parts += [_figure(picture) for picture in pictures(experiment, report).values()]
    parts.append("<h2>Results</h2>")
    parts.append(of_table(summary_table(experiment.summary())))
    parts += [listed(report.measurements), listed(report.notes)]
    return _page(experiment.display_name or f"Experiment {experiment.id}", parts)


def _figure(picture: Picture) -> str:
    """The figure as an image, because ids of two inline SVGs would clash."""
    data, text = b64encode(picture.encoded(".svg")).decode(), escape(picture.caption)
    return (
        f'<figure><img alt="{text}" src="data:image/svg+xml;base64,{data}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def _page(title: str, parts: list[str]) -> str:
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )
