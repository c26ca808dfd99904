"""A study's spec as files have it, and a driver of studies for tests."""

import threading
from contextlib import contextmanager

from tests.ipserver.studies.cases import BASE, driver

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
