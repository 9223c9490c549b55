"""What was left half-way, or torn by a fail-over? Reads only.

Whoever finds nothing here has found nothing at this moment: workers of shedder mend most of it by
themselves within seconds.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from shedder.engine.jobs import JobState
from shedder.errors import InvalidInput, RecordUnreadable
from shedder.health.audit import scan_keys
from shedder.lanes import lanes_of_target
from shedder.queues.claims import CLAIMS_PER_STEP, LEASE_MS, ClaimSeen, list_claims
from shedder.queues.controls import Divert, all_lanes, diverts_from, pause_from
from shedder.store.codec import is_held, ms_from_time, server_time, text_of
from shedder.store.keys import Keys, in_order_of_return, kind_of, split_backlog
from shedder.store.store import Store

STALE_MS = 2 * LEASE_MS
"""A claim without a sign of life for so long has nobody who takes it back."""

WINDOW = 500
"""Jobs or keys that one round trip asks about."""

JOBS_ASKED = 20
"""First jobs of a backlog that are asked for their lane; some may have expired."""


def unreadable_records(store: Store) -> list[tuple[str, str]]:
    """The lanes with a pause or a divert that cannot be read, and what is wrong with it."""
    found = []
    for key, parse in ((store.keys.pauses, pause_from), (store.keys.diverts, diverts_from)):
        for lane, record in _records(store, key):
            try:
                parse(lane, record)
            except RecordUnreadable as error:
                found.append((lane, str(error)))
    return found


def keys_of_another_type(store: Store) -> list[tuple[str, str]]:
    """The keys of ours that somebody made something else, and what each is now."""
    found = []
    for page in scan_keys(store, store.keys.root):
        kinds = _types(store, page)
        found += [(key, is_) for key, is_ in zip(page, kinds, strict=True)
                  if is_ not in ("none", kind_of(key) or is_)]  # fmt: skip
    return found


def orders_left(store: Store) -> list[Divert]:
    """Diverts whose scan or restore was begun, and on which nobody is at work."""
    begun = [divert for divert in _standing(store) if divert.is_scanning or divert.is_restoring]
    if not begun:
        return []
    left = store.read(lambda ask: [ask.pttl(store.keys.lane_lease(each.lane)) for each in begun])
    return [each for each, left_ms in zip(begun, left, strict=True) if not is_held(left_ms)]


def lanes_to_fold(store: Store, lanes: Sequence[str]) -> list[str]:
    """Lanes with jobs in front of their list though nothing is in force that wants it so."""
    wanted = _lanes_at_work(store)
    parked = _parked_lanes(store)
    return [
        lane
        for lane, (is_kept, is_parked) in _fronts(store, lanes)
        if lane not in wanted and (is_kept or (is_parked and lane not in parked))
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
    found: list[LostJob] = []
    for first in range(0, len(jobs), WINDOW):
        found += _lost_of_some(store, jobs[first : first + WINDOW])
    return found


def _lost_of_some(store: Store, jobs: Sequence[str]) -> Iterator[LostJob]:
    def ask_fields(ask: Any) -> None:
        for job in jobs:
            key = store.keys.engine.jobs + job
            ask.hmget(key, "status", "origin", "enqueued_at", RETURNED_FIELD)
            ask.hstrlen(key, "data")

    replies = store.read(ask_fields)
    for job, fields, size in zip(jobs, replies[::2], replies[1::2], strict=True):
        status, lane, enqueued_at, returned = (text_of(value or b"") for value in fields)
        if status == JobState.QUEUED and size and _is_lane(lane):
            yield LostJob(job, lane, enqueued_at, returned)


def _origins(store: Store, backlog: str) -> list[str]:
    """The lanes that the first jobs of a list belong to."""
    jobs = store.read(lambda ask: ask.lrange(backlog, 0, JOBS_ASKED - 1))[0]
    prefix = store.keys.engine.jobs
    found = store.read(lambda ask: [ask.hget(prefix + text_of(job), "origin") for job in jobs]) \
        if jobs else []  # fmt: skip
    return [text_of(origin) for origin in found if origin]


def _is_backlog(keys: Keys, key: str, lane: str) -> bool:
    return key in keys.backlog(split_backlog(keys, key, [lane])[0], lane) and _is_lane(lane)


def _is_lane(name: str) -> bool:
    try:
        return bool(lanes_of_target(name)) and "\ufffd" not in name
    except InvalidInput:
        return False


def _records(store: Store, key: str) -> Iterator[tuple[str, bytes]]:
    for lane, record in store.read(lambda ask: ask.hgetall(key))[0].items():
        yield text_of(lane), record


def _standing(store: Store) -> Iterator[Divert]:
    for lane, record in _records(store, store.keys.diverts):
        try:
            yield from (order.divert for order in diverts_from(lane, record))
        except RecordUnreadable:
            continue  # told as a record


def _lanes_at_work(store: Store) -> set[str]:
    """The lanes that a scan or a restore goes through, or whose diverts cannot be read."""
    found = set()
    for lane, record in _records(store, store.keys.diverts):
        try:
            orders = [order.divert for order in diverts_from(lane, record)]
        except RecordUnreadable:
            found.add(lane)
            continue
        if any(order.is_scanning or order.is_restoring for order in orders):
            found.add(lane)
    return found


def _parked_lanes(store: Store) -> set[str]:
    """The lanes whose pause keeps their jobs from stock workers, or cannot be read."""
    parked = set()
    for lane, record in _records(store, store.keys.pauses):
        try:
            pause = pause_from(lane, record)
        except RecordUnreadable:
            parked.add(lane)
            continue
        if pause is not None and pause.is_parked:
            parked.add(lane)
    return parked


def _fronts(store: Store, lanes: Sequence[str]) -> Iterator[tuple[str, tuple[bool, bool]]]:
    """For each lane, whether it has a kept and a parked list."""
    for first in range(0, len(lanes), WINDOW):
        some = lanes[first : first + WINDOW]
        replies = store.read(functools.partial(_ask_fronts, keys=store.keys, lanes=some))
        for lane, kept, parked in zip(some, replies[::2], replies[1::2], strict=True):
            yield lane, (bool(kept), bool(parked))


def _ask_fronts(ask: Any, keys: Keys, lanes: Sequence[str]) -> None:
    for lane in lanes:
        ask.exists(keys.kept(lane))
        ask.exists(keys.parked(lane))


def _named_backlogs(store: Store) -> set[str] | None:
    known: set[str] = set()
    for lane, record in _records(store, store.keys.diverts):
        try:
            orders = diverts_from(lane, record)
        except RecordUnreadable:
            return None
        known.update(key for order in orders for key in order.backlog_keys)
    return known


def _types(store: Store, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    return [text_of(each) for each in store.read(lambda ask: [ask.type(name) for name in names])]


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
