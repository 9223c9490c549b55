"""What was done, and how is it followed?"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shedder import journal
from shedder.facade.wiring import Wiring
from shedder.incident.attribution import changes_by_others
from shedder.records import Event


class Journal(Wiring):
    """The journal, read."""

    def events(
        self, *, limit: int = 50, after: str | None = None, targets: tuple[str, ...] = ()
    ) -> tuple[Event, ...]:
        """The last `limit` events, oldest first, or the first `limit` after an id."""
        return journal.read_events(
            self.store, self.keys, limit=limit, after=after, lanes=self._names(targets)
        )

    def follow_events(
        self, *, after: str = "$", until: Callable[[], bool] = lambda: False
    ) -> Iterator[Event]:
        """The events that come, as they come, until `until` says so."""
        return journal.follow(self.store, self.keys, after=after, until=until)

    def event(self, event_id: str) -> Event:
        """One event.

        Raises:
            EventNotFound: there is none with this id.
        """
        return journal.find_event(self.store, self.keys, event_id)

    def changes_by_others(
        self, *targets: str, names: tuple[str, ...] = (), by: str | None = None
    ) -> tuple[Event, ...]:
        """What others changed of `targets`, or of flags and limits `names`, in two minutes."""
        who = self._cause("", by).by
        lanes = self._names(targets)
        return changes_by_others(self.store, self.keys, by=who, lanes=lanes, names=names)
