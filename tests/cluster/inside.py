"""The other half of `python -m tests.cluster`: starts the services in order, then checks their promises."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from dockerfile_parse import DockerfileParser

from tests.cluster import compose
from tests.cluster.checks import Checks
from tests.cluster.compose import Service
from tests.cluster.containers import (
    NETWORK,
    PREFIX,
    ROOT,
    Container,
    Image,
    make_network,
    make_programs,
    start,
)

_PATH = f"{PREFIX}/bin:/usr/bin:/bin"
_POLL_SECONDS = 0.5
_JOB_SECONDS = 120.0
_COMPLETED = "service_completed_successfully"
_STOPPED_FIRST = ("api", "dispatch", "forward")


def main(folder: Path) -> int:
    """Run everything; return an exit code."""
    services = compose.read({"IPLAB_WORKER_CPUS": "1"})
    hosts = {
        name: f"{NETWORK}.{10 + i}" for i, name in enumerate(n for s in services.values() for n in _names(s))
    }
    _write_hosts(folder, services, hosts)
    make_network(hosts)
    make_programs(folder)
    subprocess.run(["mount", "--bind", str(folder / "hosts"), "/etc/hosts"], check=True)
    image = _image()
    stand_ins = _stand_ins(folder)
    started: dict[str, list[Container]] = {}
    checks = Checks(folder, hosts, started)

    def start_one(service: Service, name: str) -> Container:
        if stand_in := stand_ins.get(service.name):
            return stand_in(service, name, hosts[name])
        return start(service, name, hosts[name], folder, image)

    try:
        _start_in_order(services, start_one, started, checks)
        checks.all()
        _stop(started, checks)
    except (Failed, AssertionError, subprocess.SubprocessError) as error:
        checks.show()
        print(f"FAILED: {error or repr(error)}")
        return 1
    finally:
        for containers in started.values():
            for container in containers:
                container.process.kill()
    checks.show()
    return 0


class Failed(Exception):
    """A service did not become healthy, or ended."""


def _names(service: Service) -> list[str]:
    if service.scale == 1:
        return [service.name]
    return [f"{service.name}-{number}" for number in range(1, service.scale + 1)]


def _write_hosts(folder: Path, services: Mapping[str, Service], hosts: Mapping[str, str]) -> None:
    lines = ["127.0.0.1 localhost"]
    for service in services.values():
        lines += [f"{hosts[name]} {name} {service.name}" for name in _names(service)]
    (folder / "hosts").write_text("\n".join(lines) + "\n")
    # Connections there are refused at once, so a name that is not in `hosts` is unknown.
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")


def _image() -> Image:
    """The Dockerfile's settings, on top of the image of IPLAB_TEST_IMAGE or of this machine's programs."""
    environment = dict(DockerfileParser(str(ROOT / "deploy" / "Dockerfile")).envs)
    if unpacked := os.environ.get("IPLAB_TEST_IMAGE"):
        return Image(environment | {"PATH": "/opt/iplab/bin:/usr/local/bin:/usr/bin:/bin"}, Path(unpacked))
    return Image(environment | {"PATH": f"{ROOT / 'deploy' / 'bin'}:{_PATH}"})


def _stand_ins(folder: Path) -> Mapping[str, Callable[[Service, str, str], Container]]:
    """The services outside our image: this machine's PostgreSQL behind a relay, and moto as object store."""
    here = Image({"PATH": _PATH})
    relay = str(Path(__file__).with_name("relay.py"))

    def postgres(service: Service, name: str, address: str) -> Container:
        command = ("python", relay, "tcp:0.0.0.0:5432", "unix:/run/postgres.sock")
        service = replace(service, healthcheck=_listening(5432), environment={}, secrets={})
        bind = {folder / "postgres.sock": "/run/postgres.sock"}
        return start(service, name, address, folder, here, command, bind)

    def s3(service: Service, name: str, address: str) -> Container:
        service = replace(service, healthcheck=_listening(9000), environment={}, secrets={})
        return start(service, name, address, folder, here, ("moto_server", "-H", "0.0.0.0", "-p", "9000"))

    return {"postgres": postgres, "s3": s3}


def _listening(port: int) -> compose.Healthcheck:
    connect = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"
    return compose.Healthcheck(("python", "-c", connect), 30.0)


def _start_in_order(
    services: Mapping[str, Service],
    start_one: Callable[[Service, str], Container],
    started: dict[str, list[Container]],
    checks: Checks,
) -> None:
    """Start each service when its dependencies meet its conditions; return when all are healthy.

    At most one service per core starts at a time. A service that ends by itself is restarted if the file says
    so: a Ray node gives up if it does not start within half a minute, as on a busy machine.

    Raises:
        Failed: A service does not become healthy in time, or ends.
    """
    begun: dict[str, float] = {}
    reached: set[tuple[str, str]] = set()
    while waiting := services.keys() - {name for name, _ in reached}:
        for name in sorted(waiting - begun.keys()):
            busy = len(waiting & begun.keys()) >= (os.cpu_count() or 1)
            if not busy and services[name].depends_on.items() <= reached:
                begun[name] = time.monotonic()
                started[name] = [start_one(services[name], each) for each in _names(services[name])]
        if not waiting & begun.keys():
            raise Failed(f"{', '.join(sorted(waiting))} wait for each other")
        asked = time.monotonic()
        for name in sorted(waiting & begun.keys()):
            age = time.monotonic() - begun[name]
            if what := _state(services, started[name], age):
                reached.add((name, what))
                command = " ".join(services[name].command)
                checks.add(f"{name}: {command[:44]}", what.removeprefix("service_"), age)
        for name, containers in started.items():
            for place, container in enumerate(containers):
                if services[name].restarts and (code := container.process.poll()) is not None:
                    containers[place] = start_one(services[name], container.name)
                    reached -= {(name, "service_healthy")}
                    begun[name] = time.monotonic()
                    checks.add(f"{container.name} ended with {code}", "started again", 0.0)
        # Each check starts a Python, which slows the services that are starting.
        time.sleep(max(_POLL_SECONDS, 3 * (time.monotonic() - asked)))


def _state(services: Mapping[str, Service], containers: list[Container], age: float) -> str:
    """The condition that the service meets, in Compose's terms; "": none yet. All but jobs become healthy."""
    service = containers[0].service
    if _COMPLETED in {other.depends_on.get(service.name) for other in services.values()}:
        code = containers[0].process.poll()
        if code or (code is None and age > _JOB_SECONDS):
            how = f"ended with {code}" if code else f"has not ended within {_JOB_SECONDS:.0f} s"
            raise Failed(f"{service.name} {how}:\n{_tail(containers[0])}")
        return "" if code is None else _COMPLETED
    for container in containers:
        if container.healthy():
            continue
        check = container.service.healthcheck
        ended = container.process.poll() is not None and not container.service.restarts
        if ended or age > (check.seconds if check else 0.0):
            raise Failed(f"{container.name} is not healthy:\n{_tail(container)}")
        return ""
    return "service_healthy"


def _stop(started: Mapping[str, list[Container]], checks: Checks) -> None:
    """SIGTERM ends our parts within their grace period, with exit code 0."""
    for name in _STOPPED_FIRST:
        for container in started[name]:
            begin = time.monotonic()
            container.signal(signal.SIGTERM)
            try:
                code = container.process.wait(container.service.grace)
            except subprocess.TimeoutExpired:
                raise Failed(f"{name} did not end within {container.service.grace:.0f} s") from None
            if code:
                raise Failed(f"{name} ended with {code}:\n{_tail(container)}")
            checks.add(f"{name} ends on SIGTERM", "exit code 0", time.monotonic() - begin)


def _tail(container: Container, lines: int = 15) -> str:
    return "\n".join(container.log.read_text(errors="replace").splitlines()[-lines:])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
