"""All kinds of workers, with all of RQ's options, obey."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis._parsers import _RESP2Parser, _RESP3Parser
from rq import Queue as StockQueue
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker, HerokuWorker
from rq.worker import RoundRobinWorker as RQRoundRobinWorker

from shedder.rq import Queue, SimpleWorker, SpawnWorker, Worker, WorkerMixin
from shedder.store.codec import text_of
from tests import jobs
from tests.cluster import without_cluster
from tests.forked import run_module
from tests.rq.claims.kinds import ALL_KINDS, FORKS_AND_NOT, status_of, waiting
from tests.servers import patient
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workers import Yard, run_burst

if TYPE_CHECKING:
    from redis import Redis

    from shedder.embedded import EmbeddedServer

ROOT = Path(__file__).parents[3]


class OurWorker(WorkerMixin, HerokuWorker):
    """A user's own class, on top of another of RQ's."""

    def perform_job(self, *args: Any, **kwargs: Any) -> bool:
        self.log.info("our own perform_job")
        return super().perform_job(*args, **kwargs)


class OurRoundRobinWorker(WorkerMixin, RQRoundRobinWorker):
    """One of RQ's classes that bring a strategy."""


@pytest.mark.parametrize("worker_class", [Worker, SimpleWorker, SpawnWorker, OurWorker, OurRoundRobinWorker])
def test_every_class_of_workers(redis: Redis, yard: Yard, marks: str, worker_class: type[BaseWorker]) -> None:
    """Every class of workers with the mixin runs each job once, by priority."""
    queue = Queue("mail", connection=redis)
    many = [queue.lane(each).enqueue(jobs.mark, marks, each) for each in ("low", "normal", "high")]
    assert 0 == yard.start("mail", "reports", worker_class=worker_class, burst=True).wait()
    assert ["high", "normal", "low"] == jobs.started(marks)
    assert {JobStatus.FINISHED} == {status_of(job) for job in many}


def environment_of_programs() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}


def rq_command(server: EmbeddedServer, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `rq`, as a user does."""
    return run_module(
        "rq.cli", words[0], "--url", patient(server.url), *words[1:], env=environment_of_programs(), cwd=ROOT
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("worker", "--worker-class", "shedder.rq.Worker", "mail", "reports", "--burst"),
        ("worker", "--worker-class", "shedder.rq.SimpleWorker", "mail", "reports", "--burst"),
        (
            *("worker", "--worker-class", "shedder.rq.Worker", "--queue-class", "shedder.rq.Queue"),
            *("--burst", "mail", "reports"),
        ),
        ("worker-pool", "--worker-class", "shedder.rq.Worker", "mail", "reports", "-b", "-n", "2"),
    ],
    ids=["worker", "simple", "queue-class", "pool"],
)
def test_command_line(redis: Redis, server: EmbeddedServer, marks: str, words: tuple[str, ...]) -> None:
    """`rq worker` and `rq worker-pool` take our class by its name."""
    for name in ("mail", "reports"):
        queue = Queue(name, connection=redis)
        for number in range(3):
            queue.low.enqueue(jobs.mark, marks, f"{name} {number}")
    done = rq_command(server, *words)
    assert 0 == done.returncode, done.stderr
    wanted = [f"{name} {number}" for name in ("mail", "reports") for number in range(3)]
    assert wanted == sorted(jobs.started(marks)), done.stderr


class OurJob(Job):
    """A user's own class of jobs."""

    def perform(self) -> Any:
        return ("ours", super().perform())


@ALL_KINDS
def test_job_class(redis: Redis, yard: Yard, marks: str, worker_class: type[BaseWorker]) -> None:
    """A user's own class of jobs is what runs."""
    queue = Queue("mail", connection=redis, job_class=OurJob)
    job = queue.low.enqueue(jobs.mark, marks, "a")
    settings = {"job_class": OurJob}
    yard.start("mail", worker_class=worker_class, settings=settings, burst=True).wait()
    assert ("ours", "a") == job.return_value()


@ALL_KINDS
def test_serializer(redis: Redis, yard: Yard, marks: str, worker_class: type[BaseWorker]) -> None:
    """Jobs of another serializer run with a worker that has it."""
    queue = Queue("mail", connection=redis, serializer=JSONSerializer)
    job = queue.low.enqueue(jobs.mark, marks, "a", meta={"tenant": "acme"})
    assert b'"tests.jobs.mark"' in job.data
    settings = {"serializer": JSONSerializer}
    yard.start("mail", worker_class=worker_class, settings=settings, burst=True).wait()
    assert ("a", {"tenant": "acme"}) == (job.return_value(), job.get_meta())


def test_with_scheduler(redis: Redis, yard: Yard, marks: str) -> None:
    """A worker with RQ's scheduler finds jobs of its lanes whose time has come."""
    queue = Queue("mail", connection=redis)
    queue.low.enqueue_at(datetime(2020, 1, 1, tzinfo=UTC), jobs.mark, marks, "a")
    worker = yard.start("mail", with_scheduler=True)
    wait_until(lambda: jobs.ended(marks) == ["a"])
    worker.send(signal.SIGTERM)
    assert 0 == worker.wait()


def test_with_scheduler_and_burst(redis: Redis, marks: str) -> None:
    """A burst with RQ's scheduler runs what is due."""
    queue = Queue("mail", connection=redis)
    queue.low.enqueue_at(datetime(2020, 1, 1, tzinfo=UTC), jobs.mark, marks, "a")
    run_burst(SimpleWorker(["mail"], connection=redis), with_scheduler=True)
    assert ["a"] == jobs.started(marks)


def test_max_jobs(redis: Redis, yard: Yard, marks: str) -> None:
    """A worker for so many jobs runs so many, and leaves the others in order."""
    queue = Queue("mail", connection=redis)
    many = [queue.enqueue(jobs.mark, marks, key) for key in "abc"]
    assert 0 == yard.start("mail", max_jobs=2).wait()
    assert (["a", "b"], [many[2].id]) == (jobs.started(marks), waiting(redis))


def test_max_idle_time(redis: Redis, yard: Yard, marks: str) -> None:
    """A worker with a limit of idle time ends when nothing has come for so long."""
    begin = time.monotonic()
    Queue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    assert 0 == yard.start("mail", max_idle_time=1).wait()
    assert (["a"], True) == (jobs.started(marks), time.monotonic() - begin >= 1)


def test_burst_over_dropped_jobs(redis: Redis, marks: str) -> None:
    """A burst reaches the last job though hundreds before it are gone."""
    queue = Queue("mail", connection=redis)
    redis.rpush(queue.key, *(f"gone {number}" for number in range(500)))
    queue.enqueue(jobs.mark, marks, "a")
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert ["a"] == jobs.started(marks)


def test_a_stock_producer_is_heard(redis: Redis, yard: Yard, marks: str) -> None:
    """An idle worker finds the job of a producer that rings no bell."""
    yard.start("mail", "reports").wait_until_idle(redis)
    StockQueue("reports.low", connection=redis).enqueue(jobs.mark, marks, "a")
    wait_until(lambda: jobs.ended(marks) == ["a"])


def test_workers_of_one_queue_share_its_jobs(redis: Redis, yard: Yard, marks: str) -> None:
    """Several workers run each of many jobs once between them."""
    queue = Queue("mail", connection=redis)
    keys = [str(number) for number in range(60)]
    datas = [Queue.prepare_data(jobs.mark, (marks, key, 0.002)) for key in keys]
    queue.enqueue_many(datas)
    workers = [yard.start("mail", worker_class=SimpleWorker, burst=True) for _ in range(3)]
    for worker in workers:
        worker.wait()
    assert sorted(keys) == sorted(jobs.started(marks))
    assert 1 < len({mark.pid for mark in jobs.marks_in(marks)})


@FORKS_AND_NOT
def test_a_small_pool_of_connections(
    redis: Redis, server: EmbeddedServer, yard: Yard, marks: str, worker_class: type[BaseWorker]
) -> None:
    """A worker on a pool that is just large enough for RQ's runs jobs that use it themselves."""
    job = Queue("mail", connection=redis).enqueue(jobs.note, marks, "a")
    small = {"max_connections": 2}
    worker = yard.start("mail", worker_class=worker_class, client=small, burst=True)
    assert 0 == worker.wait()
    assert (["a"], {"note": "a"}) == (jobs.ended(marks), job.get_meta())


@pytest.mark.parametrize("protocol", [2, 3])
@FORKS_AND_NOT
def test_protocols(redis: Redis, yard: Yard, marks: str, worker_class: type[BaseWorker], protocol: int) -> None:
    """A worker does the same over both protocols of Redis, without the parser in C too."""
    parser = _RESP3Parser if protocol == 3 else _RESP2Parser
    client = {"protocol": protocol, "parser_class": parser}
    queue = Queue("mail", connection=redis)
    many = [queue.low.enqueue(jobs.mark, marks, key) for key in "ab"]
    assert 0 == yard.start("mail", worker_class=worker_class, client=client, burst=True).wait()
    assert ["a", "b"] == jobs.ended(marks)
    assert {JobStatus.FINISHED} == {status_of(job) for job in many}


@pytest.mark.slow
@without_cluster
def test_a_prefix_of_keys(redis: Redis, server: EmbeddedServer, marks: str) -> None:
    """With another prefix, as a cluster needs it, every key of RQ and of ours has it."""
    program = f"""
import redis
from shedder.api.shedder import Shedder
from shedder.rq import Queue, SimpleWorker
from tests import jobs
client = redis.Redis.from_url({patient(server.url)!r})
mail, operator = Queue("mail", connection=client), Shedder(client)
worker = SimpleWorker(["mail"], connection=client)
operator.pause("mail", reason="a test")
mail.low.enqueue(jobs.mark, {marks!r}, "a")
operator.divert("mail", reason="a test")
worker.work(burst=True)
assert not jobs.started({marks!r})
operator.resume("mail", reason="a test")
operator.drain_at_once("mail", reason="a test")
worker.work(burst=True)
"""
    environment = environment_of_programs() | {"RQ_KEY_PREFIX": "{app}"}
    subprocess.run([sys.executable, "-c", program], env=environment, timeout=PATIENCE_SECONDS, check=True)
    assert ["a"] == jobs.started(marks)
    others = [key for key in map(text_of, redis.scan_iter()) if not key.startswith("{app}:")]
    assert ([], True) == (others, bool(redis.exists("{app}:shedder:events")))
