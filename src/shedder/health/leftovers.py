"""Finds what was left half-way, or torn by a fail-over; changes nothing.

Workers of shedder repair most of it within seconds, so that what is found here may be gone by now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from shedder.engine.jobs import JobState
from shedder.errors import InvalidInput, RecordUnreadable
from shedder.health.audit import read_each, scan_keys
from shedder.lanes import lanes_of_target
from shedder.queues.claims import CLAIMS_PER_STEP, LEASE_MS, ClaimSeen, list_claims
from shedder.queues.controls import Divert, Pause, StoredDivert, all_lanes, diverts_from, pause_from
from shedder.store.codec import is_held, ms_from_time, server_time, text_of
from shedder.store.keys import Keys, in_order_of_return, kind_of, split_backlog
from shedder.store.store import Store

T = TypeVar("T")

STALE_MS = 2 * LEASE_MS
"""No worker takes back a claim that has shown no sign of life for this long."""

JOBS_ASKED = 20
"""First jobs of a backlog that are asked for their lane; some may have expired."""

RETURNED_FIELD = "shedder_returned"
"""Field of a job's hash: server's time in ms at which a repair put it back."""


@dataclass(frozen=True, slots=True)
class LostJob:
    """A job that was found in no place.

    Attributes:
        job_id: Its id.
        lane: Name of the lane that it belongs to.
        enqueued_at: What its hash says of its last enqueueing, as RQ writes it.
        returned: When a repair last put it back, as its hash has it; empty for never.
    """

    job_id: str
    lane: str
    enqueued_at: str
    returned: str


Records = tuple[list[tuple[str, T]], dict[str, RecordUnreadable]]
"""What is stored, with the lane of each; and the lanes whose record cannot be read, with the reason."""


def unreadable_records(store: Store) -> list[tuple[str, str]]:
    """The lanes with a pause or a divert that cannot be read, and what is wrong with it."""
    return [(lane, str(why)) for _, unreadable in (read_pauses(store), read_orders(store))
            for lane, why in unreadable.items()]  # fmt: skip


def read_pauses(store: Store) -> Records[Pause]:
    """The pauses that are stored."""
    return _read_records(store, store.keys.pauses, lambda lane, text: filter(None, [pause_from(lane, text)]))


def read_orders(store: Store) -> Records[StoredDivert]:
    """The diverts that are stored, those of a lane oldest first."""
    return _read_records(store, store.keys.diverts, diverts_from)


def _read_records(store: Store, key: str, parse: Callable[[str, bytes], Iterable[T]]) -> Records[T]:
    found: list[tuple[str, T]] = []
    unreadable = {}
    for name, record in store.read(lambda ask: ask.hgetall(key))[0].items():
        lane = text_of(name)
        try:
            found += ((lane, each) for each in parse(lane, record))
        except RecordUnreadable as error:
            unreadable[lane] = error
    return found, unreadable


def keys_of_another_type(store: Store) -> list[tuple[str, str, str]]:
    """The keys of ours that somebody made something else, what each is now, and what it should be."""
    found = []
    for page in scan_keys(store, store.keys.root):
        for key, reply in read_each(store, page, lambda ask, key: ask.type(key)):
            kind, wanted = text_of(reply), kind_of(key)
            if kind not in ("none", wanted or kind):
                found.append((key, kind, wanted))
    return found


def orders_left(store: Store) -> list[Divert]:
    """Diverts whose scan or restore was begun and is not under way now."""
    begun = [order.divert for _, order in read_orders(store)[0] if _is_begun(order)]
    leases = read_each(store, begun, lambda ask, it: ask.pttl(store.keys.lane_lease(it.lane)))
    return [each for each, left_ms in leases if not is_held(left_ms)]


def lanes_to_fold(store: Store, lanes: Sequence[str]) -> list[str]:
    """Lanes with jobs in front of their list though nothing is in force that wants it so."""
    (orders, unknown), (pauses, unknown_pauses) = read_orders(store), read_pauses(store)
    wanted = unknown.keys() | {lane for lane, order in orders if _is_begun(order)}
    parked = unknown_pauses.keys() | {lane for lane, pause in pauses if pause.is_parked}
    fronts = read_each(
        store,
        lanes,
        lambda ask, lane: ask.exists(store.keys.kept(lane)),
        lambda ask, lane: ask.exists(store.keys.parked(lane)),
    )
    return [
        lane
        for lane, has_kept, has_parked in fronts
        if lane not in wanted and (has_kept or (has_parked and lane not in parked))
    ]


def orphaned_backlogs(store: Store) -> dict[str, str]:
    """Lists of backlogs that no record names, and the lane of each, as a repair takes them.

    None while a record cannot be read.
    """
    before = _named_backlogs(store)
    found = {key for page in scan_keys(store, store.keys.backlogs, kind="LIST") for key in page}
    after = _named_backlogs(store)  # a divert may have been set meanwhile
    if before is None or after is None:
        return {}
    lanes = lanes_of_backlogs(store, in_order_of_return(found - before - after))
    return {key: lane for key, lane in lanes.items() if _is_backlog(store.keys, key, lane)}


def lanes_of_backlogs(store: Store, backlogs: Sequence[str]) -> dict[str, str]:
    """The lane of each of these lists: that of its first jobs, else one that is known.

    Empty where neither these nor the key can tell.
    """
    known = all_lanes(store) if backlogs else ()
    lanes = {}
    for key in backlogs:
        origins = [each for each in _origins(store, key) if f":{each}:" in key]
        lanes[key] = split_backlog(store.keys, key, origins or known)[1]
    return lanes


def stale_claims(store: Store) -> tuple[list[ClaimSeen], int]:
    """The first claims far older than their lease, and how many claims cannot be read.

    They stand in the order of their last sign of life; `CLAIMS_PER_STEP` are looked at.
    """
    total = store.read(lambda ask: ask.zcard(store.keys.claims))[0]
    claims = store.run(list_claims(store.keys, starting=0))
    before = ms_from_time(server_time(store)) - STALE_MS
    stale = [claim for claim in claims if claim.alive_at_ms < before]
    return stale, max(min(total, CLAIMS_PER_STEP) - len(claims), 0)


def lost_jobs(store: Store, jobs: Sequence[str]) -> list[LostJob]:
    """Those of `jobs`, which are in no place, that can be put back: queued, and with their data."""
    prefix, names = store.keys.engine.jobs, ("status", "origin", "enqueued_at", RETURNED_FIELD)
    found = []
    for job, row, size in read_each(
        store, jobs, lambda ask, job: ask.hmget(prefix + job, names), lambda ask, job: ask.hstrlen(prefix + job, "data")
    ):
        status, lane, enqueued_at, returned = (text_of(value or b"") for value in row)
        if status == JobState.QUEUED and size and _is_lane(lane):
            found.append(LostJob(job, lane, enqueued_at, returned))
    return found


def _origins(store: Store, backlog: str) -> list[str]:
    """The lanes that the first jobs of a list belong to."""
    prefix = store.keys.engine.jobs
    jobs = store.read(lambda ask: ask.lrange(backlog, 0, JOBS_ASKED - 1))[0]
    found = read_each(store, jobs, lambda ask, job: ask.hget(prefix + text_of(job), "origin"))
    return [text_of(origin) for _, origin in found if origin]


def _is_backlog(keys: Keys, key: str, lane: str) -> bool:
    return key in keys.backlog(split_backlog(keys, key, [lane])[0], lane) and _is_lane(lane)


def _is_lane(name: str) -> bool:
    try:
        return bool(lanes_of_target(name)) and "\ufffd" not in name
    except InvalidInput:
        return False


def _is_begun(order: StoredDivert) -> bool:
    """Whether its scan or its restore was begun and has not ended."""
    return order.divert.is_scanning or order.divert.is_restoring


def _named_backlogs(store: Store) -> set[str] | None:
    orders, unreadable = read_orders(store)
    return None if unreadable else {key for _, order in orders for key in order.backlog_keys}
