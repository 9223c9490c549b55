"""What RQ's documentation promises of the course of a job holds with our classes.

What it tells of itself, its results and callbacks, its times, and the registries it goes through;
the most of what is said of jobs is in `test_jobs`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from rq import Callback, Repeat, Retry, get_current_job
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus
from rq.registry import (
    CanceledJobRegistry,
    DeferredJobRegistry,
    FailedJobRegistry,
    FinishedJobRegistry,
    ScheduledJobRegistry,
    StartedJobRegistry,
)
from rq.scheduler import RQScheduler

from shedder.rq import Queue, SimpleWorker, Worker
from tests.jobs import ended, hold, mark, started
from tests.rq.documented.functions import HERE, add, break_down, idle, keep_notes, states, tell, told
from tests.waiting import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from tests.workers import Yard

PAST = datetime(2020, 1, 1, tzinfo=UTC)


# jobs


def test_what_a_job_tells_of_itself_while_it_runs(
    mail: Queue, redis: Redis, yard: Yard, marks: str, tmp_path: Path
) -> None:
    """Status, worker, times, position; registries of started jobs name it until it ends."""
    worker = yard.start("mail").wait_until_idle(redis)
    go = tmp_path / "go"
    job = mail.low.enqueue(hold, marks, "held", str(go))
    wait_until(lambda: started(marks) == ["held"], what="the job")
    wait_until(lambda: Job.fetch(job.id, redis).worker_name, what="its worker")
    running = Job.fetch(job.id, redis)
    assert (JobStatus.STARTED, worker.name) == (running.get_status(), running.worker_name)
    assert running.started_at <= running.last_heartbeat
    registry = StartedJobRegistry(queue=mail.low)
    assert (True, True, 1) == (job in registry, job.id in registry, registry.count)
    assert (registry.get_job_ids(), "mail.low") == (
        mail.low.started_job_registry.get_job_ids(), registry.get_queue().name,
    )  # fmt: skip
    assert [] == mail.started_job_registry.get_job_ids()
    go.touch()
    wait_until(lambda: job.get_status() == JobStatus.FINISHED, what="the end")
    job.refresh()
    assert (None, True) == (job.get_position(), job in FinishedJobRegistry(queue=mail.low))
    assert job.started_at <= job.ended_at


def test_a_job_keeps_notes_of_itself(mail: Queue, work: Any) -> None:
    """`meta`, `save_meta` and `get_meta`, from inside and from outside."""
    job = mail.low.enqueue(keep_notes, meta={"tenant": "acme"})
    work()
    assert ("here", {"tenant": "acme", "handled_by": "here"}) == (
        job.return_value(), job.get_meta(refresh=True),
    )  # fmt: skip
    assert None is get_current_job()


def test_a_cancelled_job_is_where_rq_says(mail: Queue, work: Any) -> None:
    """Out of the queue, in its registry, still there; a deleted one is gone."""
    job = mail.low.enqueue(add, 1, 2)
    job.cancel()
    registry = CanceledJobRegistry("mail.low", connection=mail.connection)
    assert (JobStatus.CANCELED, True, 0) == (job.get_status(), job in registry, len(mail.low))
    assert Job.exists(job.id, mail.connection)
    job.delete()
    with pytest.raises(NoSuchJobError):
        Job.fetch(job.id, mail.connection)


def test_a_failed_job_goes_back_to_the_lane_it_came_from(mail: Queue, work: Any) -> None:
    """By the registry and by itself; the registry is empty afterwards, `is_failed` false."""
    jobs = [mail.low.enqueue(break_down), mail.low.enqueue(break_down)]
    work()
    registry = mail.low.failed_job_registry
    assert (2, [True, True]) == (len(registry), [job.is_failed for job in jobs])
    assert "LookupError: as the test wants" in jobs[0].latest_result().exc_string
    registry.requeue(jobs[0].id)
    jobs[1].requeue()
    assert (0, ["queued", "queued"], 2) == (len(registry), states(*jobs), len(mail.low))


def test_jobs_leave_a_registry_with_or_without_themselves(mail: Queue, work: Any) -> None:
    """`remove`, with `delete_job` and without."""
    jobs = [mail.low.enqueue(break_down), mail.low.enqueue(break_down)]
    work()
    registry = FailedJobRegistry("mail.low", connection=mail.connection)
    registry.remove(jobs[0])
    registry.remove(jobs[1], delete_job=True)
    assert (0, [True, False]) == (
        len(registry), [Job.exists(job.id, mail.connection) for job in jobs],
    )  # fmt: skip


# results, callbacks


def test_results_of_each_run_are_kept_and_can_be_waited_for(mail: Queue, redis: Redis, yard: Yard, marks: str) -> None:
    """`latest_result(timeout)` blocks; a job that runs often has its last ten results at least.

    RQ says ten, and trims the stream only about there.
    """
    yard.start("mail").wait_until_idle(redis)
    job = mail.low.enqueue(mark, marks, "often", repeat=Repeat(times=11, interval=0))
    first = job.latest_result(timeout=int(PATIENCE_SECONDS))
    assert "often" == first.return_value
    wait_until(lambda: len(ended(marks)) == 12, what="all runs")
    assert 10 <= len(job.results())
    never = Job.create(add, (1, 2), connection=redis, origin="mail")
    never.save()
    assert None is never.latest_result(timeout=1)


def test_a_callback_that_fails_fails_the_job(mail: Queue, work: Any) -> None:
    """Its dependents are not enqueued; a callback may be a name, and has a time-out."""
    job = mail.low.enqueue(add, 1, 2, on_success=Callback(f"{HERE}.break_down"))
    dependent = mail.low.enqueue(add, 3, 4, depends_on=job)
    slow = mail.enqueue(add, 1, 2, on_success=Callback(idle, timeout=1))
    fine = mail.enqueue(add, 1, 2, on_success=Callback(f"{HERE}.tell", timeout="2m"))
    work()
    assert ["failed", "deferred", "failed", "finished"] == states(job, dependent, slow, fine)
    assert [fine.id] == told(mail.connection)


def test_a_failed_job_tells_its_callback_each_time_it_gives_up(mail: Queue, work: Any) -> None:
    """Of its retries, the last failure only is a failure."""
    job = mail.low.enqueue(break_down, retry=Retry(max=2), on_failure=Callback(tell))
    work()
    assert (JobStatus.FAILED, 0) == (job.get_status(), Job.fetch(job.id, mail.connection).retries_left)
    assert [job.id] == list(dict.fromkeys(told(mail.connection)))


# scheduling


def test_a_scheduled_job_waits_in_its_registry(mail: Queue, redis: Redis) -> None:
    """`enqueue_at` and `enqueue_in`: not in the queue, but in the registry of its lane."""
    job = mail.low.enqueue_in(timedelta(hours=1), add, 1, 2)
    naive = mail.low.enqueue_at(datetime(2040, 10, 8, 9, 15), add, 1, 2)  # noqa: DTZ001 - RQ's page
    registry = ScheduledJobRegistry(queue=mail.low)
    assert (False, True, ["scheduled", "scheduled"]) == (
        job.id in mail.low.job_ids, job in registry, states(job, naive),
    )  # fmt: skip
    local = datetime(2040, 10, 8, 9, 15).astimezone()
    assert local == registry.get_scheduled_time(naive).astimezone()
    assert [job.id, naive.id] == mail.low.scheduled_job_registry.get_job_ids()


def test_repeats_have_their_intervals(mail: Queue, work: Any) -> None:
    """`repeats_left` and the interval of the next; what fails is not repeated."""
    often = mail.low.enqueue(add, 1, 2, repeat=Repeat(times=3, interval=[500, 1000]))
    never = mail.low.enqueue(break_down, repeat=Repeat(times=3, interval=500))
    assert (3, [500, 1000]) == (often.repeats_left, often.repeat_intervals)
    work()
    assert 2 == Job.fetch(often.id, mail.connection).repeats_left
    assert [often.id] == mail.low.scheduled_job_registry.get_job_ids()
    assert (3, "failed") == (Job.fetch(never.id, mail.connection).repeats_left, *states(never))


def test_one_scheduler_is_active_for_a_lane(mail: Queue, redis: Redis) -> None:
    """Of two workers with `--with-scheduler`, for all lanes of their queue."""
    names = [queue.name for queue in SimpleWorker(["mail"], connection=redis).queues]
    one, other = RQScheduler(names, connection=redis), RQScheduler(names, connection=redis)
    assert (set(names), set()) == (one.acquire_locks(), other.acquire_locks())
    one.release_locks()
    assert set(names) == other.acquire_locks()
    other.release_locks()


def test_a_worker_with_a_scheduler_enqueues_what_is_due(mail: Queue, redis: Redis, yard: Yard, marks: str) -> None:
    """`with_scheduler=True`, as RQ's page shows it, for a lane and a job that is tried again."""
    mail.low.enqueue_at(PAST, mark, marks, "due")
    yard.start("mail", worker_class=Worker, with_scheduler=True)
    wait_until(lambda: ended(marks) == ["due"], what="the job that is due")


# registries


def test_every_registry_of_a_lane_is_its_own(mail: Queue, work: Any) -> None:
    """Each name on the queue is the registry of that lane, and knows no job of another."""
    first = mail.low.enqueue(add, 1, 2)
    mail.low.enqueue(add, 1, 2, depends_on=first)
    assert 1 == len(DeferredJobRegistry(queue=mail.low))
    names = ("started", "deferred", "finished", "failed", "scheduled", "canceled")
    registries = [getattr(mail.low, f"{name}_job_registry") for name in names]
    assert {"mail.low"} == {registry.name for registry in registries}
    work()
    assert [0, 0, 2, 0, 0, 0] == [len(registry) for registry in registries]
    assert 0 == len(mail.finished_job_registry)
