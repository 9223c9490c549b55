"""Ids that log records carry: queue, lane, job, event.

RQ writes its log records without saying which job they are of; so a thread notes its job here.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar

from shedder.lanes import lane_of

IDS = ("queue", "lane", "job", "event_id")
"""What a log record may carry beside its text, which structlog calls `event`."""

_NOTHING: Mapping[str, str] = {}
_CURRENT: ContextVar[Mapping[str, str]] = ContextVar("shedder_current", default=_NOTHING)


def bind(*, lane: str, job: str) -> None:
    """Work on a job from now on, in this thread."""
    _CURRENT.set(ids_of(lane=lane, job=job))


def clear() -> None:
    """Work on no job any more."""
    _CURRENT.set(_NOTHING)


def current() -> Mapping[str, str]:
    """The ids of what this thread works on; empty when that is nothing."""
    return _CURRENT.get()


def ids_of(*, lane: str, job: str = "", event: str = "") -> dict[str, str]:
    """Ids for a log record (`extra`), those that are not known left out."""
    ids = {"queue": lane_of(lane).queue, "lane": lane, "job": job, "event_id": event}
    return {name: value for name, value in ids.items() if value}
