"""What the tests of audits and status put on the server before they read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shedder.engine.names import rq_keys
from shedder.events import Cause
from shedder.lanes import lane_of
from shedder.queues.claims import Claimed, claim_job
from shedder.queues.divert import divert_lanes
from shedder.queues.pause import pause_lanes
from shedder.rq import Queue
from shedder.selection import Selection
from shedder.store.store import Store

if TYPE_CHECKING:
    from redis import Redis
    from rq.job import Job

KEYS = rq_keys()
CAUSE = Cause(by="oncall", why="db at 99 %")


def enqueue(redis: Redis, name: str = "mail", count: int = 1, **options: Any) -> list[Job]:
    return [Queue(name, connection=redis).enqueue("app.send", **options) for _ in range(count)]


def divert(redis: Redis, name: str, order: str = "o1", *, selection: Any = None) -> None:
    Store(redis, rq_keys()).run(divert_lanes(KEYS, [lane_of(name)], selection or Selection(), CAUSE, order=order))


def pause(redis: Redis, name: str, **options: Any) -> None:
    Store(redis, rq_keys()).run(pause_lanes(KEYS, [lane_of(name)], CAUSE, operation="op " + name, **options))


def claim(redis: Redis, name: str = "mail") -> Claimed:
    claimed = Store(redis, rq_keys()).run(claim_job(KEYS, [name], worker="w"))
    assert isinstance(claimed, Claimed)
    return claimed
