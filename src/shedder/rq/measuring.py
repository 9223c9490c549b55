"""How are lanes at this moment, and what did actions of an open incident do to them?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shedder.incident.begun import end_silent
from shedder.incident.book import Book
from shedder.incident.effects import MOST_LANES, measure_due, reading_of
from shedder.incident.keeping import open_incidents
from shedder.incident.readings import Reading
from shedder.keys import Keys
from shedder.lanes import lane_of
from shedder.records import Cause
from shedder.rq.status import read_status
from shedder.store import Store
from shedder.verbs import SYSTEM


def readings_now(store: Store, keys: Keys, names: Sequence[str] = ()) -> Mapping[str, Reading]:
    """How the lanes of these names are, or without names the first of all that have jobs."""
    lanes = tuple(lane_of(name) for name in names) or None
    found = read_status(store, keys, lanes)
    busy = [each for each in found.lanes if each.waiting or each.backlog or each.running]
    return {each.lane: reading_of(each, found.at) for each in busy[:MOST_LANES]}


def measure_open_incidents(store: Store, keys: Keys) -> None:
    """Measure the effects that are due in the incidents that are open, and end what is silent."""
    end_silent(store, keys)
    for incident in open_incidents(store, keys):
        book = Book(store, keys, lambda reason, by: Cause(by or SYSTEM, reason))
        measure_due(book, incident.id, lambda names: readings_now(store, keys, names))
