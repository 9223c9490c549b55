"""Does the rest of what RQ's documentation promises of queues and jobs hold with our classes?

What is told on its pages about jobs, results, registries, scheduling, connections; the most of it
is in `test_jobs`, and how a job gets into a queue in `ways_in`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis as redis_py
from rq import Callback, Repeat, Retry, get_current_job
from rq.decorators import job as rq_job
from rq.defaults import RQ_KEY_PREFIX
from rq.exceptions import DuplicateJobError, InvalidJobOperation, NoSuchJobError
from rq.group import Group
from rq.job import Job, JobStatus
from rq.rate_limit import RateLimit
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
from tests.waiting import wait_until
from tests.workers import run_burst

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from shedder.embedded import EmbeddedServer
    from shedder.facade import Shedder
    from tests.conftest import ServerFactory
    from tests.workers import Yard

PAST = datetime(2020, 1, 1, tzinfo=UTC)
HERE = "tests.rq.documented.test_courses"
TOLD = f"{RQ_KEY_PREFIX}:told"


def add(one: int, other: int) -> int:
    return one + other


def describe(description: str, ttl: int) -> str:
    return f"{description} {ttl}"


def break_down(*_: Any) -> None:
    raise LookupError("as the test wants")


def idle(*_: Any) -> None:
    for _round in range(10_000_000):
        sum(range(100))


def tell(job: Job, connection: Redis, *_: Any) -> None:
    connection.rpush(TOLD, job.id)


def keep_notes() -> str:
    job = get_current_job()
    assert job is not None
    job.meta["handled_by"] = "here"
    job.save_meta()
    return str(job.get_meta()["handled_by"])


def told(redis: Redis) -> list[str]:
    return [line.decode() for line in redis.lrange(TOLD, 0, -1)]


def states(*jobs: Job) -> list[str]:
    return [job.get_status().value for job in jobs]


# queues


def test_names_that_rq_uses_itself_reach_the_function(mail: Queue, work: Any) -> None:
    """`kwargs` goes to the function as it is, beside RQ's own options of the same names."""
    job = mail.enqueue(
        describe, ttl=30, description="RQ's", kwargs={"description": "theirs", "ttl": 15}
    )
    assert ("RQ's", 30) == (job.description, job.ttl)
    work()
    assert "theirs 15" == job.return_value()


def test_a_queue_is_deleted_with_or_without_its_jobs(mail: Queue, redis: Redis) -> None:
    """`delete(delete_jobs=...)`; enqueueing makes the queue anew."""
    kept, gone = mail.enqueue(add, 1, 2), mail.low.enqueue(add, 1, 2)
    mail.delete(delete_jobs=False)
    mail.low.delete(delete_jobs=True)
    assert [True, False] == [Job.exists(job.id, redis) for job in (kept, gone)]
    assert [] == Queue.all(connection=redis)
    mail.low.enqueue(add, 1, 2)
    assert ["mail.low"] == [queue.name for queue in Queue.all(connection=redis)]


def test_a_queue_gives_its_jobs_a_timeout_of_its_own(redis: Redis) -> None:
    """`default_timeout` of the queue and its lanes; one that a job brings goes before it."""
    mail = Queue("mail", connection=redis, default_timeout=8)
    jobs = [mail.enqueue(add, 1, 2), mail.low.enqueue(add, 1, 2)]
    jobs.append(mail.low.enqueue(add, 1, 2, job_timeout="2m"))
    assert [8, 8, 120] == [Job.fetch(job.id, redis).timeout for job in jobs]


def test_each_queue_has_its_own_connection(mail: Queue, server_factory: ServerFactory) -> None:
    """Two queues on two servers, in one process; lanes stay where their queue is."""
    with server_factory().client() as other:
        far = Queue("mail", connection=other)
        far.low.enqueue(add, 1, 2)
        assert (0, 1) == (len(mail.low), len(far.low))
        assert run_burst(SimpleWorker([far], connection=other))


def test_a_decorator_brings_all_its_options(redis: Redis, mail: Queue, work: Any) -> None:
    """`@job` with a queue of ours and with a name and a class; `delay` and `enqueue`."""
    by_queue = rq_job(mail.high, connection=redis, timeout=5, meta={"tenant": "acme"})(add)
    found = by_queue.delay(3, 4)
    assert ("mail.high", 5, {"tenant": "acme"}) == (found.origin, found.timeout, found.meta)
    by_name = rq_job("mail.low", connection=redis, queue_class=Queue, at_front=True)(add)
    assert "second" == by_name.enqueue(5, 6, job_id="second").id
    work()
    assert (7, 11) == (found.return_value(), Job.fetch("second", redis).return_value())


def test_a_rate_limit_lets_so_many_through_at_a_time(mail: Queue, redis: Redis) -> None:
    """Two of three; the third follows when one ends, in a lane too."""
    limit = RateLimit(key="reports", concurrency=2)
    jobs = [mail.low.enqueue(add, 1, number, rate_limit=limit) for number in range(3)]
    assert ["queued", "queued", "rate_limited"] == states(*jobs)
    run_burst(SimpleWorker(["mail"], connection=redis), max_jobs=1)
    assert ["finished", "queued", "queued"] == states(*jobs)
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert [1, 2, 3] == [job.return_value() for job in jobs]


def test_a_unique_job_is_refused_twice(mail: Queue) -> None:
    """`unique=True` with an id that exists; RQ's own error."""
    mail.low.enqueue(add, 1, 2, job_id="once", unique=True)
    with pytest.raises(DuplicateJobError):
        mail.low.enqueue(add, 1, 2, job_id="once", unique=True)
    assert ["once"] == mail.low.job_ids


def test_a_group_goes_with_its_last_job(mail: Queue, redis: Redis) -> None:
    """Jobs of a group that are deleted leave it, and an empty group is no group."""
    group = Group.create(connection=redis, name="night")
    jobs = group.enqueue_many(mail.low, [Queue.prepare_data(add, (1, 2)) for _ in range(2)])
    assert {"night"} == {job.group_id for job in group.get_jobs()}
    jobs[0].delete()
    assert [jobs[1].id] == [job.id for job in group.get_jobs()]
    jobs[1].delete()
    Group.clean_registries(connection=redis)
    assert [] == Group.all(connection=redis)


# jobs


def test_what_a_job_tells_of_itself_while_it_runs(
    mail: Queue, redis: Redis, yard: Yard, marks: str, tmp_path: Path
) -> None:
    """Status, worker, times, position; registries of started jobs name it until it ends."""
    worker = yard.start("mail").wait_until_idle(redis)
    go = tmp_path / "go"
    job = mail.low.enqueue(hold, marks, "held", str(go))
    wait_until(lambda: started(marks) == ["held"], timeout=60, what="the job")
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


def test_results_of_each_run_are_kept_and_can_be_waited_for(
    mail: Queue, redis: Redis, yard: Yard, marks: str
) -> None:
    """`latest_result(timeout)` blocks; a job that runs often has its last ten results at least.

    RQ says ten, and trims the stream only about there.
    """
    yard.start("mail").wait_until_idle(redis)
    job = mail.low.enqueue(mark, marks, "often", repeat=Repeat(times=11, interval=0))
    first = job.latest_result(timeout=60)
    assert "often" == first.return_value
    wait_until(lambda: len(ended(marks)) == 12, timeout=60, what="all runs")
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
    assert (JobStatus.FAILED, 0) == (
        job.get_status(),
        Job.fetch(job.id, mail.connection).retries_left,
    )
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


def test_a_worker_with_a_scheduler_enqueues_what_is_due(
    mail: Queue, redis: Redis, yard: Yard, marks: str
) -> None:
    """`with_scheduler=True`, as RQ's page shows it, for a lane and a job that is tried again."""
    mail.low.enqueue_at(PAST, mark, marks, "due")
    yard.start("mail", worker_class=Worker, with_scheduler=True)
    wait_until(lambda: ended(marks) == ["due"], timeout=60, what="the job that is due")


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


# connections


@pytest.mark.parametrize(("yours", "then"), [(None, 30), (2.0, 30), (500.0, 500.0)])
def test_a_worker_raises_the_timeout_of_its_connection(
    mail: Queue, server: EmbeddedServer, yours: float | None, then: float
) -> None:
    """As RQ does, but to 30 s, as it never blocks for minutes; a longer one of yours stays."""
    with server.client(socket_timeout=yours) as client:
        worker = SimpleWorker(["mail"], connection=client)
        mail.enqueue(add, 1, 2)
        assert run_burst(worker)
        assert then == client.connection_pool.connection_kwargs["socket_timeout"]


def test_clients_that_decode_are_not_supported_as_with_rq(server: EmbeddedServer) -> None:
    """RQ says so; enqueueing works, and who fetches a job is told by RQ in its way."""
    with server.client(decode_responses=True) as client:
        job = Queue("mail", connection=client).enqueue(add, 1, 2)
        with pytest.raises((UnicodeDecodeError, redis_py.RedisError, AttributeError, TypeError)):
            Job.fetch(job.id, client)


def test_a_job_that_does_not_run_cannot_be_stopped(mail: Queue, redis: Redis) -> None:
    """`send_stop_job_command` raises as RQ's page says."""
    from rq.command import send_stop_job_command

    job = mail.low.enqueue(add, 1, 2)
    with pytest.raises(InvalidJobOperation):
        send_stop_job_command(redis, job.id)


# where ours differs


def test_what_is_set_aside_is_in_no_list_of_its_queue(
    mail: Queue, redis: Redis, operator: Shedder
) -> None:
    """A diverted job keeps its status, has no position, and is not emptied with its queue."""
    jobs = [mail.low.enqueue(add, 1, number) for number in range(3)]
    operator.divert("mail.low", reason="r")
    assert (0, [], None, "queued") == (
        len(mail.low), mail.low.job_ids, jobs[0].get_position(), *states(jobs[0]),
    )  # fmt: skip
    assert jobs[0] == mail.low.fetch_job(jobs[0].id)
    jobs[1].cancel()
    assert 0 == mail.low.empty()
    operator.drain_at_once("mail.low", reason="r")
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert ["finished", "canceled", "finished"] == states(*jobs)


def test_who_takes_jobs_out_of_a_queue_by_hand_asks_nobody(
    mail: Queue, redis: Redis, operator: Shedder
) -> None:
    """`Queue.dequeue_any` is RQ's: a loop of your own around it knows no pause and no claim."""
    operator.pause("mail", reason="r")
    job = mail.enqueue(add, 1, 2)
    assert (job, mail) == Queue.dequeue_any([mail], None, connection=redis)
    assert 0 == redis.zcard(f"{RQ_KEY_PREFIX}:shedder:claims")
