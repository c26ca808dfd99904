"""Resource names: the only file that composes and parses them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ipserver.errors import FieldViolation, InvalidRequest

T = TypeVar("T")
_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_RUN = re.compile(r"r(\d{5})")
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# Shorter than experiment ids, which contain it.
_STUDY = re.compile(r"[a-z]([a-z0-9-]{0,40}[a-z0-9])?")
STUDY_ID_RULE = (
    "1-42 lower-case letters, digits and hyphens, starting with a letter, not ending with a hyphen"
)
# The project of requests that name none.
DEFAULT_PROJECT = "default"
# Page of MLflow's UI that lists experiments. The parameter workflowType would hold for this page alone: an
# experiment that is opened from it is shown as "GenAI", without runs, until the reader chooses otherwise.
MLFLOW_EXPERIMENTS = "/#/experiments"
MLFLOW_HINT = 'choose "Model training" at its top left, once: else it shows "GenAI", without runs'
# Maximum number of labels of an experiment or study.
MOST_LABELS = 32
ID_RULE = "1-63 lower-case letters, digits and hyphens, starting with a letter, not ending with a hyphen"


@dataclass(frozen=True, slots=True)
class RunName:
    """A run's experiment id and index."""

    experiment: str
    index: int


def is_experiment_id(text: str) -> bool:
    """Whether `text` can be the last part of an experiment's name (`ID_RULE`)."""
    return _ID.fullmatch(text) is not None


def experiment_name(experiment: str) -> str:
    """experiments/{experiment}."""
    return f"experiments/{experiment}"


def run_id(index: int) -> str:
    """A run's id, a function of its index (0 .. 99,999)."""
    return f"r{index:05d}"


def run_name(experiment: str, index: int) -> str:
    """experiments/{experiment}/runs/{run}."""
    return f"experiments/{experiment}/runs/{run_id(index)}"


def artifact_name(experiment: str, index: int, path: str) -> str:
    """experiments/{experiment}/runs/{run}/artifacts/{path}."""
    return f"{run_name(experiment, index)}/artifacts/{path}"


def part_of(pack: str, number: int) -> str:
    """The id of part `number` of a pack that was split."""
    return f"{pack}-{number}"


def lineage(pack: str) -> tuple[str, ...]:
    """The pack's id preceded by its ancestors' ids, whose segments hold its runs' earlier points.

    >>> lineage(part_of(part_of("p0003", 2), 1))
    ('p0003', 'p0003-2', 'p0003-2-1')
    """
    parts = pack.split("-")
    return tuple("-".join(parts[:length]) for length in range(1, len(parts) + 1))


def parse_experiment(name: str, field: str) -> str:
    """The experiment id in an experiment's name.

    Raises:
        InvalidRequest: `name` does not have this form. The violation names `field`.
    """
    match name.split("/"):
        case ["experiments", experiment] if is_experiment_id(experiment):
            return experiment
    raise _malformed(name, field, "experiments/{experiment}")


def parse_run(name: str, field: str) -> RunName:
    """Experiment id and index from a run's name. Raises InvalidRequest as `parse_experiment`."""
    match name.split("/"):
        case ["experiments", experiment, "runs", run] if is_experiment_id(experiment):
            if found := _RUN.fullmatch(run):
                return RunName(experiment, int(found[1]))
    raise _malformed(name, field, "experiments/{experiment}/runs/r00000")


def parse_runs_of(experiment: str, names: Sequence[str], field: str) -> list[int]:
    """The indices in names of runs of one experiment.

    Raises:
        InvalidRequest: There are no names, or some are not names of its runs; names all of these.
    """

    def index(name: str, where: str) -> int:
        run = parse_run(name, where)
        if run.experiment != experiment:
            raise InvalidRequest(
                [FieldViolation(where, f"{name!r} is not a run of {experiment_name(experiment)!r}")]
            )
        return run.index

    return parse_several(names, field, index)


def parse_several(names: Sequence[str], field: str, parse: Callable[[str, str], T]) -> list[T]:
    """Parse several names.

    Args:
        names: The names in a request.
        field: The repeated field of the request.
        parse: Parses one name; its second argument is the field.

    Raises:
        InvalidRequest: There are no names, or some are malformed; names all of these.

    >>> parse_several(["experiments/a", "experiments/b"], "names", parse_experiment)
    ['a', 'b']
    """
    found, wrong = [], [] if names else [FieldViolation(field, "is empty; give at least one name")]
    for i, name in enumerate(names):
        try:
            found.append(parse(name, f"{field}[{i}]"))
        except InvalidRequest as error:
            wrong += error.violations
    if wrong:
        raise InvalidRequest(wrong)
    return found


def parse_artifact(name: str, field: str) -> tuple[RunName, str]:
    """Run and path from an artifact's name. Raises InvalidRequest as `parse_experiment`."""
    run, separator, path = name.partition("/artifacts/")
    if separator and all(_SEGMENT.fullmatch(part) for part in path.split("/")):
        return parse_run(run, field), path
    raise _malformed(name, field, "experiments/{experiment}/runs/r00000/artifacts/{path}")


def is_study_id(text: str) -> bool:
    """Whether `text` can be the last part of a study's name (`STUDY_ID_RULE`)."""
    return _STUDY.fullmatch(text) is not None


def study_name(study: str) -> str:
    """studies/{study}."""
    return f"studies/{study}"


def study_experiment(study: str, uid: str, number: int) -> str:
    """The id of an experiment of a study; the uid distinguishes it from those of an older study.

    >>> study_experiment("transfer", "0f3a5c61-0000", 3)
    'transfer-0f3a5c-3'
    """
    return f"{study}-{uid[:6]}-{number}"


def parse_study(name: str, field: str) -> str:
    """The study id in a study's name. Raises InvalidRequest as `parse_experiment`."""
    match name.split("/"):
        case ["studies", study] if is_study_id(study):
            return study
    raise _malformed(name, field, "studies/{study}")


def _malformed(name: str, field: str, form: str) -> InvalidRequest:
    shown = name if len(name) <= 100 else f"{name[:100]}..."
    return InvalidRequest([FieldViolation(field, f"{shown!r} is not a resource name of the form {form}")])
