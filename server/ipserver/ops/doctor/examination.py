"""All checks, one after another."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator

from ipserver.environment.masking import without_password
from ipserver.environment.settings import Settings
from ipserver.errors import ServiceError
from ipserver.ops.doctor import machine, services, stored
from ipserver.ops.doctor.finding import Finding, Found, Level
from ipserver.ops.running import RunningService, running_service
from ipserver.ops.startup import EVERYTHING, Needs


def examine(
    settings: Settings, clock: Callable[[], float] = time.time, needs: Needs = EVERYTHING
) -> Iterator[Finding]:
    """Make all checks, one after another.

    Args:
        settings: Settings of the examined part.
        clock: This machine's clock, in seconds since 1970-01-01 UTC.
        needs: Services that the part uses; others are not checked.
    """
    service = running_service(settings)
    if service is not None:
        yield from _look("service", _differences(settings, service))
        settings = service.settings
    yield from _look("settings", machine.variables(os.environ))
    yield from _look("variables", machine.surroundings(settings, os.environ))
    yield from _look("space", machine.space(settings))
    yield from _look("privacy", machine.privacy(settings))
    yield from _look("tls", machine.tls(settings, clock))
    reachable = yield from _look("store", stored.store(settings))
    if reachable:
        yield from _look("clock", stored.clock(settings, clock))
    else:
        yield _skipped("clock", "the store")
        yield _skipped("schema", "the store")
    usable = reachable and (yield from _look("schema", stored.schema(settings)))
    behind = {
        "times": stored.times(settings),
        "writing": stored.writing(settings),
        "artifacts": stored.artifacts(settings, write=needs.writes),
    }
    if needs.ray:
        behind["ray"] = services.ray(settings)
        behind["studies"] = services.studies(settings)
    for name, check in behind.items():
        if usable:
            yield from _look(name, check)
        else:
            yield _skipped(name, "a store with the schema of this code")
    if needs.ray:
        yield from _look("data", services.data(settings))
    if needs.mlflow:
        yield from _look("mlflow", services.mlflow(settings))


def _differences(settings: Settings, service: RunningService) -> Found:
    """The service that runs in this home, and settings in which it differs from the ones given here."""
    yield (
        Level.OK,
        f"checked with the settings of the service that runs in {settings.home} at "
        f"{service.settings.address} (process {service.pid})",
    )
    for name, theirs, ours in service.differences(settings):
        yield Level.NOTE, f"{name} is {theirs or 'unset'} there and {ours or 'unset'} here"


def _look(check: str, found: Found) -> Generator[Finding, None, bool]:
    """Yield all findings of a check; return whether none of them is WRONG."""
    sound = True
    try:
        for level, text in found:
            sound = sound and level is not Level.WRONG
            yield Finding(check, level, text)
    except ServiceError as error:
        sound = False
        yield Finding(check, Level.WRONG, str(error))
    except Exception as error:  # libraries raise many types; report all of them
        sound = False
        yield Finding(check, Level.WRONG, f"{type(error).__name__}: {without_password(str(error))}")
    return sound


def _skipped(check: str, need: str) -> Finding:
    return Finding(check, Level.SKIPPED, f"not checked: it needs {need}")
