"""Planning in a separate thread, so that commits do not wait for it."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor, wait

from ipserver.environment.settings import Settings
from ipserver.environment.traces import span
from ipserver.errors import ClusterLost, Fenced
from ipserver.request.resources import ResourceRequest
from ipserver.scheduling.assembly import defect, plan_packs
from ipserver.scheduling.datasets import DatasetChecks
from ipserver.scheduling.placement import Cluster
from ipserver.store import Store
from ipserver.store.records.experiments import ExperimentRecord
from ipserver.store.records.runs import RunRecord
from ipserver.workers.executor import Executor

_log = logging.getLogger(__name__)


class Plans:
    """Plan experiments that wait for it.

    Args:
        store: The store.
        executor: Provides measured speeds of workers.
        settings: Limits, leases.
        datasets: Sizes of datasets.
        owner: This dispatcher's name in leases.
    """

    def __init__(
        self, store: Store, executor: Executor, settings: Settings, datasets: DatasetChecks, owner: str
    ) -> None:
        self._store = store
        self._executor = executor
        self._settings = settings
        self._datasets = datasets
        self._owner = owner
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="planning")
        self._job: Future[None] | None = None

    def look(self, cluster: Cluster, patience: float | None) -> None:
        """Plan all waiting experiments for this cluster.

        Args:
            cluster: The cluster's nodes.
            patience: Longest wait in seconds; None: until all are planned. A longer plan continues.

        Raises:
            ClusterLost, StoreUnavailable: Raised in the planning thread.
        """
        if self._job is None:
            self._job = self._pool.submit(self._plan, cluster)
        done, _ = wait([self._job], patience)
        if done:
            job, self._job = self._job, None
            job.result()

    def close(self) -> None:
        """Wait for planning to finish: an interrupted plan would have to wait until its lease expires."""
        self._pool.shutdown()

    def _plan(self, cluster: Cluster) -> None:
        while leased := self._store.lease_unplanned(self._owner, self._settings.lease_seconds):
            experiment, runs = leased
            with span("plan", parent=experiment.trace or None, experiment=experiment.id, runs=len(runs)):
                self._plan_one(experiment, runs, cluster)

    def _plan_one(self, experiment: ExperimentRecord, runs: list[RunRecord], cluster: Cluster) -> None:
        ttl = self._settings.lease_seconds
        try:
            try:
                profile = self._executor.profile(ResourceRequest.of(experiment.shape))
                there = self._store.packs_saved(experiment.id)
                packs = plan_packs(experiment, runs, cluster, self._settings, self._datasets, profile, there)
            except ClusterLost:
                raise
            except Exception as error:
                # An experiment that this version cannot plan must not prevent others from training.
                _log.exception("%s cannot be planned", experiment.id)
                self._store.refuse_plan(experiment.id, self._owner, defect("planning", error))
            else:
                self._store.save_plan(experiment.id, self._owner, packs, ttl)
                _log.info("%s: %d runs in %d packs", experiment.id, len(runs), len(packs))
        except Fenced:
            _log.warning("%s was planned by another dispatcher", experiment.id)
