"""Plans and jobs built from the store's records, and failures met on the way."""

from __future__ import annotations

import math
import traceback
from collections.abc import Sequence

from ipcore.catalogue import DatasetInfo, output_dim
from ipcore.errors import DataError
from ipcore.planning.kernel_machine import slice_work
from ipcore.planning.machine import DEFAULT_CPU, DEFAULT_GPU, MachineProfile, evaluation_work
from ipcore.probes import probe_cost
from ipcore.training.recording import records_outputs
from ipserver.environment.settings import Settings
from ipserver.request.convert import pack_config, resource_request, run_config
from ipserver.request.limit_runs import cost_of
from ipserver.request.planner import PlanLimits, plan
from ipserver.request.stored import stored_spec
from ipserver.scheduling.datasets import DatasetChecks
from ipserver.scheduling.placement import Cluster
from ipserver.store.records.experiments import ExperimentRecord
from ipserver.store.records.packs import LeasedPack, NewPack
from ipserver.store.records.runs import Failure, RunRecord
from ipserver.store.states import FailureReason
from ipserver.workers.jobs import PackJob


def plan_packs(
    experiment: ExperimentRecord,
    runs: Sequence[RunRecord],
    cluster: Cluster,
    settings: Settings,
    datasets: DatasetChecks,
    profile: MachineProfile | None,
    first: int = 0,
) -> list[NewPack]:
    """An experiment's packs, for the present nodes and one more node of each kind that can be added.

    Args:
        experiment: The experiment to plan.
        runs: Its queued runs.
        cluster: The cluster that will train them.
        settings: Limits.
        datasets: Sizes of datasets.
        profile: Measured speed of a worker of its size; None: not measured yet.
        first: Number of the first new pack, used in its id; equals the number of existing packs.

    Raises:
        DataError: Its registered file can no longer be used.
    """
    spec = stored_spec(experiment.spec)
    asked = resource_request(spec)
    slots = max(1, cluster.slots(asked))
    profile = profile or (DEFAULT_GPU if asked.gpus else DEFAULT_CPU.on_threads(math.ceil(asked.cpus)))
    # Packs that ask for a part of a GPU share its memory; some of it is left to CUDA itself.
    device = int(0.9 * min(1.0, asked.gpus) * profile.memory_bytes)
    limits = PlanLimits(slots, settings.max_pack_runs, device or settings.max_pack_memory_bytes, profile)
    info = datasets.info(spec.dataset)
    return plan([(run, pack_config(spec, run)) for run in runs], info, limits, first, cost_of(spec, info))


def make_job(pack: LeasedPack, settings: Settings) -> PackJob:
    """The job with which a trainer starts or continues a pack."""
    spec = stored_spec(pack.experiment.spec)
    return PackJob(
        experiment=pack.experiment.id,
        pack=pack.id,
        token=pack.token,
        config=pack_config(spec, pack.runs[0]),
        runs=tuple(run_config(spec, run) for run in pack.runs),
        run_indices=tuple(run.index for run in pack.runs),
        labels=tuple(run.parameterization for run in pack.runs),
        ended=frozenset(run.index for run in pack.runs if run.state.terminal),
        committed_steps=pack.committed_steps,
        summaries=tuple(run.summary for run in pack.runs),
        checkpoints=pack.checkpoints,
        resources=resource_request(spec),
        artifact_root=settings.artifact_root,
        data_root=str(settings.data) if settings.data else None,
        dataset_sha256=pack.experiment.dataset_sha256,
        slice_seconds=settings.slice_seconds,
        checkpoint_seconds=settings.checkpoint_seconds,
    )


def slice_deadline(pack: LeasedPack, info: DatasetInfo, settings: Settings) -> float:
    """Seconds after which a slice counts as hung, far beyond the slowest possible slice.

    The slowest slice is the last, which evaluates every run on one thread, or the first, which may measure
    probes at steps 0 and 1. The estimate assumes 1e9 multiply-adds per second.
    """
    config = pack_config(stored_spec(pack.experiment.spec), pack.runs[0])
    probes = probe_cost(config, info.input_dim, output_dim(config.loss, info))
    evaluations = 3 if records_outputs(config) else 1
    each = evaluations * evaluation_work(config, info) + 2 * probes + 2 * slice_work(config, info)
    work = each * len(pack.runs) / 1e9
    return max(60.0, 20 * settings.slice_seconds, 5 * work)


def defect(where: str, error: Exception) -> Failure:
    """The failure of runs that cannot train because of a defect of the service or missing data."""
    text = "".join(traceback.format_exception(error))
    reason = FailureReason.TRAINING_ERROR
    if isinstance(error, DataError):
        reason = FailureReason.DATA_UNAVAILABLE
    return Failure(reason, f"{where}: {type(error).__name__}: {error}", text)
