"""QuotaService."""
# ruff: noqa: N802 - the methods are named in the proto

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iplab.v1 import options_pb2
from iplab.v1 import quota_service_pb2 as pb
from iplab.v1 import quota_service_pb2_grpc as pb_grpc
from ipserver.api.blocking import Blocking
from ipserver.api.caller import Caller, caller
from ipserver.api.convert import timestamp
from ipserver.store.records.accounts import KINDS, Use

if TYPE_CHECKING:
    from ipserver.store import Store


class QuotaService(pb_grpc.QuotaServiceServicer):
    """Lists projects, roles and limits of callers.

    Args:
        store: The store.
        blocking: Thread pool for calls of the store.
    """

    def __init__(self, store: Store, blocking: Blocking) -> None:
        self._accounts = store.accounts
        self._blocking = blocking

    async def ListQuotas(self, request: pb.ListQuotasRequest, context: Any) -> pb.ListQuotasResponse:
        """List the caller's projects, with limits and use."""
        return await self._blocking.run(self._list, caller())

    def _list(self, who: Caller) -> pb.ListQuotasResponse:
        own = who.projects()
        return pb.ListQuotasResponse(
            user=who.user,
            projects=[
                pb.ProjectQuota(
                    project=project,
                    role=options_pb2.Role.ValueType(who.role(project)),
                    quotas=[_quota(use) for use in self._accounts.uses(project, who.user)],
                )
                for project in (self._accounts.projects() if own is None else own)
            ],
        )


def _quota(use: Use) -> pb.Quota:
    return pb.Quota(
        limit=use.name,
        meaning=KINDS[use.name].meaning,
        user=use.user,
        most=use.limit,
        used=use.used,
        reset_time=timestamp(use.reset_time),
    )
