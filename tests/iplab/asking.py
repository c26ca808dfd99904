"""A study's base, and a driver of studies for tests."""

import threading
from contextlib import contextmanager

from tests.ipserver.studies.cases import driver

BASE = {
    "dataset": "digits",
    "batch_size": 16,
    "steps": 2,
    "grid": {
        "parameterizations": [{"preset": "ntk"}],
        "hidden_layers": [2],
        "activations": ["relu"],
        "widths": [8, 16, 32],
        "base_learning_rates": [0.1],
    },
}


SPEC = {"labels": {"team": "theory"}, "spec": BASE}


@contextmanager
def driven(service):
    """A driver of studies and a dispatcher, meanwhile."""
    stop = threading.Event()
    one = driver(service.store)

    def work():
        while not stop.is_set():
            one.step()
            service.train()
            stop.wait(0.01)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
