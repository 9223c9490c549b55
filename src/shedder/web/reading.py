"""What all pages show: one reading of Redis a second, however many pages are open."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from shedder.engine.names import rq_keys
from shedder.errors import RecordUnreadable, ShedderError
from shedder.events import Event, read_events
from shedder.incident.records import Incident
from shedder.incident.store import open_incidents
from shedder.policy.applied import applied_from
from shedder.policy.model import Policy
from shedder.queues.samples import Sample, read_samples
from shedder.status.readings import Status
from shedder.status.status import read_status
from shedder.store.clients import Deadline, deadline_client
from shedder.store.store import Store

if TYPE_CHECKING:
    import redis

GOOD_FOR_SECONDS = 1.0
"""A page that asks sooner after a reading is answered from it."""

PATIENCE_SECONDS = 1.5
"""After so long Redis counts as away."""

SAMPLED = timedelta(minutes=10)
EVENTS_READ = 50


@dataclass(frozen=True, slots=True)
class SharedReading:
    """What all pages show, at most a second old.

    Attributes:
        at: When Redis gave it (server's clock, UTC); while it has never answered, this process's clock.
        status: How all lanes are, by the policy in force.
        policy: The policy in force.
        samples: By lane, how it was in the last ten minutes, oldest first.
        events: The last events of the journal, oldest first.
        incident: The incident that is open; of several the worst.
        is_known: Redis has answered at least once; else all this is empty.
        trouble: Why there is nothing newer, in a sentence; empty when Redis answers.
        since: Since when it is so (this process's clock, UTC); None when Redis answers.
        number: Grows with each reading.
    """

    at: datetime
    status: Status
    policy: Policy = field(default_factory=Policy)
    samples: Mapping[str, tuple[Sample, ...]] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    incident: Incident | None = None
    is_known: bool = True
    trouble: str = ""
    since: datetime | None = None
    number: int = 0


class Readings:
    """Reads Redis once a second at most, however many ask.

    Args:
        connection: The client that the application uses; this has connections of its own.
    """

    def __init__(self, connection: redis.Redis) -> None:
        self._deadline = Deadline(PATIENCE_SECONDS)
        self._store = Store(deadline_client(connection, self._deadline, patience=PATIENCE_SECONDS), rq_keys())
        self._lock, self._process = threading.Lock(), os.getpid()
        self._last: SharedReading | None = None
        self._read_at = 0.0

    def read(self) -> SharedReading:
        """The last reading, or a new one where that is older than a second; raises nothing when Redis is away."""
        with self._lock_here():
            if self._last is None or time.monotonic() - self._read_at >= GOOD_FOR_SECONDS:
                self._last = self._next(self._last)
                self._read_at = time.monotonic()
            return self._last

    def _lock_here(self) -> threading.Lock:
        # a child may have been forked while a thread of its parent held the lock
        if self._process != os.getpid():
            self._lock, self._process = threading.Lock(), os.getpid()
        return self._lock

    def _next(self, last: SharedReading | None) -> SharedReading:
        number = last.number + 1 if last else 1
        try:
            self._deadline.begin()
            return replace(read_all(self._store), number=number)
        except ShedderError as error:
            now = datetime.now(UTC)
            last = last or SharedReading(now, Status(now, ()), is_known=False)
            return replace(last, trouble=f"{error}.", since=last.since or now, number=number)


def read_all(store: Store) -> SharedReading:
    """What all pages show, at a cost that does not depend on how many jobs there are.

    Raises:
        ShedderError: Redis does not answer, or refuses.
    """

    def ask_policy(ask: Any) -> None:
        ask.hget(store.keys.policy, "current")

    status = read_status(store)
    lanes = [each.lane for each in status.lanes]
    samples = read_samples(store, lanes, since=status.at - SAMPLED, now=status.at) if lanes else {}
    events = read_events(store, limit=EVENTS_READ)
    return SharedReading(status.at, status, _policy(store.read(ask_policy)[0]), samples, events, _incident(store))


def _policy(text: bytes | None) -> Policy:
    try:
        return applied_from(text).policy
    except RecordUnreadable:  # `status` says so
        return Policy()


def _incident(store: Store) -> Incident | None:
    try:
        return next(iter(open_incidents(store)), None)
    except RecordUnreadable:
        return None
