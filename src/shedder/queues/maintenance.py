"""The upkeep: what any worker of ours does between two jobs, one worker at a time.

It takes the samples of the lanes for `status`, and finishes what an operator's process began and
did not live to finish; so it says of a mitigation whose process is silent that it has ended. It
removes what is left of queues that RQ does not know any more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shedder.engine.workers import queues_of
from shedder.errors import ShedderError
from shedder.events import SYSTEM, Cause
from shedder.lanes import PRIORITIES, Lane, queues_in
from shedder.log_context import Troubles, ids_of
from shedder.queues.controls import Divert, diverts_from
from shedder.queues.divert import free_slots, scan
from shedder.queues.drain import release_for_stock_workers
from shedder.queues.pause import fold
from shedder.queues.restore import restore_one
from shedder.queues.samples import INTERVAL_SECONDS, LANES_PER_SAMPLE, sample_lanes
from shedder.queues.skip import end_needless_diverts
from shedder.queues.stale import set_aside_all
from shedder.queues.sweep import sweep
from shedder.store.codec import is_held, text_of, time_from_ms
from shedder.store.keys import Keys
from shedder.store.store import Command, Store, new_id

logger = logging.getLogger("shedder.upkeep")

SILENCE_SECONDS = 15.0
"""A worker looks this often whether the process of a mitigation has fallen silent."""

FORGET_AFTER_MS = 60_000
MOST_STARTS = 1000
MOST_CLAIMS = 1000


@dataclass(frozen=True, slots=True)
class EventWritten:
    """An event that was written.

    Attributes:
        event: Its id; empty when there was nothing to write.
        at: Server's clock, UTC.
    """

    event: str
    at: datetime


class Upkeep:
    """The upkeep as one worker does it."""

    def __init__(self, store: Store, lanes: Sequence[str]) -> None:
        self._store = store
        self._own = tuple(lanes)
        self._last = time.monotonic()
        self._known: list[str] = []
        self._rounds = 0
        self._ends_silent_at = self._last + SILENCE_SECONDS
        self._sets_aside = False
        self._troubles, self._lane_troubles = Troubles(logger), Troubles(logger)

    @property
    def is_late(self) -> bool:
        """Whether this worker has not asked for longer than the interval."""
        return time.monotonic() - self._last >= INTERVAL_SECONDS

    def do(self) -> bool:
        """Do what is due; False when another worker has just done it."""
        self._last = time.monotonic()
        trouble: ShedderError | None = None
        try:
            if not self._store.run(sample_lanes(self._store.keys, self._next_lanes())):
                return False
        except ShedderError as error:  # what is to be finished matters more than a sample
            trouble = error
        try:
            self._known = self._all_lanes()
            self._finish_what_was_begun()
            if self._last >= self._ends_silent_at:
                self._ends_silent_at = self._last + SILENCE_SECONDS
                end_silent(self._store)
        except ShedderError as error:
            trouble = trouble or error
        if trouble is None:
            self._troubles.end("upkeep", "upkeep is done again")
        else:
            self._troubles.meet("upkeep", "upkeep: %s", trouble)
        self._sweep()
        return True

    def _sweep(self) -> None:
        try:
            sweep(self._store)
        except ShedderError as error:  # as when Redis is full: it is no loss, and would be said every second
            logger.debug("what is left of deleted queues stays for now: %s", error)

    def _next_lanes(self) -> Sequence[str]:
        if not self._known:
            return self._own[:LANES_PER_SAMPLE]
        self._rounds += 1
        pages = -(-len(self._known) // LANES_PER_SAMPLE)
        first = self._rounds % pages * LANES_PER_SAMPLE
        return self._known[first : first + LANES_PER_SAMPLE]

    def _all_lanes(self) -> list[str]:
        queues = queues_in(queues_of(self._store))
        return sorted(Lane(queue, each).name for queue in queues for each in PRIORITIES)

    def _finish_what_was_begun(self) -> None:
        keys = self._store.keys
        standing, stale_after = self._store.read(
            lambda ask: (ask.hgetall(keys.diverts), ask.hget(keys.policy, "stale_after"))
        )
        self._sets_aside = stale_after is not None
        self._lane_troubles.keep(map(text_of, standing))
        for lane, record in standing.items():
            self._look_after_lane(text_of(lane), record)
        self._fold_leftovers(standing)
        self._store.run(forget_starts(keys))
        end_needless_diverts(self._store, standing)

    def _look_after_lane(self, lane: str, record: bytes) -> None:
        try:
            for order in diverts_from(lane, record):
                self._look_after(order.divert)
        except ShedderError as error:  # the next lane's record may be sound
            self._lane_troubles.meet(lane, "upkeep of %s: %s", lane, error, extra=ids_of(lane=lane))
        else:
            self._lane_troubles.end(lane, "upkeep of %s is done again", lane)

    def _look_after(self, divert: Divert) -> None:
        if divert.most is not None:
            self._store.run(forget_running(self._store.keys, divert.order))
        if self._sets_aside and not divert.is_restoring and not divert.is_limit:
            set_aside_all(self._store, divert.lane, divert.order)
        cause = Cause(by=SYSTEM, why=f"finishing what {divert.by} began: {divert.why}")
        if (divert.is_restoring or divert.is_scanning) and self._is_at_work(divert.lane):
            return
        if divert.is_restoring:
            event, jobs = restore_one(self._store, divert.lane, divert.order, cause)
            ids = ids_of(lane=divert.lane, event=event)
            logger.info("the backlog of %s is back: %s jobs", divert.lane, jobs, extra=ids)
        elif divert.is_scanning:
            scan(self._store, divert.lane, divert.order, divert.selection, cause)
        elif divert.drain is not None:
            pace = divert.drain.rate.per_second
            release_for_stock_workers(self._store, [(divert.lane, divert.order, pace)])
        elif divert.selection.is_whole:
            # RQ promotes rate limited jobs into the lane, and they keep their slots in the backlog
            free_slots(self._store, [divert.lane])

    def _is_at_work(self, lane: str) -> bool:
        """Whether somebody alive scans or restores `lane`."""
        return is_held(self._store.read(lambda ask: ask.pttl(self._store.keys.lane_lease(lane)))[0])

    def _fold_leftovers(self, standing: dict[bytes, bytes]) -> None:
        keys, busy = self._store.keys, {text_of(lane) for lane in standing}
        lanes = [lane for lane in self._known if lane not in busy]
        fronts = self._store.read(lambda ask: [ask.exists(keys.kept(lane), keys.parked(lane)) for lane in lanes])
        for lane, has_front in zip(lanes, fronts, strict=True):
            if has_front:
                fold(self._store, lane)


def end_mitigation(keys: Keys, event: str, head: str = "") -> Command[EventWritten]:
    """Write how the mitigation ended that began with `event`.

    Without `head`: that nothing has recorded its end, and only when its process is silent.
    """
    return Command(
        "end_mitigation", (keys.mitigations, keys.events, keys.operation(new_id())), ("end", event, head), written_from
    )


def end_silent(store: Store) -> tuple[str, ...]:
    """Write that nobody recorded the end of mitigations whose process is silent; the events."""
    begun = store.read(lambda ask: ask.hkeys(store.keys.mitigations))[0]
    ended = (store.run(end_mitigation(store.keys, text_of(each))) for each in begun)
    return tuple(each.event for each in ended if each.event)


def written_from(reply: list[bytes]) -> EventWritten:
    """What the reply of a script that writes an event says."""
    return EventWritten(text_of(reply[0]), time_from_ms(int(reply[1])))


def forget_starts(keys: Keys) -> Command[int]:
    """Forget starts whose worker died before it could report that the function runs.

    Leases of claims that are of a server's clock which was set back begin anew.
    """
    return Command(
        "forget_starts",
        (keys.starting, keys.claims),
        (FORGET_AFTER_MS, MOST_STARTS, keys.engine.jobs, MOST_CLAIMS),
        int,
    )


def forget_running(keys: Keys, order: str) -> Command[int]:
    """Forget jobs whose worker died while they held a place under the limit `order`."""
    return Command(
        "forget_running",
        (keys.running(order), keys.claims),
        (FORGET_AFTER_MS, MOST_STARTS, keys.engine.jobs, keys.engine.executions),
        int,
    )
