"""Which worker takes which job, and which job no worker takes."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rq.job import JobStatus
from rq.suspension import resume, suspend
from rq.worker import BaseWorker, DequeueStrategy

from shedder.engine.names import rq_keys
from shedder.rq import Queue, SimpleWorker
from tests import jobs
from tests.rq.claims.kinds import FORKS_AND_NOT, status_of, waiting
from tests.waiting import wait_until
from tests.workers import Yard, run_burst

if TYPE_CHECKING:
    from redis import Redis

    from shedder.api.shedder import Shedder

KEYS = rq_keys()


def test_strict_priority_over_queues(redis: Redis, marks: str) -> None:
    """All jobs of a priority run before the first of a lower one, queues in the worker's order."""
    for name in ("reports", "mail"):
        for priority in ("low", "normal", "critical", "high"):
            lane = Queue(name, connection=redis).lane(priority)
            lane.enqueue(jobs.mark, marks, f"{priority} {name}")
    run_burst(SimpleWorker(["mail", "reports"], connection=redis))
    priorities = ("critical", "high", "normal", "low")
    wanted = [f"{priority} {name}" for priority in priorities for name in ("mail", "reports")]
    assert wanted == jobs.started(marks)


def test_priority_of_a_job_that_comes_later(redis: Redis, marks: str) -> None:
    """A job of higher priority that comes while another runs is the next."""
    queue = Queue("mail", connection=redis)
    for key in ("low 1", "low 2"):
        queue.low.enqueue(jobs.mark, marks, key)
    jobs.meanwhile.append(lambda: queue.high.enqueue(jobs.mark, marks, "high"))
    jobs.meanwhile.append(jobs.meanwhile.clear)
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert ["low 1", "high", "low 2"] == jobs.started(marks)


def test_what_stands_in_front_of_a_list_with_no_control_left(redis: Redis, marks: str) -> None:
    """Jobs in front of a lane's list come first where neither pause nor divert is on record."""
    queue = Queue("mail", connection=redis)
    kept, parked, _ = (queue.enqueue(jobs.mark, marks, key) for key in ("kept", "parked", "list"))
    for job, front in ((kept, KEYS.kept("mail")), (parked, KEYS.parked("mail"))):
        redis.lrem(queue.key, 1, job.id)
        redis.rpush(front, job.id)
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert ["kept", "parked", "list"] == jobs.started(marks)


@pytest.mark.parametrize("strategy", list(DequeueStrategy))
def test_strategies_within_a_priority_only(redis: Redis, marks: str, strategy: DequeueStrategy) -> None:
    """Whatever RQ's strategy for several queues is, priority comes first."""
    for name in ("a", "b", "c"):
        queue = Queue(name, connection=redis)
        for number in range(3):
            queue.low.enqueue(jobs.mark, marks, f"low {name} {number}")
            queue.enqueue(jobs.mark, marks, f"normal {name} {number}")
    run_burst(SimpleWorker(["a", "b", "c"], connection=redis), dequeue_strategy=strategy)
    found = jobs.started(marks)
    assert ["normal"] * 9 + ["low"] * 9 == [key.split()[0] for key in found]
    if strategy is DequeueStrategy.ROUND_ROBIN:
        assert sorted(["normal a 0", "normal b 0", "normal c 0"]) == sorted(found[:3])
    if strategy is DequeueStrategy.DEFAULT:
        assert [f"normal a {number}" for number in range(3)] == found[:3]


def test_a_lane_by_its_name(redis: Redis, marks: str) -> None:
    """A worker that is given one lane serves no other."""
    queue = Queue("mail", connection=redis)
    queue.enqueue(jobs.mark, marks, "normal")
    queue.low.enqueue(jobs.mark, marks, "low")
    run_burst(SimpleWorker(["mail.low"], connection=redis))
    assert ["low"] == jobs.started(marks)


@FORKS_AND_NOT
def test_suspended(redis: Redis, yard: Yard, marks: str, worker_class: type[BaseWorker]) -> None:
    """Nothing that comes after `rq suspend` starts, not even at a worker that waited already."""
    queue = Queue("mail", connection=redis)
    worker = yard.start("mail", worker_class=worker_class).wait_until_idle(redis)
    suspend(redis)
    job = queue.enqueue(jobs.mark, marks, "a")
    wait_until(lambda: redis.hget(worker.key, "state") == b"suspended")
    assert ([], [job.id]) == (jobs.started(marks), waiting(redis))
    resume(redis)
    wait_until(lambda: jobs.ended(marks) == ["a"])
    worker.send(signal.SIGTERM)
    assert 0 == worker.wait()


def test_suspended_burst(redis: Redis, marks: str) -> None:
    """A burst under `rq suspend` ends and runs nothing."""
    Queue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    suspend(redis)
    assert not run_burst(SimpleWorker(["mail"], connection=redis))
    assert [] == jobs.started(marks)


@pytest.mark.parametrize("end", ["cancel", "delete", "expire"])
@pytest.mark.parametrize("place", ["list", "parked", "backlog"])
def test_jobs_that_are_gone_never_run(redis: Redis, operator: Shedder, marks: str, end: str, place: str) -> None:
    """A job that was cancelled or deleted or expired while it waited never runs."""
    queue = Queue("mail", connection=redis)
    gone = queue.enqueue(jobs.mark, marks, "gone", ttl=100)
    stays = queue.enqueue(jobs.mark, marks, "stays")
    if place == "parked":
        operator.pause("mail", reason="a test")
        redis.rename(f"{KEYS.engine.lists}mail", KEYS.parked("mail"))
    elif place == "backlog":
        operator.divert("mail", reason="a test")
    if end == "expire":
        redis.pexpire(gone.key, 1)
        wait_until(lambda: not redis.exists(gone.key))
    else:
        getattr(gone, end)()
    operator.resume("mail", reason="a test")
    operator.drain_at_once("mail", reason="a test")
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert (["stays"], JobStatus.FINISHED) == (jobs.started(marks), status_of(stays))
    assert [] == waiting(redis)


def test_cancelled_in_hand(redis: Redis, marks: str) -> None:
    """A job that is cancelled between the claim and the start does not start."""
    job = Queue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    worker = SimpleWorker(["mail"], connection=redis)
    found = worker.dequeue_job_and_maintain_ttl(None)
    assert found is not None
    job.cancel()
    worker.execute_job(*found)
    assert ([], JobStatus.CANCELED) == (jobs.started(marks), status_of(job))


@FORKS_AND_NOT
def test_an_id_that_is_twice_in_a_list(redis: Redis, marks: str, worker_class: type[BaseWorker]) -> None:
    """A job whose id was pushed twice, as by a reply that was lost, runs once."""
    job = Queue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    redis.rpush(f"{KEYS.engine.lists}mail", job.id)
    run_burst(worker_class(["mail"], connection=redis))
    assert (["a"], []) == (jobs.started(marks), waiting(redis))


def test_an_id_that_two_workers_hold(redis: Redis, marks: str) -> None:
    """Of two workers that hold the same job at the same time one starts it."""
    job = Queue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    redis.rpush(f"{KEYS.engine.lists}mail", job.id)
    workers = [SimpleWorker(["mail"], connection=redis) for _ in range(2)]
    found = [worker.dequeue_job_and_maintain_ttl(None) for worker in workers]
    for worker, each in zip(workers, found, strict=True):
        assert each is not None
        worker.execute_job(*each)
    assert ["a"] == jobs.started(marks)


def test_an_id_that_comes_while_its_job_runs(redis: Redis, yard: Yard, marks: str, tmp_path: Path) -> None:
    """The second id of a job that runs is dropped, and the job runs once."""
    hold = str(tmp_path / "go")
    job = Queue("mail", connection=redis).enqueue(jobs.hold, marks, "a", hold)
    worker = yard.start("mail", burst=True)
    wait_until(lambda: jobs.started(marks) == ["a"])
    redis.rpush(f"{KEYS.engine.lists}mail", job.id)
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert [] == waiting(redis)
    Path(hold).touch()
    worker.wait()
    assert (["a"], JobStatus.FINISHED) == (jobs.started(marks), status_of(job))
