"""What is kept of queues that RQ does not know any more: counted, and removed in bounded steps.

A queue for each job, worked off and deleted, leaves a bell, counters and samples behind. The workers'
upkeep looks for them one step a second, and where it is stands in Redis, since any worker may do the
next one. After a sweep it rests, so that what is left of a queue is gone within the hour.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from shedder.engine.names import STARTED, registry_key
from shedder.lanes import PRIORITIES, Lane, lane_of
from shedder.queues.claims import list_claims
from shedder.store.codec import text_of
from shedder.store.keys import Keys
from shedder.store.store import Command, Store

REST_SECONDS = 1_200
"""How long nobody looks after a sweep."""

STEPS_PER_SWEEP = 1_200
"""A sweep through all keys takes about so many steps, unless one would look at too many of them."""

FEWEST_KEYS, MOST_KEYS = 1_000, 5_000
"""Keys that one step looks at: about 1 ms of the server."""

FIELDS_PER_STEP = 100
"""Fields of a hash that one step looks at."""

QUEUES_PER_STEP = 100
"""A step ends when it has removed so many: 25 ms of the worker that does it."""

QUEUES_PER_READ = 50
"""Queues that are asked for, or removed, in one round trip."""

_RESTING = "resting"
_PARTS = ("meters", "outcomes", "keys")
_STATE = re.compile(f"({'|'.join(_PARTS)}) ([0-9]+)")
_STATE_SECONDS = 3_600

_COUNTED = ("started", "ended", "arrived", "vanished", "drained")
"""What the meters count of each lane; `dropped:<status>` comes to it."""

_METER = re.compile(f"(.*):(?:{'|'.join(_COUNTED)}|dropped:[^:]*)", re.DOTALL)
_OUTCOME = re.compile("lane:(.*):failed", re.DOTALL)

Found = dict[str, list[str]]
"""Queues, and fields of the meters that are kept of each."""


@dataclass(frozen=True, slots=True)
class Remains:
    """What is kept of queues that RQ does not know any more.

    Attributes:
        queues: Their names, sorted.
        keys: Keys that are kept of them.
        fields: Counters that are kept of them.
    """

    queues: tuple[str, ...] = ()
    keys: int = 0
    fields: int = 0


def sweep(store: Store) -> bool:
    """Do the next step of a sweep; False while it rests."""
    state = text_of(store.read(lambda ask: ask.get(store.keys.sweep))[0] or "")
    if state == _RESTING:
        return False
    part, cursor = _place(state)
    found, following = _page(store, part, cursor)
    done = sum(len(each.queues) for each in _removed(store, found, most=QUEUES_PER_STEP))
    if done < QUEUES_PER_STEP:  # else the same page has more, or has nothing next time
        _go_on(store, part, following)
    return True


def remains(store: Store) -> Remains:
    """What is kept now of queues that RQ does not know any more; reads only, in bounded steps."""
    found: Found = {}
    for part in _PARTS:
        for page in _pages(store, part):
            for queue, fields in page.items():
                found.setdefault(queue, []).extend(fields)
    parts = [*_removed(store, found)]
    queues = sorted(queue for each in parts for queue in each.queues)
    return Remains(tuple(queues), sum(each.keys for each in parts), sum(each.fields for each in parts))


def forget_queue(keys: Keys, queue: str, fields: Sequence[str], *, is_preview: bool) -> Command[tuple[int, int]]:
    """Remove what is kept of `queue` if RQ does not know it; how many keys and fields of hashes.

    `fields` are further ones of the meters.
    """
    keys_of = {lane: _lane_keys(keys, queue, lane) for lane in (Lane(queue, each).name for each in PRIORITIES)}
    counted = [*dict.fromkeys([f"{lane}:{each}" for lane in keys_of for each in _COUNTED] + [*fields])]
    return Command(
        "forget_queue",
        (keys.engine.queues, keys.pauses, keys.diverts, keys.meters, keys.outcomes, *chain(*keys_of.values())),
        (int(is_preview), len(next(iter(keys_of.values()))), json.dumps(counted), *keys_of),
        lambda reply: (int(reply[0]), int(reply[1])),
    )


def _lane_keys(keys: Keys, queue: str, lane: str) -> tuple[str, ...]:
    waiting = (*keys.lane(lane)[:3], keys.bell(queue), keys.stale(lane), registry_key(STARTED, lane))
    return (*waiting, keys.series(lane), keys.failures(lane), *keys.samples(lane))


def _place(state: str) -> tuple[str, int]:
    found = _STATE.fullmatch(state)
    return (found[1], int(found[2])) if found else (_PARTS[0], 0)


def _go_on(store: Store, part: str, cursor: int) -> None:
    is_last = not cursor and part == _PARTS[-1]
    if not cursor and not is_last:
        part = _PARTS[_PARTS.index(part) + 1]
    state, seconds = (_RESTING, REST_SECONDS) if is_last else (f"{part} {cursor}", _STATE_SECONDS)
    store.read(lambda ask: ask.set(store.keys.sweep, state, ex=seconds))


def _pages(store: Store, part: str) -> Iterator[Found]:
    cursor = 0
    while True:
        found, cursor = _page(store, part, cursor)
        yield found
        if not cursor:
            return


def _page(store: Store, part: str, cursor: int) -> tuple[Found, int]:
    """The queues of which the next page of `part` keeps something, and where the page after it begins."""
    keys = store.keys
    if part == "keys":
        many = min(max(store.read(lambda ask: ask.dbsize())[0] // STEPS_PER_SWEEP, FEWEST_KEYS), MOST_KEYS)
        cursor, names = store.read(lambda ask: ask.scan(cursor, match=_pattern(keys), count=many))[0]
        return {queue: [] for name in names if (queue := _queue_of(keys, text_of(name)))}, int(cursor)
    of = getattr(keys, part)
    cursor, fields = store.read(lambda ask: ask.hscan(of, cursor, count=FIELDS_PER_STEP))[0]
    return _of_fields(map(text_of, fields), _METER if part == "meters" else _OUTCOME), int(cursor)


def _of_fields(fields: Iterator[str], kind: re.Pattern[str]) -> Found:
    found: Found = {}
    for field in fields:
        if match := kind.fullmatch(field):
            found.setdefault(lane_of(match[1]).queue, []).extend([field] if kind is _METER else [])
    return found


def _queue_of(keys: Keys, key: str) -> str:
    kind, _, name = key.removeprefix(keys.root).partition(":")
    if kind == "samples":
        name = name.partition(":")[2]
    if kind == "bell":
        return name
    return lane_of(name).queue if kind in ("series", "samples", "failures") else ""


def _pattern(keys: Keys) -> str:
    return re.sub(r"([\\*?\[\]])", r"\\\1", keys.root) + "*"


def _removed(store: Store, found: Mapping[str, Sequence[str]], *, most: int = 0) -> Iterator[Remains]:
    """Remove what is kept of those of `found` that are gone, until `most` are done; without `most` count it."""
    gone, done = _gone(store, [*found]), 0
    for some in _in_parts(gone):
        commands = [forget_queue(store.keys, queue, found[queue], is_preview=not most) for queue in some]
        replies = store.read(partial(_add_all, commands))
        counts = [(queue, *each.parse(reply)) for queue, each, reply in zip(some, commands, replies, strict=True)]
        queues = tuple(queue for queue, keys, fields in counts if keys or fields)
        yield Remains(queues, sum(keys for _, keys, _ in counts), sum(fields for *_, fields in counts))
        done += len(queues)
        if 0 < most <= done:
            return


def _add_all(commands: Sequence[Command[Any]], ask: Any) -> None:
    for each in commands:
        Store.add(ask, each)


def _gone(store: Store, queues: Sequence[str]) -> list[str]:
    """Those of `queues` of which RQ knows no lane, and no worker holds a job."""
    unknown = _unknown(store, queues)
    busy = {lane_of(claim.lane).queue for claim in store.run(list_claims(store.keys))} if unknown else set()
    return [queue for queue in unknown if queue not in busy]


def _unknown(store: Store, queues: Sequence[str]) -> list[str]:
    found: list[str] = []
    for some in _in_parts(queues):
        replies = store.read(partial(_ask_known, store.keys, some))
        found += [queue for queue, reply in zip(some, replies, strict=True) if not any(map(int, reply))]
    return found


def _ask_known(keys: Keys, queues: Sequence[str], ask: Any) -> None:
    for queue in queues:
        ask.smismember(keys.engine.queues, [keys.engine.lists + Lane(queue, each).name for each in PRIORITIES])


def _in_parts(queues: Sequence[str]) -> Iterator[Sequence[str]]:
    return (queues[first : first + QUEUES_PER_READ] for first in range(0, len(queues), QUEUES_PER_READ))
