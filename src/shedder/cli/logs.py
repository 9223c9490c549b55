"""Where do log records of shedder and RQ go?"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from shedder.cli.text import escaped

if TYPE_CHECKING:
    from collections.abc import MutableMapping

LOGGERS = ("shedder", "rq")


def send_logs_to_stderr(*, is_verbose: bool = False, level: int = logging.WARNING) -> None:
    """Print the records of shedder and RQ to standard error, from `level` on, or all of them."""
    handler = _handler()
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(logging.DEBUG if is_verbose else level)
        logger.propagate = False


def send_last_words_to_stderr() -> None:
    """Print what RQ's own command line says when it gives up, in one line each."""
    handler = _handler()
    handler.addFilter(_without_traceback)
    logging.getLogger().addHandler(handler)


def _without_traceback(record: logging.LogRecord) -> bool:
    record.exc_info = None
    return True


def _handler() -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(has_colors=sys.stderr.isatty()))
    return handler


def _formatter(*, has_colors: bool) -> logging.Formatter:
    import structlog

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _escape,
            structlog.dev.ConsoleRenderer(colors=has_colors),
        ],
    )


def _escape(
    _logger: Any, _method: str, record: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """What a job's name holds must not drive the terminal; lines of a traceback may stay lines."""
    lines = str(record.get("event", "")).split("\n")
    record["event"] = "\n".join(escaped(line) for line in lines)
    return record
