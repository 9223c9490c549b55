"""A job whose worker dies, freezes or is slow before the start."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rq.job import JobStatus
from rq.registry import StartedJobRegistry

from shedder.engine.names import rq_keys
from shedder.queues.claims import CRASHES_FIELD
from shedder.rq import Queue, SimpleWorker, Worker
from tests import jobs
from tests.rq.claims.kinds import FORKS_AND_NOT, is_halted, oldest_claim_ms, status_of, waiting
from tests.waiting import wait_until
from tests.workers import Yard, run_burst

if TYPE_CHECKING:
    from redis import Redis
    from rq.worker import BaseWorker

    from shedder.api.shedder import Shedder

KEYS = rq_keys()


class DiesBeforeTheGate(SimpleWorker):
    """Is killed with a job in hand."""

    def _ask_gate(self, *args: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


class DiesWithItsHorse(Worker):
    """Is killed with a job in hand that RQ knows of, and its child too."""

    def _ask_gate(self, *args: Any) -> Any:
        os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


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
def test_the_claim_of_a_dead_worker(redis: Redis, yard: Yard, marks: str, worker_class: type[BaseWorker]) -> None:
    """A job in the hands of a worker that died is the first of its lane again, and runs once."""
    queue = Queue("mail", connection=redis)
    many = [queue.low.enqueue(jobs.mark, marks, key) for key in "abc"]
    assert -signal.SIGKILL == yard.start("mail", worker_class=worker_class).wait()
    assert [job.id for job in many[1:]] == waiting(redis, "mail.low")
    wait_until(lambda: oldest_claim_ms(redis) > 100)
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert ["a", "b", "c"] == jobs.started(marks)
    assert {JobStatus.FINISHED} == {status_of(job) for job in many}


@pytest.mark.usefixtures("short_lease")
def test_the_claim_of_a_dead_worker_in_a_paused_lane(redis: Redis, yard: Yard, operator: Shedder, marks: str) -> None:
    """A job of a dead worker goes back though its lane is paused, and does not start."""
    queue = Queue("mail", connection=redis)
    many = [queue.enqueue(jobs.mark, marks, key) for key in "ab"]
    yard.start("mail", worker_class=DiesBeforeTheGate).wait()
    operator.pause("mail", reason="a test")
    wait_until(lambda: oldest_claim_ms(redis) > 100)
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert ([], [job.id for job in many]) == (jobs.started(marks), waiting(redis))


@pytest.mark.usefixtures("short_lease")
def test_the_claim_of_a_dead_worker_in_a_diverted_lane(redis: Redis, yard: Yard, operator: Shedder, marks: str) -> None:
    """A job of a dead worker goes to the front of the backlog when its lane was diverted."""
    queue = Queue("mail", connection=redis)
    many = [queue.enqueue(jobs.mark, marks, key) for key in "ab"]
    yard.start("mail", worker_class=DiesBeforeTheGate).wait()
    order = operator.divert("mail", reason="a test").lanes[2].order
    wait_until(lambda: oldest_claim_ms(redis) > 100)
    run_burst(SimpleWorker(["mail"], connection=redis))
    front, rest, _ = KEYS.backlog(order, "mail")
    assert ([many[0].id.encode()], [many[1].id.encode()]) == (redis.lrange(front, 0, -1), redis.lrange(rest, 0, -1))


@pytest.mark.usefixtures("short_lease")
def test_a_worker_that_thaws(redis: Redis, yard: Yard, marks: str) -> None:
    """A worker that thaws after its claim was taken back does not start the job."""
    job = Queue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    worker = yard.start("mail", worker_class=FreezesBeforeTheGate, burst=True)
    wait_until(lambda: is_halted(worker.pid), what="the worker, halted")
    wait_until(lambda: oldest_claim_ms(redis) > 100)
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert ["a"] == jobs.ended(marks)
    worker.send(signal.SIGCONT)
    assert 0 == worker.wait()
    assert (["a"], JobStatus.FINISHED) == (jobs.started(marks), status_of(job))
    assert [] == StartedJobRegistry("mail", connection=redis).get_job_ids()


@pytest.mark.usefixtures("short_lease")
def test_a_start_that_a_dead_worker_left_behind(redis: Redis, yard: Yard, marks: str, tmp_path: Path) -> None:
    """What a worker registered before it died does not fail the job that another one runs."""
    hold = str(tmp_path / "go")
    job = Queue("mail", connection=redis).enqueue(jobs.hold, marks, "a", hold)
    yard.start("mail", worker_class=DiesWithItsHorse).wait()
    registry = StartedJobRegistry("mail", connection=redis)
    former: Any = redis.zrange(registry.key, 0, -1)[0]
    wait_until(lambda: oldest_claim_ms(redis) > 100)
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
    redis: Redis, yard: Yard, marks: str, imports: Path, monkeypatch: pytest.MonkeyPatch, worker_class: type[BaseWorker]
) -> None:
    """A worker renews its claim for as long as it imports, so that the job runs once."""
    monkeypatch.setenv("SHEDDER_TEST_IMPORT", "slow")
    monkeypatch.setattr("shedder.rq.lease.RENEW_SECONDS", 0.01)
    job = Queue("mail", connection=redis).enqueue("tests.rq.deadly.run", marks, "a")
    worker = yard.start("mail", worker_class=worker_class, burst=True)
    wait_until(lambda: imports.read_text() != "")
    ends: set[float] = set()
    while len(ends) < 5:
        ends |= {end for _, end in redis.zrange(KEYS.claims, 0, -1, withscores=True)}
        run_burst(SimpleWorker(["mail"], connection=redis))
    assert "slow\n" == imports.read_text()
    imports.with_name("go").touch()
    worker.wait()
    assert (["a"], JobStatus.FINISHED) == (jobs.started(marks), status_of(job))
    assert None is redis.hget(job.key, CRASHES_FIELD)
