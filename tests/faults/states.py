"""The states in which orders are given that concern old work or that a repair must put right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from unittest import mock

from rq.utils import utcformat

from shedder.engine.names import rq_keys
from shedder.policy.model import Policy
from shedder.queues.claims import claim_job
from shedder.queues.stale import set_aside_all
from shedder.store.store import Store
from tests.faults.producers import put

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shedder import Shedder
    from tests.faults.stage import Stage

STALE_POLICY = Policy(stale_after=timedelta(days=1))
LONG_AGO = timedelta(days=2)
LONG_DEAD_MS = 1


def fill_as(stage: Stage, name: str, lane: str, count: int, *, way: str = "enqueue") -> list[str]:
    """Enqueue jobs in `lane` whose order among others is not looked at; their ids."""
    ids = [f"{name}-{number + 1:06d}" for number in range(count)]
    put(stage.redis, lane, ids, way=way, seconds=0.0, marks=stage.marks_path)
    stage.book.sure.update(dict.fromkeys(ids, lane))
    return ids


def age(stage: Stage, ids: Sequence[str]) -> None:
    """Let jobs have been enqueued long ago."""
    then = utcformat(datetime.now(UTC) - LONG_AGO)
    for job in ids:
        stage.redis.hset(stage.keys.engine.jobs + job, "enqueued_at", then)


def backlog_of_old(stage: Stage) -> None:
    """A policy says that most jobs of a backlog are too old; nobody has set them aside yet."""
    stage.operator().policies.apply(STALE_POLICY, reason="before")
    age(stage, fill_as(stage, "old", "mail", 5))
    age(stage, fill_as(stage, "old_low", "mail.low", 2, way="stock"))
    fill_as(stage, "young", "mail", 4)
    stage.operator().divert("mail", reason="before")


def set_aside(stage: Stage) -> None:
    """Old jobs were set aside; the backlog is back in its lane, with stock jobs behind it."""
    backlog_of_old(stage)
    operator = stage.operator()
    for lane in operator.status("mail").lanes:
        for divert in lane.diverts:
            set_aside_all(operator.store, lane.lane, divert.order)
    operator.drain_at_once("mail", reason="before")
    fill_as(stage, "late", "mail", 4, way="stock")


def torn(stage: Stage) -> None:
    """What a fail-over, or the end of all workers, may leave: something for each repair."""
    keys, redis = stage.keys, stage.redis
    for job in fill_as(stage, "lost", "mail", 5):
        redis.lrem(keys.lane("mail")[0], 1, job)
    fill_as(stage, "orphan", "mail", 5)
    redis.rename(keys.lane("mail")[0], keys.backlog("0" * 32, "mail")[1])
    fill_as(stage, "young", "mail", 4)
    fill_as(stage, "kept", "mail.low", 5)
    redis.rename(keys.lane("mail.low")[0], keys.kept("mail.low"))
    fill_as(stage, "behind", "mail.low", 7)
    fill_as(stage, "claimed", "reports", 3)
    for lane in ("mail", "reports"):
        Store(redis, rq_keys()).run(claim_job(keys, (lane,), worker="dead"))
    for token in redis.zrange(keys.claims, 0, -1):
        redis.zadd(keys.claims, {token: LONG_DEAD_MS})


def mend(operator: Shedder) -> None:
    """What `shedder doctor --fix` does."""
    with mock.patch("shedder.health.audit.SECONDS_BETWEEN_LOOKS", 0.01):
        operator.repair(operator.check_up(), reason="x")
