"""What training of some cases takes, as JSON: a program, so that nothing done before counts.

Run it with ALLOCATOR in the environment: without, how much glibc keeps depends on where blocks happen to lie.
"""

import ctypes
import gc
import json
from pathlib import Path

import ipcore
from ipcore.limits.trainer import LimitTrainer
from ipcore.theory import preset

ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(1 << 16), "MALLOC_TOP_PAD_": "0", "PYTHONHASHSEED": "0"}
CASES = [
    ("hpz", {"L": 3, "m": 4096, "steps": 12}),
    ("hp", {"L": 2, "m": 4096, "steps": 12}),
    ("hp", {"L": 2, "m": 1000, "steps": 34}),
    ("hpz", {"L": 3, "m": 1000, "steps": 34, "optimizer": "momentum"}),
    ("mup", {"L": 3, "m": 2048, "steps": 4, "deferred": True}),
    ("mup", {"L": 2, "m": 1000, "steps": 34, "deferred": True}),
    ("hpz", {"L": 3, "m": 2048, "steps": 4, "deferred": True, "optimizer": "momentum"}),
    ("ntk", {"steps": 10}),
    ("ntk", {"L": 3, "steps": 24, "activation": "tanh"}),
]
_PR_SET_THP_DISABLE = 41
# What torch, SciPy and LAPACK load at their first use is there before.
_WARM = [("hp", {}), ("mup", {"deferred": True}), ("ntk", {"steps": 10, "activation": "tanh"})]


def case(name, L=2, m=64, steps=4, **more):
    """A pack and its only run."""
    more.setdefault("infinite_width", not more.get("deferred", False))
    activation = more.pop("activation", "relu")
    more = {"replicas": 2} | more
    config = ipcore.PackConfig("digits", L, m, activation, 32, steps, weights="none", **more)
    return config, ipcore.RunConfig(preset(name, L), 0.03, 0)


def main():
    """Bytes of every case at its largest moment, beside what is there before."""
    libc = ctypes.CDLL("libc.so.6")
    # Without huge pages, whose number depends on what other processes do.
    if libc.prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0):
        raise OSError("huge pages cannot be switched off")
    dataset = ipcore.load_dataset("digits")

    def train(name, more):
        config, run = case(name, **more)
        LimitTrainer(config, [run], dataset, threads=1).advance()

    for name, more in _WARM:
        train(name, more)
    gc.collect()
    gc.freeze()  # torch's objects, which no later collection needs to look at
    found = []
    for name, more in CASES:
        gc.collect()
        libc.malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
        before = _status("VmRSS")
        train(name, more)
        found.append(_status("VmHWM") - before)
    print(json.dumps(found))


def _status(field):
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(f"{field}:")]
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    main()
