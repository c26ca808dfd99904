"""Questions of `iplab study`: a command for each, with options for its spec."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click

from iplab.cli.app import (
    Service,
    json_option,
    note,
    print_json,
    warn,
)
from iplab.cli.study_answer import finish
from iplab.cli.submit import numbers_of
from iplab.display.commands import Choice
from iplab.display.terminal import echo

# Questions, with one line of help and their own options.
ASKED: Final[Mapping[str, str]] = {
    "rate-transfer": "Does the best base learning rate move with the width?",
    "coordinate-check": "Do sizes in the network depend on the width as theory says?",
    "stationarity": "Does the change of the output fall with the width?",
    "equivalence": "Do two parameterizations become the same network?",
    "calibrated-rates": "By which power of the width do calibrated first rates grow?",
    "activation-gap": "How far apart are activations in accuracy and alignment?",
    "phase-boundary": "Where, along one exponent, does a layer's own update cease to matter?",
    "limit": "Do outputs converge to those of an infinitely wide network?",
    "infinite-width": "How far are networks from infinite width, and which width is near enough?",
}
_STEP: Final = click.option("--step", type=click.IntRange(0), help="Updates done.  [default: 1]")
_WITHIN: Final = click.option("--within", type=float, help="Also ask whether the distance is below this.")
_OWN: Final[Mapping[str, Sequence[Callable[[Any], Any]]]] = {
    "coordinate-check": (
        click.option("--isolated/--no-isolated", default=None, help="Measure updates of one layer alone."),
        click.option("--change-steps", metavar="LIST", help="Also check changes after these updates."),
        click.option(
            "--reference",
            "references",
            multiple=True,
            metavar="LABEL=NAME",
            help="Compare LABEL with NAME, the intended label or preset. May be repeated.",
        ),
    ),
    "stationarity": (_STEP,),
    "equivalence": (_STEP, _WITHIN),
    "activation-gap": (
        click.option(
            "--alignment-step", type=click.IntRange(0), help="Updates; 0: no alignment.  [default: 1]"
        ),
    ),
    "phase-boundary": (
        click.option("--exponent", type=Choice(["a", "b", "c"]), help="Exponent to vary.  [default: c]"),
        click.option("--layer", type=click.IntRange(0), help="Layer to vary it in.  [default: all together]"),
        click.option("--observed", type=click.IntRange(1), help="Layer that is measured.  [default: 1]"),
        _STEP,
        click.option("--boundary", help="Expected boundary, such as 1/2.  [default: theory's]"),
    ),
    "limit": (_STEP, _WITHIN),
}


def ask_command(question: str) -> click.Command:
    """The command that asks one question."""

    @click.pass_context
    def ask(context: click.Context, /, **options: Any) -> None:
        service: Service = context.obj
        if extra := options.pop("extra"):
            raise click.UsageError(
                f"unexpected argument {extra[0]!r}; a spec's file is given as --spec {extra[0]}"
            )
        own = {name: value for name in _own_names(question) if (value := options.pop(name)) not in (None, ())}
        if "references" in own:
            own["references"] = _pairs(own["references"])
        if "change_steps" in own:
            own["change_steps"] = numbers_of("--change-steps", own["change_steps"], int)
        with service.connect() as client:
            asked = client.study(
                question,
                _spec(options),
                budget=options["budget"],
                tolerance=options["tolerance"],
                error_rate=options["error_rate"],
                study_id=options["study_id"] or "",
                request_id=options["request_id"],
                validate_only=options["dry_run"],
                **own,
            )
            for text in asked.warnings:
                warn(text)
            if options["dry_run"]:
                print_json(asked.to_dict()) if options["as_json"] else echo("the study is valid")
            elif options["detach"]:
                print_json(asked.to_dict()) if options["as_json"] else echo(asked.id)
            else:
                note(f"study {asked.id} runs in the service; follow it with: iplab study watch {asked.id}")
                finish(context, asked, options["picture"], as_json=options["as_json"])

    command: Any = ask
    for option in reversed((*_COMMON, *_OWN.get(question, ()))):
        command = option(command)
    command = json_option(command)
    about = f"{ASKED[question]}\n\nExit code by the verdict: see iplab --help."
    return click.command(question, help=about)(command)


def _own_names(question: str) -> list[str]:
    names = []
    for option in _OWN.get(question, ()):
        parameters: list[click.Parameter] = []

        def holder() -> None: ...

        option(holder)
        parameters = holder.__click_params__  # type: ignore[attr-defined] # where click keeps them
        names += [str(parameter.name) for parameter in parameters]
    return names


_COMMON: Final = (
    click.argument("extra", nargs=-1, metavar=""),
    click.option(
        "--spec", "file", type=click.Path(), help="File with the spec; options below replace its parts."
    ),
    click.option("--parameterization", "parameterizations", metavar="LIST", help="Presets, as ip-llr,mup."),
    click.option("--activation", "activations", metavar="LIST", help="As relu,tanh.  [default: relu]"),
    click.option("--hidden-layers", metavar="LIST", help="Depths, as 2,3.  [default: 3]"),
    click.option("--dataset", help="Name of a dataset.  [default: digits]"),
    click.option("--steps", type=click.IntRange(1), help="Updates of a whole run.  [default: 100]"),
    click.option("--batch-size", type=click.IntRange(1), help="Examples per update.  [default: 64]"),
    click.option("--optimizer", help="Name of an optimizer.  [default: sgd]"),
    click.option("--loss", help="Name of a loss.  [default: cross_entropy]"),
    click.option("--rate", type=float, help="Base learning rate, or the first guess.  [default: 0.125]"),
    click.option("--widths", metavar="LIST", help="First widths, each twice the last."),
    click.option(
        "--budget",
        required=True,
        help="Budget: 10m, 400 runs, 2 core-hours; or several, separated by commas.",
    ),
    click.option("--tolerance", type=float, help="Distance from a prediction that still agrees."),
    click.option("--error-rate", type=float, help="Probability of any wrong answer.  [default: 0.05]"),
    click.option("--id", "study_id", help="Id of the study. Default: the service chooses."),
    click.option("--request-id", help="UUID; repeating it creates no second study."),
    click.option(
        "--picture", type=click.Path(dir_okay=False), help="Where to save the picture.  [default: ID.svg]"
    ),
    click.option("--detach", is_flag=True, help="Print its id and do not wait for the answer."),
    click.option("--dry-run", is_flag=True, help="Check only; nothing is asked."),
)


def _spec(options: Mapping[str, Any]) -> dict[str, object]:
    """The spec of the file, if there is one, with the parts that the options replace."""
    found: dict[str, Any] = {}
    if options["file"]:
        from google.protobuf import json_format  # noqa: PLC0415 - messages only where there is a file

        from iplab.specs.specfile import load_spec  # noqa: PLC0415

        found = json_format.MessageToDict(load_spec(options["file"]), preserving_proto_field_name=True)
    spec = found.setdefault("spec", {})
    grid = spec.setdefault("grid", {})
    defaults = {"dataset": "digits", "steps": 100, "batch_size": 64}
    for name in ("dataset", "steps", "batch_size", "loss"):
        if options[name] is not None:
            spec[name] = options[name]
        elif name in defaults:
            spec.setdefault(name, defaults[name])
    if options["optimizer"] is not None:
        spec["optimizer"] = {"name": options["optimizer"]}
    if options["parameterizations"]:
        grid["parameterizations"] = [{"preset": name} for name in options["parameterizations"].split(",")]
    if options["activations"]:
        grid["activations"] = options["activations"].split(",")
    grid.setdefault("activations", ["relu"])
    if options["hidden_layers"]:
        grid["hidden_layers"] = numbers_of("--hidden-layers", options["hidden_layers"], int)
    grid.setdefault("hidden_layers", [3])
    if options["widths"]:
        grid["widths"] = numbers_of("--widths", options["widths"], int)
    if options["rate"] is not None:
        grid["base_learning_rates"] = [options["rate"]]
    return found


def _pairs(references: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in references:
        label, equals, name = text.partition("=")
        if not (label and equals and name):
            raise click.UsageError(f"--reference {text!r}: write LABEL=NAME, as mine=mup")
        pairs[label] = name
    return pairs
