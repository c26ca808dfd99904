"""Addresses as they may be shown: without their passwords."""

from __future__ import annotations

import re


def without_password(text: str) -> str:
    """A URL as it may be shown.

    A password may hold any character, escaped or not, so it ends at the last "@": rather too much is hidden.

    >>> without_password("postgresql+psycopg://lab:secret@db/iplab")
    'postgresql+psycopg://lab:***@db/iplab'
    >>> without_password("postgresql+psycopg://db/iplab?user=lab&password=secret")
    'postgresql+psycopg://db/iplab?user=lab&password=***'
    """
    text = re.sub(r"(://[^:/]*):.*@", r"\1:***@", text)
    return re.sub(r"([?&][^=&]*(?:password|token|secret)[^=&]*=)[^&]*", r"\1***", text)


def address(text: str) -> str:
    """What should be a URL as it may be shown; of what is none, and may hold a password, nothing.

    >>> address("lab:secret@db/iplab"), address("host=db password=secret"), address("mlflow:5000")
    ('***', '***', 'mlflow:5000')
    """
    return "***" if "://" not in text and re.search("[@=]", text) else without_password(text)
