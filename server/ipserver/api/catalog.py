"""CatalogService."""
# ruff: noqa: N802 - the methods are named in the proto

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipcore import catalogue
from ipcore.catalogue.families import FAMILIES, Family
from ipcore.models import MODELS
from iplab.v1 import catalog_service_pb2 as pb
from iplab.v1 import catalog_service_pb2_grpc as pb_grpc
from iplab.v1.catalog_service_pb2 import Limits
from ipserver.api.blocking import Blocking
from ipserver.store.records.cluster import CapacityReport, DatasetReport

if TYPE_CHECKING:
    from ipserver.store import Store


class CatalogService(pb_grpc.CatalogServiceServicer):
    """Lists what specs may name.

    Args:
        store: The store, which has the last capacity report.
        blocking: Thread pool for calls of the store.
        limits: Limits on specs.
    """

    def __init__(self, store: Store, blocking: Blocking, limits: Limits) -> None:
        self._store = store
        self._blocking = blocking
        self._limits = limits

    async def GetCatalog(self, request: pb.GetCatalogRequest, context: Any) -> pb.Catalog:
        """Return names, datasets and limits."""
        capacity = await self._blocking.run(self._store.capacity)
        return pb.Catalog(
            datasets=_datasets(capacity),
            families=[_family(family) for family in FAMILIES.values()],
            activations=catalogue.ACTIVATIONS,
            losses=catalogue.LOSSES,
            optimizers=catalogue.OPTIMIZERS,
            biases=catalogue.BIASES,
            schedules=catalogue.SCHEDULES,
            probes=catalogue.PROBES,
            precisions=catalogue.PRECISIONS,
            models=MODELS,
            limits=self._limits,
        )


def _datasets(capacity: CapacityReport | None) -> list[pb.Dataset]:
    """The built-in datasets, then the other reported ones."""
    reports = {report.name: report for report in capacity.datasets} if capacity else {}
    names = [*catalogue.DATASETS, *(name for name in reports if name not in catalogue.DATASETS)]
    return [_dataset(name, reports.get(name)) for name in names]


def _dataset(name: str, report: DatasetReport | None) -> pb.Dataset:
    info = (report.info if report else None) or catalogue.DATASETS.get(name)
    state = pb.DATASET_STATE_UNSPECIFIED
    if report is not None:
        state = pb.DATASET_STATE_UNAVAILABLE if report.problem else pb.DATASET_STATE_AVAILABLE
    message = pb.Dataset(name=name, state=state, problem=report.problem if report else "")
    if info is None:
        message.description = "registered file"
        return message
    message.description, message.note = info.description, info.note
    message.input_dim, message.classes, message.target_dim = info.input_dim, info.classes, info.target_dim
    message.train_size, message.test_size = info.train_size, info.test_size
    return message


def _family(family: Family) -> pb.DatasetFamily:
    return pb.DatasetFamily(
        name=family.name,
        description=family.description,
        parameters=[
            pb.DatasetParameter(
                name=parameter.name,
                description=parameter.description,
                default_value=f"{parameter.default:g}"
                if isinstance(parameter.default, float)
                else str(parameter.default),
                allowed=parameter.allowed,
            )
            for parameter in family.parameters
        ],
    )
