"""A job that waited for its time or for other jobs obeys the control of its lane."""

from __future__ import annotations

from datetime import timedelta

from rq.cron import CronScheduler
from rq.job import Dependency

from shedder.rq import Queue
from tests import jobs
from tests.rq.ways_in.scene import LANE, PAST, Scene, let_time_pass, schedule_now


def test_enqueue_at(scene: Scene) -> None:
    """A job whose time has come obeys the control of its lane and runs once."""
    scene.apply()
    job = scene.low.enqueue_at(PAST, jobs.mark, scene.marks, "a")
    assert [] == scene.waiting()
    schedule_now(scene.redis)
    scene.check(job.id, starts=["a"])


def test_enqueue_in(scene: Scene) -> None:
    """A job of `enqueue_in` obeys the control of its lane and runs once."""
    scene.apply()
    job = scene.low.enqueue_in(timedelta(hours=1), jobs.mark, scene.marks, "a")
    schedule_now(scene.redis)
    assert [] == scene.waiting() + scene.backlog()
    let_time_pass(scene.redis, job.id)
    schedule_now(scene.redis)
    scene.check(job.id, starts=["a"])


def test_enqueue_at_unique(scene: Scene) -> None:
    """A unique job that waited for its time obeys the control of its lane and runs once."""
    scene.apply()
    scene.low.enqueue_at(PAST, jobs.mark, scene.marks, "a", job_id="one", unique=True)
    schedule_now(scene.redis)
    scene.check("one", starts=["a"])


def test_schedule_job(scene: Scene) -> None:
    """A job that is created first and then scheduled obeys the control and runs once."""
    scene.apply()
    job = scene.low.create_job(jobs.mark, args=(scene.marks, "a"))
    scene.low.schedule_job(job, PAST)
    schedule_now(scene.redis)
    scene.check(job.id, starts=["a"])


def test_cron(scene: Scene) -> None:
    """A job of the cron scheduler obeys the control of its lane and runs once."""
    cron = CronScheduler(connection=scene.redis)
    cron.register(jobs.mark, LANE, args=(scene.marks, "a"), interval=3600)
    scene.apply()
    cron.enqueue_jobs()
    ids = scene.waiting()
    assert 1 == len(ids)
    scene.check(*ids, starts=["a"])


def test_dependents(scene: Scene) -> None:
    """A job that waited for another one obeys a control that came meanwhile."""
    first = scene.queue.enqueue(jobs.mark, scene.marks, "first")
    last = scene.low.enqueue(jobs.mark, scene.marks, "last", depends_on=first)
    assert [] == scene.waiting()
    scene.check_second_run(last.id, starts=["first", "last"])


def test_dependents_of_finished_jobs(scene: Scene) -> None:
    """A job whose dependency is met already obeys the control of its lane."""
    first = scene.queue.enqueue(jobs.mark, scene.marks, "first")
    scene.work()
    scene.apply()
    last = scene.low.enqueue(jobs.mark, scene.marks, "last", depends_on=first)
    scene.check(last.id, starts=["first", "last"], before=["first"])


def test_dependents_of_failed_jobs(scene: Scene) -> None:
    """A job that may follow a failed one obeys a control that came meanwhile."""
    first = scene.queue.enqueue(jobs.fail, scene.marks, "first")
    depends_on = Dependency([first], allow_failure=True)
    last = scene.low.enqueue(jobs.mark, scene.marks, "last", depends_on=depends_on)
    scene.check_second_run(last.id, starts=["first", "last"])


def test_dependents_of_cancelled_jobs(scene: Scene) -> None:
    """A job that is freed by the cancelling of another one obeys the control of its lane."""
    first = scene.queue.enqueue(jobs.mark, scene.marks, "first")
    last = scene.low.enqueue(jobs.mark, scene.marks, "last", depends_on=first)
    scene.apply()
    first.cancel(enqueue_dependents=True)
    scene.check(last.id, starts=["last"])


def test_dependents_in_enqueue_many(scene: Scene) -> None:
    """Jobs of `enqueue_many` that wait for others obey a control that came meanwhile."""
    first = scene.queue.enqueue(jobs.mark, scene.marks, "first")
    data = Queue.prepare_data(jobs.mark, (scene.marks, "last"), depends_on=first)
    (last,) = scene.low.enqueue_many([data])
    scene.check_second_run(last.id, starts=["first", "last"])


def test_dependents_that_a_dead_worker_left(scene: Scene) -> None:
    """A job that RQ's maintenance finds ready obeys the control of its lane."""
    first = scene.queue.enqueue(jobs.mark, scene.marks, "first")
    last = scene.low.enqueue(jobs.mark, scene.marks, "last", depends_on=first)
    scene.queue.move_dependents_to_ready(first, exclude_job_id=first.id)
    first.delete()
    scene.apply()
    scene.low.ready_job_registry.cleanup()
    scene.check(last.id, starts=["last"])
