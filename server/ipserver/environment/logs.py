"""Logs of a process: lines of text, or one JSON object per line. Secrets are masked in both.

Our own messages have no secrets; messages of libraries may quote a URL or a header.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

from iplab.display.terminal import visible
from ipserver.environment.log_scope import scope
from ipserver.environment.masking import without_secrets

# Libraries that install handlers of their own when they are used.
_ADOPTED: Final = ("ray", "mlflow", "uvicorn", "uvicorn.access", "uvicorn.error", "alembic")
# Fields that our own log calls may add by `extra=`.
_EXTRA: Final = ("method", "code", "seconds")


class JsonLines(logging.Formatter):
    """One JSON object per record: time (UTC), level, logger, message, fields of the scope, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
            **scope().fields(),
            **{name: getattr(record, name) for name in _EXTRA if hasattr(record, name)},
        }
        if record.exc_info:
            line["traceback"] = without_secrets(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=True)


class TextLines(logging.Formatter):
    """Text, with the fields of the scope in brackets at the end of the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line, without its traceback."""
        known = " ".join(f"{name}={ascii(value)[1:-1]}" for name, value in scope().fields().items())
        return super().formatMessage(record) + (f" [{known}]" if known else "")

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record. Further lines are indented, so that none of them looks like a record."""
        return without_secrets(visible(super().format(record)).replace("\n", "\n    "))


class _StandardError(logging.Handler):
    """Writes to the current `sys.stderr`, which may be replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record's line."""
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except (
            Exception
        ):  # as in logging's own handlers: a line that cannot be written does not end the process
            self.handleError(record)


def configure_logs(form: str, level: str) -> None:
    """Write this process's logs to standard error.

    Args:
        form: "text" or "json".
        level: Level of our own loggers. The level of libraries is INFO, or `level` if that is higher.
    """
    handler = _StandardError()
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old, _StandardError):
            root.removeHandler(old)
    root.addHandler(handler)
    chosen = logging.getLevelNamesMapping()[level]
    root.setLevel(max(chosen, logging.INFO))
    logging.getLogger("ipserver").setLevel(chosen)
    logging.getLogger("alembic").setLevel(max(chosen, logging.WARNING))
    adopt_loggers()


def adopt_loggers() -> None:
    """Remove the handlers of libraries if logs are JSON, so that their records are JSON too."""
    if not any(isinstance(handler.formatter, JsonLines) for handler in logging.getLogger().handlers):
        return
    for name in _ADOPTED:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
