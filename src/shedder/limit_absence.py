"""Is Redis away, as far as hits are concerned?"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

logger = logging.getLogger("shedder.limits")

AWAY_SECONDS = 1.0
"""After Redis did not answer, hits are decided without it for so long."""


class Absence:
    """What the hits of a process found.

    While Redis is away, one hit a second asks whether it is back, and only that one waits.

    Args:
        clock: Tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = 0.0
        # The one entry goes from list to list. Of threads that find the same thing at once one
        # takes it and writes the log; a lock could be held by a thread that a fork leaves behind.
        self._here: list[bool] = [True]
        self._away: list[bool] = []

    def may_ask(self) -> bool:
        """Whether this hit asks Redis."""
        if not self._until:
            return True
        now = self._clock()
        if now < self._until:
            return False
        self._until = now + AWAY_SECONDS
        return True

    def note_away(self, error: Exception) -> None:
        """Redis did not answer in time."""
        self._until = self._clock() + AWAY_SECONDS
        if _moved(self._here, self._away):
            logger.warning("limits are decided without Redis, as each declares: %s", error)

    def note_back(self) -> None:
        """Redis answered."""
        if self._away and _moved(self._away, self._here):
            self._until = 0.0
            logger.warning("limits are decided with Redis again")


def _moved(source: list[bool], target: list[bool]) -> bool:
    try:
        target.append(source.pop())
    except IndexError:
        return False
    return True
