"""Producers and workers that already run obey a policy."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import rq
from rq import Retry
from rq.defaults import RQ_KEY_PREFIX
from rq.job import Job

from shedder.policy.model import Policy, Rule
from shedder.rq import Queue, SimpleWorker
from shedder.selection import Selection
from tests import jobs
from tests.waiting import wait_until
from tests.workers import Yard, run_burst

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from shedder.api.shedder import Shedder

HOLDS = Selection(functions=("tests.jobs.hold",))
MARKS = Selection(functions=("tests.jobs.mark",))
ACME = Selection(meta=(("tenant", "acme"),))


def apply(operator: Shedder, *rules: Rule) -> None:
    operator.policies.apply(Policy(rules=rules), reason="test")


def ids(redis: Redis, lane: str) -> list[str]:
    return [each.decode() for each in redis.lrange(f"{RQ_KEY_PREFIX}:queue:{lane}", 0, -1)]


@pytest.fixture
def mail(redis: Redis, operator: Shedder) -> Queue:
    """A producer's queue that has seen the policy: marks are low, jobs of acme high."""
    apply(
        operator,
        Rule(queue="mail", selection=ACME, priority="high"),
        Rule(queue="mail", selection=MARKS, priority="low"),
    )
    return Queue("mail", connection=redis)


def test_a_job_goes_into_the_lane_of_its_rule(redis: Redis, mail: Queue) -> None:
    """By function and by meta; what no rule matches stays in the queue itself."""
    low = mail.enqueue(jobs.mark, "x", "y")
    high = mail.enqueue(jobs.mark, "x", "y", meta={"tenant": "acme"})
    plain = mail.enqueue(jobs.hold, "x", "y", "z")
    assert ([low.id], [high.id], [plain.id]) == (
        ids(redis, "mail.low"), ids(redis, "mail.high"), ids(redis, "mail"),
    )  # fmt: skip
    assert ("mail.low", "mail.high", "mail") == (
        low.origin, high.origin, plain.origin,
    )  # fmt: skip
    assert "mail.low" == Job.fetch(low.id, connection=redis).origin


def test_a_lane_that_the_caller_chose_is_final(redis: Redis, mail: Queue) -> None:
    """Whoever names a lane, the normal one too, has decided."""
    mail.normal.enqueue(jobs.mark, "x", "y", job_id="a")
    mail.high.enqueue(jobs.mark, "x", "y", job_id="b")
    Queue("mail.critical", connection=redis).enqueue(jobs.mark, "x", "y", job_id="c")
    assert (["a"], ["b"], ["c"]) == tuple(ids(redis, lane) for lane in ("mail", "mail.high", "mail.critical"))


def test_each_way_into_a_queue_obeys(redis: Redis, mail: Queue) -> None:
    """Many at once, unique, on a pipeline, scheduled, deferred, requeued: all by the same rule."""
    mail.enqueue_many([Queue.prepare_data(jobs.mark, ("x", "y"), job_id="many")])
    mail.enqueue(jobs.mark, "x", "y", job_id="unique", unique=True)
    with redis.pipeline() as pipeline:
        mail.enqueue(jobs.mark, "x", "y", job_id="piped", pipeline=pipeline)
        pipeline.execute()
    job = Job.create(jobs.mark, ("x", "y"), id="pushed", connection=redis)
    mail.enqueue_job(job)
    assert {"many", "unique", "piped", "pushed"} == set(ids(redis, "mail.low"))
    assert f"{RQ_KEY_PREFIX}:queue:mail.low".encode() in redis.smembers(f"{RQ_KEY_PREFIX}:queues")


def test_dependents_and_scheduled_jobs_go_where_the_policy_says_then(redis: Redis, mail: Queue, marks: str) -> None:
    """A job that waited for another, or for its time, is sorted when it gets into its queue."""
    first = mail.enqueue(jobs.hold, marks, "first", "/dev/null")
    mail.enqueue(jobs.mark, marks, "second", depends_on=first, job_id="second")
    mail.enqueue_many([
        Queue.prepare_data(jobs.mark, (marks, "third"), depends_on=first, job_id="third")
    ])  # fmt: skip
    mail.enqueue_in(timedelta(milliseconds=1), jobs.mark, marks, "timed", job_id="timed")
    worker = SimpleWorker([mail], connection=redis)
    run_burst(worker, max_jobs=1)
    assert {"second", "third"} == set(ids(redis, "mail.low"))
    assert 0 == redis.zcard(f"{RQ_KEY_PREFIX}:deferred:mail") + redis.zcard(f"{RQ_KEY_PREFIX}:deferred:mail.low")
    from rq.scheduler import RQScheduler

    time.sleep(0.002)  # until the second in which it is due, which the scheduler looks up
    scheduler = RQScheduler([mail], connection=redis, interval=1)
    scheduler.acquire_locks()
    wait_until(lambda: scheduler.enqueue_scheduled_jobs() or "timed" in ids(redis, "mail.low")
               or "timed" in ids(redis, "mail"))  # fmt: skip
    scheduler.release_locks()


@pytest.mark.parametrize("way", ["by hand", "in a pipeline", "as RQ does it"])
@pytest.mark.parametrize(("before", "after"), [("normal", "low"), ("low", "normal")])
def test_rules_that_came_while_a_job_was_deferred(
    redis: Redis, operator: Shedder, marks: str, way: str, before: str, after: str
) -> None:
    """Enqueued again it goes where they say, and is in no registry of where it was deferred."""
    queue = Queue("mail", connection=redis)
    apply(operator, Rule(queue="mail", selection=MARKS, priority=before))
    first = queue.enqueue(jobs.hold, marks, "first", "/dev/null")
    job = queue.enqueue(jobs.mark, marks, "second", depends_on=first, job_id="second")
    assert 1 == redis.zcard(f"{RQ_KEY_PREFIX}:deferred:{queue.lane(before).name}")
    apply(operator, Rule(queue="mail", selection=MARKS, priority=after))
    enqueue_again(queue, job, way)
    if way != "as RQ does it":  # which does not ask for what it depends on
        run_burst(SimpleWorker([queue], connection=redis), max_jobs=1)
    assert 1 == ids(redis, queue.lane(after).name).count("second")
    assert [0, 0, 0, 0] == [
        redis.zcard(f"{RQ_KEY_PREFIX}:{registry}:{lane}")
        for registry in ("deferred", "ready") for lane in ("mail", "mail.low")
    ]  # fmt: skip


def enqueue_again(queue: Queue, job: Job, way: str) -> None:
    if way == "by hand":
        queue.enqueue_job(job)
    elif way == "as RQ does it":
        queue._enqueue_async_job(job)
    else:
        with queue.connection.pipeline() as pipeline:
            queue.enqueue_job(job, pipeline=pipeline)
            pipeline.execute()


def test_a_retry_is_sorted_again(redis: Redis, operator: Shedder, marks: str) -> None:
    """A job that failed under another policy comes back into the lane that holds now."""
    mail = Queue("mail", connection=redis)
    mail.enqueue(jobs.fail, marks, "a", retry=Retry(max=1), job_id="a")
    apply(operator, Rule(queue="mail", selection=Selection(functions=("tests.jobs.fail",)),
                         priority="low"))  # fmt: skip
    worker = SimpleWorker([mail], connection=redis)
    run_burst(worker, max_jobs=1)
    assert ["a"] == ids(redis, "mail.low")
    run_burst(SimpleWorker([mail], connection=redis))
    assert ["a"] == jobs.ended(marks)[-1:]


def test_a_running_producer_obeys_within_a_second(redis: Redis, operator: Shedder) -> None:
    """A queue object that was made long before sees the new policy and its end."""
    mail = Queue("mail", connection=redis)
    assert "mail" == mail.enqueue(jobs.mark, "x", "y").origin
    apply(operator, Rule(queue="mail", selection=MARKS, priority="low"))
    wait_until(lambda: "mail.low" == mail.enqueue(jobs.mark, "x", "y").origin)
    operator.undo(reason="test")
    wait_until(lambda: "mail" == mail.enqueue(jobs.mark, "x", "y").origin)


def test_a_running_worker_serves_a_declared_queue_last(
    redis: Redis, operator: Shedder, yard: Yard, marks: str, tmp_path: Path
) -> None:
    """A whole queue becomes low at a running worker's next claim, and none of its jobs is moved."""
    gate = tmp_path / "gate"
    old, mail = rq.Queue("old", connection=redis), rq.Queue("mail", connection=redis)
    old.enqueue(jobs.hold, marks, "holds", str(gate))
    yard.start("old", "mail")
    wait_until(lambda: jobs.started(marks) == ["holds"])
    for key in ("old-1", "old-2"):
        old.enqueue(jobs.mark, marks, key, job_id=key)
    for key in ("mail-1", "mail-2"):
        mail.enqueue(jobs.mark, marks, key)
    apply(operator, Rule(queue="old", priority="low"))
    assert ["old-1", "old-2"] == ids(redis, "old")
    gate.touch()
    wait_until(lambda: 5 == len(jobs.ended(marks)))
    assert ["holds", "mail-1", "mail-2", "old-1", "old-2"] == jobs.started(marks)


def test_a_declared_queue_can_go_first(redis: Redis, operator: Shedder, marks: str) -> None:
    """Critical as a whole, it passes the high lane of another queue."""
    Queue("mail", connection=redis).high.enqueue(jobs.mark, marks, "mail")
    Queue("alarms", connection=redis).enqueue(jobs.mark, marks, "alarm")
    apply(operator, Rule(queue="alarm*", priority="critical"))
    run_burst(SimpleWorker(["mail", "alarms"], connection=redis))
    assert ["alarm", "mail"] == jobs.started(marks)


def test_a_stock_producers_job_stays_where_it_was_put(redis: Redis, operator: Shedder, marks: str) -> None:
    """The claim moves no job for a rule's sake; the whole queue's priority still holds for it."""
    apply(operator, Rule(queue="mail", selection=MARKS, priority="low"))
    rq.Queue("mail", connection=redis).enqueue(jobs.mark, marks, "a", job_id="a")
    assert ["a"] == ids(redis, "mail")
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert ["a"] == jobs.ended(marks)


def test_a_pause_of_the_queue_holds_for_the_lane_of_a_rule(
    redis: Redis, operator: Shedder, mail: Queue, marks: str
) -> None:
    """What is cached decides where a job goes, and never whether it may start."""
    operator.pause("mail", reason="test")
    mail.enqueue(jobs.mark, marks, "a")
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert [] == jobs.started(marks)
    operator.resume("mail", reason="test")
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert ["a"] == jobs.started(marks)
