"""The audit tells real faults only, while a system is at work."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from contextlib import contextmanager
from queue import Empty
from queue import Queue as Queue_
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from rq.defaults import RQ_KEY_PREFIX

from shedder.engine.names import rq_keys
from shedder.queues.claims import Claimed, claim_job, release_claim
from shedder.rq import Queue
from shedder.store.store import Store
from tests.rq.checkups.asked import look
from tests.rq.given import KEYS, divert, enqueue
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis import Redis

    from shedder.embedded import EmbeddedServer


@contextmanager
def at_work(server: EmbeddedServer, *actions: Callable[[Redis], None]) -> Iterator[Counter[str]]:
    """Does each of the actions again and again, from threads with clients of their own."""
    ended = threading.Event()
    done: Counter[str] = Counter()

    def repeat(action: Callable[[Redis], None]) -> None:
        with server.client() as client:
            while not ended.is_set():
                action(client)
                done[action.__name__] += 1

    threads = [threading.Thread(target=repeat, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    try:
        yield done
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def produce(client: Redis) -> None:
    if client.llen(f"{RQ_KEY_PREFIX}:queue:mail") < 1000:
        Queue("mail", connection=client).enqueue_many([Queue.prepare_data("app.send") for _ in range(5)])


def put_in_front(client: Redis) -> None:
    if client.llen(f"{RQ_KEY_PREFIX}:queue:mail") < 1000:
        Queue("mail", connection=client).enqueue("app.send", at_front=True)


def work(client: Redis) -> None:
    """Claim a job; give it back, start it, or finish and delete it."""
    claimed = Store(client, rq_keys()).run(claim_job(KEYS, ["mail"], worker="w"))
    if not isinstance(claimed, Claimed):
        return
    fate = random.random()
    key = f"{RQ_KEY_PREFIX}:job:{claimed.job_id}"
    if fate < 0.3:
        Store(client, rq_keys()).run(release_claim(KEYS, claimed.token))
    elif fate < 0.6:
        with client.pipeline() as pipeline:
            pipeline.zrem(KEYS.claims, claimed.token)
            pipeline.delete(key)
            pipeline.execute()
    else:
        with client.pipeline() as pipeline:
            pipeline.zrem(KEYS.claims, claimed.token)
            pipeline.hset(key, "status", "started")
            pipeline.zadd(f"{RQ_KEY_PREFIX}:wip:mail", {f"{claimed.job_id}:e": time.time() + 60})
            pipeline.execute()


orders: Queue_[str] = Queue_()
"""Ids of diverts to come: as many as there may be during one audit."""


def divert_and_restore(client: Redis) -> None:
    """Move the lane to its backlog and back, as whole lists."""
    try:
        order = orders.get(timeout=0.02)
    except Empty:
        return
    divert(client, "mail.high", order)
    time.sleep(random.random() / 20)
    with client.pipeline() as pipeline:
        pipeline.hdel(KEYS.diverts, "mail.high")
        pipeline.rename(KEYS.backlog(order, "mail.high")[1], f"{RQ_KEY_PREFIX}:queue:mail.high")
        pipeline.execute()


@pytest.mark.slow
def test_a_system_at_work_gives_no_false_alarm(redis: Redis, server: EmbeddedServer) -> None:
    """While jobs come, go, turn back and move between lists, only real faults are told."""
    enqueue(redis, "mail.high", 300)
    planted = enqueue(redis, "mail.low", 3)
    redis.lpop(f"{RQ_KEY_PREFIX}:queue:mail.low")
    redis.rpush(f"{RQ_KEY_PREFIX}:queue:mail.low", planted[1].id)
    redis.delete(planted[2].key)
    with at_work(server, produce, put_in_front, work, divert_and_restore) as done:
        for window in (10, 50, 1000):
            before = done.total()
            wait_until(orders.empty, what="the diverts of the last audit")
            for _ in range(2):
                orders.put(uuid4().hex)
            report = look(redis, window)
            assert done.total() > before
            assert (planted[0].id,) == report.nowhere
            assert ((planted[1].id, ("lane mail.low", "lane mail.low")),) == report.twice
            assert (planted[2].id,) == report.dangling
