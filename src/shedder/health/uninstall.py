"""Bring every job back to RQ and remove every key.

Jobs first, keys after, the journal last. Each step leaves every job in a place that this, run
again, still finds; so it may be killed anywhere and goes on with the next run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

from shedder.engine.workers import WorkerSeen, all_workers, queues_of
from shedder.errors import ConditionNotMet, NothingMatched, RecordUnreadable
from shedder.events import EVENTS_PER_PAGE, Cause, Event, event_head, read_events
from shedder.health.audit import scan_keys
from shedder.health.leftovers import lanes_of_backlogs
from shedder.lanes import lane_of
from shedder.queues.controls import StoredDivert, backlogs_of, diverts_from
from shedder.queues.pause import IDS_PER_STEP, fold, resume
from shedder.queues.restore import RestoredLane, restore_one
from shedder.settings.flags import list_flags
from shedder.settings.limits import list_limits
from shedder.store.codec import server_time, text_of
from shedder.store.keys import Keys, in_order_of_return
from shedder.store.operation import Progress
from shedder.store.store import Command, Store

LANES_PER_STEP = 50

ROUNDS = 5
"""So often it looks again for what somebody has set meanwhile."""

KEYS_NAMED = 100

Keep = Callable[[Event], None]


def preview(store: Store) -> UninstallReceipt:
    """What `uninstall` would do; changes nothing."""
    return _Leaving(store, Cause("", ""), is_forced=True).preview()


def uninstall(
    store: Store,
    cause: Cause,
    *,
    is_forced: bool = False,
    on_event: Keep | None = None,
    on_progress: Progress | None = None,
) -> UninstallReceipt:
    """Bring every job back to RQ's own lists, end all controls, and remove all keys of shedder.

    Raises:
        NothingMatched: there is nothing of shedder on this server.
        ConditionNotMet: workers of shedder are alive, and it is not forced.
        RecordUnreadable: a divert cannot be read, and it is not forced.
    """
    leaving = _Leaving(store, cause, is_forced=is_forced)
    before = leaving.preview()
    if not before.keys:
        raise NothingMatched("shedder on this server (is it the right Redis? see RQ_KEY_PREFIX)")
    if before.workers and not is_forced:
        raise ConditionNotMet(
            "no worker of shedder is alive", found=", ".join(each.name for each in before.workers)
        )
    return leaving.leave(before, on_event=on_event, on_progress=on_progress)


@dataclass(slots=True)
class _Leaving:
    """One removal and what it has done so far."""

    store: Store
    cause: Cause
    is_forced: bool = False
    own: OwnedKeys = field(init=False)
    resumed: set[str] = field(default_factory=set)
    restored: list[RestoredLane] = field(default_factory=list)
    claims: int = 0
    found: int = 0

    def __post_init__(self) -> None:
        self.own = OwnedKeys(self.store)

    def preview(self) -> UninstallReceipt:
        """The state before; it counts as done what there is to do."""
        ours = list(self.own)
        paused, backlogs = self._lanes_of(self.store.keys.pauses), self._backlogs()
        known = set(self._keys_of_orders())
        lost = [key for key in self.own.backlogs(ours) if key not in known]
        lost += self.own.set_aside(ours)
        claims, events, *lengths = self.store.read(
            lambda ask: [
                ask.zcard(self.store.keys.claims),
                ask.xlen(self.store.keys.events),
                *(ask.llen(key) for key in lost),
            ]
        )
        return UninstallReceipt(
            at=server_time(self.store),
            is_preview=True,
            workers=all_workers(self.store, is_stock=False),
            resumed=tuple(sorted(paused)),
            restored=tuple(RestoredLane(*each) for each in backlogs),
            claims=claims,
            found=sum(lengths),
            flags=tuple(flag.name for flag in list_flags(self.store) if flag.percent),
            limits=tuple(each.name for each in list_limits(self.store) if each.setting),
            events=events,
            keys=len(ours),
            queues=self._queues(),
            left=(),
        )

    def leave(
        self, before: UninstallReceipt, *, on_event: Keep | None, on_progress: Progress | None
    ) -> UninstallReceipt:
        """Do it."""
        for number in range(ROUNDS):
            self._return_jobs(number + 1)
            if on_progress is not None:
                total = sum(lane.restored for lane in before.restored)
                on_progress(min(sum(lane.restored for lane in self.restored), total), total)
            if not self.own.lists():
                break
        events = self._keep_journal(on_event)
        removed = self._remove_keys()
        return UninstallReceipt(
            at=server_time(self.store),
            is_preview=False,
            workers=before.workers,
            resumed=tuple(sorted(self.resumed)),
            restored=tuple(self.restored),
            claims=self.claims,
            found=self.found,
            flags=before.flags,
            limits=before.limits,
            events=events,
            keys=removed,
            queues=self._queues(),
            left=tuple(sorted(self.own)[:KEYS_NAMED]),
        )

    # jobs

    def _return_jobs(self, number: int) -> None:
        """Bring back what stands anywhere but in RQ's lists; claims first, as they are in front."""
        self._return_claims(is_first=number == 1)
        self._end_pauses()
        for lane, order, _ in self._backlogs():
            event, jobs = restore_one(self.store, lane, order, self.cause)
            if event:
                self.restored.append(RestoredLane(lane, order, jobs))
        self._return_lists()

    def _return_claims(self, *, is_first: bool) -> None:
        operation, step = uuid4().hex, 1 if is_first else 2
        done = self.store.run(
            return_claims(self.store.keys, self.cause, operation=operation, step=step)
        )
        self.claims += done.returned
        while done.left and done.returned:
            step += 1
            done = self.store.run(
                return_claims(self.store.keys, self.cause, operation=operation, step=step)
            )
            self.claims += done.returned

    def _end_pauses(self) -> None:
        names = sorted(self._lanes_of(self.store.keys.pauses))
        for some in _windows(names, LANES_PER_STEP):
            lanes = [lane_of(name) for name in some]
            resume(self.store, lanes, self.cause)
        self.resumed.update(names)

    def _return_lists(self) -> None:
        """What a command that was killed left, and backlogs whose order is gone."""
        lists = self.own.lists()
        known = set(self._keys_of_orders())  # read after the lists, so that a new order is known
        backlogs = self.own.backlogs(lists)
        lost = [key for key in backlogs if key not in known]
        for key, lane in lanes_of_backlogs(self.store, lost).items():
            self._return_list(key, lane)
        aside = self.own.set_aside(lists)
        for key in aside:
            self._return_list(key, self.own.name_in(key))
        for key in lists:
            if key not in backlogs and key not in aside:
                fold(self.store, self.own.name_in(key))

    def _return_list(self, key: str, lane: str) -> None:
        total = self.store.read(lambda ask: ask.llen(key))[0]
        command = return_list(self.store.keys, key, lane, self.cause, total=total)
        while self.store.run(command):
            pass
        self.found += total

    def _backlogs(self) -> list[tuple[str, str, int]]:
        lanes = self._readable_lanes()
        return [
            *backlogs_of(self.store, lanes),
            *backlogs_of(self.store, lanes, are_limits=True),
        ]

    def _readable_lanes(self) -> list[str]:
        return sorted(lane for lane, _ in self._orders())

    def _keys_of_orders(self) -> Iterator[str]:
        for _, orders in self._orders():
            for each in orders:
                yield from each.backlog_keys

    def _orders(self) -> Iterator[tuple[str, Sequence[StoredDivert]]]:
        records = self.store.read(lambda ask: ask.hgetall(self.store.keys.diverts))[0]
        for lane, record in records.items():
            try:
                yield text_of(lane), diverts_from(text_of(lane), record)
            except RecordUnreadable:
                if not self.is_forced:
                    raise

    def _lanes_of(self, key: str) -> set[str]:
        return {text_of(lane) for lane in self.store.read(lambda ask: ask.hkeys(key))[0]}

    def _queues(self) -> tuple[QueueLeft, ...]:
        names = queues_of(self.store)
        lists = self.store.keys.engine.lists
        lengths = self.store.read(lambda ask: [ask.llen(lists + name) for name in names])
        found = zip(names, lengths, strict=True)
        return tuple(QueueLeft(name, jobs) for name, jobs in found if jobs)

    # keys

    def _keep_journal(self, on_event: Keep | None) -> int:
        if on_event is not None:
            for event in _all_events(self.store):
                on_event(event)
        length: int = self.store.read(lambda ask: ask.xlen(self.store.keys.events))[0]
        return length

    def _remove_keys(self) -> int:
        """Remove what is no list of jobs; the journal last, as it tells how far this came."""
        stays = {self.store.keys.events}
        if not self.is_forced:  # these are empty and gone, or somebody has set something new
            stays |= {self.store.keys.pauses, self.store.keys.diverts, self.store.keys.claims}
        return self.own.remove(stays=stays) + self.own.unlink([self.store.keys.events])


def _all_events(store: Store) -> Iterator[Event]:
    after = "0-0"
    while events := read_events(store, limit=EVENTS_PER_PAGE, after=after):
        yield from events
        after = events[-1].id


def _windows(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]


CLAIMS_PER_STEP = 500
"""Claims that one step gives back: about 2 ms of the server."""


@dataclass(frozen=True, slots=True)
class QueueLeft:
    """A queue of RQ in which jobs wait for a stock worker.

    Attributes:
        lane: Its name; a lane is a queue of its own.
        jobs: Jobs that wait in it.
    """

    lane: str
    jobs: int


@dataclass(frozen=True, slots=True)
class UninstallReceipt:
    """What `uninstall` did, or with `is_preview` what it would do.

    Attributes:
        at: When it was done (server's clock, UTC).
        is_preview: Nothing was changed.
        workers: Workers of shedder that RQ still has on record.
        resumed: Lanes whose pause has ended.
        restored: Backlogs that are back in their lanes.
        claims: Jobs that were in the hands of workers and had not started.
        found: Jobs that stood in lists which no control knew.
        flags: Flags whose degradation has ended.
        limits: Limits in code whose setting has ended.
        events: Lines of the journal that went.
        keys: Keys of shedder that were removed.
        queues: The queues of RQ in which jobs wait now, by name.
        left: Keys of shedder that are there again: somebody still writes them.
    """

    at: datetime
    is_preview: bool
    workers: tuple[WorkerSeen, ...]
    resumed: tuple[str, ...]
    restored: tuple[RestoredLane, ...]
    claims: int
    found: int
    flags: tuple[str, ...]
    limits: tuple[str, ...]
    events: int
    keys: int
    queues: tuple[QueueLeft, ...]
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClaimsReturned:
    """What one step of giving claims back did.

    Attributes:
        event: Id of its event; empty when it had nothing to do.
        returned: Jobs given back.
        left: Claims that are left.
    """

    event: str
    returned: int
    left: int


def return_claims(
    keys: Keys, cause: Cause, *, operation: str, step: int
) -> Command[ClaimsReturned]:
    """One step of giving all claimed jobs back."""
    head = event_head("uninstall", cause, ())
    return Command(
        "return_claims",
        (keys.claims, keys.pauses, keys.diverts, keys.events, keys.operation(operation)),
        (f"claims {step}", head, CLAIMS_PER_STEP, int(step == 1)),
        _claims_returned,
    )


def return_list(keys: Keys, source: str, lane: str, cause: Cause, *, total: int) -> Command[int]:
    """One step of bringing a list that no control knows to the front of `lane`; ids left."""
    head = event_head("restore", cause, (lane,))
    return Command(
        "return_list",
        (source, keys.engine.lists + lane, keys.engine.queues, keys.events),
        (IDS_PER_STEP, head, lane, total),
        int,
    )


def _claims_returned(reply: list[Any]) -> ClaimsReturned:
    event, returned, left = reply
    return ClaimsReturned(text_of(event), int(returned), int(left))


KEYS_PER_STEP = 500
"""Keys that one step looks at or removes: below 1 ms of the server."""

_ASIDE = ("stale", "unseen")
_LISTS = ("backlog", "kept", "parked", *_ASIDE)


@dataclass(frozen=True, slots=True)
class OwnedKeys:
    """All keys under the root of `keys`, as they are while one looks, in bounded steps.

    Attributes:
        store: Where to look.
        keys: The names of the keys.
    """

    store: Store

    def __iter__(self) -> Iterator[str]:
        seen = set()
        for page in scan_keys(self.store, self.store.keys.root, count=KEYS_PER_STEP):
            yield from (name for name in dict.fromkeys(page) if name not in seen)
            seen.update(page)

    def lists(self) -> list[str]:
        """The lists in which jobs stand; such a key goes by itself with its last job."""
        return [key for key in self if self._kind(key) in _LISTS]

    def backlogs(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that are parts of backlogs, as they go to the front of their lanes."""
        return in_order_of_return(key for key in names if self._kind(key) == "backlog")

    def set_aside(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that hold jobs which were set aside."""
        return [key for key in names if self._kind(key) in _ASIDE]

    def name_in(self, key: str) -> str:
        """What stands behind the kind in `key`, such as the lane."""
        return key.removeprefix(self.store.keys.root).partition(":")[2]

    def remove(self, *, stays: Collection[str]) -> int:
        """Remove all but lists of jobs and those in `stays`; how many."""
        names = [key for key in self if key not in stays and self._kind(key) not in _LISTS]
        windows = range(0, len(names), KEYS_PER_STEP)
        return sum(self.unlink(names[first : first + KEYS_PER_STEP]) for first in windows)

    def unlink(self, names: Sequence[str]) -> int:
        """Remove `names`, whose memory the server frees when it has time; how many there were."""
        removed: int = self.store.read(lambda ask: ask.unlink(*names))[0]
        return removed

    def _kind(self, key: str) -> str:
        return key.removeprefix(self.store.keys.root).partition(":")[0]
