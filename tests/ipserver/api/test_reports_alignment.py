"""Reports on recorded alignment."""

import numpy as np

from iplab.v1 import report_pb2
from tests.ipserver.api.reporting import AGREES, DISAGREES, create, report, train

ALIGNED = {"probes": {"quantities": ["coordinates", "alignment"], "steps": [0, 1, 2, 3]}}


def alignments(theta):
    """Log alignment ratios of updates, with a constant factor 1/2, by (layer, step)."""

    def more(run):
        return {
            (f"alignment_update/{layer}", step): theta(run, layer, step)
            + (np.log(0.5) + 0.002 * run.seed) / np.log(run.width)
            for layer in (1, 2, 3)
            for step in (1, 2, 3)
        }

    return more


async def test_alignment_says_where_a_network_leaves_the_calculus(api, store):
    await create(api, "mup", "ip", record=ALIGNED)

    def theta(run, layer, step):
        return 0.6 if (run.parameterization, layer) == ("ip", 3) and step >= 2 else 1.0

    train(store, more=alignments(theta))
    found = await report(api, alignment=True)
    mup, ip = found.alignments
    assert (mup.verdict, ip.verdict) == (AGREES, DISAGREES)
    assert mup.sentence.startswith("follows the calculus: all 6 exponents of alignment agree")
    assert mup.sentence.endswith("theory with the measured alignment: feature learning")
    assert ip.sentence.startswith("leaves the calculus at W^3 from step 2: alignment 0.60")
    checks = [check for check in found.checks if check.kind == report_pb2.CHECK_KIND_ALIGNMENT]
    assert {(c.layer, c.step, c.predicted, c.predicted_high) for c in checks} == {
        (layer, step, "1", "") for layer in (2, 3) for step in (1, 2, 3)
    }
    assert not (await report(api)).alignments
    assert [c.sentence for c in (await report(api, alignment=True, steps=[2])).alignments][1] == ip.sentence


async def test_alignment_needs_its_probe_alone(api, store):
    only = {"probes": {"quantities": ["alignment"], "steps": [1, 2, 3]}}
    await create(api, "mup", record=only)
    train(store, more=alignments(lambda run, layer, step: 1.0))
    found = await report(api, alignment=True)
    assert {check.kind for check in found.checks} == {report_pb2.CHECK_KIND_ALIGNMENT}
    assert [c.verdict for c in found.alignments] == [AGREES]
    assert [note for note in found.notes if note.startswith("coordinates and stationarity are not checked")]
    assert not (await report(api)).checks


async def test_alignment_that_was_not_recorded_is_said(api, store):
    await create(api, "mup")
    train(store)
    found = await report(api, alignment=True)
    assert [note for note in found.notes if "alignment is not checked" in note]
    assert not found.alignments
