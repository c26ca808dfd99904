"""Supervision of the parts of `ipserver up`: parts that end or hang are started again; logs are rotated."""

from __future__ import annotations

import logging
import threading
import time

from ipserver.environment.settings import Settings
from ipserver.errors import StartupError
from ipserver.ops.places import log_file, rotate_log
from ipserver.ops.processes import Part, end, log_tail
from ipserver.ops.running import announce

_log = logging.getLogger(__name__)
# Parts without which the service continues.
_OPTIONAL = frozenset({"web"})
_POLL_SECONDS = 0.2
# If a signal stops all processes of the service, a part may get it this much earlier than this process.
_STOPPING_SECONDS = 0.5
_ROTATE_SECONDS = 5.0
# A part that ends is restarted, unless it has ended this many times within the time below.
_RESTARTS = 5
_RESTART_SECONDS = 60.0


def supervise(settings: Settings, parts: list[Part], stop: threading.Event) -> None:
    """Keep the parts running until `stop` is set.

    Raises:
        StartupError: A part does not stay up, and the service cannot continue without it.
    """
    rotate_at = 0.0
    parts = list(parts)
    while not stop.wait(_POLL_SECONDS):
        if time.monotonic() >= rotate_at:
            rotate_at = time.monotonic() + _ROTATE_SECONDS
            for part in parts:
                rotate_log(log_file(settings, part.name))
        for part in tuple(parts):
            if part.process.poll() is None:
                if part.pulse is None or not part.pulse.stopped():
                    continue
                _log.warning("part %s has hung for %g s and is killed", part.name, part.pulse.seconds)
                part.process.kill()
                part.process.wait()
            if stop.wait(_STOPPING_SECONDS):
                return
            now = time.monotonic()
            part.restarts = [at for at in part.restarts if now - at < _RESTART_SECONDS] + [now]
            if len(part.restarts) > _RESTARTS and part.name in _OPTIONAL:
                _log.error("%s does not stay up; the service continues without it", part.name)
                parts.remove(part)
                continue
            if len(part.restarts) > _RESTARTS:
                raise StartupError(f"the part {part.name!r} does not stay up; {log_tail(settings, part)}")
            _log.warning(
                "part %s ended with status %s; starting it again", part.name, part.process.returncode
            )
            part.start_again(settings)
            announce_parts(settings, parts)


def stop_in_order(parts: list[Part]) -> None:
    """Stop the API first (no new work), then the dispatcher (it writes checkpoints) and the forwarder."""
    end([part for part in parts if part.name == "api"])
    end([part for part in parts if part.name != "api"])


def announce_parts(settings: Settings, parts: list[Part]) -> None:
    """Write their process ids to the file that describes the service, if it can be written."""
    try:
        announce(settings, {part.name: part.process.pid for part in parts})
    except OSError as error:  # a full disk, say: the parts continue as far as possible
        _log.warning("service.json is missing or outdated; it cannot be written: %s", error)
