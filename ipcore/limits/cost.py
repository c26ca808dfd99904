"""Memory and time of a limit or of deferred weights, before anything is allocated. Standard library only.

Numbers held, for L hidden layers, N particles (or width m), T updates of B examples, per replica:

    particles         2 (L-1) N min(T B, N)              u and x of every example; W itself beyond N columns
    revival           min(T B, N) (N + N/10)             directions, and answers of the neurons that are off
    deferred weights  6 (L-1) m min(T B, m)              also directions and answers of both sides
    kernel            n (4 n + d)                        to draw f_0 at all n inputs: covariance, eigensolver

The estimate is the peak size of all tensors: the memory of a process whose allocator returns large blocks at
once. An allocator that keeps them, such as glibc's with its defaults, takes somewhat more. The interpreter
and torch (some 300 MB), and the dataset, are not included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from ipcore.catalogue import DatasetInfo, output_dim
from ipcore.config import PackConfig, RunConfig
from ipcore.limits.kinds import limit_of_run
from ipcore.limits.limit import Limit, NoLimit
from ipcore.limits.work import asked_updates, asking_work, growing_work, product_work, velocities
from ipcore.planning import kernel_machine
from ipcore.planning.kernel_machine import reads
from ipcore.planning.machine import DEFAULT_CPU, MachineProfile
from ipcore.planning.memory import pack_memory_bytes

_ITEM: Final = 4  # bytes of a number in single precision
_DOUBLE: Final = 8
CHUNK: Final = 512  # inputs at once of an evaluation
BLOCK: Final = 3 << 18  # values of particles at once of an evaluation (`ipcore.limits.sweep`), 3 MB
_EIGENSOLVER: Final = 6.0  # times n^3: multiply-adds that take as long as a draw from an n x n covariance
# numpy's Philox normals, in double precision (a core of an EPYC, busy with other things: 25 to 40 ns each).
_NORMALS_PER_SECOND: Final = 3e7
# Neurons per example seen above which deferred weights take less time than dense ones.
_DEFERRING: Final = 12
_DEFERRING_ON_GPU: Final = 4


@dataclass(frozen=True, slots=True)
class Cost:
    """Memory and work of one run.

    Attributes:
        memory_bytes: At the largest moment.
        work: Multiply-adds of calibration and all updates, without evaluations.
        evaluation_work: Multiply-adds of one evaluation after the last update.
        normals: Normals drawn before and in all updates, by one core on every device.
        evaluation_normals: Normals drawn in one evaluation.
    """

    memory_bytes: int
    work: float
    evaluation_work: float
    normals: float
    evaluation_normals: float

    def seconds(self, machine: MachineProfile = DEFAULT_CPU) -> float:
        """Time of all updates, in seconds."""
        return self.work / machine.rate + self.normals / _NORMALS_PER_SECOND

    def evaluation_seconds(self, machine: MachineProfile = DEFAULT_CPU) -> float:
        """Time of one evaluation after the last update, in seconds."""
        return self.evaluation_work / machine.rate + self.evaluation_normals / _NORMALS_PER_SECOND


def cost(config: PackConfig, run: RunConfig, info: DatasetInfo) -> Cost:
    """Memory and work of one run with `infinite_width` or `deferred`.

    Raises:
        ValueError: The run has no limit.
    """
    if not config.infinite_width:
        return _deferred(config, run, info)
    found = limit_of_run(config, run)
    if isinstance(found, NoLimit):
        raise ValueError(found.sentence)
    if found.kind == "kernel":
        return _kernel(config, info, drawn=not found.starts_at_zero)
    return _particles(config, run, info, found)


def _evaluated(config: PackConfig, info: DatasetInfo) -> int:
    return info.test_size + config.validation_size


def _columns(config: PackConfig) -> int:
    """Columns of a hidden matrix held at most."""
    return min(config.steps * config.batch_size, config.width)


def _particles(config: PackConfig, run: RunConfig, info: DatasetInfo, limit: Limit) -> Cost:
    L, B, N, T = config.hidden_layers, config.batch_size, config.width, config.steps
    d, C, kept = info.input_dim + 1, output_dim(config.loss, info), 1 + velocities(config)
    most, replicas, calibrated = _columns(config), config.replicas, run.calibration is not None
    held = kept * (d + C) * N * replicas
    # Step 0 draws h and dx from their covariances, in double precision: four products of B^2 N. A calibration
    # does that too, and passes its second batch through the layers, which takes about as long.
    passes = 1 + 2 * calibrated
    work = (L - 1) * (growing_work(config) + passes * 8.0 * B * B * N)
    work += (T + passes - 1) * float(B) * N * (2 * d + 3 * C)
    # Step 0, calibration, and the initial particles.
    normals = (1 + calibrated) * N * (d + C + 2.0 * (L - 1) * B)
    normals += calibrated * limit.keeps_initial * (L - 1) * float(B) * N
    if limit.revives and L > 1:
        # Products with the rows of neurons that are off, a tenth; directions are orthogonalized twice.
        held += int(most * N * 1.1) * replicas
        work += 6.0 * N * reads(T, B, N) + 16.0 * B * B * N * T
        normals += 0.1 * N * B * (T - 1)

    # Values of all layers, inner products, and the double-precision copies of which step 0 makes its
    # covariances.
    doubles = 2 * B * N * _DOUBLE // _ITEM

    def passing(rows: int, inner: int) -> int:
        return rows * (2 * L * N + 2 * inner) + doubles

    # Until matrices are formed, an evaluation goes through a block of particles at a time.
    def evaluating(rows: int, inner: int) -> int:
        return 2 * (rows * inner + BLOCK)

    moments = _moments(config, info, replicas, passing, evaluating)
    evaluation = _evaluated(config, info) * (N * (d + C) + (L - 1) * product_work(config))
    work, evaluation, normals = replicas * work, replicas * evaluation, replicas * normals
    return Cost((held + max(moments)) * _ITEM, work, evaluation, normals, 0.0)


def _moments(
    config: PackConfig,
    info: DatasetInfo,
    replicas: int,
    passing: Callable[[int, int], int],
    evaluating: Callable[[int, int], int] | None = None,
) -> Iterator[int]:
    """Numbers of the updates of hidden matrices, and of what passes through them, at the largest moments.

    Args:
        config: Configuration of the pack.
        info: Properties of the dataset.
        replicas: How many systems there are.
        passing: Numbers that a pass holds, by its inputs and the columns of each matrix.
        evaluating: The same of an evaluation while matrices are factors; None: that of a pass.
    """
    looking = evaluating or passing
    B, N = config.batch_size, config.width
    most = _columns(config)
    matrices, kept = replicas * (config.hidden_layers - 1), 1 + velocities(config)
    factors, evaluated = matrices * 2 * N * most, max(B, min(CHUNK, _evaluated(config, info)))
    if not matrices or most == config.steps * B:
        yield factors + max(passing(B, most), looking(evaluated, most))
        return
    # Matrices are formed one after the other: each beside its own factors, and those of all others.
    yield factors + (1 + kept) * N * N
    early = 0 < config.evaluation_interval * B <= most
    yield factors + max(passing(B, most), looking(evaluated, most) if early else 0)
    yield matrices * kept * N * N + passing(evaluated, 0)


def _deferred(config: PackConfig, run: RunConfig, info: DatasetInfo) -> Cost:
    L, B, m, T = config.hidden_layers, config.batch_size, config.width, config.steps
    d, C, kept = info.input_dim + 1, output_dim(config.loss, info), 1 + velocities(config)
    # A calibration passes batch 1 forward and backward and batch 2 forward.
    extra = 1 if run.calibration is not None else 0
    layers = range(2, L + 1)
    asked = [asked_updates(run.parameterization, layer, T) for layer in layers]
    remembered = [(min(m, B * (n + 2 * extra)), min(m, B * (n + extra))) for n in asked]
    work = (L - 1) * growing_work(config) + sum(asking_work(config, n + 1.5 * extra) for n in asked)
    work += (T + 2 * extra) * float(B) * m * (2 * d + 3 * C)
    ends = kept * (d + C) * m
    known = 2 * m * sum(map(sum, remembered))

    # Values of all layers, and what a question is orthogonalized in.
    def asking(rows: int, inner: int) -> int:
        return rows * ((2 * L + 6) * m + 3 * inner)

    def plain(rows: int, inner: int) -> int:
        return rows * ((2 * L + 2) * m + 3 * inner)

    # If the initial matrices are removed, test inputs are only evaluated with them at step 0, when there are
    # no updates yet, and nothing is known but by a calibration.
    if all(k is None for k in run.parameterization.k_at(1)[1:-1]):
        first = asking(max(B, min(CHUNK, _evaluated(config, info))), 0)
        numbers = ends + max(first + extra * known, known + max(_moments(config, info, 1, plain)))
    else:
        numbers = ends + known + max(_moments(config, info, 1, asking))
    tests = _evaluated(config, info)
    evaluation = tests * (m * (d + C) + (L - 1) * product_work(config))
    evaluation_normals = 0.0
    for layer, (forward, backward) in zip(layers, remembered, strict=True):
        if run.parameterization.k_at(T)[layer - 1] is None:
            continue
        evaluation += tests * m * 5.0 * forward
        if forward < m:  # else nothing is new
            evaluation += tests * m * (3.0 * backward + 8.0 * min(CHUNK, tests))
            evaluation_normals += float(m) * tests
    # Nothing is drawn once all of a matrix is known.
    normals = m * (d + C + float(sum(map(sum, remembered))))
    return Cost(numbers * _ITEM, work, evaluation, normals, evaluation_normals)


def _kernel(config: PackConfig, info: DatasetInfo, *, drawn: bool) -> Cost:
    evaluated = _evaluated(config, info)
    points = kernel_machine.used_examples(config, info) + evaluated
    held = kernel_machine.machine_bytes(config, info, evaluated)
    moments = [kernel_machine.kernel_bytes(config, info)]
    work = kernel_machine.update_work(config, info)
    if drawn:
        # The covariance, its eigenvectors, and twice as much in which the eigensolver works.
        moments.append(_DOUBLE * (4 * points * points + points * info.input_dim))
        work += _EIGENSOLVER * points**3 + points**2 * kernel_machine.entry_work(config, info)
        work += points * kernel_machine.input_work(config)
    normals = float(points * output_dim(config.loss, info)) if drawn else 0.0
    evaluation = kernel_machine.evaluation_work(config, info, evaluated)
    return Cost(held + max(moments), work, evaluation, normals, 0.0)


def largest_width(config: PackConfig, run: RunConfig, info: DatasetInfo, memory: int) -> int:
    """The largest width, or number of particles, that fits into `memory` bytes, up to the pack's; 0: none."""
    return _largest(lambda m: cost(replace(config, width=m), run, info).memory_bytes <= memory, config.width)


def largest_steps(config: PackConfig, run: RunConfig, info: DatasetInfo, memory: int) -> int:
    """The most updates that fit into `memory` bytes, up to the pack's; 0: not even one."""
    return _largest(lambda T: cost(replace(config, steps=T), run, info).memory_bytes <= memory, config.steps)


def dense_width(config: PackConfig, info: DatasetInfo, memory: int) -> int:
    """The largest width that fits into `memory` bytes when trained densely, up to the pack's; 0: none."""
    dense = replace(config, deferred=False, infinite_width=False)
    return _largest(
        lambda m: pack_memory_bytes(replace(dense, width=m), info, runs=1) <= memory, config.width
    )


def _largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number 1..most that fits, where fewer always fit if more do; 0: none."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def deferring_width(examples: int, *, gpu: bool) -> int:
    """The least width from which a whole run takes less time with deferred weights than densely.

    Per hidden matrix of a network of width m that sees n = T B examples, a dense run takes 3 m^2 n
    multiply-adds and draws m^2 normals; a deferred one takes 10 m n^2 in smaller products and draws 2 m n.
    By the multiply-adds deferring pays from 3 n on. On a core its products are a third as fast and
    evaluations cost more, so that whole runs take the same time at 8 to 18 n (docs/limits.md); beside a GPU
    drawing takes most of the time.

    Args:
        examples: n, updates times batch size.
        gpu: Whether a GPU trains; a core draws all the same.

    >>> deferring_width(160, gpu=False), deferring_width(6400, gpu=True)
    (1920, 25600)
    """
    return examples * (_DEFERRING_ON_GPU if gpu else _DEFERRING)
