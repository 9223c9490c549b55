"""Where log records of shedder and RQ go, and their format."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

from shedder.cli.output import escaped
from shedder.log_context import IDS, current

LOGGERS = ("shedder", "rq")


def send_logs_to_stderr(*, is_verbose: bool = False, level: int = logging.WARNING, log_format: str = "text") -> None:
    """Print the records of shedder and RQ to standard error, from `level` on, or all of them.

    With `log_format` `json` each is one JSON object on one line.
    """
    handler = _handler(log_format)
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(logging.DEBUG if is_verbose else level)
        logger.propagate = False


def send_last_words_to_stderr(*, log_format: str = "text") -> None:
    """Print what RQ's own command line says when it gives up, in one line each."""
    handler = _handler(log_format)
    handler.addFilter(_without_traceback)
    logging.getLogger().addHandler(handler)


def _without_traceback(record: logging.LogRecord) -> bool:
    record.exc_info = None
    return True


def _handler(log_format: str) -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(log_format))
    return handler


class _Formatter(logging.Formatter):
    """Loads structlog at the first record: most commands write none."""

    def __init__(self, log_format: str) -> None:
        super().__init__()
        self._log_format = log_format
        self._formatter: logging.Formatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        """`record` as structlog renders it."""
        self._formatter = self._formatter or _structlog_formatter(self._log_format)
        return self._formatter.format(record)


def _structlog_formatter(log_format: str) -> logging.Formatter:
    import structlog

    text = (_without_ids, _escape, _console(structlog))
    as_json = (
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(),
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[
            _add_ids,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *(as_json if log_format == "json" else text),
        ],
    )


def _console(structlog: Any) -> Any:
    # structlog's own choice, where rich is installed, prints the variables of each frame: passwords too
    plain = structlog.dev.plain_traceback
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)


def _add_ids(_logger: Any, _method: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What the record says that it is about, and what this thread has at hand."""
    said = record["_record"].__dict__
    told = {name: said[name] for name in IDS if name in said}
    record.update({**current(), **told})
    return record


def _without_ids(_logger: Any, _method: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A person reads the text, which names them."""
    for name in IDS:
        record.pop(name, None)
    return record


def _escape(_logger: Any, _method: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What a job's name holds must not drive the terminal; lines of a traceback may stay lines."""
    lines = str(record.get("event", "")).split("\n")
    record["event"] = "\n".join(escaped(line) for line in lines)
    return record
