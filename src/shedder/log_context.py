"""What log records carry, and how often they come: the ids at hand, and troubles that last.

RQ writes its log records without saying which job they are of; so a thread notes its job here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
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


class Troubles:
    """What is wrong for some time: its begin and its end are logged once each, however often it is met.

    Threads may meet the same at once, and a fork may come at any moment: there is no lock.

    Args:
        logger: Where the lines go.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._met: dict[str, object] = {}

    def meet(self, subject: str, said: str, *words: object, extra: Mapping[str, str] | None = None) -> None:
        """`subject` is in trouble; what is `said` of it is logged if it was not before."""
        mine = object()
        if self._met.setdefault(subject, mine) is mine:
            self._logger.warning(said, *words, extra=extra)

    def end(self, subject: str, said: str = "", *words: object) -> bool:
        """`subject` is well; whether it was not, and then what is `said` is logged, if anything is."""
        was_met = bool(self._met) and self._met.pop(subject, None) is not None
        if was_met and said:
            self._logger.warning(said, *words)
        return was_met

    def keep(self, subjects: Iterable[str]) -> None:
        """Forget all but `subjects`: the others are not there any more."""
        for subject in set(self._met).difference(subjects):
            self._met.pop(subject, None)
