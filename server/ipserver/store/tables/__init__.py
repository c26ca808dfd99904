"""The tables. `transactions/edits.py` explains which locks writers take.

Text compares by code point on every database (PostgreSQL would otherwise follow the locale), so that orders
and pages agree. Times are seconds since 1970-01-01 UTC.
"""

from ipserver.store.tables.accounts import grants, projects, quotas, tokens
from ipserver.store.tables.columns import Name, metadata
from ipserver.store.tables.experiments import UNPLANNED, URGENCY, experiments, extensions
from ipserver.store.tables.files import artifacts, checkpoints, segments
from ipserver.store.tables.packs import UNFINISHED_PACK, attempts, packs
from ipserver.store.tables.records import audit, capacity, events, identity, purged, singletons
from ipserver.store.tables.runs import runs
from ipserver.store.tables.studies import studies, study_rounds

__all__ = [
    "UNFINISHED_PACK",
    "UNPLANNED",
    "URGENCY",
    "Name",
    "artifacts",
    "attempts",
    "audit",
    "capacity",
    "checkpoints",
    "events",
    "experiments",
    "extensions",
    "grants",
    "identity",
    "metadata",
    "packs",
    "projects",
    "purged",
    "quotas",
    "runs",
    "segments",
    "singletons",
    "studies",
    "study_rounds",
    "tokens",
]
