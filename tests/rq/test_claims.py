"""Who takes which job, and what becomes of one that is in a worker's hands?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from redis._parsers import _RESP2Parser, _RESP3Parser
from redis.exceptions import OutOfMemoryError
from rq import Queue as StockQueue
from rq import Retry
from rq.command import send_stop_execution_command
from rq.defaults import RQ_KEY_PREFIX
from rq.job import Job, JobStatus
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer
from rq.suspension import resume, suspend
from rq.worker import BaseWorker, DequeueStrategy, HerokuWorker
from rq.worker import RoundRobinWorker as RQRoundRobinWorker

from shedder.rq import Queue, SimpleWorker, SpawnWorker, Worker, WorkerMixin
from shedder.rq.claims import CRASHES_FIELD
from shedder.rq.layout import rq_keys
from shedder.stored import text_of
from tests import jobs
from tests.cluster import without_cluster
from tests.waiting import wait_until
from tests.workers import Yard, run_burst

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis
    from redis.exceptions import RedisError

    from shedder.embedded import EmbeddedServer
    from shedder.facade import Shedder

KEYS = rq_keys()
ROOT = Path(__file__).parents[2]
FORKS_AND_NOT = pytest.mark.parametrize("worker_class", [Worker, SimpleWorker])
ALL_KINDS = pytest.mark.parametrize("worker_class", [Worker, SimpleWorker, SpawnWorker])


@pytest.fixture(autouse=True)
def nothing_stays_in_hand(redis: Redis) -> Iterator[None]:
    """Whatever a test does, no claim and no start is left when its workers are done."""
    yield
    assert (0, {}) == (redis.zcard(KEYS.claims), redis.hgetall(KEYS.starting))


@pytest.fixture
def imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Counts the imports of `tests.rq.deadly`, one line each."""
    path = tmp_path / "imports"
    path.touch()
    monkeypatch.setenv("SHEDDER_TEST_IMPORTS", str(path))
    monkeypatch.delitem(sys.modules, "tests.rq.deadly", raising=False)
    return path


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shedder.rq.claims.LEASE_MS", 100)


def waiting(redis: Redis, lane: str = "mail") -> list[str]:
    return [text_of(each) for each in redis.lrange(f"{KEYS.engine.lists}{lane}", 0, -1)]


def status_of(job: Job) -> JobStatus:
    return job.get_status()


# order


def test_strict_priority_over_queues(redis: Redis, marks: str) -> None:
    """All jobs of a priority run before the first of a lower one, queues in the worker's order."""
    for name in ("reports", "mail"):
        for priority in ("low", "normal", "critical", "high"):
            lane = Queue(name, connection=redis).lane(priority)
            lane.enqueue(jobs.mark, marks, f"{priority} {name}")
    run_burst(SimpleWorker(["mail", "reports"], connection=redis))
    priorities = ("critical", "high", "normal", "low")
    wanted = [f"{priority} {name}" for priority in priorities for name in ("mail", "reports")]
    assert wanted == jobs.started(marks)


def test_priority_of_a_job_that_comes_later(redis: Redis, marks: str) -> None:
    """A job of higher priority that comes while another runs is the next."""
    queue = Queue("mail", connection=redis)
    for key in ("low 1", "low 2"):
        queue.low.enqueue(jobs.mark, marks, key)
    jobs.meanwhile.append(lambda: queue.high.enqueue(jobs.mark, marks, "high"))
    jobs.meanwhile.append(jobs.meanwhile.clear)
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert ["low 1", "high", "low 2"] == jobs.started(marks)


def test_what_stands_in_front_of_a_list_with_no_control_left(redis: Redis, marks: str) -> None:
    """Jobs in front of a lane's list come first where neither pause nor divert is on record."""
    queue = Queue("mail", connection=redis)
    kept, parked, _ = (queue.enqueue(jobs.mark, marks, key) for key in ("kept", "parked", "list"))
    for job, front in ((kept, KEYS.kept("mail")), (parked, KEYS.parked("mail"))):
        redis.lrem(queue.key, 1, job.id)
        redis.rpush(front, job.id)
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert ["kept", "parked", "list"] == jobs.started(marks)


@pytest.mark.parametrize("strategy", list(DequeueStrategy))
def test_strategies_within_a_priority_only(
    redis: Redis, marks: str, strategy: DequeueStrategy
) -> None:
    """Whatever RQ's strategy for several queues is, priority comes first."""
    for name in ("a", "b", "c"):
        queue = Queue(name, connection=redis)
        for number in range(3):
            queue.low.enqueue(jobs.mark, marks, f"low {name} {number}")
            queue.enqueue(jobs.mark, marks, f"normal {name} {number}")
    run_burst(SimpleWorker(["a", "b", "c"], connection=redis), dequeue_strategy=strategy)
    found = jobs.started(marks)
    assert ["normal"] * 9 + ["low"] * 9 == [key.split()[0] for key in found]
    if strategy is DequeueStrategy.ROUND_ROBIN:
        assert sorted(["normal a 0", "normal b 0", "normal c 0"]) == sorted(found[:3])
    if strategy is DequeueStrategy.DEFAULT:
        assert [f"normal a {number}" for number in range(3)] == found[:3]


def test_a_lane_by_its_name(redis: Redis, marks: str) -> None:
    """A worker that is given one lane serves no other."""
    queue = Queue("mail", connection=redis)
    queue.enqueue(jobs.mark, marks, "normal")
    queue.low.enqueue(jobs.mark, marks, "low")
    run_burst(SimpleWorker(["mail.low"], connection=redis))
    assert ["low"] == jobs.started(marks)


# suspension


@FORKS_AND_NOT
def test_suspended(redis: Redis, yard: Yard, marks: str, worker_class: type[BaseWorker]) -> None:
    """Nothing that comes after `rq suspend` starts, not even at a worker that waited already."""
    queue = Queue("mail", connection=redis)
    worker = yard.start("mail", worker_class=worker_class).wait_until_idle(redis)
    suspend(redis)
    job = queue.enqueue(jobs.mark, marks, "a")
    wait_until(lambda: redis.hget(worker.key, "state") == b"suspended")
    assert ([], [job.id]) == (jobs.started(marks), waiting(redis))
    resume(redis)
    wait_until(lambda: jobs.ended(marks) == ["a"])
    worker.send(signal.SIGTERM)
    assert 0 == worker.wait()


def test_suspended_burst(redis: Redis, marks: str) -> None:
    """A burst under `rq suspend` ends and runs nothing."""
    Queue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    suspend(redis)
    assert not run_burst(SimpleWorker(["mail"], connection=redis))
    assert [] == jobs.started(marks)


# jobs that must not run


@pytest.mark.parametrize("end", ["cancel", "delete", "expire"])
@pytest.mark.parametrize("place", ["list", "parked", "backlog"])
def test_jobs_that_are_gone_never_run(
    redis: Redis, operator: Shedder, marks: str, end: str, place: str
) -> None:
    """A job that was cancelled or deleted or expired while it waited never runs."""
    queue = Queue("mail", connection=redis)
    gone = queue.enqueue(jobs.mark, marks, "gone", ttl=100)
    stays = queue.enqueue(jobs.mark, marks, "stays")
    if place == "parked":
        operator.pause("mail", reason="a test")
        redis.rename(f"{KEYS.engine.lists}mail", KEYS.parked("mail"))
    elif place == "backlog":
        operator.divert("mail", reason="a test")
    if end == "expire":
        redis.pexpire(gone.key, 1)
        wait_until(lambda: not redis.exists(gone.key))
    else:
        getattr(gone, end)()
    operator.resume("mail", reason="a test")
    operator.drain_at_once("mail", reason="a test")
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert (["stays"], JobStatus.FINISHED) == (jobs.started(marks), status_of(stays))
    assert [] == waiting(redis)


def test_cancelled_in_hand(redis: Redis, marks: str) -> None:
    """A job that is cancelled between the claim and the start does not start."""
    job = Queue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    worker = SimpleWorker(["mail"], connection=redis)
    found = worker.dequeue_job_and_maintain_ttl(None)
    assert found is not None
    job.cancel()
    worker.execute_job(*found)
    assert ([], JobStatus.CANCELED) == (jobs.started(marks), status_of(job))


@FORKS_AND_NOT
def test_an_id_that_is_twice_in_a_list(
    redis: Redis, marks: str, worker_class: type[BaseWorker]
) -> None:
    """A job whose id was pushed twice, as by a reply that was lost, runs once."""
    job = Queue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    redis.rpush(f"{KEYS.engine.lists}mail", job.id)
    run_burst(worker_class(["mail"], connection=redis))
    assert (["a"], []) == (jobs.started(marks), waiting(redis))


def test_an_id_that_two_workers_hold(redis: Redis, marks: str) -> None:
    """Of two workers that hold the same job at the same time one starts it."""
    job = Queue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    redis.rpush(f"{KEYS.engine.lists}mail", job.id)
    workers = [SimpleWorker(["mail"], connection=redis) for _ in range(2)]
    found = [worker.dequeue_job_and_maintain_ttl(None) for worker in workers]
    for worker, each in zip(workers, found, strict=True):
        assert each is not None
        worker.execute_job(*each)
    assert ["a"] == jobs.started(marks)


def test_an_id_that_comes_while_its_job_runs(
    redis: Redis, yard: Yard, marks: str, tmp_path: Path
) -> None:
    """The second id of a job that runs is dropped, and the job runs once."""
    hold = str(tmp_path / "go")
    job = Queue("mail", connection=redis).enqueue(jobs.hold, marks, "a", hold)
    worker = yard.start("mail", burst=True)
    wait_until(lambda: jobs.started(marks) == ["a"])
    redis.rpush(f"{KEYS.engine.lists}mail", job.id)
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert [] == waiting(redis)
    Path(hold).touch()
    worker.wait()
    assert (["a"], JobStatus.FINISHED) == (jobs.started(marks), status_of(job))


# death and delay between claim and start


class DiesBeforeTheGate(SimpleWorker):
    """Is killed with a job in hand."""

    def _ask_gate(self, *args: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


class DiesWithItsHorse(Worker):
    """Is killed with a job in hand that RQ knows of, and its child too."""

    def _ask_gate(self, *args: Any) -> Any:
        os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


class HorseDiesBeforeTheGate(Worker):
    """Its child is killed with a job in hand."""

    def _ask_gate(self, *args: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


class DiesBetweenCrashAndFailure(HorseDiesBeforeTheGate):
    """Is killed itself when it has decided that a job fails, before RQ has written that down."""

    def cleanup_execution(self, *args: Any, **kwargs: Any) -> Any:
        if self._held is None:
            os.kill(os.getpid(), signal.SIGKILL)
        super().cleanup_execution(*args, **kwargs)


class FreezesBeforeTheGate(SimpleWorker):
    """Is halted with a job in hand, until somebody lets it go on."""

    def _ask_gate(self, *args: Any) -> Any:
        os.kill(os.getpid(), signal.SIGSTOP)
        return super()._ask_gate(*args)


class DiesWhenItHasClaimed(Worker):
    """Is killed the moment it knows of its claim."""

    def hold(self, held: Any) -> None:
        if held is not None:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.usefixtures("short_lease")
@pytest.mark.parametrize("worker_class", [DiesBeforeTheGate, DiesWhenItHasClaimed])
def test_the_claim_of_a_dead_worker(
    redis: Redis, yard: Yard, marks: str, worker_class: type[BaseWorker]
) -> None:
    """A job in the hands of a worker that died is the first of its lane again, and runs once."""
    queue = Queue("mail", connection=redis)
    many = [queue.low.enqueue(jobs.mark, marks, key) for key in "abc"]
    assert -signal.SIGKILL == yard.start("mail", worker_class=worker_class).wait()
    assert [job.id for job in many[1:]] == waiting(redis, "mail.low")
    wait_until(lambda: _oldest_claim_ms(redis) > 100)
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert ["a", "b", "c"] == jobs.started(marks)
    assert {JobStatus.FINISHED} == {status_of(job) for job in many}


@pytest.mark.usefixtures("short_lease")
def test_the_claim_of_a_dead_worker_in_a_paused_lane(
    redis: Redis, yard: Yard, operator: Shedder, marks: str
) -> None:
    """A job of a dead worker goes back though its lane is paused, and does not start."""
    queue = Queue("mail", connection=redis)
    many = [queue.enqueue(jobs.mark, marks, key) for key in "ab"]
    yard.start("mail", worker_class=DiesBeforeTheGate).wait()
    operator.pause("mail", reason="a test")
    wait_until(lambda: _oldest_claim_ms(redis) > 100)
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert ([], [job.id for job in many]) == (jobs.started(marks), waiting(redis))


@pytest.mark.usefixtures("short_lease")
def test_the_claim_of_a_dead_worker_in_a_diverted_lane(
    redis: Redis, yard: Yard, operator: Shedder, marks: str
) -> None:
    """A job of a dead worker goes to the front of the backlog when its lane was diverted."""
    queue = Queue("mail", connection=redis)
    many = [queue.enqueue(jobs.mark, marks, key) for key in "ab"]
    yard.start("mail", worker_class=DiesBeforeTheGate).wait()
    order = operator.divert("mail", reason="a test").lanes[2].order
    wait_until(lambda: _oldest_claim_ms(redis) > 100)
    run_burst(SimpleWorker(["mail"], connection=redis))
    front, rest, _ = KEYS.backlog(order, "mail")
    assert ([many[0].id.encode()], [many[1].id.encode()]) == (
        redis.lrange(front, 0, -1),
        redis.lrange(rest, 0, -1),
    )


@pytest.mark.usefixtures("short_lease")
def test_a_worker_that_thaws(redis: Redis, yard: Yard, marks: str) -> None:
    """A worker that thaws after its claim was taken back does not start the job."""
    job = Queue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    worker = yard.start("mail", worker_class=FreezesBeforeTheGate, burst=True)
    wait_until(lambda: _is_halted(worker.pid), what="the worker, halted")
    wait_until(lambda: _oldest_claim_ms(redis) > 100)
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert ["a"] == jobs.ended(marks)
    worker.send(signal.SIGCONT)
    assert 0 == worker.wait()
    assert (["a"], JobStatus.FINISHED) == (jobs.started(marks), status_of(job))
    assert [] == StartedJobRegistry("mail", connection=redis).get_job_ids()


@pytest.mark.usefixtures("short_lease")
def test_a_start_that_a_dead_worker_left_behind(
    redis: Redis, yard: Yard, marks: str, tmp_path: Path
) -> None:
    """What a worker registered before it died does not fail the job that another one runs."""
    hold = str(tmp_path / "go")
    job = Queue("mail", connection=redis).enqueue(jobs.hold, marks, "a", hold)
    yard.start("mail", worker_class=DiesWithItsHorse).wait()
    registry = StartedJobRegistry("mail", connection=redis)
    former: Any = redis.zrange(registry.key, 0, -1)[0]
    wait_until(lambda: _oldest_claim_ms(redis) > 100)
    worker = yard.start("mail", burst=True)
    wait_until(lambda: jobs.started(marks) == ["a"])
    redis.zadd(registry.key, {former: 1.0}, xx=True)  # it has expired meanwhile
    registry.cleanup()
    assert JobStatus.STARTED == status_of(job)
    Path(hold).touch()
    worker.wait()
    assert (["a"], JobStatus.FINISHED) == (jobs.started(marks), status_of(job))
    assert 0 == len(Queue("mail", connection=redis).failed_job_registry)


def test_a_token_of_another_claim(redis: Redis, marks: str) -> None:
    """Whoever holds a claim that was given to another worker is told so, and starts nothing."""
    Queue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    first, second = (SimpleWorker(["mail"], connection=redis) for _ in range(2))
    found = first.dequeue_job_and_maintain_ttl(None)
    assert found is not None
    token: Any = redis.zrange(KEYS.claims, 0, -1)[0]
    redis.zadd(KEYS.claims, {token: 0.0})
    again = second.dequeue_job_and_maintain_ttl(None)
    assert again is not None
    first.execute_job(*found)
    assert [] == jobs.started(marks)
    second.execute_job(*again)
    assert ["a"] == jobs.started(marks)


@FORKS_AND_NOT
def test_a_long_import(
    redis: Redis,
    yard: Yard,
    marks: str,
    imports: Path,
    monkeypatch: pytest.MonkeyPatch,
    worker_class: type[BaseWorker],
) -> None:
    """A worker that imports for longer than the lease keeps its claim, and the job runs once."""
    monkeypatch.setenv("SHEDDER_TEST_IMPORT", "slow")
    monkeypatch.setattr("shedder.rq.claims.LEASE_MS", 400)
    monkeypatch.setattr("shedder.rq.heart.RENEW_SECONDS", 0.01)
    job = Queue("mail", connection=redis).enqueue("tests.rq.deadly.run", marks, "a")
    worker = yard.start("mail", worker_class=worker_class, burst=True)
    wait_until(lambda: imports.read_text() != "")
    deadline = time.monotonic() + 0.7
    while time.monotonic() < deadline:
        run_burst(SimpleWorker(["mail"], connection=redis))
    assert "slow\n" == imports.read_text()
    worker.wait()
    assert (["a"], JobStatus.FINISHED) == (jobs.started(marks), status_of(job))
    assert None is redis.hget(job.key, CRASHES_FIELD)


# crashes


def test_a_crash_before_the_start(redis: Redis, yard: Yard, marks: str) -> None:
    """A job whose process died before it started is the first of its lane again."""
    queue = Queue("mail", connection=redis)
    many = [queue.enqueue(jobs.mark, marks, key) for key in "ab"]
    worker = yard.start("mail", worker_class=HorseDiesBeforeTheGate, max_jobs=1)
    assert 0 == worker.wait()
    assert [job.id for job in many] == waiting(redis)
    assert (JobStatus.QUEUED, b"1") == (status_of(many[0]), redis.hget(many[0].key, CRASHES_FIELD))
    assert [] == StartedJobRegistry("mail", connection=redis).get_job_ids()
    run_burst(Worker(["mail"], connection=redis))
    assert ["a", "b"] == jobs.started(marks)
    assert None is redis.hget(many[0].key, CRASHES_FIELD)


@pytest.mark.parametrize("retries", [0, 1])
def test_crashes_without_end(redis: Redis, yard: Yard, marks: str, retries: int) -> None:
    """A job fails, or is tried again, when its process died three times before it started."""
    retry = Retry(max=retries) if retries else None
    job = Queue("mail", connection=redis).enqueue(jobs.mark, marks, "a", retry=retry)
    assert 0 == yard.start("mail", worker_class=HorseDiesBeforeTheGate, max_jobs=3).wait()
    assert [] == jobs.started(marks)
    assert ([job.id] if retries else []) == waiting(redis)
    assert (JobStatus.QUEUED if retries else JobStatus.FAILED) == status_of(job)
    assert (0 if retries else 1) == len(Queue("mail", connection=redis).failed_job_registry)


def test_killed_while_it_fails_a_job(redis: Redis, yard: Yard, marks: str) -> None:
    """A worker that dies between the third crash of a job and its failure leaves it to RQ."""
    job = Queue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    redis.hset(job.key, CRASHES_FIELD, 2)
    yard.start("mail", worker_class=DiesBetweenCrashAndFailure, max_jobs=1).wait()
    started = StartedJobRegistry("mail", connection=redis)
    assert (JobStatus.STARTED, [job.id]) == (status_of(job), started.get_job_ids(cleanup=False))
    assert (0, 0) == (redis.zcard(KEYS.claims), redis.hlen(KEYS.starting))
    started.cleanup(timestamp=time.time() + 10_000)
    assert (JobStatus.FAILED, []) == (status_of(job), jobs.started(marks))


def test_an_import_that_kills(
    redis: Redis, yard: Yard, marks: str, imports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that kills each process which imports its function fails at the third."""
    monkeypatch.setenv("SHEDDER_TEST_IMPORT", "kill")
    queue = Queue("mail", connection=redis)
    deadly = queue.enqueue("tests.rq.deadly.run", marks, "deadly")
    queue.enqueue(jobs.mark, marks, "next")
    assert 0 == yard.start("mail", burst=True).wait()
    assert ("kill\n" * 3, ["next"]) == (imports.read_text(), jobs.started(marks))
    assert JobStatus.FAILED == status_of(deadly)
    assert [deadly.id] == queue.failed_job_registry.get_job_ids()


@pytest.mark.usefixtures("short_lease")
def test_an_import_that_kills_workers(
    redis: Redis, yard: Yard, marks: str, imports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that kills workers which do not fork fails at the third."""
    monkeypatch.setenv("SHEDDER_TEST_IMPORT", "kill")
    job = Queue("mail", connection=redis).enqueue("tests.rq.deadly.run", marks, "deadly")
    for number in range(3):
        wait_until(lambda: redis.zcard(KEYS.claims) == 0 or _oldest_claim_ms(redis) > 100)
        assert -signal.SIGKILL == yard.start("mail", worker_class=SimpleWorker, burst=True).wait()
        assert (JobStatus.STARTED if number == 2 else JobStatus.QUEUED) == status_of(job)
    registry = StartedJobRegistry("mail", connection=redis)
    registry.cleanup(timestamp=time.time() + 1000)
    assert ("kill\n" * 3, JobStatus.FAILED) == (imports.read_text(), status_of(job))
    redis.delete(KEYS.starting)  # the third was killed before it could say that it runs


@FORKS_AND_NOT
def test_an_import_that_exits(
    redis: Redis,
    yard: Yard,
    marks: str,
    imports: Path,
    monkeypatch: pytest.MonkeyPatch,
    worker_class: type[BaseWorker],
) -> None:
    """A module that exits when it is imported fails the job, and the worker goes on."""
    monkeypatch.setenv("SHEDDER_TEST_IMPORT", "exit")
    queue = Queue("mail", connection=redis)
    job = queue.enqueue("tests.rq.deadly.run", marks, "deadly")
    queue.enqueue(jobs.mark, marks, "next")
    assert 0 == yard.start("mail", worker_class=worker_class, burst=True).wait()
    assert (["next"], JobStatus.FAILED) == (jobs.started(marks), status_of(job))


def test_an_import_that_hangs(
    redis: Redis, yard: Yard, marks: str, imports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that hangs when it is imported is interrupted after the job's timeout."""
    monkeypatch.setenv("SHEDDER_TEST_IMPORT", "hang")
    job = Queue("mail", connection=redis).enqueue(
        "tests.rq.deadly.run", marks, "deadly", job_timeout=1
    )
    assert 0 == yard.start("mail", worker_class=SimpleWorker, burst=True).wait()
    assert ([], JobStatus.FAILED) == (jobs.started(marks), status_of(job))


def test_stopped_before_the_start(
    redis: Redis, yard: Yard, marks: str, imports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that is stopped while its function is imported is stopped, and does not come back."""
    monkeypatch.setenv("SHEDDER_TEST_IMPORT", "hang")
    job = Queue("mail", connection=redis).enqueue("tests.rq.deadly.run", marks, "a")
    worker = yard.start("mail", burst=True)
    wait_until(lambda: imports.read_text() != "")
    (execution,) = job.get_executions()
    send_stop_execution_command(redis, job.id, execution.id)
    assert 0 == worker.wait()
    assert ([], [], JobStatus.STOPPED) == (jobs.started(marks), waiting(redis), status_of(job))


def test_killed_while_it_runs(redis: Redis, yard: Yard, marks: str, tmp_path: Path) -> None:
    """A job whose process died after its start fails, as with RQ."""
    hold = str(tmp_path / "go")
    job = Queue("mail", connection=redis).enqueue(jobs.hold, marks, "a", hold)
    worker = yard.start("mail", burst=True)
    wait_until(lambda: jobs.started(marks) == ["a"])
    (child,) = worker.children()
    os.kill(child, signal.SIGKILL)
    assert 0 == worker.wait()
    assert (["a"], [], JobStatus.FAILED) == (jobs.started(marks), waiting(redis), status_of(job))


class LosesItsScripts(Worker):
    """Asks the gate just after somebody has flushed the scripts."""

    def _ask_gate(self, *args: Any) -> Any:
        self.connection.script_flush()
        return super()._ask_gate(*args)


class SimplyLosesItsScripts(SimpleWorker):
    """The same in one process."""

    def _ask_gate(self, *args: Any) -> Any:
        self.connection.script_flush()
        return super()._ask_gate(*args)


@pytest.mark.parametrize("worker_class", [LosesItsScripts, SimplyLosesItsScripts])
def test_scripts_that_are_lost_before_the_gate(
    redis: Redis, yard: Yard, marks: str, worker_class: type[BaseWorker]
) -> None:
    """The gate is asked with its text when the server does not know it any more."""
    job = Queue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    assert 0 == yard.start("mail", worker_class=worker_class, burst=True).wait()
    assert (["a"], JobStatus.FINISHED) == (jobs.started(marks), status_of(job))


class MeetsAFullServer(SimpleWorker):
    """Asks the gate of a server that is full, until it has been refused once."""

    refusals: ClassVar[list[tuple[bool, int]]] = []

    def _ask_gate(self, job: Job, *args: Any) -> Any:
        bear = self._patience.bear

        def bear_once(error: RedisError, *, seconds: float) -> None:
            if isinstance(error, OutOfMemoryError):
                registry = StartedJobRegistry("mail", connection=self.connection)
                self.refusals.append((job.get_status() == JobStatus.STARTED, registry.count))
                self.connection.config_set("maxmemory", 0)
            bear(error, seconds=seconds)

        self._patience.bear = bear_once  # type: ignore[method-assign]
        self.connection.config_set("maxmemory", 1)
        return super()._ask_gate(job, *args)


def test_a_full_server_starts_no_job_without_rqs_record(
    redis: Redis, marks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the gate does and RQ's record of it come together, or neither comes."""
    monkeypatch.setattr(MeetsAFullServer, "refusals", [])
    job = Queue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    try:
        run_burst(MeetsAFullServer(["mail"], connection=redis))
    finally:
        redis.config_set("maxmemory", 0)
    assert [(False, 0)] == MeetsAFullServer.refusals
    assert (["a"], JobStatus.FINISHED) == (jobs.started(marks), status_of(job))


# polite ends


class IsToldToStop(Worker):
    """Gets a signal with a job in hand."""

    def reorder_queues(self, reference_queue: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        super().reorder_queues(reference_queue)


class IsToldToStopWhileItClaims(SimpleWorker):
    """Gets a signal between the server's decision and the worker's knowledge of it."""

    def hold(self, held: Any) -> None:
        if held is not None:
            os.kill(os.getpid(), signal.SIGTERM)
        super().hold(held)


class IsToldToStopTwice(SimpleWorker):
    """Gets a second signal, which ends it at once, with a job in hand."""

    def _ask_gate(self, *args: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        self._shutdown_requested_date = datetime(2020, 1, 1, tzinfo=UTC)
        os.kill(os.getpid(), signal.SIGTERM)
        return super()._ask_gate(*args)


class IsToldToStopWhereItIsCaught(SimpleWorker):
    """Gets a signal in a place that catches all, such as a log line that is being written."""

    def check_for_suspension(self, burst: bool) -> None:
        with suppress(Exception):
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    "worker_class",
    [IsToldToStop, IsToldToStopWhileItClaims, IsToldToStopTwice, IsToldToStopWhereItIsCaught],
)
def test_told_to_stop_with_a_job_in_hand(
    redis: Redis, yard: Yard, marks: str, worker_class: type[BaseWorker]
) -> None:
    """A worker that is told to stop gives the job in its hands back, and loses nothing."""
    queue = Queue("mail", connection=redis)
    many = [queue.enqueue(jobs.mark, marks, key) for key in "abc"]
    assert 0 == yard.start("mail", worker_class=worker_class).wait()
    assert ([], [job.id for job in many]) == (jobs.started(marks), waiting(redis))
    assert 0 == redis.zcard(KEYS.claims)
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert ["a", "b", "c"] == jobs.started(marks)
    assert None is redis.hget(many[0].key, CRASHES_FIELD)


class IsToldToStopWhileItRests(SimpleWorker):
    """Gets a signal that is caught while another worker looks for both."""

    def is_silent_for(self, seconds: float) -> bool:
        if not self._stop_requested:
            with suppress(Exception):
                os.kill(os.getpid(), signal.SIGTERM)
        return super().is_silent_for(seconds)


def test_told_to_stop_while_another_one_looks(redis: Redis, yard: Yard) -> None:
    """A worker that rests ends when it is told to, though nobody calls it to the lookout."""
    yard.start("mail").wait_until_idle(redis)
    wait_until(lambda: list(redis.scan_iter("*lookout*")), what="somebody on lookout")
    assert 0 == yard.start("mail", worker_class=IsToldToStopWhileItRests).wait(timeout=15)


@FORKS_AND_NOT
def test_told_to_stop_while_a_job_runs(
    redis: Redis, yard: Yard, marks: str, tmp_path: Path, worker_class: type[BaseWorker]
) -> None:
    """A worker that is told to stop finishes the job that it runs and takes no other."""
    hold = str(tmp_path / "go")
    queue = Queue("mail", connection=redis)
    first = queue.enqueue(jobs.hold, marks, "first", hold)
    last = queue.enqueue(jobs.mark, marks, "last")
    worker = yard.start("mail", worker_class=worker_class)
    wait_until(lambda: jobs.started(marks) == ["first"])
    worker.send(signal.SIGTERM)
    wait_until(lambda: redis.hexists(worker.key, "shutdown_requested_date"))
    Path(hold).touch()
    assert 0 == worker.wait()
    assert (["first"], [last.id]) == (jobs.started(marks), waiting(redis))
    assert JobStatus.FINISHED == status_of(first)


@FORKS_AND_NOT
def test_told_to_stop_while_idle(redis: Redis, yard: Yard, worker_class: type[BaseWorker]) -> None:
    """An idle worker that is told to stop ends at once and is registered no more."""
    worker = yard.start("mail", worker_class=worker_class).wait_until_idle(redis)
    worker.send(signal.SIGTERM)
    assert 0 == worker.wait()
    assert set() == redis.smembers(f"{RQ_KEY_PREFIX}:workers")


# jobs that nobody can read


@pytest.mark.parametrize(
    ("field", "value"),
    [("status", "of another world"), ("timeout", "soon"), ("created_at", "yesterday")],
)
@FORKS_AND_NOT
def test_a_hash_that_cannot_be_read(
    redis: Redis, marks: str, field: str, value: str, worker_class: type[BaseWorker]
) -> None:
    """A job whose hash makes no sense is set aside among the failed, and the next one runs."""
    queue = Queue("mail", connection=redis)
    odd = queue.enqueue(jobs.mark, marks, "odd")
    queue.enqueue(jobs.mark, marks, "next")
    redis.hset(odd.key, field, value)
    run_burst(worker_class(["mail"], connection=redis))
    assert (["next"], []) == (jobs.started(marks), waiting(redis))
    assert [odd.id] == queue.failed_job_registry.get_job_ids()
    assert b"failed" == redis.hget(odd.key, "status")


@FORKS_AND_NOT
def test_data_that_cannot_be_read(redis: Redis, marks: str, worker_class: type[BaseWorker]) -> None:
    """A job whose data cannot be deserialized fails, as with RQ, and the next one runs."""
    queue = Queue("mail", connection=redis)
    odd = queue.enqueue(jobs.mark, marks, "odd")
    queue.enqueue(jobs.mark, marks, "next")
    redis.hset(odd.key, "data", b"no pickle")
    run_burst(worker_class(["mail"], connection=redis))
    assert (["next"], JobStatus.FAILED) == (jobs.started(marks), status_of(odd))
    assert [odd.id] == queue.failed_job_registry.get_job_ids()


@FORKS_AND_NOT
def test_a_function_that_does_not_exist(
    redis: Redis, marks: str, worker_class: type[BaseWorker]
) -> None:
    """A job whose function cannot be imported fails, as with RQ, and the next one runs."""
    queue = Queue("mail", connection=redis)
    odd = queue.enqueue("no.such.function", marks)
    queue.enqueue(jobs.mark, marks, "next")
    run_burst(worker_class(["mail"], connection=redis))
    assert (["next"], JobStatus.FAILED) == (jobs.started(marks), status_of(odd))


# kinds of workers


class OurWorker(WorkerMixin, HerokuWorker):
    """A user's own class, on top of another of RQ's."""

    def perform_job(self, *args: Any, **kwargs: Any) -> bool:
        self.log.info("our own perform_job")
        return super().perform_job(*args, **kwargs)


class OurRoundRobinWorker(WorkerMixin, RQRoundRobinWorker):
    """One of RQ's classes that bring a strategy."""


@pytest.mark.parametrize(
    "worker_class", [Worker, SimpleWorker, SpawnWorker, OurWorker, OurRoundRobinWorker]
)
def test_every_class_of_workers(
    redis: Redis, yard: Yard, marks: str, worker_class: type[BaseWorker]
) -> None:
    """Every class of workers with the mixin runs each job once, by priority."""
    queue = Queue("mail", connection=redis)
    many = [queue.lane(each).enqueue(jobs.mark, marks, each) for each in ("low", "normal", "high")]
    assert 0 == yard.start("mail", "reports", worker_class=worker_class, burst=True).wait()
    assert ["high", "normal", "low"] == jobs.started(marks)
    assert {JobStatus.FINISHED} == {status_of(job) for job in many}


@ALL_KINDS
def test_paused_between_claim_and_start(
    redis: Redis, operator: Shedder, marks: str, worker_class: type[BaseWorker]
) -> None:
    """A job that was claimed before a pause and would start after it goes back to the front."""
    queue = Queue("mail", connection=redis)
    many = [queue.enqueue(jobs.mark, marks, key) for key in "ab"]
    worker: Any = worker_class(["mail"], connection=redis)
    worker.register_birth()
    found = worker.dequeue_job_and_maintain_ttl(None)
    operator.pause("mail", reason="a test")
    worker.execute_job(*found)
    assert ([], [job.id for job in many]) == (jobs.started(marks), waiting(redis))
    assert [] == StartedJobRegistry("mail", connection=redis).get_job_ids()


@ALL_KINDS
def test_diverted_between_claim_and_start(
    redis: Redis, operator: Shedder, marks: str, worker_class: type[BaseWorker]
) -> None:
    """A job that was claimed before a divert and would start after it is first in the backlog."""
    queue = Queue("mail", connection=redis)
    many = [queue.enqueue(jobs.mark, marks, key) for key in "ab"]
    worker: Any = worker_class(["mail"], connection=redis)
    worker.register_birth()
    found = worker.dequeue_job_and_maintain_ttl(None)
    operator.divert("mail", reason="a test")
    worker.execute_job(*found)
    assert ([], []) == (jobs.started(marks), waiting(redis))
    operator.drain_at_once("mail", reason="a test")
    assert [job.id for job in many] == waiting(redis)


def environment_of_programs() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}


def rq_command(server: EmbeddedServer, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `rq`, as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "rq.cli", words[0], "--url", server.url, *words[1:]],
        env=environment_of_programs(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
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
def test_command_line(
    redis: Redis, server: EmbeddedServer, marks: str, words: tuple[str, ...]
) -> None:
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


# RQ's own options


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
def test_protocols(
    redis: Redis, yard: Yard, marks: str, worker_class: type[BaseWorker], protocol: int
) -> None:
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
from shedder.facade import Shedder
from shedder.rq import Queue, SimpleWorker
from tests import jobs
client = redis.Redis.from_url({server.url!r})
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
    subprocess.run([sys.executable, "-c", program], env=environment, timeout=30, check=True)
    assert ["a"] == jobs.started(marks)
    others = [key for key in map(text_of, redis.scan_iter()) if not key.startswith("{app}:")]
    assert ([], True) == (others, bool(redis.exists("{app}:shedder:events")))


def _oldest_claim_ms(redis: Redis) -> float:
    """How long ago the oldest claim gave its last sign of life."""
    oldest: Any = redis.zrange(KEYS.claims, 0, 0, withscores=True)
    if not oldest:
        return 0.0
    seconds, microseconds = redis.time()
    return float(seconds * 1000 + microseconds / 1000 - oldest[0][1])


def _is_halted(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    return stat.rpartition(")")[2].split()[0] == "T"
