"""What holds while old and new producers and workers share the queues."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import rq
from rq.job import Job

from shedder import Rate, RetryEnds, Selection, Shedder
from shedder.engine.names import FAILED, registry_key
from shedder.rq import Queue, SimpleWorker
from shedder.store.codec import text_of
from tests.cli.programs import end, environment
from tests.cli.programs import started as begin
from tests.faults.earlier import Earlier, NoHistoryError, before_first, export
from tests.jobs import ended, hold, mark, started
from tests.servers import patient
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workers import Yard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from redis import Redis

    from shedder.embedded import EmbeddedServer

_EARLIER = "tests.faults.earlier_program"
FAILED_OF_MAIL = registry_key(FAILED, "mail")

STOCK, OURS = rq.SimpleWorker, SimpleWorker


@pytest.fixture
def yard(server: EmbeddedServer, tmp_path: Path) -> Iterator[Yard]:
    """Starts workers, and ends them with the test."""
    with Yard(server, tmp_path) as workers:
        yield workers


@pytest.fixture
def marks(tmp_path: Path) -> str:
    """The file in which the test's jobs leave their marks."""
    return str(tmp_path / "marks")


@pytest.fixture
def operator(redis: Redis) -> Shedder:
    return Shedder(redis, by="oncall@ops")


def producers(redis: Redis) -> tuple[rq.Queue, Queue]:
    """One of RQ's own, one of ours."""
    return rq.Queue("mail", connection=redis), Queue("mail", connection=redis)


@pytest.mark.parametrize(
    "workers", [(OURS, OURS), (STOCK, OURS), (STOCK, STOCK)], ids=["ours", "half of each", "stock"]
)
def test_every_job_runs_once_whoever_enqueues_and_works(
    yard: Yard, redis: Redis, marks: str, workers: tuple[Any, ...]
) -> None:
    """Jobs of both producers, before and after the workers start, by workers of any mix."""
    both = producers(redis)
    for number in range(20):
        both[number % 2].enqueue(mark, marks, f"early {number}")
    fleet = [yard.start("mail", worker_class=kind) for kind in workers]
    for worker in fleet:
        wait_until(lambda each=worker: redis.exists(each.key), what="a worker")
    for number in range(20):
        both[number % 2].enqueue(mark, marks, f"late {number}")
    wait_until(lambda: len(ended(marks)) >= 40, what="all jobs")
    expected = {f"{when} {number}" for when in ("early", "late") for number in range(20)}
    assert (sorted(expected), 0) == (sorted(ended(marks)), len(both[0]))


def test_our_workers_obey_for_stock_producers(yard: Yard, redis: Redis, operator: Shedder, marks: str) -> None:
    """Step 2: a pause and a divert by function hold for jobs of producers that know nothing."""
    stock, _ = producers(redis)
    operator.pause("mail", reason="r")
    operator.divert("mail", selection=Selection.parse(functions=["*.hold"]), reason="r")
    yard.start("mail", worker_class=OURS).wait_until_idle(redis)
    stock.enqueue(hold, marks, "diverted", marks)
    stock.enqueue(mark, marks, "paused")
    assert () == operator.pause("mail", reason="again").stock_workers
    operator.resume("mail", reason="r")
    wait_until(lambda: ended(marks) == ["paused"], what="the job that is not diverted")
    wait_until(lambda: operator.status("mail").lanes[0].waiting == 0, what="the divert")
    (normal,) = [lane for lane in operator.status("mail").lanes if lane.lane == "mail"]
    assert (1, 0) == (normal.backlog, normal.waiting)


def test_stock_workers_reach_neither_what_waits_nor_what_our_producers_add(
    yard: Yard, redis: Redis, operator: Shedder, marks: str
) -> None:
    """What a stock producer adds afterwards they run: it is the one thing that is not promised."""
    stock, ours = producers(redis)
    ours.enqueue(mark, marks, "waits")
    yard.start("mail", worker_class=STOCK, with_scheduler=False)
    wait_until(lambda: "waits" in ended(marks), what="a stock worker")
    receipt = operator.pause("mail", reason="r")
    assert (1, "mail") == (len(receipt.stock_workers), receipt.stock_workers[0].lanes[0])
    ours.enqueue(mark, marks, "ours")
    stock.enqueue(mark, marks, "stock")
    wait_until(lambda: "stock" in ended(marks), what="the job of the stock producer")
    assert ["waits", "stock"] == ended(marks)
    warnings = [text for lane in operator.status("mail").lanes for text in lane.warnings]
    assert any("1 stock worker serves mail and obeys neither" in text for text in warnings)
    operator.resume("mail", reason="r")
    wait_until(lambda: "ours" in ended(marks), what="the job that was parked")


def test_a_fleet_that_is_replaced_one_by_one_runs_every_job(
    redis: Redis, operator: Shedder, marks: str, begun: Callable[..., Any]
) -> None:
    """Real `rq worker` processes, stock first, ours by the environment alone; then the way back."""
    stock, ours = producers(redis)
    old = begun("rq.cli", "worker", "mail", "--name", "old")
    wait_until(lambda: redis.hget("rq:worker:old", "state") == b"idle", what="old")
    stock.enqueue(mark, marks, "step 0")
    wait_until(lambda: ended(marks) == ["step 0"], what="step 0")
    begun("rq.cli", "worker", "mail", "--name", "new", classes=True)
    wait_until(lambda: redis.hget("rq:worker:new", "state") == b"idle", what="new")
    assert {"old": True, "new": False} == {each.name: each.is_stock for each in operator.workers("mail")}
    end(old)
    redis.delete("rq:worker:old")
    stock.enqueue(mark, marks, "step 2")
    ours.low.enqueue(mark, marks, "step 4, low")
    ours.enqueue(mark, marks, "step 4")
    wait_until(lambda: len(ended(marks)) == 4, what="step 4")
    assert () == operator.pause("mail", reason="r").stock_workers


def test_a_lane_that_only_a_stock_fleet_could_serve_is_warned_of(
    yard: Yard, redis: Redis, operator: Shedder, marks: str
) -> None:
    """A stock worker of `mail` leaves `mail.low` alone, and `status` says what to start."""
    worker = yard.start("mail", worker_class=STOCK)
    wait_until(lambda: redis.exists(worker.key), what="a worker")
    Queue("mail", connection=redis).low.enqueue(mark, marks, "low")
    (low,) = operator.status("mail.low").lanes
    expected = "mail.low has 1 job and no worker: start one that serves mail, or a stock one for it."
    assert (expected,) == low.warnings


@pytest.fixture
def earlier(tmp_path: Path) -> Earlier:
    """The shedder of before failed jobs could come back."""
    try:
        return export(before_first("src/shedder/queues/retry.py"), tmp_path)
    except NoHistoryError as error:
        pytest.skip(str(error))


@pytest.fixture
def older(server: EmbeddedServer, tmp_path: Path, earlier: Earlier) -> Iterator[Callable[..., Any]]:
    """Starts processes of the earlier shedder, which end with the test."""
    running: list[Any] = []

    def start(role: str, *more: str) -> Any:
        words = (_EARLIER, role, str(earlier.folder), patient(server.url), *more)
        running.append(earlier.run(*words, log=tmp_path / f"earlier-{len(running)}.log"))
        return running[-1]

    yield start
    for process in running:
        end(process)


def _let_fail(redis: Redis, older: Callable[..., Any], marks: str, *keys: str, times: int) -> None:
    """The earlier producer enqueues jobs, which fail at the earlier worker."""
    before = redis.zcard(FAILED_OF_MAIL)
    assert 0 == older("failing", marks, str(times), *keys).wait(PATIENCE_SECONDS)
    wait_until(lambda: redis.zcard(FAILED_OF_MAIL) == before + len(keys), what="the failures")


def _said_by_failed(redis: Redis) -> dict[str, str]:
    """The job that failed by id, and with what."""
    failed = [text_of(job) for job in redis.zrange(FAILED_OF_MAIL, 0, -1)]
    return {job: Job.fetch(job, connection=redis).exc_info or "" for job in failed}


def test_what_failed_comes_back_through_an_older_fleet(
    redis: Redis, operator: Shedder, older: Callable[..., Any], marks: str
) -> None:
    """Producers and workers of before there was a retry: each job comes back once, and all are told of."""
    keys = [f"job-{number}" for number in range(20)]
    older("worker")
    _let_fail(redis, older, marks, *keys, times=1)
    receipt = operator.retry("mail", rate=Rate(1000.0), first=20, reason="it is back")
    wait_until(lambda: operator.retry_ends(receipt).is_over, what="the jobs")
    assert dict.fromkeys(keys, 2) == Counter(started(marks))
    assert (RetryEnds(well=20), {}) == (operator.retry_ends(receipt), _said_by_failed(redis))
    assert operator.audit().is_clean


def test_a_retry_halts_and_is_taken_back_in_an_older_fleet(
    redis: Redis, operator: Shedder, older: Callable[..., Any], marks: str
) -> None:
    """Workers of before there was a retry count how its jobs end; what has not started goes back."""
    keys = [f"job-{number}" for number in range(40)]
    older("worker")
    _let_fail(redis, older, marks, *keys, times=1_000_000)
    receipt = operator.retry("mail", rate=Rate(1000.0), reason="is it back?")
    wait_until(lambda: _orders(operator)[0].halted, what="the halt")
    wait_until(lambda: not operator.status("mail").lanes[0].running, what="the last job")
    again, left = redis.zcard(FAILED_OF_MAIL), _orders(operator)[0].backlog
    assert 40 == again + left
    assert 20 <= again
    operator.undo(receipt.event, reason="it is not")
    assert (40, ()) == (redis.zcard(FAILED_OF_MAIL), _orders(operator))
    assert 40 + again == len(started(marks))


def test_an_older_operator_says_what_it_cannot_do_to_a_retry(
    redis: Redis, server: EmbeddedServer, operator: Shedder, earlier: Earlier, older: Callable[..., Any], marks: str
) -> None:
    """It has no retry and no way back from one, says so and changes nothing; it brings the backlog back at once."""
    worker = older("worker")
    _let_fail(redis, older, marks, "a", "b", "c", times=1)
    end(worker)
    receipt = operator.retry("mail", rate=Rate(0.01), reason="slowly")

    def order(*words: str) -> tuple[int, str]:
        done = earlier.shedder("--url", patient(server.url), *words)
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    code, said = order("undo", receipt.event, "-r", "not yet", "--yes")
    assert (3, True) == (code, "there is no way back from 'retry'" in said), said
    code, said = order("retry", "mail", "--dry-run")
    assert (2, True) == (code, "No such command 'retry'" in said), said
    assert 3 == _orders(operator)[0].backlog
    assert 0 == order("drain", "mail", "--at-once", "-r", "all", "--yes")[0]
    older("worker")
    wait_until(lambda: Counter(started(marks)) == {"a": 2, "b": 2, "c": 2}, what="the jobs")


def _orders(operator: Shedder) -> Any:
    (normal,) = [lane for lane in operator.status("mail").lanes if lane.lane == "mail"]
    return normal.diverts


@pytest.fixture
def begun(server: EmbeddedServer) -> Iterator[Callable[..., Any]]:
    """Starts programs of Python, which end with the test."""
    running: list[Any] = []

    def start(*words: str, classes: bool = False) -> Any:
        named = {"RQ_WORKER_CLASS": "shedder.rq.Worker", "RQ_QUEUE_CLASS": "shedder.rq.Queue"}
        env = environment(RQ_REDIS_URL=patient(server.url), **(named if classes else {}))
        running.append(begin(words, env=env))
        return running[-1]

    yield start
    for process in running:
        end(process)
