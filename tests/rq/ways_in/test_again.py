"""A job that comes into its lane once more obeys the control of the lane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rq import Repeat, Retry
from rq.defaults import RQ_KEY_PREFIX
from rq.job import Job, JobStatus, requeue_job
from rq.registry import StartedJobRegistry

from tests import jobs
from tests.rq.ways_in.scene import LANE, PAST, Scene, let_time_pass, schedule_now

if TYPE_CHECKING:
    from redis import Redis


def test_retry(scene: Scene) -> None:
    """A job that failed and is tried again obeys a control that came meanwhile."""
    retry = Retry(max=3)
    job = scene.low.enqueue(jobs.fail, scene.marks, "a", retry=retry)
    scene.check_second_run(job.id, starts=["a", "a"])


def test_retry_at_front(scene: Scene) -> None:
    """A job that is tried again at the front is first in its lane."""
    retry = Retry(max=3, enqueue_at_front=True)
    first = scene.low.enqueue(jobs.fail, scene.marks, "a", retry=retry)
    last = scene.low.enqueue(jobs.mark, scene.marks, "b")
    scene.apply_while_a_job_runs()
    scene.work()
    if scene.control != "open":
        # a pipelined push to the front cannot know of the backlog: it goes behind it
        where = scene.waiting() if scene.control == "paused" else scene.backlog()
        wanted = [first.id, last.id] if scene.control == "paused" else [last.id, first.id]
        assert wanted == where
        scene.lift()
        scene.work()
    starts = ["a", "b", "a"] if scene.control == "diverted" else ["a", "a", "b"]
    scene.check_done(first.id, last.id, starts=starts)


def test_retry_with_a_delay(scene: Scene) -> None:
    """A job that is tried again later obeys the control of its lane and runs once more."""
    job = scene.low.enqueue(jobs.fail, scene.marks, "a", retry=Retry(max=3, interval=60))
    scene.work()
    assert ["a"] == scene.started()
    scene.apply()
    let_time_pass(scene.redis, job.id)
    schedule_now(scene.redis)
    scene.check(job.id, starts=["a", "a"], before=["a"])


def test_returned_retry(scene: Scene) -> None:
    """A job that returns a `Retry` obeys a control that came meanwhile."""
    job = scene.low.enqueue(jobs.ask_again, scene.marks, "a")
    scene.check_second_run(job.id, starts=["a", "a"])


def test_returned_retry_with_a_delay(scene: Scene) -> None:
    """A job that returns a `Retry` for later obeys the control and runs once more."""
    job = scene.low.enqueue(jobs.ask_again, scene.marks, "a", interval=60)
    scene.work()
    scene.apply()
    let_time_pass(scene.redis, job.id)
    schedule_now(scene.redis)
    scene.check(job.id, starts=["a", "a"], before=["a"])


def test_repeat(scene: Scene) -> None:
    """A job that repeats at once obeys a control that came meanwhile."""
    job = scene.low.enqueue(jobs.mark, scene.marks, "a", repeat=Repeat(times=1))
    scene.check_second_run(job.id, starts=["a", "a"])


def test_repeat_with_a_delay(scene: Scene) -> None:
    """A job that repeats later obeys the control of its lane and runs once more."""
    repeat = Repeat(times=1, interval=60)
    job = scene.low.enqueue(jobs.mark, scene.marks, "a", repeat=repeat)
    scene.work()
    scene.apply()
    let_time_pass(scene.redis, job.id)
    schedule_now(scene.redis)
    scene.check(job.id, starts=["a", "a"], before=["a"])


def test_requeue_of_failed_jobs(scene: Scene) -> None:
    """A failed job that the registry requeues obeys the control of its lane."""
    job = scene.low.enqueue(jobs.fail, scene.marks, "a")
    scene.work()
    scene.apply()
    scene.low.failed_job_registry.requeue(job)
    scene.check(job.id, starts=["a", "a"], before=["a"])


def test_requeue_job(scene: Scene) -> None:
    """A failed job of `requeue_job` obeys the control of its lane."""
    job = scene.low.enqueue(jobs.fail, scene.marks, "a")
    scene.work()
    scene.apply()
    requeue_job(job.id, connection=scene.redis)
    scene.check(job.id, starts=["a", "a"], before=["a"])


def test_rescue_of_abandoned_jobs(scene: Scene) -> None:
    """A started job whose worker died, and which RQ tries again, obeys the control of its lane."""
    job = scene.low.enqueue(jobs.mark, scene.marks, "a", retry=Retry(max=2))
    _abandon(scene.redis, job)
    scene.apply()
    StartedJobRegistry(LANE, connection=scene.redis).cleanup()
    scene.check(job.id, starts=["a"])


def _abandon(redis: Redis, job: Job) -> None:
    registry = StartedJobRegistry(LANE, connection=redis)
    redis.lrem(f"{RQ_KEY_PREFIX}:queue:{LANE}", 1, job.id)
    job.set_status(JobStatus.STARTED)
    redis.zadd(registry.key, {f"{job.id}:execution": PAST.timestamp()})
