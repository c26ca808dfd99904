"""CatalogService."""
# ruff: noqa: N802 - the methods are named in the proto

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipcore import catalogue
from iplab.v1 import catalog_service_pb2 as pb
from iplab.v1 import catalog_service_pb2_grpc as pb_grpc
from ipserver.api.blocking import Blocking
from ipserver.spec.limits import Limits
from ipserver.store.records import CapacityReport

if TYPE_CHECKING:
    from ipserver.store import Store


class CatalogService(pb_grpc.CatalogServiceServicer):
    """What specs may name.

    Args:
        store: Where the last capacity report is.
        blocking: Pool for its calls.
        limits: What specs are checked against.
    """

    def __init__(self, store: Store, blocking: Blocking, limits: Limits) -> None:
        self._store = store
        self._blocking = blocking
        self._limits = limits

    async def GetCatalog(self, request: pb.GetCatalogRequest, context: Any) -> pb.Catalog:
        """Names, datasets, limits."""
        capacity = await self._blocking.run(self._store.capacity)
        return pb.Catalog(
            datasets=[_dataset(info, capacity) for info in catalogue.DATASETS.values()],
            activations=catalogue.ACTIVATIONS,
            losses=catalogue.LOSSES,
            optimizers=catalogue.OPTIMIZERS,
            biases=catalogue.BIASES,
            limits=self._limits.to_proto(),
        )


def _dataset(info: catalogue.DatasetInfo, capacity: CapacityReport | None) -> pb.Dataset:
    problems = {report.name: report.problem for report in capacity.datasets} if capacity else {}
    state = pb.DATASET_STATE_UNSPECIFIED
    if info.name in problems:
        state = pb.DATASET_STATE_UNAVAILABLE if problems[info.name] else pb.DATASET_STATE_AVAILABLE
    return pb.Dataset(
        name=info.name,
        description=info.description,
        input_dim=info.input_dim,
        classes=info.classes,
        train_size=info.train_size,
        test_size=info.test_size,
        state=state,
        problem=problems.get(info.name, ""),
    )
