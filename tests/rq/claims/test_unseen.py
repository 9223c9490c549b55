"""An id under which a claim finds no job is kept.

The job may have expired. It may also have a key that this process does not know, as those of a job
class with a prefix of its own have, and then its id is all that leads to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import rq
from rq.queue import Queue as RQQueue

from shedder.api.shedder import Shedder
from shedder.engine.names import rq_keys
from shedder.queues.controls import diverts_from
from shedder.queues.drain import release_backlog
from shedder.rq import SimpleWorker
from shedder.units import Rate
from tests.cluster import without_cluster
from tests.hosts.prefixed import PrefixedJob
from tests.waiting import wait_until
from tests.workers import run_burst

if TYPE_CHECKING:
    from redis import Redis

pytestmark = without_cluster

KEYS = rq_keys()
FAST = Rate.parse("1000/s")
LIST = f"{KEYS.engine.lists}mail"


def enqueue(redis: Redis, *ids: str) -> list[Any]:
    """Jobs of another prefix, from a stock producer."""
    queue = RQQueue("mail", connection=redis, job_class=PrefixedJob)
    return [queue.enqueue(len, "a", job_id=each) for each in ids]


def unseen(redis: Redis) -> list[bytes]:
    return redis.lrange(KEYS.unseen("mail"), 0, -1)


def _run_and_count(redis: Redis) -> int:
    run_burst(SimpleWorker(["mail"], connection=redis))
    return redis.llen(KEYS.unseen("mail"))


def run_stock(redis: Redis) -> None:
    run_burst(rq.SimpleWorker(["mail"], connection=redis, job_class=PrefixedJob))


def test_a_claim_sets_it_aside(redis: Redis) -> None:
    """The ids are kept in their order, and a worker that knows the jobs still runs them."""
    jobs = enqueue(redis, "j1", "j2")
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert ([b"j1", b"j2"], b"2") == (unseen(redis), redis.hget(KEYS.meters, "mail:dropped:gone"))
    while redis.lmove(KEYS.unseen("mail"), LIST, "RIGHT", "LEFT"):
        pass
    run_stock(redis)
    assert [1, 1] == [job.return_value() for job in jobs]


@pytest.mark.parametrize("is_at_once", [False, True])
def test_a_backlog_loses_none(redis: Redis, operator: Shedder, is_at_once: bool) -> None:
    """Neither does a drain that meets them, whatever its pace."""
    operator.divert("mail", reason="a test")
    enqueue(redis, "j1", "j2")
    run_burst(SimpleWorker(["mail"], connection=redis))
    if is_at_once:
        operator.drain_at_once("mail", reason="a test")
    else:
        operator.drain("mail", rate=FAST, reason="a test")
    wait_until(lambda: _run_and_count(redis) == 2)
    assert [b"j1", b"j2"] == unseen(redis)


def test_a_drain_for_stock_workers_loses_none(redis: Redis, operator: Shedder) -> None:
    """The release into a lane that stock workers serve sets them aside too."""
    operator.divert("mail", reason="a test")
    enqueue(redis, "j1")
    run_burst(SimpleWorker(["mail"], connection=redis))
    operator.drain("mail", rate=FAST, reason="a test")
    _release(redis, operator)
    assert [b"j1"] == unseen(redis)


def _release(redis: Redis, operator: Shedder) -> None:
    order = diverts_from("mail", redis.hget(KEYS.diverts, "mail"))[0].divert.order
    while "ended" != operator.store.run(release_backlog(KEYS, "mail", order, cap=10))[0]:
        pass


def test_the_newest_are_kept(redis: Redis) -> None:
    """Of more than 100,000 in a lane the oldest go, so that expired jobs fill no memory."""
    redis.rpush(KEYS.unseen("mail"), *(f"old{number}" for number in range(100_000)))
    enqueue(redis, "j1")
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert (100_000, b"old1", b"j1") == (
        redis.llen(KEYS.unseen("mail")), redis.lindex(KEYS.unseen("mail"), 0),
        redis.lindex(KEYS.unseen("mail"), -1),
    )  # fmt: skip


def test_doctor_names_them(redis: Redis, operator: Shedder) -> None:
    """A check-up says how many there are, in which lanes, and which key has them."""
    enqueue(redis, "j1")
    run_burst(SimpleWorker(["mail"], connection=redis))
    found = next(each for each in operator.check_up().findings if each.check == "unseen jobs")
    assert ("warning", ("mail",)) == (found.level, found.subjects)
    assert ("1 id" in found.says, KEYS.unseen("<lane>") in found.says) == (True, True)


def test_uninstall_gives_them_back(redis: Redis, operator: Shedder) -> None:
    """Without shedder they stand in RQ's list again, and a worker that knows them runs them."""
    (job,) = enqueue(redis, "j1")
    run_burst(SimpleWorker(["mail"], connection=redis))
    operator.uninstall(reason="a test")
    assert [b"j1"] == redis.lrange(LIST, 0, -1)
    run_stock(redis)
    assert 1 == job.return_value()
