"""Mask passwords in addresses before they are shown."""

from __future__ import annotations

import re
from typing import Final

_NAMED: Final = "password|secret_access_key|access_token|client_secret"
# Passwords in URLs within a longer text; tokens of this service, of identity providers (JWT) and in headers.
_IN_TEXT: Final = (
    (re.compile(r"(\w://[^:/\s]{0,100}):\S{0,300}@"), r"\1:***@"),  # bounded: searched in linear time
    (re.compile(r"\b(iplab_[0-9a-z]+_)[A-Za-z0-9_-]{16,}"), r"\1***"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), "***"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), r"\1 ***"),
    (re.compile(rf"(?i)({_NAMED})(['\"]?\s*[=:]\s*['\"]?)[^\s&'\",;]+"), r"\1\2***"),
)


def without_password(text: str) -> str:
    """Mask a URL's password.

    A password may hold any character, escaped or not. It is assumed to end at the last "@", so that rather
    too much is hidden than too little.

    >>> without_password("postgresql+psycopg://lab:secret@db/iplab")
    'postgresql+psycopg://lab:***@db/iplab'
    >>> without_password("postgresql+psycopg://db/iplab?user=lab&password=secret")
    'postgresql+psycopg://db/iplab?user=lab&password=***'
    """
    text = re.sub(r"(://[^:/]*):.*@", r"\1:***@", text)
    return re.sub(r"([?&][^=&]*(?:password|token|secret)[^=&]*=)[^&]*", r"\1***", text)


def address(text: str) -> str:
    """Mask a URL's password. Text that is not a URL is hidden entirely if it may contain one.

    >>> address("lab:secret@db/iplab"), address("host=db password=secret"), address("mlflow:5000")
    ('***', '***', 'mlflow:5000')
    """
    return "***" if "://" not in text and re.search("[@=]", text) else without_password(text)


def without_secrets(text: str) -> str:
    """Mask all recognizable passwords and tokens in a text.

    >>> without_secrets("cannot connect to postgresql://lab:pa:ss@db/iplab: refused")
    'cannot connect to postgresql://lab:***@db/iplab: refused'
    >>> without_secrets("authorization: Bearer abcdefghijkl")
    'authorization: Bearer ***'
    """
    for pattern, masked in _IN_TEXT:
        text = pattern.sub(masked, text)
    return text
