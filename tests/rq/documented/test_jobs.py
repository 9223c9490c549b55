"""What RQ's documentation promises of queues, jobs and results holds with our classes.

In the order of its pages: documentation, jobs, results, exceptions, registries, testing. How a job
gets into a queue is in `ways_in`.
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from rq import Callback, Repeat, Retry, get_current_job
from rq import Queue as RQQueue
from rq.command import send_stop_job_command
from rq.exceptions import InvalidJobOperation, NoSuchJobError
from rq.group import Group
from rq.job import Dependency, Job, JobStatus, cancel_job
from rq.registry import FailedJobRegistry, FinishedJobRegistry
from rq.results import Result
from rq.serializers import JSONSerializer
from rq.webhook import Webhook

from shedder.rq import Queue, SimpleWorker, Worker
from tests.jobs import ask_again, ended, fail, mark
from tests.rq.documented.functions import HERE, TOLD, add, break_down
from tests.waiting import wait_until
from tests.workers import run_burst

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from tests.workers import Yard


def who_am_i() -> tuple[str, str]:
    job = get_current_job()
    assert job is not None
    return job.id, job.origin


def told(job: Job, connection: Redis, result: Any) -> None:
    connection.rpush(TOLD, f"success {job.id} {result}")


def told_of_failure(job: Job, connection: Redis, kind: Any, value: Any, _: Any) -> None:
    connection.rpush(TOLD, f"failure {job.id} {kind.__name__}")


def told_of_stop(job: Job, connection: Redis) -> None:
    connection.rpush(TOLD, f"stopped {job.id}")


# the queue


def test_a_queue_tells_what_is_in_it_and_can_be_emptied(mail: Queue) -> None:
    """Length, ids, jobs, positions, `fetch_job`, `remove`, `empty` and `delete`."""
    jobs = [mail.enqueue(add, number, 1, job_id=f"j{number}") for number in range(4)]
    assert (4, ["j0", "j1", "j2", "j3"]) == (len(mail), mail.job_ids)
    assert (jobs, [jobs[1]]) == (mail.get_jobs(), mail.get_jobs(offset=1, length=1))
    assert (2, 2) == (mail.get_job_position("j2"), jobs[2].get_position())
    assert jobs[3] == mail.fetch_job("j3")
    mail.remove("j0")
    assert (3, False) == (mail.count, mail.is_empty())
    assert 3 == mail.empty()
    mail.low.enqueue(add, 1, 2)
    mail.low.delete()
    assert ["mail"] == [queue.name for queue in RQQueue.all(connection=mail.connection)]


def test_functions_are_named_and_described_as_they_are_given(mail: Queue, work: Any) -> None:
    """A function or its name, a description, arguments with the names of RQ's own options."""
    by_name = mail.enqueue(f"{HERE}.add", 1, 2, description="one and two")
    plain = mail.enqueue(add, args=(3,), kwargs={"other": 4}, job_timeout="1h", result_ttl=600)
    work()
    assert (3, 7) == (by_name.return_value(), plain.return_value())
    assert ("one and two", 3600) == (by_name.description, plain.timeout)
    assert f"{HERE}.add(3, other=4)" == plain.description


def test_a_queue_that_is_not_asynchronous_runs_jobs_at_once(redis: Redis) -> None:
    """`is_async=False`, as RQ's page about testing shows it, without any worker."""
    mail = Queue("mail", connection=redis, is_async=False)
    job = mail.enqueue(add, 1, 2)
    low = mail.low.enqueue(add, 2, 2)
    failed = mail.enqueue(break_down)
    assert (JobStatus.FINISHED, 3, 4) == (job.get_status(), job.return_value(), low.return_value())
    assert (JobStatus.FAILED, 0) == (failed.get_status(), len(mail))


def test_another_serializer_is_used_throughout(redis: Redis) -> None:
    """`serializer=JSONSerializer` for the queue and the worker."""
    mail = Queue("mail", connection=redis, serializer=JSONSerializer)
    job = mail.enqueue(add, 1, 2)
    run_burst(SimpleWorker(["mail"], connection=redis, serializer=JSONSerializer))
    assert 3 == job.return_value()


def test_a_job_knows_itself_and_keeps_notes(mail: Queue, work: Any) -> None:
    """`get_current_job`, `meta`, `origin`, timestamps and `Job.fetch_many`."""
    job = mail.enqueue(who_am_i, meta={"tenant": "acme"})
    work()
    fetched, missing = Job.fetch_many([job.id, "missing"], connection=mail.connection)
    assert (None, (job.id, "mail")) == (missing, job.return_value())
    assert fetched is not None
    assert ("acme", "mail") == (fetched.meta["tenant"], fetched.origin)
    assert fetched.enqueued_at <= fetched.started_at <= fetched.ended_at
    assert JobStatus.FINISHED == fetched.get_status()


def test_times_to_live_are_kept(mail: Queue, work: Any) -> None:
    """`result_ttl=0` deletes the job, `-1` keeps it for ever; `failure_ttl` and `ttl` expire."""
    gone = mail.enqueue(add, 1, 2, result_ttl=0)
    kept = mail.enqueue(add, 1, 2, result_ttl=-1)
    failed = mail.enqueue(break_down, failure_ttl=600)
    waiting = mail.low.enqueue(add, 1, 2, ttl=500)
    assert 490 < mail.connection.ttl(waiting.key) <= 500
    run_burst(SimpleWorker([mail.normal], connection=mail.connection), max_jobs=3)
    with pytest.raises(NoSuchJobError):
        Job.fetch(gone.id, connection=mail.connection)
    assert -1 == mail.connection.ttl(kept.key)
    assert 590 < mail.connection.ttl(failed.key) <= 600


def test_a_job_that_is_cancelled_or_deleted_does_not_run(mail: Queue, work: Any) -> None:
    """`cancel`, `cancel_job` with its dependents, and `delete`."""
    job = mail.enqueue(add, 1, 2)
    dependent = mail.enqueue(add, 3, 4, depends_on=job)
    cancel_job(job.id, connection=mail.connection, enqueue_dependents=True)
    mail.enqueue(add, 5, 6).delete()
    work()
    assert (None, 7) == (job.return_value(), dependent.return_value())
    assert [job.id] == mail.canceled_job_registry.get_job_ids()
    with pytest.raises(InvalidJobOperation):
        job.cancel()


def test_dependencies_are_met_in_their_order(mail: Queue, work: Any) -> None:
    """Several dependencies, in another lane too, one that may fail, one that goes to the front."""
    first, second = mail.enqueue(add, 1, 1), mail.low.enqueue(break_down)
    both = Dependency(jobs=[first, second], allow_failure=True, enqueue_at_front=True)
    last = mail.enqueue(add, 2, 2, depends_on=both)
    never = mail.enqueue(add, 3, 3, depends_on=second)
    assert JobStatus.DEFERRED == last.get_status()
    work()
    assert (4, None) == (last.return_value(), never.return_value())
    assert JobStatus.DEFERRED == never.get_status()


def test_each_run_leaves_a_result(mail: Queue, work: Any, marks: str) -> None:
    """`results`, `latest_result`, and the text of the exception of a run that failed."""
    tried = mail.enqueue(fail, marks, "tried", times=1, retry=Retry(max=2))
    job = mail.enqueue(ask_again, marks, "again")
    work()
    latest, *earlier = job.results()
    assert (Result.Type.SUCCESSFUL, "again") == (latest.type, latest.return_value)
    assert [Result.Type.RETRIED] == [each.type for each in earlier]
    assert (latest, "tried") == (job.latest_result(), tried.return_value())
    failed = mail.enqueue(break_down)
    work()
    assert "LookupError: as the test wants" in failed.latest_result().exc_string
    assert [failed.id] == FailedJobRegistry(queue=mail).get_job_ids()
    assert {tried.id, job.id} == {*FinishedJobRegistry(queue=mail).get_job_ids()}


def test_callbacks_are_called(mail: Queue, work: Any, yard: Yard, marks: str) -> None:
    """Of success, of failure and of a stop, in lanes too."""
    good = mail.low.enqueue(add, 1, 2, on_success=Callback(told))
    bad = mail.enqueue(break_down, on_failure=Callback(told_of_failure))
    work()
    assert {f"success {good.id} 3", f"failure {bad.id} LookupError"} == {
        line.decode() for line in mail.connection.lrange(TOLD, 0, -1)
    }
    mail.connection.delete(TOLD)
    yard.start("mail", worker_class=Worker)
    long = mail.enqueue(mark, marks, "long", 20.0, on_stopped=Callback(told_of_stop))
    wait_until(lambda: long.get_status() == JobStatus.STARTED, what="the job")
    wait_until(lambda: Job.fetch(long.id, mail.connection).worker_name, what="its worker")
    send_stop_job_command(mail.connection, long.id)
    wait_until(lambda: mail.connection.llen(TOLD), what="the callback")
    assert f"stopped {long.id}".encode() == mail.connection.lindex(TOLD, 0)


def test_webhooks_are_sent(mail: Queue, work: Any, hooks: tuple[str, list[Any]]) -> None:
    """A real request for a job that finished and one that failed."""
    url, received = hooks
    good = mail.enqueue(add, 1, 2, webhooks=[Webhook(url, "finished", method="POST")])
    bad = mail.enqueue(break_down, webhooks=[Webhook(url, "failed", method="POST")])
    work()
    assert {(good.id, "finished"), (bad.id, "failed")} == {(each["job_id"], each["status"]) for each in received}


def test_groups_repeats_and_registries_see_lanes(mail: Queue, work: Any, marks: str) -> None:
    """A group keeps its jobs; a repeat runs so often; a failed job can be requeued."""
    group = Group.create(connection=mail.connection, name="night")
    data = [Queue.prepare_data(mark, (marks, f"group {number}")) for number in range(2)]
    group.enqueue_many(mail.low, data)
    mail.enqueue(mark, marks, "repeat", repeat=Repeat(times=1, interval=0))
    failed = mail.low.enqueue(fail, marks, "requeued", times=1)
    work()
    assert {"night"} == {each.name for each in Group.all(connection=mail.connection)}
    assert 2 == len(Group.fetch("night", connection=mail.connection).get_jobs())
    assert 2 == ended(marks).count("repeat")
    mail.low.failed_job_registry.requeue(failed.id)
    work()
    assert 2 == ended(marks).count("requeued")
    assert "requeued" == failed.return_value()


@pytest.fixture
def hooks() -> Iterator[tuple[str, list[Any]]]:
    """An address, and the bodies of the requests that came there."""
    received: list[Any] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(json.loads(body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook", received
        server.shutdown()
