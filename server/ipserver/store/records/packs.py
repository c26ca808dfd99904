"""Packs: as planned, leased and ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ipserver.store.records.experiments import ExperimentRecord
from ipserver.store.records.files import CheckpointRecord
from ipserver.store.records.networks import NetworkShape
from ipserver.store.records.runs import RunRecord
from ipserver.store.states import FailureReason, PackState


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPack(NetworkShape):
    """A planned pack: runs to be trained together.

    Attributes:
        id: Unique in the experiment, [a-z0-9-].
        run_indices: Its runs, ascending. They never change.
        memory_bytes: Estimated memory of the worker, in bytes.
    """

    id: str
    run_indices: tuple[int, ...]
    steps: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class LeasedPack:
    """A pack leased to a dispatcher.

    Attributes:
        token: Fencing token of this lease; every commit names it.
        attempt: Number of the attempt, from 1.
        committed_steps: Number of updates committed by earlier attempts.
        runs: All its runs in pack order, including terminal ones.
        checkpoints: Committed checkpoints, newest first.
        fruitless: Number of earlier attempts, per cause, that failed since the pack last committed a step.
            Attempts that were given back are not counted.
    """

    experiment: ExperimentRecord
    id: str
    state: PackState
    token: int
    attempt: int
    committed_steps: int
    steps: int
    memory_bytes: int
    runs: tuple[RunRecord, ...]
    checkpoints: tuple[CheckpointRecord, ...]
    fruitless: Mapping[FailureReason, int]


@dataclass(frozen=True, slots=True)
class EndedPack:
    """An ended pack and its committed files.

    Attributes:
        named: Locations of the files that were committed for its runs.
    """

    experiment: str
    pack: str
    named: frozenset[str]
