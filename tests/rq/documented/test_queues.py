"""What RQ's documentation promises of queues and their connections holds with our classes.

How a job gets into a queue is in `ways_in`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis as redis_py
from rq.decorators import job as rq_job
from rq.defaults import RQ_KEY_PREFIX
from rq.exceptions import DuplicateJobError, InvalidJobOperation
from rq.group import Group
from rq.job import Job
from rq.rate_limit import RateLimit

from shedder.rq import Queue, SimpleWorker
from tests.rq.documented.functions import add, describe, states
from tests.workers import run_burst

if TYPE_CHECKING:
    from redis import Redis

    from shedder.api.shedder import Shedder
    from shedder.embedded import EmbeddedServer
    from tests.conftest import ServerFactory


# queues


def test_names_that_rq_uses_itself_reach_the_function(mail: Queue, work: Any) -> None:
    """`kwargs` goes to the function as it is, beside RQ's own options of the same names."""
    job = mail.enqueue(describe, ttl=30, description="RQ's", kwargs={"description": "theirs", "ttl": 15})
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


def test_what_is_set_aside_is_in_no_list_of_its_queue(mail: Queue, redis: Redis, operator: Shedder) -> None:
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


def test_who_takes_jobs_out_of_a_queue_by_hand_asks_nobody(mail: Queue, redis: Redis, operator: Shedder) -> None:
    """`Queue.dequeue_any` is RQ's: a loop of your own around it knows no pause and no claim."""
    operator.pause("mail", reason="r")
    job = mail.enqueue(add, 1, 2)
    assert (job, mail) == Queue.dequeue_any([mail], None, connection=redis)
    assert 0 == redis.zcard(f"{RQ_KEY_PREFIX}:shedder:claims")
