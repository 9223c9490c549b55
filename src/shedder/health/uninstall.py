"""Uninstall: brings every job back to RQ's own lists and removes every key of shedder.

Jobs first, keys after, the journal last. Each step leaves every job in a place that another run
still finds, so that it may be killed anywhere and goes on with the next run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from shedder.engine.names import registry_keys
from shedder.engine.workers import WorkerSeen, all_workers, queues_of
from shedder.errors import ConditionNotMet, NothingMatched
from shedder.events import EVENTS_PER_PAGE, Cause, Event, event_head, read_events
from shedder.health.audit import read_each, scan_keys
from shedder.health.leftovers import lanes_of_backlogs, read_orders
from shedder.lanes import DEFAULT_PRIORITY, lane_of
from shedder.queues.controls import Backlog, StoredDivert, with_lengths
from shedder.queues.pause import IDS_PER_STEP, fold, resume
from shedder.queues.restore import RestoredLane, restore_one
from shedder.queues.retry import take_back
from shedder.settings.flags import list_flags
from shedder.settings.limits import list_limits
from shedder.store.codec import server_time, text_of
from shedder.store.keys import Keys, in_order_of_return
from shedder.store.store import Command, Operation, Progress, Store

LANES_PER_STEP = 50

ROUNDS = 5
"""How often it looks again for what somebody has set meanwhile."""

KEYS_NAMED = 100

CLAIMS_PER_STEP = 500
"""Claims that one step gives back: about 2 ms of the server."""

KEYS_PER_STEP = 500
"""Keys that one step looks at or removes: below 1 ms of the server."""

_ASIDE = ("stale", "unseen")
_LISTS = ("backlog", "kept", "parked", *_ASIDE)

Keep = Callable[[Event], None]
"""Is called with each line of the journal before it is removed."""


def preview(store: Store) -> UninstallReceipt:
    """What `uninstall` would do; changes nothing."""
    return _Uninstall(store, Cause("", ""), OwnedKeys(store), is_forced=True).preview()


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
    run = _Uninstall(store, cause, OwnedKeys(store), is_forced=is_forced)
    before = run.preview()
    if not before.keys:
        raise NothingMatched("key of shedder on this server (is it the right Redis? see RQ_KEY_PREFIX)")
    if before.workers and not is_forced:
        names = ", ".join(each.name for each in before.workers)
        raise ConditionNotMet(
            f"workers of shedder are alive ({names})", try_instead="stop them and call it again, or force it"
        )
    return run.finish(before, on_event=on_event, on_progress=on_progress)


@dataclass(frozen=True, slots=True)
class UninstallReceipt:
    """What `uninstall` did, or with `is_preview` what it would do.

    Attributes:
        at: When it was done (server's clock, UTC).
        is_preview: Nothing was changed.
        workers: Workers of shedder that RQ still has on record.
        resumed: Lanes whose pause has ended.
        restored: Backlogs that are back in their lanes; those of a retry are among the failed jobs.
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
class QueueLeft:
    """A queue of RQ in which jobs wait for a stock worker.

    Attributes:
        lane: Its name; a lane is a queue of its own.
        jobs: Jobs that wait in it.
    """

    lane: str
    jobs: int


@dataclass(slots=True)
class _Uninstall:
    """One removal and what it has done so far."""

    store: Store
    cause: Cause
    own: OwnedKeys
    is_forced: bool = False
    resumed: set[str] = field(default_factory=set)
    restored: list[RestoredLane] = field(default_factory=list)
    claims: int = 0
    found: int = 0

    def preview(self) -> UninstallReceipt:
        """The state before; it counts as done what there is to do."""
        ours, keys = list(self.own), self.store.keys
        paused, backlogs = self._paused(), self._backlogs()
        lost = read_each(self.store, self._lost(ours), lambda ask, key: ask.llen(key))
        claims, events = self.store.read(lambda ask: (ask.zcard(keys.claims), ask.xlen(keys.events)))
        return UninstallReceipt(
            at=server_time(self.store),
            is_preview=True,
            workers=all_workers(self.store, is_stock=False),
            resumed=tuple(paused),
            restored=tuple(RestoredLane(*each) for each in backlogs),
            claims=claims,
            found=sum(length for _, length in lost),
            flags=tuple(flag.name for flag in list_flags(self.store) if flag.percent),
            limits=tuple(each.name for each in list_limits(self.store) if each.setting),
            events=events,
            keys=len(ours),
            queues=self._queues(),
            left=(),
        )

    def finish(
        self, before: UninstallReceipt, *, on_event: Keep | None, on_progress: Progress | None
    ) -> UninstallReceipt:
        """Do it."""
        total = sum(lane.restored for lane in before.restored)
        for number in range(ROUNDS):
            self._return_jobs(is_first=number == 0)
            if on_progress is not None:
                on_progress(min(sum(lane.restored for lane in self.restored), total), total)
            if not self.own.lists():
                break
        self._forget_lanes()
        events, removed = self._keep_journal(on_event), self._remove_keys()
        return replace(
            before,
            at=server_time(self.store),
            is_preview=False,
            resumed=tuple(sorted(self.resumed)),
            restored=tuple(self.restored),
            claims=self.claims,
            found=self.found,
            events=events,
            keys=removed,
            queues=self._queues(),
            left=tuple(sorted(self.own)[:KEYS_NAMED]),
        )

    # jobs

    def _return_jobs(self, *, is_first: bool) -> None:
        """Bring back what stands anywhere but in RQ's lists; claims first, as they are in front."""
        self._return_claims(is_first=is_first)
        self._end_pauses()
        for lane, order, _ in self._backlogs():
            retried = take_back(self.store, lane, order, self.cause)
            event, jobs = (
                (retried.event, retried.lanes[0].failed)
                if retried
                else restore_one(self.store, lane, order, self.cause)
            )
            if event:
                self.restored.append(RestoredLane(lane, order, jobs))
        self._return_lists()

    def _return_claims(self, *, is_first: bool) -> None:
        operation = Operation(step=0 if is_first else 1)
        returned = left = 1
        while returned and left:
            step = return_claims(self.store.keys, self.cause, operation=operation.id, step=operation.next_step())
            returned, left = self.store.run(step)
            self.claims += returned

    def _end_pauses(self) -> None:
        names = self._paused()
        for first in range(0, len(names), LANES_PER_STEP):
            lanes = [lane_of(name) for name in names[first : first + LANES_PER_STEP]]
            resume(self.store, lanes, self.cause)
        self.resumed.update(names)

    def _return_lists(self) -> None:
        """Bring back what a command that was killed left, and backlogs whose order is gone."""
        lists = self.own.lists()
        lost = self._lost(lists)  # the orders are read after the lists, so that a new one is known
        lanes = lanes_of_backlogs(self.store, self.own.of_kinds(lost, "backlog"))
        for key in lost:
            self._return_list(key, lanes.get(key, self.own.name_in(key)))
        for key in self.own.of_kinds(lists, "kept", "parked"):
            fold(self.store, self.own.name_in(key))

    def _return_list(self, key: str, lane: str) -> None:
        total = self.store.read(lambda ask: ask.llen(key))[0]
        command = return_list(self.store.keys, key, lane, self.cause, total=total)
        while self.store.run(command):
            pass
        self.found += total

    def _lost(self, names: Sequence[str]) -> list[str]:
        """The lists among `names` that no control knows, as they go to the front of their lanes."""
        known = {part for _, order in self._orders() for part in order.backlog_keys}
        backlogs = in_order_of_return(self.own.of_kinds(names, "backlog"))
        lost = [key for key in backlogs if key not in known]
        return lost + self.own.of_kinds(names, *_ASIDE)

    def _backlogs(self) -> list[Backlog]:
        """All backlogs by lane, those of limits last."""
        orders = sorted(self._orders(), key=lambda each: (each[1].divert.is_limit, each[0]))
        return with_lengths(self.store, orders)

    def _orders(self) -> list[tuple[str, StoredDivert]]:
        orders, unreadable = read_orders(self.store)
        if unreadable and not self.is_forced:
            raise next(iter(unreadable.values()))
        return orders

    def _paused(self) -> list[str]:
        names = self.store.read(lambda ask: ask.hkeys(self.store.keys.pauses))[0]
        return sorted(map(text_of, names))

    def _queues(self) -> tuple[QueueLeft, ...]:
        lists = self.store.keys.engine.lists
        names = queues_of(self.store)
        lengths = read_each(self.store, names, lambda ask, name: ask.llen(lists + name))
        return tuple(QueueLeft(name, jobs) for name, jobs in lengths if jobs)

    def _forget_lanes(self) -> None:
        """Take lanes that hold no job, not even a failed one, out of RQ's set of queues."""
        for name in queues_of(self.store):
            if lane_of(name).priority != DEFAULT_PRIORITY:
                self.store.run(forget_lane(self.store.keys, name))

    # keys

    def _keep_journal(self, on_event: Keep | None) -> int:
        after = "0-0"
        while on_event and (events := read_events(self.store, limit=EVENTS_PER_PAGE, after=after)):
            for event in events:
                on_event(event)
            after = events[-1].id
        length: int = self.store.read(lambda ask: ask.xlen(self.store.keys.events))[0]
        return length

    def _remove_keys(self) -> int:
        """Remove what is no list of jobs; the journal last, as it tells how far this came."""
        stays = {self.store.keys.events}
        if not self.is_forced:  # these are empty and gone, or somebody has set something new
            stays |= {self.store.keys.pauses, self.store.keys.diverts, self.store.keys.claims}
        return self.own.remove(stays=stays) + self.own.unlink([self.store.keys.events])


def return_claims(keys: Keys, cause: Cause, *, operation: str, step: int) -> Command[tuple[int, int]]:
    """One step of giving all claimed jobs back; its reply: jobs given back, and claims left."""
    return Command(
        "return_claims",
        (keys.claims, keys.pauses, keys.diverts, keys.events, keys.operation(operation)),
        (f"claims {step}", event_head("uninstall", cause, ()), CLAIMS_PER_STEP, int(step == 1)),
        lambda reply: (int(reply[1]), int(reply[2])),
    )


def return_list(keys: Keys, source: str, lane: str, cause: Cause, *, total: int) -> Command[int]:
    """One step of bringing a list that no control knows to the front of `lane`; ids left."""
    return Command(
        "return_list",
        (source, keys.engine.lists + lane, keys.engine.queues, keys.events),
        (IDS_PER_STEP, event_head("restore", cause, (lane,)), lane, total),
        int,
    )


def forget_lane(keys: Keys, lane: str) -> Command[bool]:
    """Take `lane` out of RQ's set of queues if it holds no job; whether it was taken out."""
    lists = (keys.engine.lists + lane, *registry_keys(lane))
    return Command("forget_lane", (keys.engine.queues, *lists), (), bool)


@dataclass(frozen=True, slots=True)
class OwnedKeys:
    """All keys of shedder, as they are while they are looked at, in bounded steps.

    Attributes:
        store: Where to look.
    """

    store: Store

    def __iter__(self) -> Iterator[str]:
        seen = set()
        for page in scan_keys(self.store, self.store.keys.root, count=KEYS_PER_STEP):
            yield from (name for name in dict.fromkeys(page) if name not in seen)
            seen.update(page)

    def lists(self) -> list[str]:
        """The lists in which jobs stand; such a key goes with its last job."""
        return self.of_kinds(self, *_LISTS)

    def of_kinds(self, names: Iterable[str], *kinds: str) -> list[str]:
        """Those of `names` that are of one of `kinds`, such as `backlog`."""
        root = self.store.keys.root
        return [key for key in names if key.removeprefix(root).partition(":")[0] in kinds]

    def name_in(self, key: str) -> str:
        """What stands behind the kind in `key`, such as the lane."""
        return key.removeprefix(self.store.keys.root).partition(":")[2]

    def remove(self, *, stays: Collection[str]) -> int:
        """Remove all but lists of jobs and those in `stays`; how many."""
        ours = list(self)
        stays = {*stays, *self.of_kinds(ours, *_LISTS)}
        names = [key for key in ours if key not in stays]
        windows = range(0, len(names), KEYS_PER_STEP)
        return sum(self.unlink(names[first : first + KEYS_PER_STEP]) for first in windows)

    def unlink(self, names: Sequence[str]) -> int:
        """Remove `names`, whose memory the server frees when it has time; how many there were."""
        removed: int = self.store.read(lambda ask: ask.unlink(*names))[0]
        return removed
