"""What does each call need: the parts, who acts, and which lanes are meant?"""

from __future__ import annotations

import getpass
import socket
from typing import TYPE_CHECKING

from shedder.attribute import attribute
from shedder.errors import ConditionNotMet
from shedder.incident.attribution import attributed
from shedder.keys import Keys
from shedder.lanes import Lane, lanes_of_targets
from shedder.records import Cause
from shedder.rq.layout import rq_keys
from shedder.rq.policies import Policies
from shedder.store import Store

if TYPE_CHECKING:
    import redis


class Wiring:
    """The parts that the areas of `Shedder` share."""

    def __init__(self, connection: redis.Redis, *, by: str | None = None) -> None:
        self.store = Store(connection)
        self.keys: Keys = rq_keys()
        self._by = by or default_actor()

    @property
    def by(self) -> str:
        """Who acts, unless a call says otherwise."""
        return self._by

    @attribute
    def policies(self) -> Policies:
        """The policy in force: apply one, ask what it says."""
        return Policies(self.store, self.keys, self._cause)

    def _cause(self, reason: str, by: str | None) -> Cause:
        return Cause(by=_clean(by or self._by), why=_clean(reason))

    def _attributed(self, reason: str, by: str | None) -> Cause:
        """The cause of a change, which belongs to the incident that is open, if one is."""
        return attributed(self.store, self.keys, self._cause(reason, by))

    def _lanes(self, targets: tuple[str, ...]) -> tuple[Lane, ...]:
        if not targets:
            raise ConditionNotMet("at least one queue or lane is named", found="none")
        return lanes_of_targets(targets)

    def _names(self, targets: tuple[str, ...]) -> list[str]:
        return [lane.name for lane in lanes_of_targets(targets)]


def default_actor() -> str:
    """Who acts when nobody says: `user@host`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _clean(text: str) -> str:
    # half a character of UTF-16, as a shell may hand over, is nothing that Redis takes
    return text.encode("utf-8", "replace").decode()
