"""Look-up by name; the error suggests the nearest name."""

from __future__ import annotations

from collections.abc import Iterable

from ipcore.errors import nearest
from ipcore.theory.errors import TheoryError, shown


def check_name(name: str, known: Iterable[str], field: str, hint: str = "") -> None:
    """Accept `name` only if it is one of `known`.

    Args:
        name: The given name.
        known: Allowed names.
        field: Its field; also the noun of the message.
        hint: More allowed spellings, in words.

    Raises:
        TheoryError: It is not, or it is not text; the message has the nearest name and all covered names.

    >>> check_name("ip-lr", ["ip", "ip-llr"], "preset")
    Traceback (most recent call last):
    ...
    ipcore.theory.errors.TheoryError: unknown preset 'ip-lr'; did you mean 'ip-llr'? There are: ip, ip-llr
    """
    names = list(known)
    if not isinstance(name, str):
        raise TheoryError(f"must be text, not {shown(name)}; covered: {', '.join(names)}", field)
    if name in names:
        return
    near = nearest(name.lower(), names)
    guess = f" did you mean {near!r}?" if near else ""
    more = f", {hint}" if hint else ""
    there = "There are" if near else "there are"
    raise TheoryError(f"unknown {field} {shown(name)};{guess} {there}: {', '.join(names)}{more}", field)
