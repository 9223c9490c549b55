"""What stands in Redis: where each id is, which controls are in force, what the journal says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shedder.engine.names import FAILED, registry_key
from shedder.lanes import lane_of
from shedder.store.codec import text_of
from tests.model.things import Parts

if TYPE_CHECKING:
    from redis import Redis

    from shedder.store.keys import Keys


MANY_KEYS = 100_000
"""So that one call goes through all."""


@dataclass(frozen=True, slots=True)
class SeenOrder:
    """A divert as it is stored, with its backlog in reading order."""

    id: str
    backlog: tuple[str, ...]
    is_scanning: bool
    is_restoring: bool
    is_draining: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that a step may change.

    Attributes:
        parts: For each lane what stands in its three lists.
        stale: For each lane what was set aside.
        orders: For each lane its diverts, oldest first.
        pauses: Lanes with the record of a pause: whether it is parked.
        claims: Claims, those first that gave no sign of life for longest.
        meters: Counters of starts and drops that are not zero.
        events: Verb and lanes of every event, oldest first.
        lists: Names of all lists of shedder.
        failed: The jobs in RQ's registries of failed jobs.
    """

    parts: dict[str, Parts]
    stale: dict[str, list[str]]
    orders: dict[str, tuple[SeenOrder, ...]]
    pauses: dict[str, bool]
    claims: tuple[bytes, ...]
    meters: dict[str, int]
    events: tuple[tuple[str, tuple[str, ...]], ...]
    lists: frozenset[str]
    failed: frozenset[str]


def look(redis: Redis, keys: Keys, lanes: tuple[str, ...]) -> Seen:
    """What stands in Redis now, in two round trips."""
    with redis.pipeline() as pipeline:
        for lane in lanes:
            listed, kept, parked, _ = keys.lane(lane)
            for key in (kept, parked, listed, keys.stale(lane)):
                pipeline.lrange(key, 0, -1)
        pipeline.hgetall(keys.diverts)
        pipeline.hgetall(keys.pauses)
        pipeline.zrange(keys.claims, 0, -1)
        pipeline.hgetall(keys.meters)
        pipeline.xrange(keys.events)
        pipeline.scan(0, match=f"{keys.root}*", count=MANY_KEYS, _type="list")
        for lane in lanes:
            pipeline.zrange(registry_key(FAILED, lane), 0, -1)
        replies = pipeline.execute()
    *lists, diverts, pauses, claims, meters, events, scanned = replies[: -len(lanes)]
    return Seen(
        parts={
            lane: Parts(*(_texts(each) for each in lists[4 * index : 4 * index + 3]))
            for index, lane in enumerate(lanes)
        },
        stale={lane: list(_texts(lists[4 * index + 3])) for index, lane in enumerate(lanes)},
        orders=_orders(redis, diverts),
        pauses={text_of(lane): bool(json.loads(text).get("parked")) for lane, text in pauses.items()},
        claims=tuple(claims),
        meters=_counters(meters),
        events=tuple(_event(fields) for _, fields in events),
        lists=frozenset(text_of(name) for name in scanned[1]),
        failed=frozenset(text_of(job) for jobs in replies[-len(lanes) :] for job in jobs),
    )


def stray_lists(seen: Seen, keys: Keys) -> set[str]:
    """Lists that no lane and no order refers to: ids under such a name would be lost."""
    known = {keys.bell(lane_of(lane).queue) for lane in seen.parts}
    known |= {keys.stale(lane) for lane in seen.parts} | {keys.unseen(lane) for lane in seen.parts}
    known |= {keys.kept(lane) for lane in seen.parts} | {keys.parked(lane) for lane in seen.parts}
    for lane, orders in seen.orders.items():
        for order in orders:
            known |= {*keys.backlog(order.id, lane)}
    no_jobs = (keys.skipped("", "")[:-2], keys.poller_handoff(""))
    return {key for key in seen.lists - known if not key.startswith(no_jobs)}


def _orders(redis: Redis, diverts: dict[bytes, bytes]) -> dict[str, tuple[SeenOrder, ...]]:
    found: dict[str, tuple[SeenOrder, ...]] = {}
    for lane, text in diverts.items():
        found[text_of(lane)] = tuple(_order(redis, record) for record in json.loads(text))
    return found


def _order(redis: Redis, record: dict[str, Any]) -> SeenOrder:
    with redis.pipeline() as pipeline:
        for part in ("front", "rest", "slot"):
            pipeline.lrange(record[part], 0, -1)
        front, rest, slot = pipeline.execute()
    return SeenOrder(
        record["id"],
        _texts([*slot, *front, *rest]),
        is_scanning=bool(record.get("scanning")),
        is_restoring=bool(record.get("restoring")),
        is_draining=bool(record.get("drain")),
    )


def _counters(meters: dict[bytes, bytes]) -> dict[str, int]:
    counts = {text_of(name): int(value) for name, value in meters.items()}
    return {name: count for name, count in counts.items() if "started" in name or ":dropped:" in name}


def _event(fields: dict[bytes, bytes]) -> tuple[str, tuple[str, ...]]:
    head = json.loads(fields[b"head"])
    return head["verb"], tuple(head["lanes"])


def _texts(values: list[bytes]) -> tuple[str, ...]:
    return tuple(text_of(value) for value in values)
