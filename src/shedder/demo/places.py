"""Where in Redis does an id stand? A search of the whole server, which trusts no index.

While it looks, the server lets nobody write (`CLIENT PAUSE ... WRITE`, ten seconds at most), so
what it finds is one instant of a system that is at work. That is for a demo's own server only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from shedder.demo.mix import KINDS

if TYPE_CHECKING:
    import redis

LONGEST_SECONDS = 10.0
_CHUNK = 10_000
_JOB = re.compile(rb"(?:%s)-\d{6,}" % b"|".join(kind.name.encode() for kind in KINDS))


@dataclass(frozen=True, slots=True)
class Places:
    """The ids that were found, once for each time.

    Attributes:
        waiting: in the lists that workers take jobs from.
        backlog: in the lists of backlogs.
        claimed: in a worker's hands, not started.
        running: registered by RQ as running.
        failed: registered by RQ as failed.
    """

    waiting: tuple[str, ...] = ()
    backlog: tuple[str, ...] = ()
    claimed: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


@contextmanager
def standing_still(client: redis.Redis) -> Iterator[None]:
    """Let nobody write to the server meanwhile."""
    client.client_pause(int(LONGEST_SECONDS * 1000), all=False)
    try:
        yield
    finally:
        client.client_unpause()


def find_jobs(client: redis.Redis) -> Places:
    """Look through every list and every sorted set of the server for ids of our jobs."""
    from shedder.rq.layout import rq_keys

    keys = rq_keys()
    found: dict[str, list[str]] = {place: [] for place in Places.__slots__}
    for key in _keys_of(client, "list"):
        if place := _place_of_list(key.removeprefix(keys.root)):
            found[place] += _ids_in(partial(client.lrange, key))
    for key in _keys_of(client, "zset"):
        if place := _place_of_set(key, keys.claims, keys.engine.prefix):
            found[place] += _ids_in(partial(client.zrange, key))
    return Places(**{place: tuple(ids) for place, ids in found.items()})


def _place_of_list(name: str) -> str | None:
    if name.startswith("skipped:"):
        return None  # ids of jobs that are gone, for people to read
    # What is in a list that is no backlog can only be waiting, whatever the list is called.
    return "backlog" if name.startswith("backlog:") else "waiting"


def _place_of_set(key: str, claims: str, prefix: str) -> str | None:
    if key == claims:
        return "claimed"
    registry = key.removeprefix(f"{prefix}:").partition(":")[0]
    return {"wip": "running", "failed": "failed"}.get(registry)


def _keys_of(client: redis.Redis, kind: str) -> list[str]:
    # A scan may name a key twice.
    return sorted({key.decode() for key in client.scan_iter(count=_CHUNK, _type=kind)})


def _ids_in(read: Callable[[int, int], Any]) -> Iterator[str]:
    at, is_more = 0, True
    while is_more:
        items: list[bytes] = read(at, at + _CHUNK - 1)
        for item in items:
            if job := _JOB.search(item):
                yield job[0].decode()
        at += _CHUNK
        is_more = len(items) == _CHUNK
