"""A job that RQ's rate limit lets through obeys the control of its lane."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rq import Retry
from rq.defaults import RQ_KEY_PREFIX
from rq.job import JobStatus
from rq.rate_limit import RateLimit

from shedder.rq import Queue
from tests import jobs
from tests.rq.ways_in.scene import LANE, PAST, Scene, schedule_now
from tests.waiting import wait_until
from tests.workers import Yard

if TYPE_CHECKING:
    from redis import Redis

    from shedder.api.shedder import Shedder


def test_rate_limit(scene: Scene) -> None:
    """A job that RQ's rate limit lets through at once obeys the control of its lane."""
    scene.apply()
    limit = RateLimit("tenant", concurrency=1)
    job = scene.low.enqueue(jobs.mark, scene.marks, "a", rate_limit=limit)
    scene.check(job.id, starts=["a"])
    assert [] == _slots(scene.redis, "tenant")


def test_rate_limit_promotion(scene: Scene) -> None:
    """A job that RQ's rate limit lets through later obeys a control that came meanwhile."""
    limit = RateLimit("tenant", concurrency=1)
    scene.low.enqueue(jobs.mark, scene.marks, "first", rate_limit=limit)
    last = scene.low.enqueue(jobs.mark, scene.marks, "last", rate_limit=limit)
    assert JobStatus.RATE_LIMITED == last.get_status()
    scene.check_second_run(last.id, starts=["first", "last"])
    assert [] == _slots(scene.redis, "tenant")


def test_rate_limit_of_a_diverted_lane(redis: Redis, operator: Shedder, yard: Yard, marks: str, tmp_path: Path) -> None:
    """A job that RQ's rate limit let into a diverted lane does not keep its slot from others."""
    queue, limit = Queue("mail", connection=redis), RateLimit("tenant", concurrency=1)
    hold = str(tmp_path / "go")
    queue.low.enqueue(jobs.hold, marks, "1", hold, rate_limit=limit, job_id="1")
    queue.low.enqueue(jobs.mark, marks, "2", rate_limit=limit, job_id="2")
    queue.high.enqueue(jobs.mark, marks, "3", rate_limit=limit, job_id="3")
    yard.start("mail")
    wait_until(lambda: jobs.started(marks) == ["1"])
    operator.divert(LANE, reason="a test")
    Path(hold).touch()
    wait_until(lambda: jobs.started(marks) == ["1", "3"], what="the job of the other lane")


def test_rate_limit_with_retry(scene: Scene) -> None:
    """A rate limited job that is tried again obeys a control that came meanwhile."""
    limit = RateLimit("tenant", concurrency=1)
    arguments = (jobs.fail, scene.marks, "a")
    job = scene.low.enqueue(*arguments, rate_limit=limit, retry=Retry(max=2))
    scene.check_second_run(job.id, starts=["a", "a"])
    assert [] == _slots(scene.redis, "tenant")


def test_rate_limit_of_a_scheduled_job(scene: Scene) -> None:
    """A rate limited job whose time has come obeys the control of its lane."""
    scene.apply()
    limit = RateLimit("tenant", concurrency=1)
    job = scene.low.enqueue_at(PAST, jobs.mark, scene.marks, "a", rate_limit=limit)
    schedule_now(scene.redis)
    scene.check(job.id, starts=["a"])


def test_requeue_of_failed_rate_limited_jobs(scene: Scene) -> None:
    """A failed rate limited job that the registry requeues obeys the control of its lane."""
    limit = RateLimit("tenant", concurrency=1)
    job = scene.low.enqueue(jobs.fail, scene.marks, "a", rate_limit=limit)
    scene.work()
    scene.apply()
    scene.low.failed_job_registry.requeue(job)
    scene.check(job.id, starts=["a", "a"], before=["a"])


def _slots(redis: Redis, key: str) -> Any:
    return redis.zrange(f"{RQ_KEY_PREFIX}:rl:{key}:allowed", 0, -1)
