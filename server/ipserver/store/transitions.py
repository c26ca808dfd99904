"""State transitions of runs, packs and experiments, as tables and pure functions that the store follows.

    QUEUED  --LEASE-->   RUNNING --SUCCEED, DIVERGE, FAIL--> SUCCEEDED, DIVERGED, FAILED
    RUNNING --GIVE_BACK--> QUEUED (PAUSED if its experiment is to pause)
    QUEUED  --PAUSE-->   PAUSED  --RESUME-->   QUEUED
    QUEUED, PAUSED --CANCEL--> CANCELLED;  RUNNING --CANCEL--> CANCELLING --STOP--> CANCELLED
    QUEUED, PAUSED --REFUSE--> FAILED
    FAILED  --RETRY-->   QUEUED (PAUSED if its experiment is to pause)

Packs alternate between QUEUED and LEASED until they are DONE. Every lease is an attempt. A pack has at most
one attempt that has not ended; the database enforces this as well. Terminal states are final, except that
failed runs may be retried, and that an ended experiment continues if runs are added or retried. A run or
experiment that is being cancelled can only end.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from ipserver.store.states import ExperimentState, PackState, RunState

_E, _P, _R = ExperimentState, PackState, RunState


class Change(StrEnum):
    """Changes of runs. Runs in a state that a change does not apply to stay as they are."""

    LEASE = "LEASE"
    SUCCEED = "SUCCEED"
    DIVERGE = "DIVERGE"
    FAIL = "FAIL"
    # The attempt ends before the runs do.
    GIVE_BACK = "GIVE_BACK"
    PAUSE = "PAUSE"
    RESUME = "RESUME"
    CANCEL = "CANCEL"
    # A slice or the attempt has ended: runs that were requested to stop have stopped.
    STOP = "STOP"
    # The runs will never be trained.
    REFUSE = "REFUSE"
    # Failed runs are retried on request.
    RETRY = "RETRY"


_MOVES: Final[Mapping[Change, Mapping[RunState, RunState]]] = MappingProxyType(
    {
        Change.LEASE: {_R.QUEUED: _R.RUNNING},
        Change.SUCCEED: {_R.RUNNING: _R.SUCCEEDED},
        Change.DIVERGE: {_R.RUNNING: _R.DIVERGED},
        Change.FAIL: {_R.RUNNING: _R.FAILED},
        Change.GIVE_BACK: {_R.RUNNING: _R.QUEUED},
        Change.PAUSE: {_R.QUEUED: _R.PAUSED},
        Change.RESUME: {_R.PAUSED: _R.QUEUED},
        Change.CANCEL: {_R.QUEUED: _R.CANCELLED, _R.PAUSED: _R.CANCELLED, _R.RUNNING: _R.CANCELLING},
        Change.STOP: {_R.CANCELLING: _R.CANCELLED},
        Change.REFUSE: {_R.QUEUED: _R.FAILED, _R.PAUSED: _R.FAILED},
        Change.RETRY: {_R.FAILED: _R.QUEUED},
    }
)

_PACKS: Final[Mapping[PackState, frozenset[PackState]]] = MappingProxyType(
    {
        _P.QUEUED: frozenset({_P.LEASED, _P.DONE}),
        _P.LEASED: frozenset({_P.QUEUED, _P.DONE}),
        _P.DONE: frozenset(),
    }
)

_ENDS: Final = frozenset({_E.SUCCEEDED, _E.FAILED, _E.CANCELLED})
# An experiment's state follows from its runs (`states.experiment_state`). These transitions are allowed.
_EXPERIMENTS: Final[Mapping[ExperimentState, frozenset[ExperimentState]]] = MappingProxyType(
    {
        _E.QUEUED: frozenset({_E.RUNNING, _E.PAUSED, _E.FAILED, _E.CANCELLED}),
        _E.RUNNING: frozenset({_E.QUEUED, _E.PAUSING, _E.PAUSED, _E.CANCELLING}) | _ENDS,
        _E.PAUSING: frozenset({_E.RUNNING, _E.PAUSED, _E.CANCELLING}) | _ENDS,
        _E.PAUSED: frozenset({_E.QUEUED, _E.RUNNING, _E.FAILED, _E.CANCELLED}),
        # A cancelling experiment never ends SUCCEEDED; it ends FAILED if a run had already failed.
        _E.CANCELLING: frozenset({_E.FAILED, _E.CANCELLED}),
        **dict.fromkeys(_ENDS, frozenset[ExperimentState]()),
    }
)
# An extension adds runs to an experiment in these states.
EXTENSIBLE: Final = frozenset({_E.QUEUED, _E.RUNNING, _E.PAUSING, _E.PAUSED, _E.SUCCEEDED, _E.FAILED})


def extension_problem(state: ExperimentState, *, cancelling: bool = False, deleted: bool = False) -> str:
    """Why no runs can be added to an experiment in this state; "" if they can."""
    if deleted:
        return "it is deleted; undelete it first"
    if state in EXTENSIBLE and not cancelling:
        return ""
    return f"it is {state} and was asked to stop, so no runs can be added to it; submit a new experiment"


def retry_problem(*, cancelling: bool, deleted: bool) -> str:
    """Why no run of an experiment can be retried; "" if failed runs can be."""
    if deleted:
        return "it is deleted; undelete it first"
    if cancelling:
        return "it was asked to stop, so its runs cannot be trained again; submit a new experiment"
    return ""


class ForbiddenMove(ValueError):
    """A transition that is not allowed. It shows a defect of the service; nothing was written."""


def moves(change: Change, *, pausing: bool = False) -> Mapping[RunState, RunState]:
    """Old and new state of the runs that a change applies to.

    Args:
        change: The change.
        pausing: Whether the runs' experiment is pausing.

    >>> {before.value: after.value for before, after in moves(Change.GIVE_BACK, pausing=True).items()}
    {'RUNNING': 'PAUSED'}
    """
    found = _MOVES[change]
    if pausing and change in {Change.GIVE_BACK, Change.RETRY}:
        return dict.fromkeys(found, _R.PAUSED)
    return found


def require_pack_move(before: PackState, after: PackState) -> None:
    """Raise ForbiddenMove unless a pack may go from `before` to `after`."""
    if after not in _PACKS[before]:
        raise ForbiddenMove(f"a pack that is {before} cannot become {after}")


def require_experiment_move(
    before: ExperimentState, after: ExperimentState, *, goes_on: bool = False
) -> None:
    """Raise ForbiddenMove unless an experiment may go from `before` to `after`.

    Args:
        before: The old state.
        after: The new state.
        goes_on: Whether runs were added or retried, which makes an ended experiment RUNNING again, or QUEUED
            if it has no other runs.
    """
    if goes_on and before.terminal and before in EXTENSIBLE and after in {_E.RUNNING, _E.QUEUED}:
        return
    if after not in _EXPERIMENTS[before]:
        raise ForbiddenMove(f"an experiment that is {before} cannot become {after}")
