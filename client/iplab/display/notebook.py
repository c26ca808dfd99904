"""Representation of the service's messages in notebooks: tables and YAML instead of protobuf's text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from iplab.display import html
from iplab.specs.plain import to_plain
from iplab.v1.catalog_service_pb2 import Catalog
from iplab.v1.parameterization_service_pb2 import Parameterization
from iplab.v1.quota_service_pb2 import ListQuotasResponse
from iplab.v1.spec_pb2 import ExperimentSpec


def teach() -> None:
    """Register the messages that the SDK returns with the running notebook, if there is one."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is not None:
        for kind, shown in _SHOWN.items():
            shell.display_formatter.formatters["text/html"].for_type(kind, shown)


def presets_html(found: list[Parameterization]) -> str:
    """A row per preset: description, and exponents layer by layer."""
    rows = [(one.preset, one.description, *_exponents(one), one.source) for one in found]
    return html.table_html(("preset", "what it is", "a", "b", "c", "c at step 0", "source"), rows)


def _exponents(one: Parameterization) -> list[str]:
    found = one.exponents
    return ["  ".join(row) for row in (found.a, found.b, found.c, found.c_first_step)]


def _preset(one: Parameterization) -> str:
    return presets_html([one])


def _catalog(found: Catalog) -> str:
    from iplab.display import catalog  # noqa: PLC0415 - rich only where something is drawn

    families = [html.of_table(table) for table in catalog.family_tables(found)]
    return html.titled(
        "What specs may name",
        html.of_table(catalog.datasets_table(found)),
        html.listed(catalog.dataset_remarks(found)),
        html.folded("families of datasets, as 'parity:d=20,k=3'", *families) if families else "",
        html.table_html((), list(catalog.names(found))),
    )


def _quotas(found: ListQuotasResponse) -> str:
    from iplab.display import catalog  # noqa: PLC0415 - as above

    parts = [
        html.paragraph(sentence if limits is not None else f"{sentence}; no limits")
        + ("" if limits is None else html.of_table(limits))
        for sentence, limits in catalog.projects(found)
    ]
    return html.titled("Your projects", *parts or [html.paragraph("none")])


def _spec(found: ExperimentSpec) -> str:
    import yaml  # noqa: PLC0415 - slow to load

    return html.lines(
        yaml.safe_dump(_given(to_plain(found)), sort_keys=False, allow_unicode=True, default_flow_style=None)
    )


def _given(value: object) -> object:
    """A plain value without unset or empty fields."""
    if isinstance(value, Mapping):
        inner = {name: _given(one) for name, one in value.items()}
        return {name: one for name, one in inner.items() if one not in (None, "", [], {})}
    return [_given(one) for one in value] if isinstance(value, list) else value


_SHOWN: Final[dict[type, Callable[[Any], str]]] = {
    Catalog: _catalog,
    ExperimentSpec: _spec,
    ListQuotasResponse: _quotas,
    Parameterization: _preset,
}
