"""Processes that see what a container would see: `unshare`, `mount` and `setpriv` instead of Docker.

Needs root, as Docker's daemon does, and leaves nothing behind: everything is created in namespaces that end
with their last process, and the first process of each is killed with its parent.

The root file system of a container is an unpacked image, or an empty folder into which this machine's
programs, Python and our code are mounted, each at its own path and read-only. It has no other folder of this
machine.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.cluster.compose import Service

ROOT = Path(__file__).resolve().parents[2]
NETWORK = "10.213.0"
# Folders of this machine's root with programs, libraries and their settings.
_SYSTEM = {"bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc", "opt", "nix", "gnu"}
# Path of this environment in a container without an image. The path of a checkout may have blanks, and
# `ray start --head` passes the path of its Python to a shell without quotes.
PREFIX = "/srv/iplab"
_PRIVILEGES = ("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--clear-groups")


@dataclass(frozen=True, slots=True)
class Image:
    """The programs and variables that a container starts with.

    Attributes:
        environment: Variables.
        root: Folder of an unpacked image; None: this machine's programs.
    """

    environment: Mapping[str, str]
    root: Path | None = None


@dataclass(slots=True)
class Container:
    """A started service.

    Attributes:
        name: Name of the service, with a number if there are several.
        service: The service that it runs.
        address: Its IPv4 address.
        process: `unshare`, which runs as long as the service.
        log: Output of the service.
        environment: Variables of the service's processes.
    """

    name: str
    service: Service
    address: str
    process: subprocess.Popen[bytes]
    log: Path
    environment: Mapping[str, str]

    @property
    def first(self) -> int:
        """Process id, seen from here, of the service's first process; 0: it has not started or has ended."""
        if self.process.poll() is not None:
            return 0
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def run(self, command: Sequence[str], timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run another command in the container, like `docker exec`."""
        inside = ["nsenter", f"--target={self.first}", "--root", "--wd", "--mount", "--net", "--pid", "--uts"]
        return subprocess.run(
            [*inside, *_as_user(self.service, self.environment), *command],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def healthy(self) -> bool:
        """Make one health check."""
        check = self.service.healthcheck
        return check is None or (self.first > 0 and self.run(check.command).returncode == 0)

    def signal(self, number: int) -> None:
        """Send a signal to the service's first process, if it lives."""
        if self.process.poll() is None and (first := self.first):
            os.kill(first, number)


def make_network(hosts: Mapping[str, str]) -> None:
    """A bridge, and for each address a network namespace connected to it.

    Args:
        hosts: Address by container's name.
    """
    _do("mount -t tmpfs tmpfs /run")
    _do("ip link set lo up")
    _do(f"ip link add iplab type bridge && ip addr add {NETWORK}.1/24 dev iplab && ip link set iplab up")
    for number, (name, address) in enumerate(hosts.items()):
        _do(f"ip netns add {name}")
        _do(f"ip link add veth{number} master iplab type veth peer name eth0 netns {name}")
        _do(f"ip link set veth{number} up")
        inside = f"ip -n {name}"
        _do(
            f"{inside} link set lo up && {inside} addr add {address}/24 dev eth0 && {inside} link set eth0 up"
        )
        # Programs find their own address by asking for the default route.
        _do(f"{inside} route add default via {NETWORK}.1")


def start(
    service: Service,
    name: str,
    address: str,
    folder: Path,
    image: Image,
    command: Sequence[str] = (),
    bind: Mapping[Path, str] | None = None,
) -> Container:
    """Start a service in its network namespace.

    Args:
        service: The service.
        name: Name of the container.
        address: Address of the network namespace `name`.
        folder: Holds `hosts`, `resolv.conf` and `secrets`; its log goes to `logs`.
        image: Its programs and variables.
        command: Replaces the service's command.
        bind: Further files and folders: path in the container by path here.
    """
    environment = {**image.environment, **service.environment}
    script = _script(service, name, folder, image, bind or {})
    inside = [*_as_user(service, environment), *(command or service.command)]
    log = folder / "logs" / f"{name}.log"
    with log.open("ab") as output:
        process = _unshared(name, [*script, *inside], output)
    return Container(name, service, address, process, log, environment)


def _unshared(name: str, command: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    apart = ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{name}", *apart, *command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
    )


def _script(service: Service, host: str, folder: Path, image: Image, bind: Mapping[Path, str]) -> list[str]:
    """A shell that builds the file system of a container, then executes the command after it.

    Everything is mounted below `folder / "root"`, visible only in this shell's mount namespace. Temporary
    folders are mounted before this machine's folders, since a checkout may be in one of them.
    """
    root = folder / "root"
    lines = ["set -eu", f"hostname {shlex.quote(host)}"]
    lines += (
        _this_machine(root) if image.root is None else [f"mount --bind {_quoted(image.root)} {_quoted(root)}"]
    )
    lines += [_mount(f"--rbind /{name}", root / name) for name in ("dev", "sys")]
    lines.append(_mount("-t proc proc", root / "proc"))
    lines.append(_mount("-t tmpfs -o mode=1777,size=256m tmpfs", root / "dev/shm"))
    for target, options in (("run", "mode=755"), ("tmp", "mode=1777"), *service.tmpfs):
        lines.append(_mount(f"-t tmpfs -o {shlex.quote(options)} tmpfs", _below(root, target)))
    lines.append(_bind(folder / "hosts", root / "etc/hosts"))
    # If it is a link to another folder (as systemd's is), the link is broken here, which has the same effect.
    resolv = root / "etc/resolv.conf"
    lines.append(f"test -L {_quoted(resolv)} || {_bind(folder / 'resolv.conf', resolv)}")
    secrets = {folder / "secrets" / secret: target for secret, target in service.secrets.items()}
    own = [] if image.root else [*_needed(folder)]
    for source, target in [*own, *secrets.items(), *bind.items()]:
        lines.append(_bind(source, _below(root, target)))
    if service.read_only:
        lines.append(f"mount -o remount,bind,ro {_quoted(root)}")
    lines.append(f'exec chroot {_quoted(root)} "$@"')
    return ["sh", "-c", "\n".join(lines), "sh"]


def _this_machine(root: Path) -> list[str]:
    """An empty root with this machine's programs."""
    lines = [f"mount -t tmpfs -o mode=755 tmpfs {_quoted(root)}"]
    for path in sorted(path for path in Path("/").iterdir() if path.name in _SYSTEM):
        target = root / path.name
        lines.append(f"cp -P {path} {_quoted(target)}" if path.is_symlink() else _bind(path, target))
    return lines


def _needed(folder: Path) -> Iterator[tuple[Path, str]]:
    """Python, its libraries and our code, under each of their paths; outer folders first."""
    places = {ROOT, Path(sys.base_prefix), Path(sys.executable).resolve().parents[1]}
    for place in sorted({path.absolute() for path in places} | {path.resolve() for path in places}):
        yield place, str(place)
    yield Path(sys.prefix), PREFIX
    yield folder / "bin", f"{PREFIX}/bin"


def make_programs(folder: Path) -> None:
    """Write the programs of this test's environment to `folder / "bin"`, for a Python below `PREFIX`."""
    (folder / "bin").mkdir()
    for source in sorted((Path(sys.prefix) / "bin").iterdir()):
        target = folder / "bin" / source.name
        if source.is_symlink():
            target.symlink_to(source.readlink())
        elif source.is_file() and (content := source.read_bytes()).startswith(b"#!"):
            target.write_bytes(content.replace(sys.prefix.encode(), PREFIX.encode()))
            target.chmod(0o755)


def _bind(source: Path, target: Path) -> str:
    """Mount a file or a folder read-only at a path, which is created if it is missing."""
    place = _quoted(target)
    made = f"mkdir -p {place}" if source.is_dir() else f"mkdir -p {_quoted(target.parent)}; touch {place}"
    shown = f"mount --bind {_quoted(source)} {place}; mount -o remount,bind,ro {place}"
    return f"{{ test -e {place} || {{ {made}; }}; {shown}; }}"


def _mount(what: str, target: Path) -> str:
    return f"mkdir -p {_quoted(target)}; mount {what} {_quoted(target)}"


def _below(root: Path, target: str) -> Path:
    return root / target.lstrip("/")


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _as_user(service: Service, environment: Mapping[str, str]) -> list[str]:
    user = (
        [] if service.user is None else [f"--reuid={service.user}", f"--regid={service.user}", *_PRIVILEGES]
    )
    return ["setpriv", *user, "env", "-i", *(f"{name}={value}" for name, value in environment.items())]


def _do(command: str) -> None:
    subprocess.run(["sh", "-ec", command], check=True)
