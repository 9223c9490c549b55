"""What all pages show: at most one reading of Redis a second, however many pages are open."""

from __future__ import annotations

import math
import os
import threading
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from shedder.engine.names import rq_keys
from shedder.errors import RecordUnreadable, ShedderError
from shedder.events import Event, read_events
from shedder.incident.records import Incident
from shedder.incident.store import open_incidents
from shedder.policy.applied import applied_from
from shedder.policy.model import Policy
from shedder.queues.outcomes import ask_counts, counts_between
from shedder.queues.samples import Sample, between, samples_from, with_failed
from shedder.status.readings import Status
from shedder.status.status import read_status
from shedder.store.clients import Deadline, deadline_client
from shedder.store.keys import SAMPLE_STEPS
from shedder.store.store import Store

if TYPE_CHECKING:
    import redis

GOOD_FOR_SECONDS = 1.0
"""A page that asks sooner after a reading is answered from it."""

AT_ONCE_TIMES = 3
"""A page that asks later, but within so many times of it, is answered from it too, and it is renewed beside."""

PATIENCE_SECONDS = 1.5
"""After so long Redis counts as away."""

SAMPLED = timedelta(minutes=10)

FINE_FOR = timedelta(seconds=70)
"""Samples that are younger are kept as they were taken: a plan asks how lanes moved within a minute."""

THINNED_TO = SAMPLE_STEPS[1]
"""Seconds of older ones of which one is kept. Of 200 lanes these are 17,000 and not 60,000, and each that is kept
is looked at whenever Python looks for garbage, which holds all pages.
"""

COUNTED_WITHIN = timedelta(seconds=20)
"""What failed is counted by then: a sample that is younger is fetched once more."""

EVENTS_READ = 50


@dataclass(frozen=True, slots=True)
class SharedReading:
    """What all pages show, at most some seconds old.

    Attributes:
        at: When Redis gave it (server's clock, UTC); while it has never answered, this process's clock.
        status: How all lanes are, by the policy in force.
        policy: The policy in force.
        samples: By lane, how it was in the last ten minutes, oldest first; of older ones those with most jobs.
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
    """Reads Redis once a second at most, however many ask, and lets nobody wait who asks often.

    What is older than a second, but not much, answers at once, while one thread reads anew.

    Args:
        connection: The client that the application uses; this has connections of its own.
    """

    def __init__(self, connection: redis.Redis) -> None:
        self._deadline = Deadline(PATIENCE_SECONDS)
        self._store = Store(deadline_client(connection, self._deadline, patience=PATIENCE_SECONDS), rq_keys())
        self._turn, self._process = threading.Lock(), os.getpid()
        self._seen = SeenSamples()
        self._kept: tuple[float, SharedReading] | None = None
        self._is_forgotten = False

    def read(self) -> SharedReading:
        """The last reading, or a new one where that is too old; raises nothing when Redis is away."""
        turn, kept = self._turn_here(), self._kept
        if kept is not None and (age := self._age(kept)) < GOOD_FOR_SECONDS * AT_ONCE_TIMES:
            if age >= GOOD_FOR_SECONDS:
                self._renew_beside(turn)
            return kept[1]
        with turn:
            if self._kept is None or self._age(self._kept) >= GOOD_FOR_SECONDS:
                return self._renew()
            return self._kept[1]

    @property
    def last(self) -> SharedReading | None:
        """The last reading, however old; None before the first."""
        return self._kept[1] if self._kept else None

    def forget(self) -> None:
        """Let nobody be answered from what was read, or is being read, so far: something has changed."""
        with self._turn_here():
            self._is_forgotten = True

    def _age(self, kept: tuple[float, SharedReading]) -> float:
        return math.inf if self._is_forgotten else time.monotonic() - kept[0]

    def _renew_beside(self, turn: threading.Lock) -> None:
        """Let a thread read, unless somebody reads."""
        if not turn.acquire(blocking=False):
            return

        def renew() -> None:
            try:
                self._renew()
            finally:
                turn.release()

        try:
            threading.Thread(target=renew, name="shedder-web-reading", daemon=True).start()
        except RuntimeError:  # no thread can be had: whoever asks later reads
            turn.release()

    def _renew(self) -> SharedReading:
        found = self._next(self._kept[1] if self._kept else None)
        self._kept, self._is_forgotten = (time.monotonic(), found), False
        return found

    def _turn_here(self) -> threading.Lock:
        # a child may have been forked while a thread of its parent held the lock
        if self._process != os.getpid():
            self._turn, self._process = threading.Lock(), os.getpid()
        return self._turn

    def _next(self, last: SharedReading | None) -> SharedReading:
        number = last.number + 1 if last else 1
        try:
            self._deadline.begin()
            return replace(read_all(self._store, self._seen), number=number)
        except ShedderError as error:
            now = datetime.now(UTC)
            last = last or SharedReading(now, Status(now, ()), is_known=False)
            return replace(last, trouble=f"{error}.", since=last.since or now, number=number)


class SeenSamples:
    """The samples of ten minutes, of which each reading fetches only those that are new, and keeps few old ones."""

    def __init__(self) -> None:
        self._at: datetime | None = None
        self._thin_until = datetime.min.replace(tzinfo=UTC)
        self._lanes: dict[str, tuple[Sample, ...]] = {}

    def read(self, store: Store, lanes: Sequence[str], now: datetime) -> dict[str, tuple[Sample, ...]]:
        """The samples of each of `lanes` that has any, at the server's time `now`.

        Raises:
            ShedderError: Redis does not answer, or refuses.
        """
        since = now - SAMPLED
        if self._at is None or not self._at <= now < self._at + SAMPLED or not self._lanes.keys() >= {*lanes}:
            self._lanes, border, self._thin_until = {}, since, since
        else:
            border = max(self._at - COUNTED_WITHIN, since)
        found = _finest_samples(store, lanes, border, now)
        lately = {lane: _since(self._lanes.get(lane, ()), since) for lane in lanes}
        self._lanes = {lane: _joined(lately[lane], found[lane], border) for lane in lanes}
        self._at = now
        self._thin(_step_of(now - FINE_FOR))
        return {lane: samples for lane in lanes if (samples := _since(self._lanes[lane], since))}

    def _thin(self, until: datetime) -> None:
        if until > self._thin_until:
            self._lanes = {lane: _thinned(each, self._thin_until, until) for lane, each in self._lanes.items()}
            self._thin_until = until


def _finest_samples(
    store: Store, lanes: Sequence[str], since: datetime, now: datetime
) -> dict[str, tuple[Sample, ...]]:
    """The samples since then, and one before; the finest ones of a lane reach back ten minutes."""
    most = int((now - since).total_seconds() / SAMPLE_STEPS[0]) + 2

    def ask_all(ask: Any) -> None:
        for lane in lanes:
            ask.lrange(store.keys.samples(lane)[0], -most, -1)
        ask_counts(ask, store.keys, since, None)

    replies = iter(store.read(ask_all))
    found = {lane: samples_from([next(replies)]) for lane in lanes}
    counts = counts_between(replies, since)
    return {lane: with_failed(samples, lane, counts) for lane, samples in found.items()}


def _joined(known: tuple[Sample, ...], found: tuple[Sample, ...], border: datetime) -> tuple[Sample, ...]:
    """Of the time before `border` what was known, and of the time after it what was found."""
    if not known:
        return found
    return (*known[: bisect_left(known, border, key=_moment)], *found[bisect_left(found, border, key=_moment) :])


def _thinned(samples: tuple[Sample, ...], since: datetime, until: datetime) -> tuple[Sample, ...]:
    """The samples, but of each step of a time only the one with most jobs, so that no peak is lost."""
    first, last = (bisect_left(samples, border, key=_moment) for border in (since, until))
    steps = groupby(samples[first:last], key=lambda each: _step_of(each.at))
    return (*samples[:first], *(max(found, key=_depth) for _, found in steps), *samples[last:])


def _step_of(moment: datetime) -> datetime:
    return moment.replace(second=moment.second - moment.second % THINNED_TO, microsecond=0)


def _since(samples: tuple[Sample, ...], since: datetime) -> tuple[Sample, ...]:
    """The samples of a time, and the last one before it as of its beginning."""
    place = bisect_left(samples, since, key=_moment)
    if not place or (place < len(samples) and samples[place].at == since):
        return samples[place:]
    return (*between(samples[place - 1 : place], since), *samples[place:])


_moment, _depth = attrgetter("at"), attrgetter("depth")


def read_all(store: Store, seen: SeenSamples) -> SharedReading:
    """What all pages show, at a cost that does not depend on how many jobs there are.

    Raises:
        ShedderError: Redis does not answer, or refuses.
    """

    def ask_policy(ask: Any) -> None:
        ask.hget(store.keys.policy, "current")

    status = read_status(store)
    samples = seen.read(store, [each.lane for each in status.lanes], status.at)
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
