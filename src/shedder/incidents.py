"""Which incidents are there, and how do people change them? What `Shedder.incidents` is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from shedder.errors import NothingMatched
from shedder.incident import keeping, life
from shedder.incident.keeping import Decide, Deed
from shedder.incident.records import Incident, IncidentReceipt
from shedder.keys import Keys
from shedder.records import Cause
from shedder.store import Store
from shedder.stored import server_time

REVIEW_IN = timedelta(hours=48)


class Incidents:
    """The incidents on one Redis.

    Where `incident` is an argument, it is an id; without one, the incident that is open is meant.
    `by` is who acts, `reason` why; both stand in the event.

    Every method may raise what `Shedder` raises, `NothingMatched` when there is no such incident
    or none is open, and `ConditionNotMet` when it is too late for this.
    """

    def __init__(self, store: Store, keys: Keys, cause: Callable[[str, str | None], Cause]) -> None:
        self._store = store
        self._keys = keys
        self._cause = cause

    def current(self) -> Incident | None:
        """The incident that is open, the worst and then the latest of several; None without one."""
        return next(iter(keeping.open_incidents(self._store, self._keys)), None)

    def open_ones(self) -> tuple[Incident, ...]:
        """The incidents that are not resolved: the worst first, of those the latest first."""
        return keeping.open_incidents(self._store, self._keys)

    def list(self, *, limit: int = 20) -> tuple[Incident, ...]:
        """The last `limit` incidents, the latest first."""
        return keeping.last_incidents(self._store, self._keys, limit)

    def read(self, incident: str | None = None) -> Incident:
        """One incident."""
        return keeping.read_incident(self._store, self._keys, incident or self._current())

    def open(
        self,
        title: str,
        *,
        severity: int,
        commander: str = "",
        times: Mapping[str, datetime] | None = None,
        also: bool = False,
        reason: str = "",
        by: str | None = None,
    ) -> IncidentReceipt:
        """Open an incident; `also` when another one is open.

        `times` are those that are not now: `began`, `detected`, `opened`.

        Raises:
            ConditionNotMet: another one is open.
            InvalidInput: no title, no severity, or a time in the future.
        """
        now = server_time(self._store)
        cause = self._cause(reason or title, by)
        opened = life.new_incident(
            f"{now:%Y-%m-%d}", title, severity=severity, by=cause.by, commander=commander,
            now=now, times=times,
        )  # fmt: skip
        deed = Deed("incident open", cause, is_alone=not also)
        return keeping.create_incident(self._store, self._keys, deed, opened)

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
        """
        deed = Deed(verb, self._cause(reason, by), undoes, is_alone, tuple(details.items()))
        return keeping.change_incident(
            self._store, self._keys, incident or self._current(), deed, decide
        )

    def _current(self) -> str:
        found = self.current()
        if found is None:
            raise NothingMatched("an open incident", found=tuple(e.id for e in self.list(limit=3)))
        return found.id
