"""Where are incidents read, and by which road does every change of one go?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shedder.errors import NothingMatched
from shedder.incident import keeping
from shedder.incident.keeping import Decide, Deed
from shedder.incident.records import Incident, IncidentReceipt
from shedder.keys import Keys
from shedder.records import Cause
from shedder.store import Store

MakeCause = Callable[[str, str | None], Cause]
"""From a reason and who acts (None for who usually does) to the cause of a change."""


class Book:
    """The records of the incidents on one Redis.

    Where `incident` is an argument, it is an id; without one, the incident that is open is meant.
    """

    def __init__(self, store: Store, keys: Keys, cause: MakeCause) -> None:
        self.store = store
        self.keys = keys
        self.cause = cause

    def current(self) -> Incident | None:
        """The incident that is open, the worst and then the latest of several; None without one."""
        return next(iter(self.open_ones()), None)

    def open_ones(self) -> tuple[Incident, ...]:
        """The incidents that are not resolved: the worst first, of those the latest first."""
        return keeping.open_incidents(self.store, self.keys)

    def list(self, *, limit: int = 20) -> tuple[Incident, ...]:
        """The last `limit` incidents, the latest first."""
        return keeping.last_incidents(self.store, self.keys, limit)

    def read(self, incident: str | None = None) -> Incident:
        """One incident.

        Raises:
            NothingMatched: there is no such incident, or none is open.
        """
        return keeping.read_incident(self.store, self.keys, incident or self.current_id())

    def change(
        self,
        decide: Decide,
        *,
        verb: str,
        reason: str,
        incident: str | None = None,
        by: str | None = None,
        undoes: str = "",
        is_alone: bool = False,
        **details: Any,
    ) -> IncidentReceipt:
        """Change an incident as `decide` says, with an event called `verb`.

        `decide` gets the incident as it is and the server's time, and gives the incident as it
        shall be, with `records.NOW` for the time at which it is written down. When somebody else
        changes it meanwhile, `decide` is asked again.

        Raises:
            NothingMatched: there is no such incident, or none is open.
        """
        deed = Deed(verb, self.cause(reason, by), undoes, is_alone, tuple(details.items()))
        identifier = incident or self.current_id()
        return keeping.change_incident(self.store, self.keys, identifier, deed, decide)

    def current_id(self) -> str:
        """The id of the incident that is open.

        Raises:
            NothingMatched: none is.
        """
        found = self.current()
        if found is None:
            raise NothingMatched("an open incident", found=tuple(e.id for e in self.list(limit=3)))
        return found.id

    def latest_id(self) -> str:
        """The id of the incident that is open, else of the one that was opened last.

        Raises:
            NothingMatched: there has been none.
        """
        found = self.current() or next(iter(self.list(limit=1)), None)
        if found is None:
            raise NothingMatched("an incident (shedder incident open)")
        return found.id
