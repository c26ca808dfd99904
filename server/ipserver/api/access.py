"""Access control: an interceptor that authenticates callers, and one that checks their roles.

The role that a method needs is an option in the proto (`iplab.v1.access`). Health is open to everyone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from grpc import aio

from iplab.v1 import options_pb2
from ipserver import names
from ipserver.api.authentication import Authenticator
from ipserver.api.blocking import Blocking
from ipserver.api.caller import Caller, caller, set_caller
from ipserver.api.handlers import HEALTH, rewrapped
from ipserver.api.rates import Rates
from ipserver.environment.log_scope import scope
from ipserver.errors import Concealed, FieldViolation, InvalidRequest, PermissionDenied
from ipserver.store.records.accounts import EVERY, Role

if TYPE_CHECKING:
    from ipserver.store import Store

_DOES: Final = {Role.READER: "reading", Role.WRITER: "writing", Role.ADMIN: "this"}

# A string, because handler classes are generic only in the stubs.
Continuation = Callable[[grpc.HandlerCallDetails], "Awaitable[grpc.RpcMethodHandler[Any, Any]]"]


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may call a method.

    Attributes:
        role: Role that the caller needs in the project concerned.
        resource: Path of the field with the name of the resource whose project is concerned; "" if none.
        project: Path of the field with the project concerned; "" if none.
    """

    role: Role
    resource: str
    project: str


def rules(services: Iterable[str]) -> dict[str, Rule]:
    """The rule of every method of these services, by its path.

    Raises:
        ValueError: A method declares no role, or a field that its request does not have.
    """
    found = {}
    for name in services:
        for method in descriptor_pool.Default().FindServiceByName(name).methods:
            access = method.GetOptions().Extensions[options_pb2.access]
            if not access.role:
                raise ValueError(
                    f"{method.full_name} does not say who may call it: give it `option (access)`"
                )
            for path in filter(None, (access.resource, access.project)):
                message: Descriptor | None = method.input_type
                for part in path.split("."):
                    if message is None or part not in message.fields_by_name:
                        raise ValueError(
                            f"{method.full_name}: its request has no field {path!r} (`option (access)`)"
                        )
                    message = message.fields_by_name[part].message_type
            found[f"/{name}/{method.name}"] = Rule(Role(access.role), access.resource, access.project)
    return found


class Authenticate(aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs alone
    """Authenticates the caller before a request is read, and again while a stream lasts.

    Args:
        authenticator: Finds the caller of a token.
    """

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Wrap all methods, including reflection, except those of health."""
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(HEALTH):
            return handler
        return rewrapped(handler, self._unary, self._streaming)

    def _unary(self, method: Any) -> Any:
        async def call(request: Any, context: aio.ServicerContext[Any, Any]) -> Any:
            set_caller(await self._authenticator.caller(_authorization(context)))
            return await method(request, context)

        return call

    def _streaming(self, method: Any) -> Any:
        async def call(request: Any, context: aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            authorization = _authorization(context)
            first = await self._authenticator.caller(authorization)
            set_caller(first)
            responses = method(request, context)
            if not self._authenticator.required:
                async for response in responses:
                    yield response
                return
            # The next response is awaited in a task, so that access is checked while a stream is silent.
            waiting = asyncio.ensure_future(anext(responses, None))
            try:
                while True:
                    done, _ = await asyncio.wait({waiting}, timeout=self._authenticator.trust_seconds)
                    who = await self._authenticator.caller(authorization)
                    if any(who.role(project) < role for project, role in first.roles.items()):
                        raise PermissionDenied("one of your roles was revoked; call again with the others")
                    if done:
                        if (response := waiting.result()) is None:
                            return
                        yield response
                        waiting = asyncio.ensure_future(anext(responses, None))
            finally:
                if not waiting.done():
                    waiting.cancel()
                    await asyncio.wait({waiting})
                await responses.aclose()

        return call


class Authorize(aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs alone
    """Checks that the caller has the role that a method needs, and fills in the default project.

    Args:
        store: Finds the projects of resources.
        blocking: Thread pool for calls of the store.
        rules: Rules of all methods, by path.
        rates: Limits requests per second.
    """

    def __init__(self, store: Store, blocking: Blocking, rules: Mapping[str, Rule], rates: Rates) -> None:
        self._accounts = store.accounts
        self._blocking = blocking
        self._rules = rules
        self._rates = rates

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Wrap the methods of iplab.v1. Reflection needs a token but no role."""
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith("/iplab."):
            return handler
        rule = self._rules[handler_call_details.method]

        def unary(method: Any) -> Any:
            async def call(request: Message, context: aio.ServicerContext[Any, Any]) -> Any:
                await self._check(rule, request)
                return await method(request, context)

            return call

        def streaming(method: Any) -> Any:
            async def call(request: Message, context: aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
                await self._check(rule, request)
                async for response in method(request, context):
                    yield response

            return call

        return rewrapped(handler, unary, streaming)

    async def _check(self, rule: Rule, request: Message) -> None:
        """Raise PermissionDenied, or NotFound if the caller may not learn that the resource exists."""
        who = caller()
        scope().experiment = _experiment(rule, request)
        try:
            project = await self._allowed(who, rule, request)
        except (Concealed, PermissionDenied, InvalidRequest):
            await self._rates.take_for_caller()  # guessed names count as requests
            raise
        await self._rates.take(project, who.user)

    async def _allowed(self, who: Caller, rule: Rule, request: Message) -> str:
        """The project that a request concerns, or counts for; fills in the one that is left out."""
        if rule.project:
            holder, last = _place(request, rule.project)
            if not getattr(holder, last):
                setattr(holder, last, who.project(rule.role))
            project = getattr(holder, last)
            if not who.role(project):
                told = f"there is no project {project!r} of yours; {_listed(who)}"
                raise Concealed(told, f"projects/{project}")
            _require(who.role(project), rule.role, f"the project {project!r}", project=project)
            return str(project)
        if rule.resource and not who.roles.get(EVERY, 0) >= rule.role:
            name = field_at(request, rule.resource)
            found = await self._blocking.run(self._project_of, name, rule.resource)
            if found is None or not who.role(found):
                kind, _, rest = name.partition("/")
                one = {"experiments": "experiment", "studies": "study"}[kind]
                raise Concealed(f"there is no {one} {rest.partition('/')[0]!r}", name)
            _require(who.role(found), rule.role, f"the project {found!r}", name)
            return found
        _require(who.highest(), rule.role, "any project")
        return who.charged()

    def _project_of(self, name: str, field: str) -> str | None:
        kind, _, rest = name.partition("/")
        first = f"{kind}/{rest.partition('/')[0]}"
        if kind == "studies":
            return self._accounts.project_of_study(names.parse_study(first, field))
        if kind == "experiments":
            return self._accounts.project_of_experiment(names.parse_experiment(first, field))
        raise InvalidRequest([FieldViolation(field, f"{name[:100]!r} is not the name of a resource")])


def field_at(request: Message, path: str) -> Any:
    """The value of the field at a path ("experiment.name")."""
    return getattr(*_place(request, path))


def _place(request: Message, path: str) -> tuple[Any, str]:
    """The message that holds the field at a path, and the field's name."""
    *above, last = path.split(".")
    holder: Any = request
    for part in above:
        holder = getattr(holder, part)
    return holder, last


def _experiment(rule: Rule, request: Message) -> str:
    """Id of the experiment that a request is about, for log lines; "" if there is none or it is malformed."""
    if rule.resource:
        kind, _, rest = field_at(request, rule.resource).partition("/")
        found = rest.partition("/")[0] if kind == "experiments" else ""
    else:
        found = getattr(request, "experiment_id", "")
    return found if names.is_experiment_id(found) else ""


def _require(has: int, needed: Role, where: str, resource: str = "", project: str = "") -> None:
    if has < needed:
        role = Role(has).name.lower() if has else "none"
        raise PermissionDenied(
            f"{_DOES[needed]} needs the role {needed.name.lower()} in {where}; yours is {role}",
            resource,
            project,
        )


def _listed(who: Caller) -> str:
    own = who.projects()
    if own == []:
        return "you have none yet: an operator grants a role by `ipserver project grant PROJECT USER ROLE`"
    return f"yours are: {'all' if own is None else ', '.join(own)}"


def _authorization(context: aio.ServicerContext[Any, Any]) -> str:
    found = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
    return str(found[0]) if len(found) == 1 else ""
