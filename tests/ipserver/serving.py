"""`ipserver up` as a process, and a small experiment for it."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

from tests.ports import free_port

SPEC = {
    "spec": {
        "dataset": "digits",
        "batch_size": 32,
        "steps": 50,
        "grid": {
            "parameterizations": [{"preset": "mup"}, {"preset": "ip-llr", "calibration": {}}],
            "widths": [16],
            "hidden_layers": [3],
            "activations": ["relu"],
            "base_learning_rates": [0.05],
            "seeds": [0, 1],
        },
    }
}


def wait_for(condition, seconds=400.0, otherwise=lambda: "not reached in time"):
    """Return when a condition holds. The forwarder is nice: on a busy machine its seconds become minutes."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.05)


@contextmanager
def serving(home, *, cwd=None, wrapper=(), **environment):
    """A service in a home; stopped as by Ctrl-C at the end, unless it has ended before.

    Args:
        home: Folder that is there.
        cwd: Its working folder.
        wrapper: Command that starts it in its own place.
        environment: Further variables.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("IPLAB_")}
    clean["IPLAB_READY_WORKERS"] = "0"  # each costs seconds of CPU, and few tests train two packs at a time
    clean["IPLAB_WEB"] = "off"  # a part that few tests look at
    clean["IPLAB_WAIT_SECONDS"] = "300"  # added to the time that parts have to start: for a busy machine
    command = [*wrapper, sys.executable, "-m", "ipserver", "up"]
    command += ["--home", str(home), "--address", f"127.0.0.1:{free_port()}", "--cpus", "2"]
    with (home / "up.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=cwd, env=clean | environment, stdout=log, stderr=log)
    try:
        wait_for(lambda: (home / "service.json").exists() or process.poll() is not None)
        assert process.poll() is None, (home / "up.log").read_text()
        yield process, json.loads((home / "service.json").read_text())
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 0


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
