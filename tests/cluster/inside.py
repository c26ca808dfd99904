"""The other half of `python -m tests.cluster`: starts the services in order, then sees what they promise."""

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
from tests.cluster.containers import NETWORK, ROOT, Container, Image, make_network, start

_POLL_SECONDS = 0.5
_JOB_SECONDS = 120.0
_STOPPED_FIRST = ("api", "dispatch", "forward")


def main(folder: Path) -> int:
    """Run everything; returns an exit code."""
    services = compose.read({"IPLAB_WORKER_CPUS": "1"})
    hosts = {
        name: f"{NETWORK}.{10 + i}" for i, name in enumerate(n for s in services.values() for n in _names(s))
    }
    _write_hosts(folder, services, hosts)
    make_network(hosts)
    subprocess.run(["mount", "--bind", str(folder / "hosts"), "/etc/hosts"], check=True)
    image = _image()
    stand_ins = _stand_ins(folder)
    started: dict[str, list[Container]] = {}
    checks = Checks(folder, hosts, started)
    try:
        for service in _in_order(services):
            begin = time.monotonic()
            started[service.name] = [
                stand_ins[service.name](service, name, hosts[name])
                if service.name in stand_ins
                else start(service, name, hosts[name], folder, image)
                for name in _names(service)
            ]
            what = _await(service, started[service.name], services)
            checks.add(f"{service.name}: {' '.join(service.command)[:44]}", what, time.monotonic() - begin)
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
    """A service that did not do what it was started for."""


def _names(service: Service) -> list[str]:
    if service.scale == 1:
        return [service.name]
    return [f"{service.name}-{number}" for number in range(1, service.scale + 1)]


def _write_hosts(folder: Path, services: Mapping[str, Service], hosts: Mapping[str, str]) -> None:
    lines = ["127.0.0.1 localhost"]
    for service in services.values():
        lines += [f"{hosts[name]} {name} {service.name}" for name in _names(service)]
    (folder / "hosts").write_text("\n".join(lines) + "\n")
    # Nobody answers there, and says so at once: a name that is not in `hosts` is no name.
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")


def _image() -> Image:
    """What the Dockerfile sets, on top of the image of IPLAB_TEST_IMAGE or of this machine's programs."""
    environment = dict(DockerfileParser(str(ROOT / "deploy" / "Dockerfile")).envs)
    if unpacked := os.environ.get("IPLAB_TEST_IMAGE"):
        return Image(environment | {"PATH": "/opt/iplab/bin:/usr/local/bin:/usr/bin:/bin"}, Path(unpacked))
    programs = [ROOT / "deploy" / "bin", Path(sys.prefix) / "bin", "/usr/bin", "/bin"]
    return Image(environment | {"PATH": ":".join(map(str, programs))})


def _stand_ins(folder: Path) -> Mapping[str, Callable[[Service, str, str], Container]]:
    """What is not of our image: this machine's PostgreSQL behind a relay, and moto as the object store."""
    here = Image({"PATH": f"{Path(sys.prefix) / 'bin'}:/usr/bin:/bin"})
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


def _in_order(services: Mapping[str, Service]) -> list[Service]:
    """Each after those that it depends on."""
    ordered: list[Service] = []
    while len(ordered) < len(services):
        done = {service.name for service in ordered}
        ready = [s for s in services.values() if s.name not in done and s.depends_on.keys() <= done]
        if not ready:
            raise compose.Refused("services depend on each other in a circle")
        ordered.append(ready[0])
    return ordered


def _await(service: Service, containers: list[Container], services: Mapping[str, Service]) -> str:
    """Wait until others may rely on it, in the way that they ask for."""
    awaited = {other.depends_on.get(service.name) for other in services.values()}
    container = containers[0]
    if "service_completed_successfully" in awaited:
        code = container.process.wait(_JOB_SECONDS)
        if code:
            raise Failed(f"{service.name} ended with {code}:\n{_tail(container)}")
        return "done"
    check = container.service.healthcheck
    deadline = time.monotonic() + (check.seconds if check else 0.0)
    for container in containers:
        while not container.healthy():
            if container.process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"{container.name} is not healthy:\n{_tail(container)}")
            time.sleep(_POLL_SECONDS)
    return "healthy" if check else "started"


def _stop(started: Mapping[str, list[Container]], checks: Checks) -> None:
    """SIGTERM ends our parts within their grace and with exit code 0."""
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
