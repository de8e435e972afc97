"""Logging set-up, called once by an entry point and never on import."""

import contextlib
import datetime
import json
import logging
import secrets
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Literal

LogFormat = Literal["text", "json"]

_session: ContextVar[str] = ContextVar("session", default="")


def configure(level: str = "info", form: LogFormat = "text") -> None:
    """Log to stderr, one line a record; the transcript and results go to stdout."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


@contextlib.contextmanager
def session() -> Iterator[str]:
    """A short random name for a client's session, which stands in each line that is logged meanwhile.

    It goes with the context: tasks that are begun in it have it too; a thread, where it is run in a copy of it.
    """
    before = _session.set(secrets.token_hex(4))
    try:
        yield _session.get()
    finally:
        _session.reset(before)


class _Text(logging.Formatter):
    """For people: ``12:00:00 INFO    logger: message [session]``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        name = _session.get()
        return f"{super().formatMessage(record)} [{name}]" if name else super().formatMessage(record)


class _Json(logging.Formatter):
    """For programs: one object a line, whatever is in the message. ``session`` and ``exception`` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        row: dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if name := _session.get():
            row["session"] = name
        if record.exc_info:
            row["exception"] = self.formatException(record.exc_info)
        return json.dumps(row)
