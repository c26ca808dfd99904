"""A real service with something to show, and its web page on a real port."""

import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass

import pytest

import iplab
from ipserver.web.app import application
from ipserver.web.calls import Calls
from ipserver.web.server import server
from tests.iplab.conftest import Service, small_spec
from tests.ipserver.studies.cases import Lab, ask, driver

NASTY = "<script>alert('1')</script> & \"x\""
MLFLOW = "http://127.0.0.1:5000"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict
    text: str


class Page:
    """The web page of a service, in a thread."""

    def __init__(self, address, mlflow=MLFLOW):
        self.server = server(application(Calls(address), "127.0.0.1", mlflow), "127.0.0.1", 0)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive()
            time.sleep(0.01)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def get(self, path, method="GET", **headers):
        """An answer, whatever its status; entries of `headers` have _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, headers=named, method=method)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                request, timeout=60
            ) as found:
                return Answer(found.status, dict(found.headers), found.read().decode())
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read().decode())

    def close(self):
        self.server.should_exit = True
        self.thread.join(30)


def fill(service, client):
    """A sweep of rates that is held against theory, another to compare it with, a study, and work to do."""
    sweep = small_spec(
        parameterizations=[{"preset": "mup"}, {"label": "llr", "preset": "ip-llr", "calibration": {}}],
        widths=[16, 32, 64], base_learning_rates=[0.05, 0.2, 0.8, 1e6],
    )  # fmt: skip
    sweep["display_name"] = "rates of muP and IP-LLR on digits"
    sweep["spec"] |= {
        "steps": 8,
        "evaluation_interval": 4,
        "record": {"metrics_interval": 2, "probes": {"quantities": ["coordinates"], "steps": [0, 1, 4, 8]}},
    }
    client.create(sweep, experiment_id="rates-digits")
    standard = small_spec(
        parameterizations=[{"preset": "sp"}], widths=[16, 32, 64], base_learning_rates=[0.2]
    )
    standard["spec"] |= {"steps": 8, "evaluation_interval": 4, "record": {"metrics_interval": 2}}
    standard["display_name"] = "standard parameterization"
    client.create(standard, experiment_id="standard")
    nasty = small_spec(parameterizations=[{"preset": "mup"}], widths=[8])
    client.create(nasty | {"display_name": NASTY, "labels": {"team": NASTY}}, experiment_id="nasty")
    hopeless = small_spec(parameterizations=[{"preset": "mup"}], widths=[8], base_learning_rates=[1e18])
    client.create(hopeless, experiment_id="hopeless")
    service.train()
    ask(service.store, "sizes", study={"display_name": "are sizes at step 0 those of theory?"})
    lab = Lab(service.store, service.settings)
    lab.drive(driver(service.store), "sizes")
    lab.close()
    ask(service.store, "open", study={"display_name": NASTY})
    client.create(small_spec(), experiment_id="waiting")


@pytest.fixture(scope="package")
def filled(tmp_path_factory):
    service = Service(tmp_path_factory.mktemp("service"))
    with iplab.connect(service.address) as client:
        fill(service, client)
    yield service
    service.close()


@pytest.fixture(scope="package")
def page(filled):
    page = Page(filled.address)
    yield page
    page.close()
