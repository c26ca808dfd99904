"""The parts of `ipserver up` as child processes: start, heartbeat, log and end of each."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import IO

from ipserver.environment.settings import Settings
from ipserver.ops.answering import Answering
from ipserver.ops.heartbeat import Pulse, Pulses
from ipserver.ops.metric_addresses import part_address
from ipserver.ops.places import heartbeat_file, log_file, rotate_log, supervised_environment

_log = logging.getLogger(__name__)
# Longest time until a part works. (The end of a part is noticed at once; imports alone take half a minute on
# a busy machine.)
START_SECONDS = 180.0
# The dispatcher waits up to 20 s for checkpoints and then ends Ray; the API gives running calls 5 s.
_STOP_SECONDS = {"api": 10.0, "dispatch": 35.0, "forward": 15.0, "web": 5.0}
# A part without a heartbeat for this long hangs. (One run may occupy the forwarder for long.)
_PULSE_SECONDS = {"dispatch": 300.0, "forward": 900.0, "web": 120.0}
# Threads with a heartbeat of their own, by part. (Planning a round of a large study may take a minute.)
_THREADS = {"dispatch": {"studies": 900.0}}


@dataclass(slots=True)
class Part:
    """A part that was started.

    Attributes:
        name: Name of its command ("api").
        process: Its process.
        pulse: Says whether it hangs; None: that is not watched.
        logged: Bytes in its log when it was started.
        restarts: When it was started again, in seconds of `time.monotonic`.
    """

    name: str
    process: subprocess.Popen[bytes]
    pulse: Pulses | Answering | None = None
    logged: int = 0
    restarts: list[float] = field(default_factory=list)

    @classmethod
    def started(cls, settings: Settings, name: str) -> Part:
        """Start a part."""
        logged = _logged(settings, name)
        return cls(name, _start(settings, name), _pulse(settings, name), logged)

    def start_again(self, settings: Settings) -> None:
        """Start it again after its end."""
        if isinstance(self.pulse, Answering):
            self.pulse.close()
        self.logged = _logged(settings, self.name)
        self.process, self.pulse = _start(settings, self.name), _pulse(settings, self.name)


def _start(settings: Settings, name: str) -> subprocess.Popen[bytes]:
    log: IO[bytes]
    rotate_log(log_file(settings, name))
    with log_file(settings, name).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ipserver", name],
            env=supervised_environment(
                settings.model_copy(update={"metrics_address": part_address(settings.metrics_address, name)})
            ),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            # Ctrl-C at the terminal must reach only the supervisor, which stops the parts in order. A process
            # group, not a session: if Linux schedules by session (autogroup), niceness counts only within a
            # session, and the forwarder would get as much CPU time as all workers together.
            process_group=0,
        )


def _pulse(settings: Settings, name: str) -> Pulses | Answering | None:
    if name == "api":  # has a health service
        return Answering(settings.health_address or settings.address, START_SECONDS + settings.wait_seconds)
    if name not in _PULSE_SECONDS:
        return None
    limits = {name: _PULSE_SECONDS[name], **_THREADS.get(name, {})}
    return Pulses(*(Pulse(heartbeat_file(settings, thread), limit) for thread, limit in limits.items()))


def end(parts: list[Part]) -> None:
    """End parts concurrently; kill each part that exceeds its own time limit."""
    begin = time.monotonic()
    for part in parts:
        if part.process.poll() is None:
            part.process.terminate()
    for part in sorted(parts, key=lambda part: _STOP_SECONDS[part.name]):
        try:
            part.process.wait(max(0.1, begin + _STOP_SECONDS[part.name] - time.monotonic()))
        except subprocess.TimeoutExpired:
            _log.warning("part %s did not stop in time and is killed", part.name)
            part.process.kill()
            part.process.wait()
        if part.process.stdin:
            part.process.stdin.close()


def _logged(settings: Settings, name: str) -> int:
    try:
        return log_file(settings, name).stat().st_size
    except FileNotFoundError:
        return 0


def log_tail(settings: Settings, part: Part, lines: int = 8) -> str:
    """The end of a part's log since its start, unless the log was rotated since."""
    path = log_file(settings, part.name)
    data = path.read_bytes()
    said = data[part.logged :] if part.logged <= len(data) else data
    text = said.decode(errors="replace").splitlines()[-lines:]
    return f"the end of {path}:\n" + "\n".join(text) if text else f"it has written nothing to {path}"
