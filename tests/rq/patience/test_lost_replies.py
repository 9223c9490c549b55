"""A worker that never hears what Redis did loses no job and runs none twice."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
import redis.client
import redis.exceptions
from redis import Redis
from rq import Repeat, Retry
from rq.job import JobStatus

from shedder.queues.claims import CRASHES_FIELD
from shedder.rq import Queue, SimpleWorker
from shedder.rq.outages import RetryingRedis
from tests import jobs
from tests.rq.patience.troubles import KEYS
from tests.waiting import wait_until
from tests.workers import run_burst


def test_lost_replies(redis_of_ours: Redis, marks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that loses every sixth reply, and so sends commands twice, runs each job once."""
    monkeypatch.setattr("shedder.queues.claims.LEASE_MS", 300)
    monkeypatch.setattr("shedder.rq.outages.FIRST_WAIT_SECONDS", 0.001)
    keys = [str(number) for number in range(40)]
    queue = Queue("mail", connection=redis_of_ours)
    for key in keys:
        queue.low.enqueue(jobs.mark, marks, key)
    lossy = _lose_replies(monkeypatch, random.Random(7))
    worker = SimpleWorker(["mail", "reports"], connection=redis_of_ours)

    def is_done() -> bool:
        run_burst(worker)
        return int(redis_of_ours.zcard(KEYS.claims)) == 0

    wait_until(is_done, interval=0.05)
    assert Counter(keys) == Counter(jobs.started(marks))
    assert 20 < lossy.lost


def test_a_start_whose_reply_was_lost(redis_of_ours: Redis, marks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that never heard that its job may start asks again, and starts it."""
    job = Queue("mail", connection=redis_of_ours).enqueue(jobs.mark, marks, "a")
    worker = SimpleWorker(["mail"], connection=redis_of_ours)
    found = worker.dequeue_job_and_maintain_ttl(None)
    assert found is not None
    _lose_reply_of_script(monkeypatch)
    worker.execute_job(*found)
    assert (["a"], JobStatus.FINISHED) == (jobs.started(marks), job.get_status())
    assert {} == redis_of_ours.hgetall(KEYS.starting)


def test_a_claim_whose_reply_was_lost(redis_of_ours: Redis, marks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that never heard which job it has gives it back at once, and not after a lease."""
    queue = Queue("mail", connection=redis_of_ours)
    many = [queue.enqueue(jobs.mark, marks, key) for key in "ab"]
    worker = SimpleWorker(["mail"], connection=redis_of_ours)
    run_burst(worker, max_jobs=1)
    _lose_reply_of_script(monkeypatch)
    run_burst(worker)
    assert (["a", "b"], 0) == (jobs.started(marks), redis_of_ours.zcard(KEYS.claims))
    assert None is redis_of_ours.hget(many[1].key, CRASHES_FIELD)


@pytest.mark.parametrize("again", [{"retry": Retry(max=3)}, {"repeat": Repeat(times=1)}])
def test_a_push_whose_reply_was_lost(
    redis_of_ours: Redis, marks: str, monkeypatch: pytest.MonkeyPatch, again: dict[str, Any]
) -> None:
    """A retry or repeat that another worker has run by the time the first hears of it runs once."""
    function = jobs.fail if "retry" in again else jobs.mark
    job = Queue("mail", connection=redis_of_ours).enqueue(function, marks, "a", **again)
    real: Any = redis.client.Pipeline.execute
    lost: list[Any] = []

    def lose_push(self: Any, raise_on_error: bool = True) -> Any:
        is_push = any(args[0] == "RPUSH" for args, _ in self.command_stack)
        replies = real(self, raise_on_error)
        if is_push and not lost:
            lost.append(replies)
            run_burst(SimpleWorker(["mail"], connection=redis_of_ours))
            raise redis.exceptions.ConnectionError("the reply was lost")
        return replies

    monkeypatch.setattr(redis.client.Pipeline, "execute", lose_push)
    run_burst(SimpleWorker(["mail"], connection=redis_of_ours))
    assert (["a", "a"], JobStatus.FINISHED) == (jobs.started(marks), job.get_status())
    assert 1 == len(lost)


def test_busy_between_watch_and_exec(redis_of_ours: Redis, marks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is busy while RQ reads under WATCH does not fail a job that succeeded."""
    job = Queue("mail", connection=redis_of_ours).enqueue(jobs.mark, marks, "a")
    real: Any = redis.client.Pipeline.immediate_execute_command
    refused: list[Any] = []

    def refuse_once(self: Any, *args: Any, **options: Any) -> Any:
        if args[0] == "SMEMBERS" and not refused:
            refused.append(args)
            raise redis.exceptions.ResponseError("BUSY Redis is busy running a script.")
        return real(self, *args, **options)

    monkeypatch.setattr(redis.client.Pipeline, "immediate_execute_command", refuse_once)
    run_burst(SimpleWorker(["mail"], connection=redis_of_ours))
    assert (1, JobStatus.FINISHED) == (len(refused), job.get_status())


def _lose_reply_of_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """Carry the next script that claims or starts a job out, and lose its reply."""
    real: Any = redis.client.Redis.execute_command
    calls: list[Any] = []

    def lose_first(self: Redis, *args: Any, **options: Any) -> Any:
        reply = real(self, *args, **options)
        if args[0] in ("EVAL", "EVALSHA") and KEYS.claims in args and not calls:
            calls.append(args)
            raise redis.exceptions.ConnectionError("the reply was lost")
        return reply

    monkeypatch.setattr(redis.client.Redis, "execute_command", lose_first)


class _Losses:
    lost = 0


def _lose_replies(monkeypatch: pytest.MonkeyPatch, chance: random.Random) -> _Losses:
    """Carry every command of patient clients out, and lose every sixth reply."""
    losses = _Losses()
    real: Any = redis.client.Redis.execute_command
    real_pipeline: Any = redis.client.Pipeline.execute

    def lose() -> None:
        if chance.random() < 1 / 6:
            losses.lost += 1
            raise redis.exceptions.ConnectionError("the reply was lost")

    def execute_command(self: Redis, *args: Any, **options: Any) -> Any:
        reply = real(self, *args, **options)
        if isinstance(self, RetryingRedis):
            lose()
        return reply

    def execute(self: Any, raise_on_error: bool = True) -> Any:
        replies = real_pipeline(self, raise_on_error)
        if hasattr(self, "patience"):
            lose()
        return replies

    monkeypatch.setattr(redis.client.Redis, "execute_command", execute_command)
    monkeypatch.setattr(redis.client.Pipeline, "execute", execute)
    return losses
