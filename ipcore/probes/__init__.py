"""Measurements inside the networks of a pack while it trains: names, formulas, costs in docs/probes.md.

Everything is measured on one fixed set of training inputs (`ipcore.randomness.probe_examples`), in separate
buffers: trained weights are the same bit for bit with and without probes. Step 0 is the initialization,
before calibration or training touch anything.

`state`, `taps` and `prober` need torch; the other files load without it.
"""

from ipcore.probes.cost import probe_cost
from ipcore.probes.definition import Quantity
from ipcore.probes.memory import probe_memory_bytes
from ipcore.probes.problems import probe_problems
from ipcore.probes.quantities import QUANTITIES, probe_names

__all__ = ["QUANTITIES", "Quantity", "probe_cost", "probe_memory_bytes", "probe_names", "probe_problems"]
