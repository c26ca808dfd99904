"""Experiments with synthetic sizes, committed as a dispatcher commits them, and their reports."""

from dataclasses import replace
from functools import cache

import numpy as np

from ipcore.theory import analyze, preset
from iplab.v1 import report_pb2
from iplab.v1 import report_service_pb2 as pb
from ipserver.store.records.packs import NewPack
from ipserver.store.records.slices import SliceCommit
from ipserver.store.segments import encode
from ipserver.store.states import RunState
from ipserver.store.summary import Summary

WIDTHS, SEEDS, STEPS = (64, 128, 256, 512), (0, 1, 2, 3), 3


PROBES = {"probes": {"quantities": ["coordinates"], "steps": [0, 1, 2, 3]}}


AGREES, DISAGREES, UNDECIDED = (
    report_pb2.VERDICT_AGREES,
    report_pb2.VERDICT_DISAGREES,
    report_pb2.VERDICT_UNDECIDED,
)


async def create(api, *parameterizations, record=PROBES, optimizer="sgd", **grid):
    entries = [{"preset": p} if isinstance(p, str) else p for p in parameterizations]
    axes = {"parameterizations": entries, "widths": list(WIDTHS), "hidden_layers": [2], "seeds": list(SEEDS)}
    await api.create(
        grid=axes | grid, spec={"steps": STEPS, "record": record, "optimizer": {"name": optimizer}}
    )


@cache
def analysis_of(parameterization, hidden_layers):
    return analyze(preset(parameterization, hidden_layers))


def exponent(run, quantity, layer, step):
    """The exponents of theory for the run's preset."""
    analysis = analysis_of(run.parameterization, run.hidden_layers)
    sizes = next(s for s in reversed(analysis.steps) if s.step <= step)
    if quantity == "h":
        return [*sizes.h, sizes.f][layer - 1]
    return [*sizes.h_change, sizes.f_change][layer - 1]


def train(
    store,
    size=exponent,
    summary=lambda run: Summary(),
    ended=lambda run: RunState.SUCCEEDED,
    rates=lambda run: (),
    more=lambda run: {},
):
    """Commit coordinates m^size, with 1 % of noise, more metrics by (name, step), and how runs ended."""
    noise = np.random.default_rng(0)
    experiment, runs = store.lease_unplanned("tester", 60.0)
    points = {run.index: _points(run, size, more, noise) for run in runs}
    networks = {}
    for run in runs:
        networks.setdefault((run.hidden_layers, run.width, run.activation), []).append(run.index)
    packs = [
        NewPack(*network, id=f"p{n}", run_indices=tuple(its), steps=STEPS, memory_bytes=1)
        for n, (network, its) in enumerate(networks.items())
    ]
    store.save_plan(experiment.id, "tester", packs)
    for _ in packs:
        pack = store.lease_pack(experiment.id, "tester", 60.0)
        rows = [(run.index, *point) for run in pack.runs for point in points[run.index]]
        index, name, step, value = zip(*rows, strict=True)
        names = list(dict.fromkeys(name))
        number = {name: n for n, name in enumerate(names)}
        metric = np.array([number[one] for one in name])
        commit = SliceCommit(
            first_step=1,
            last_step=STEPS,
            segment=encode(np.array(index), metric, names, step, np.ones(len(rows)), value),
            summaries={run.index: summary(run) for run in pack.runs},
            calibrated_rates={run.index: rates(run) for run in pack.runs if rates(run)},
            ended={run.index: ended(run) for run in pack.runs},
            finished=True,
        )
        store.commit_slice(experiment.id, pack.id, pack.token, commit)


def _points(run, size, more, noise):
    """(metric, step, value) of a run."""
    points = [("train_loss", 1, 2.0)]
    for layer in range(1, run.hidden_layers + 2):
        for quantity in ("h", "h_change"):
            for step in range(STEPS + 1):
                power = None if (quantity, step) == ("h_change", 0) else size(run, quantity, layer, step)
                if power is not None:
                    value = run.width ** float(power) * np.exp(noise.normal(0, 0.01))
                    points.append((f"{quantity}/{layer}", step, value))
    return points + [(name, step, value) for (name, step), value in more(run).items()]


async def report(api, **request):
    return await api.reports.CheckExperiment(pb.CheckExperimentRequest(name="experiments/e", **request))


def replaced(run, parameterization):
    return replace(run, parameterization=parameterization)
