"""`iplab init`, `clone` and `diff`: write a new spec, copy one with changes, compare two."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from iplab.cli.app import Service, json_option, note, print_json
from iplab.cli.submit import going_on, say_estimate, say_warnings
from iplab.display.terminal import echo, folded, visible
from iplab.results.numbers import counted, number, with_interval

if TYPE_CHECKING:
    from iplab.results.comparing import Comparison, Pair

_LONGEST = 60
_ALL_DIGITS = 15


@click.command()
@click.argument("file", type=click.Path(dir_okay=False), default="spec.yaml")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@json_option
def init(file: str, *, force: bool, as_json: bool) -> None:
    """Write a commented spec to FILE, to be edited and submitted; - writes to standard output.

    It can be submitted unchanged. FILE defaults to spec.yaml.
    """
    from iplab.specs.template import template  # noqa: PLC0415 - this command alone

    if file == "-":
        echo(template("spec.yaml"), nl=False)
        return
    try:
        with Path(file).open("w" if force else "x", encoding="utf-8") as target:
            target.write(template(file))
    except FileExistsError:
        raise click.UsageError(f"{file} exists already; name another file, or use --force") from None
    if as_json:
        print_json({"file": file})
    else:
        echo(f"{visible(file)} is written; next: iplab submit {visible(file)} --dry-run")


@click.command()
@click.argument("experiment")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="PATH=VALUE",
    help="A change, as steps=1000 or 'grid.widths=[64, 128]'; may be repeated. Without a value the field is "
    "removed.",
)
@click.option(
    "--id", "experiment_id", default="", help="Id of the new experiment. Default: the service chooses."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False),
    help="Write the spec to this file (-: standard output); submit nothing.",
)
@click.option("--dry-run", is_flag=True, help="Check only; nothing is created.")
@json_option
@click.pass_obj
def clone(
    service: Service,
    experiment: str,
    *,
    changes: Sequence[str],
    experiment_id: str,
    output: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Submit the spec of EXPERIMENT again, with changes; print the new id.

    Paths are those of a spec's file; "spec." may be left out. The new experiment has the same display name,
    labels and priority, and no notes.
    """
    from iplab.specs.changing import value_of  # noqa: PLC0415 - this command alone

    new: dict[str, object] = {}
    for change in changes:
        path, sign, text = change.partition("=")
        if not sign:
            raise click.UsageError(f"--set {change!r} has no value; write PATH=VALUE, as steps=1000")
        new[path.strip()] = value_of(text)
    with service.connect() as client:
        found = client.experiment(experiment)
        spec = found.as_spec(new)
        if output is not None:
            _write(output, found.id, spec)
            return
        with going_on(experiment_id):
            made = client.create(spec, experiment_id=experiment_id, validate_only=dry_run)
        say_warnings(made, dry_run=dry_run)
        if as_json:
            print_json(made.to_dict())
        elif dry_run:
            say_estimate(made)
        else:
            echo(made.id)
        if made.spec_hash == found.spec_hash:
            note(f"its spec equals that of {found.id}: it will have the same results")


def _write(output: str, origin: str, spec: dict[str, object]) -> None:
    import yaml  # noqa: PLC0415 - this command alone

    text = yaml.safe_dump(_numbers(spec), sort_keys=False, allow_unicode=True)
    text = f"# The spec of {origin}, with all defaults.\n{text}"
    if output == "-":
        sys.stdout.write(text)
    else:
        Path(output).write_text(text, encoding="utf-8")
        echo(f"{visible(output)} is written")


def _numbers(value: object) -> object:
    """A value with the numbers that YAML writes; those of --set are exact decimals."""
    if isinstance(value, dict):
        return {name: _numbers(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_numbers(inner) for inner in value]
    return float(value) if isinstance(value, Decimal) else value


@click.command()
@click.argument("first")
@click.argument("second")
@click.option(
    "--metric",
    default="",
    help="Compared result, such as final_test_loss. Default: the final test accuracy, or loss.",
)
@json_option
@click.pass_obj
def diff(service: Service, first: str, second: str, *, metric: str, as_json: bool) -> None:
    """Show what differs between two experiments: specs, then results seed by seed.

    Runs of one seed start from the same random numbers and see the same batches. So differences are taken
    within each seed, and their 95 % intervals are over seeds.
    """
    from iplab.results.comparing import compare  # noqa: PLC0415 - numpy only where it is needed

    with service.connect() as client:
        left, right = client.experiment(first), client.experiment(second)
        found = compare(left, right, metric)
    if as_json:
        print_json(_plain(found))
        return
    names = left.id, right.id
    echo(folded(_sentence(found, names)))
    _print_specs(found, names)
    _print_results(found, names)


def _sentence(found: Comparison, names: tuple[str, str]) -> str:
    """Summary: the number of differing fields, and whether results differ."""
    fields = (
        f"{len(found.specs)} fields of the specs differ"
        if len(found.specs) != 1
        else "1 field of the specs differs"
    )
    if not found.specs:
        fields = "The specs are equal"
    if not found.pairs:
        return f"{fields}; there is no result of the same seed in both"
    return f"{fields}; {_result(found, names)}"


def _result(found: Comparison, names: tuple[str, str]) -> str:
    """The mean difference with its interval, and in how many groups it is decided."""
    what = found.metric.replace("_", " ")
    signs = [_sign(pair) for pair in found.pairs]
    higher, lower = signs.count(1), signs.count(-1)
    decided = f"higher in {higher}, lower in {lower}, undecided in {len(signs) - higher - lower}"
    difference = f"the {what} of {names[1]} minus that of {names[0]}"
    if found.overall is None:
        return (
            f"{difference} is, by the 95 % intervals over seeds of {counted(len(signs), 'group')}, {decided}"
        )
    mean = found.overall
    interval = with_interval(mean.value, mean.low, mean.high).replace("(", "(95 %: ").replace(")", ", ")
    seeds = counted(mean.count, "seed")
    value = f"{interval}{seeds})" if mean.low is not None else f"{interval} ({seeds}, so no interval)"
    total = len(signs) + found.left_out
    if total == 1:
        return f"{difference} is {value}"
    left_out = f" of the first {len(signs)}" if found.left_out else ""
    return f"{difference} is {value} on average over {total} groups:{left_out} {decided}"


def _sign(pair: Pair) -> int:
    """1 or -1: the whole interval of the difference is above or below 0; else 0."""
    low, high = pair.difference.low, pair.difference.high
    if low is None or high is None:
        return 0
    return (low > 0) - (high < 0)


def _print_specs(found: Comparison, names: tuple[str, str]) -> None:
    from iplab.display.tables import print_table, table_of  # noqa: PLC0415 - rich only where something is drawn

    if found.specs:
        rows = [(path, _short(mine), _short(theirs)) for path, mine, theirs in found.specs]
        echo()
        print_table(table_of(["field", *names], rows))


def _print_results(found: Comparison, names: tuple[str, str]) -> None:
    from iplab.display.tables import Ranged, print_table, table_of  # noqa: PLC0415 - as above

    if not found.pairs:
        return
    varying = [
        place
        for place in range(len(found.axes))
        if len(found.pairs) == 1 or len({pair.settings[place] for pair in found.pairs}) > 1
    ]
    seeds = {pair.difference.count for pair in found.pairs}
    title = found.metric.replace("_", " ")
    alike = len(seeds) == 1
    if alike:
        title += f", {counted(seeds.pop(), 'seed')} each"
    rows = [
        (
            *(pair.settings[place] for place in varying),
            *([] if alike else [pair.difference.count]),
            pair.left,
            pair.right,
            Ranged(pair.difference.value, pair.difference.low, pair.difference.high),
        )
        for pair in found.pairs
    ]
    headings = [found.axes[place].replace("_", " ") for place in varying]
    echo()
    of_seeds = [] if alike else ["seeds"]
    print_table(table_of([*headings, *of_seeds, *names, "difference (95 %)"], rows, title))
    if found.left_out:
        note(f"{found.left_out} more groups are not shown")
    if any(found.alone):
        note(
            f"without a partner or a result: {found.alone[0]} runs of {names[0]}, "
            f"{found.alone[1]} of {names[1]}"
        )


def _short(value: object) -> str:
    text = _written(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _written(value: object) -> str:
    """A value as a spec's file has it, on one line.

    >>> _written({"preset": "mup", "base_learning_rates": [0.05, 40.0]})
    '{preset: mup, base_learning_rates: [0.05, 40]}'
    """
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {_written(inner)}' for name, inner in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    return number(value, _ALL_DIGITS) if isinstance(value, float) else str(value)


def _plain(found: Comparison) -> dict[str, object]:
    return {
        "metric": found.metric or None,
        "specs": [{"field": path, "first": mine, "second": theirs} for path, mine, theirs in found.specs],
        "results": [
            {
                **dict(zip(found.axes, pair.settings, strict=True)),
                "seeds": pair.difference.count,
                "first": pair.left.mean,
                "second": pair.right.mean,
                "difference": pair.difference.value,
                "low": pair.difference.low,
                "high": pair.difference.high,
            }
            for pair in found.pairs
        ],
        "left_out": found.left_out,
        "overall": None if found.overall is None else asdict(found.overall),
        "alone": list(found.alone),
    }
