"""Mask passwords in addresses before they are shown."""

from __future__ import annotations

import re


def without_password(text: str) -> str:
    """Mask a URL's password.

    A password may hold any character, escaped or not. It is taken to end at the last "@", so that too much
    is hidden rather than too little.

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
