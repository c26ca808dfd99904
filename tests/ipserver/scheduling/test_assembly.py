"""Time after which a slice counts as hung."""

import pytest

from ipcore.catalogue import DATASETS
from ipserver.scheduling.assembly import slice_deadline
from ipserver.store.records.packs import NewPack
from tests.ipserver.support import settings_in, small_spec, store_in, submit


@pytest.mark.parametrize("probed", [False, True])
def test_measurements_have_their_time(tmp_path, probed):
    """Ranks at m = 2048, L = 3: per run and measurement at least 2 * 2 * 2048^3 multiply-adds, at 1e9/s."""
    settings = settings_in(tmp_path)
    probes = {"probes": {"quantities": ["ranks"], "steps": [0]}}
    spec = small_spec(grid={"widths": [2048], "hidden_layers": [3]}, record=probes if probed else {})
    with store_in(settings) as store:
        submit(store, spec)
        store.lease_unplanned("d", 60.0)
        store.save_plan(
            "e", "d", [NewPack(3, 2048, "relu", id="p", run_indices=(0, 1, 2, 3), steps=20, memory_bytes=1)]
        )
        pack = store.lease_pack("e", "d", 60.0)
    limit = slice_deadline(pack, DATASETS["digits"], settings)
    # Without probes, the evaluation of four runs on 360 examples counts: 5 * 4 * 360 * 2.1 m^2 / 1e9, a
    # minute.
    assert limit >= 5 * 2 * 4 * 4 * 2048**3 / 1e9 if probed else 60 <= limit < 100
