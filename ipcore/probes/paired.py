"""A network beside the kernel machine that starts from the network's own f_0 and sees its batches.

It is for networks whose limit is a kernel machine that starts from a random f_0 (`Limit.is_paired`: NTK,
sp-stable, a trained readout). The limit of a seed draws an f_0 of its own, so that the network of that seed
differs from it by two draws at any width. With f_0 in common, f and the machine's g differ by the network's
own kernel and by its movement, which vanish with the width:

    paired_distance      |f - g| / |g - f_0| on the test set
    paired_sketch/0      mean (g - f_0)^2
    paired_sketch/k      S_k(f - g), k >= 1: the sums of `ipcore.probes.outputs`

None of it is recorded of other runs.
"""

from __future__ import annotations

from typing import Final

from ipcore.probes.definition import Definition
from ipcore.probes.outputs import SIZE

PAIRED_OUTPUTS: Final = "paired_outputs"  # the probe
DISTANCE: Final = "paired_distance"
SKETCH: Final = tuple(f"paired_sketch/{i}" for i in range(SIZE + 1))

PAIRED: Final = Definition(quantities=(), metrics=(DISTANCE, *SKETCH))
