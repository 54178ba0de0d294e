"""The log: one line per event on standard error, as text or as JSON."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final, TextIO

ACCESS: Final = "openmem.server.access"
ALWAYS: Final = "omp_always"
"""The attribute of records that are written however many lines there are: those of callers whose key was checked."""
MAX_LINES: Final = 80
"""Other lines in a second."""
_ACCESS_FIELDS: Final = ("method", "route", "status", "milliseconds", "request_id")


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class BoundedHandler(logging.StreamHandler[TextIO]):
    """Writes at most `MAX_LINES` lines a second, besides records marked `ALWAYS`, and says how many it left out.

    Any client that can connect can make the server write lines. Without a bound they fill a disk, and writing them
    takes time from other requests.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._second = 0
        self._written = 0
        self._left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or count it."""
        if getattr(record, ALWAYS, False):
            super().emit(record)
            return
        second = int(record.created)
        if second != self._second:
            self._second, self._written = second, 0
            self._tell()
        if self._written >= MAX_LINES:
            self._left_out += 1
            return
        self._written += self.format(record).count("\n") + 1
        super().emit(record)

    def _tell(self) -> None:
        if self._left_out:
            text, self._left_out, self._written = f"{self._left_out} more lines were left out", 0, 1
            super().emit(logging.LogRecord("openmem.server", logging.WARNING, "", 0, text, None, None))


class TextFormatter(logging.Formatter):
    """`<time> <LEVEL> <message>`; other loggers than that of the requests put their name before the message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        name = "" if record.name == ACCESS else f"{record.name}: "
        return f"{_time(record)} {record.levelname} {name}{_text(self, record)}"


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        fields: dict[str, Any] = {"time": _time(record), "level": record.levelname, "logger": record.name}
        if record.name == ACCESS and isinstance(record.args, tuple) and len(record.args) == len(_ACCESS_FIELDS):
            fields.update(zip(_ACCESS_FIELDS, record.args, strict=True))
        else:
            fields["message"] = _text(self, record)
        return json.dumps(fields, ensure_ascii=False)


def _text(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info and not isinstance(record.exc_info[1], (KeyboardInterrupt, SystemExit)):
        text += "\n" + formatter.formatException(record.exc_info)
    return text


def log_config(level: str, form: str) -> dict[str, Any]:
    """Return the configuration for `logging.config.dictConfig`.

    Args:
        level: critical, error, warning, info, debug or trace.
        form: text or json.
    """
    own = "DEBUG" if level == "trace" else level.upper()
    # What the web server and libraries say at INFO is about themselves.
    others = own if own in ("DEBUG", "ERROR", "CRITICAL") else "WARNING"
    formatter = "openmem.server.middleware.logs." + ("JsonFormatter" if form == "json" else "TextFormatter")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": formatter}},
        "handlers": {
            "stderr": {"()": BoundedHandler, "formatter": "line", "stream": "ext://sys.stderr"},
        },
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "openmem": {"level": own},
            "uvicorn": {"level": others},
            "opentelemetry.trace": {"level": "ERROR"},  # its warnings repeat headers that it cannot read
        },
    }
