"""A job obeys the control of its lane and runs once, however it is enqueued."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from rq import Queue as StockQueue
from rq.decorators import job as decorate
from rq.exceptions import DuplicateJobError
from rq.group import Group
from rq.job import JobStatus

from shedder.rq import Queue
from tests import jobs
from tests.rq.ways_in.scene import LANE, Scene

if TYPE_CHECKING:
    from redis import Redis


def test_enqueue(scene: Scene) -> None:
    """A job of `enqueue` obeys the control of its lane and runs once."""
    scene.apply()
    job = scene.low.enqueue(jobs.mark, scene.marks, "a")
    scene.check(job.id, starts=["a"])


def test_enqueue_before_the_control(scene: Scene) -> None:
    """A job that was in the lane before the control was set obeys it too."""
    job = scene.low.enqueue(jobs.mark, scene.marks, "a")
    scene.apply()
    scene.check(job.id, starts=["a"])


def test_enqueue_call(scene: Scene) -> None:
    """A job of `enqueue_call` obeys the control of its lane and runs once."""
    scene.apply()
    job = scene.low.enqueue_call(jobs.mark, args=(scene.marks, "a"))
    scene.check(job.id, starts=["a"])


def test_enqueue_many(scene: Scene) -> None:
    """Jobs of `enqueue_many` obey the control of their lane and run once, in order."""
    scene.apply()
    datas = [Queue.prepare_data(jobs.mark, (scene.marks, key)) for key in "abc"]
    many = scene.low.enqueue_many(datas)
    scene.check(*(job.id for job in many), starts=["a", "b", "c"])


def test_enqueue_many_on_a_pipeline(scene: Scene) -> None:
    """Jobs of `enqueue_many` on the caller's pipeline obey the control and run once, in order."""
    scene.apply()
    datas = [Queue.prepare_data(jobs.mark, (scene.marks, key)) for key in "ab"]
    with scene.redis.pipeline() as pipeline:
        many = scene.low.enqueue_many(datas, pipeline=pipeline)
        assert [] == scene.waiting() + scene.backlog()
        pipeline.execute()
    scene.check(*(job.id for job in many), starts=["a", "b"])


def test_unique(scene: Scene) -> None:
    """A unique job obeys the control of its lane, runs once and is refused a second time."""
    scene.apply()
    scene.low.enqueue(jobs.mark, scene.marks, "a", job_id="one", unique=True)
    with pytest.raises(DuplicateJobError):
        scene.low.enqueue(jobs.mark, scene.marks, "b", job_id="one", unique=True)
    scene.check("one", starts=["a"])


def test_unique_of_a_stock_producer(scene: Scene) -> None:
    """A unique job that RQ's own script pushes obeys the control of its lane and runs once."""
    scene.apply()
    stock = StockQueue(LANE, connection=scene.redis)
    stock.enqueue(jobs.mark, scene.marks, "a", job_id="one", unique=True)
    scene.check("one", starts=["a"])


def test_at_front(scene: Scene) -> None:
    """A job at the front is first in its lane, and first in its backlog."""
    scene.apply()
    last = scene.low.enqueue(jobs.mark, scene.marks, "last")
    first = scene.low.enqueue(jobs.mark, scene.marks, "first", at_front=True)
    scene.check(first.id, last.id, starts=["first", "last"])


def test_at_front_on_a_pipeline(scene: Scene) -> None:
    """A job that is put to the front on a pipeline is first in its lane."""
    scene.apply()
    last = scene.low.enqueue(jobs.mark, scene.marks, "last")
    with scene.redis.pipeline() as pipeline:
        arguments = (jobs.mark, scene.marks, "first")
        first = scene.low.enqueue(*arguments, at_front=True, pipeline=pipeline)
        pipeline.execute()
    if scene.control == "diverted":
        scene.work()  # behind the backlog, because only the claim diverts it
        assert [last.id, first.id] == scene.backlog()
        scene.lift()
        scene.work()
        scene.check_done(first.id, last.id, starts=["last", "first"])
    else:
        scene.check(first.id, last.id, starts=["first", "last"])


def test_enqueue_job(scene: Scene) -> None:
    """A job that is created first and then enqueued obeys the control and runs once."""
    scene.apply()
    job = scene.low.enqueue_job(scene.low.create_job(jobs.mark, args=(scene.marks, "a")))
    scene.check(job.id, starts=["a"])


@pytest.mark.parametrize("is_many", [False, True])
def test_a_used_id_takes_nothing_over(redis: Redis, *, is_many: bool) -> None:
    """What a former job under the same id left in its hash is gone, however the new one comes."""
    queue = Queue("mail", connection=redis)
    job = queue.enqueue(jobs.mark, "a", job_id="a")
    redis.hset(job.key, mapping={"worker_name": "w", "ended_at": "2020-01-01T00:00:00Z"})

    if is_many:
        queue.enqueue_many([queue.prepare_data(jobs.mark, ("a",), job_id="a")])
    else:
        queue.enqueue(jobs.mark, "a", job_id="a")

    assert [None, None] == redis.hmget(job.key, "worker_name", "ended_at")


def test_push_job_id(scene: Scene) -> None:
    """The id of a saved job that is pushed by hand obeys the control and runs once."""
    scene.apply()
    job = scene.low.create_job(jobs.mark, args=(scene.marks, "a"), status=JobStatus.QUEUED)
    job.save()
    scene.low.push_job_id(job.id)
    scene.check(job.id, starts=["a"])


def test_pipeline(scene: Scene) -> None:
    """A job that is enqueued on the caller's pipeline obeys the control of its lane."""
    scene.apply()
    with scene.redis.pipeline() as pipeline:
        job = scene.low.enqueue(jobs.mark, scene.marks, "a", pipeline=pipeline)
        assert [] == scene.waiting() + scene.backlog()
        pipeline.execute()
    scene.check(job.id, starts=["a"])


def test_group(scene: Scene) -> None:
    """Jobs of a group obey the control of their lane and run once."""
    scene.apply()
    datas = [Queue.prepare_data(jobs.mark, (scene.marks, key)) for key in "ab"]
    group = Group.create(connection=scene.redis)
    many = group.enqueue_many(scene.low, datas)
    assert {job.id for job in many} == {job.id for job in group.get_jobs()}
    scene.check(*(job.id for job in many), starts=["a", "b"])


def test_stock_producer(scene: Scene) -> None:
    """A job of a producer that knows nothing of lanes obeys the control and runs once."""
    scene.apply()
    job = StockQueue(LANE, connection=scene.redis).enqueue(jobs.mark, scene.marks, "a")
    scene.check(job.id, starts=["a"])


def test_stock_producer_before_the_control(scene: Scene) -> None:
    """A job of a stock producer that was there before the control obeys it."""
    job = StockQueue(LANE, connection=scene.redis).enqueue(jobs.mark, scene.marks, "a")
    scene.apply()
    scene.check(job.id, starts=["a"])


def test_decorator(scene: Scene) -> None:
    """A job of RQ's decorator obeys the control of its lane and runs once."""
    scene.apply()
    function: Any = decorate(scene.low, connection=scene.redis)(jobs.decorated)
    job = function.enqueue(scene.marks, "a")
    scene.check(job.id, starts=["a"])


def test_decorator_with_a_queue_class(scene: Scene) -> None:
    """RQ's decorator takes a lane by its name and the class of its queue."""
    scene.apply()
    wrap: Callable[..., Any] = decorate(LANE, connection=scene.redis, queue_class=Queue)
    job = wrap(jobs.decorated).enqueue(scene.marks, "a")
    scene.check(job.id, starts=["a"])


def test_order_is_kept_over_all_ways(scene: Scene) -> None:
    """Jobs of different producers run in the order in which they came."""
    scene.apply()
    stock = StockQueue(LANE, connection=scene.redis)
    for number in range(12):
        queue = stock if number % 3 == 0 else scene.low
        with scene.redis.pipeline() as pipeline:
            on = pipeline if number % 2 else None
            queue.enqueue(jobs.mark, scene.marks, str(number), pipeline=on)
            pipeline.execute()
        if number % 4 == 3:
            scene.work()
    if scene.control != "open":
        assert [] == scene.started()
        scene.lift()
    scene.work()
    scene.check_done(starts=[str(number) for number in range(12)])
