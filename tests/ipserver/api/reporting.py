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
    leased = store.lease_unplanned("tester", 60.0)
    packs = [
        NewPack(
            run.hidden_layers,
            run.width,
            run.activation,
            id=f"p{run.index:03d}",
            run_indices=(run.index,),
            steps=STEPS,
            memory_bytes=1,
        )
        for run in leased[1]
    ]
    store.save_plan(leased[0].id, "tester", packs)
    for run in leased[1]:
        names, rows = ["train_loss"], [(0, 1, 2.0)]
        for layer in range(1, run.hidden_layers + 2):
            for quantity in ("h", "h_change"):
                for step in range(STEPS + 1):
                    power = None if (quantity, step) == ("h_change", 0) else size(run, quantity, layer, step)
                    if power is not None:
                        names.append(f"{quantity}/{layer}")
                        rows.append(
                            (len(names) - 1, step, run.width ** float(power) * np.exp(noise.normal(0, 0.01)))
                        )
        for (name, step), value in more(run).items():
            names.append(name)
            rows.append((len(names) - 1, step, value))
        metric, step, value = zip(*rows, strict=True)
        same = np.full(len(rows), run.index)
        pack = store.lease_pack(leased[0].id, "tester", 60.0)
        index = pack.runs[0].index
        assert index == run.index
        commit = SliceCommit(
            first_step=1,
            last_step=STEPS,
            segment=encode(same, metric, names, step, np.ones(len(rows)), value),
            summaries={index: summary(run)},
            calibrated_rates={index: rates(run)} if rates(run) else {},
            ended={index: ended(run)},
            finished=True,
        )
        store.commit_slice(leased[0].id, pack.id, pack.token, commit)


async def report(api, **request):
    return await api.reports.CheckExperiment(pb.CheckExperimentRequest(name="experiments/e", **request))


def replaced(run, parameterization):
    return replace(run, parameterization=parameterization)
