"""Hashes of requests, by which a repetition under the same request id is recognized."""

from __future__ import annotations

import hashlib

from google.protobuf.message import Message

from ipserver import names


def request_hash(request: Message, *, with_kind: bool = False) -> str:
    """SHA-256, in hexadecimal, of a request's contents.

    Args:
        request: Its request id and `validate_only` are ignored; a missing project means the default project.
        with_kind: Whether to hash the request's type too, for types that share one set of request ids.
    """
    body = type(request)()
    body.CopyFrom(request)
    fields = request.DESCRIPTOR.fields_by_name
    for name in ("request_id", "validate_only"):
        if name in fields:
            body.ClearField(name)
    for name in ("experiment", "study"):
        if name in fields and body.HasField(name):
            resource = getattr(body, name)
            if resource.project == names.DEFAULT_PROJECT:
                resource.ClearField("project")
    kind = request.DESCRIPTOR.full_name.encode() + b"\0" if with_kind else b""
    return hashlib.sha256(kind + body.SerializeToString(deterministic=True)).hexdigest()
