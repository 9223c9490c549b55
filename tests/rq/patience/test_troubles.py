"""Does a worker outlive a Redis that is away, busy, full or read-only, and lose nothing?"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis.client
import redis.exceptions
from redis import Redis
from rq import Queue as StockQueue
from rq import Repeat, Retry
from rq import SimpleWorker as StockSimpleWorker
from rq import Worker as StockWorker
from rq.job import Job, JobStatus
from rq.rate_limit import RateLimit

from shedder.rq import Queue, SimpleWorker, Worker, WorkerMixin
from shedder.rq.claims import CRASHES_FIELD
from shedder.rq.layout import rq_keys
from shedder.rq.patience import PatientRedis, is_passing, patient
from tests import jobs
from tests.busy import busy
from tests.waiting import wait_until
from tests.workers import WorkerProcess, Yard, run_burst

if TYPE_CHECKING:
    from rq.worker import BaseWorker

    from shedder.embedded import EmbeddedServer
    from tests.conftest import ServerFactory

KEYS = rq_keys()
SORRY = "Redis does not serve us"
LONGER_THAN_A_SLICE = 1.2
KINDS = pytest.mark.parametrize("worker_class", [Worker, SimpleWorker])


@pytest.fixture
def server(server_factory: ServerFactory) -> EmbeddedServer:
    """A server of the test's own, which forgets nothing."""
    return server_factory(appendonly=True)


@contextmanager
def restarting(server: EmbeddedServer) -> Iterator[None]:
    server.kill()
    yield
    server.start()


@contextmanager
def full(server: EmbeddedServer) -> Iterator[None]:
    with server.client() as operator:
        operator.config_set("maxmemory", "1mb")
        assert "OOM" == _refusal(operator)
        yield
        operator.config_set("maxmemory", 0)


@contextmanager
def read_only(server: EmbeddedServer) -> Iterator[None]:
    with server.client() as operator:
        operator.replicaof("127.0.0.1", "1")
        assert "READONLY" == _refusal(operator)
        yield
        operator.replicaof("NO", "ONE")


TROUBLES = pytest.mark.parametrize("trouble", [restarting, busy, full, read_only])
Trouble = Callable[["EmbeddedServer"], Any]


@TROUBLES
@KINDS
def test_idle(
    server: EmbeddedServer,
    yard: Yard,
    marks: str,
    trouble: Trouble,
    worker_class: type[BaseWorker],
) -> None:
    """A worker that was idle when Redis got into trouble takes the next job after it."""
    with server.client() as client:
        worker = yard.start("mail", "reports", worker_class=worker_class, server=server)
        worker.wait_until_idle(client)
    end = time.monotonic() + LONGER_THAN_A_SLICE
    with trouble(server):  # a worker that waits for its bell may not even notice
        wait_until(lambda: SORRY in worker.log.read_text() or time.monotonic() > end)
    with server.client() as client:
        job = Queue("reports", connection=client).low.enqueue(jobs.mark, marks, "a")
        wait_until(lambda: job.get_status() == JobStatus.FINISHED, what=f"the job; {worker}")
    _end(worker)
    assert ["a"] == jobs.started(marks)


@TROUBLES
@KINDS
def test_in_the_middle_of_a_job(
    server: EmbeddedServer,
    yard: Yard,
    marks: str,
    tmp_path: Path,
    trouble: Trouble,
    worker_class: type[BaseWorker],
) -> None:
    """A job that runs while Redis gets into trouble ends well, and the jobs behind it run once."""
    hold = str(tmp_path / "go")
    with server.client() as client:
        queue = Queue("mail", connection=client)
        many = [queue.enqueue(jobs.hold, marks, "first", hold).id]
        many += [queue.low.enqueue(jobs.mark, marks, str(number)).id for number in range(3)]
        worker = yard.start("mail", "reports", worker_class=worker_class, server=server)
        wait_until(lambda: jobs.started(marks) == ["first"])
    with trouble(server):
        Path(hold).touch()
        _wait_for_notice(worker)
    with server.client() as client:
        wait_until(lambda: len(jobs.ended(marks)) == 4, what=f"all jobs; {worker}")
        _end(worker)
        statuses = {Job.fetch(each, connection=client).get_status() for each in many}
    assert (["first", "0", "1", "2"], {JobStatus.FINISHED}) == (jobs.started(marks), statuses)


@TROUBLES
def test_under_load(
    server: EmbeddedServer,
    yard: Yard,
    marks: str,
    trouble: Trouble,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Workers that are in the middle of everything when trouble comes run each job once."""
    monkeypatch.setattr("shedder.rq.claims.LEASE_MS", 2_000)
    keys = [str(number) for number in range(60)]
    with server.client() as client:
        queue = Queue("mail", connection=client)
        many = queue.enqueue_many(
            [Queue.prepare_data(jobs.mark, (marks, key, 0.005)) for key in keys]
        )
        names = ("mail", "reports")
        kinds = (Worker, SimpleWorker)
        workers = [yard.start(*names, worker_class=kind, server=server) for kind in kinds]
        wait_until(lambda: len(jobs.started(marks)) > 10)
    with trouble(server):
        for worker in workers:
            _wait_for_notice(worker)
    with server.client() as client:
        wait_until(lambda: len(jobs.ended(marks)) >= 60, what=f"all jobs; {workers[0]}")
        for worker in workers:
            _end(worker)
        statuses = {Job.fetch(each.id, connection=client).get_status() for each in many}
        assert 0 == client.zcard(KEYS.claims)
    assert (sorted(keys), {JobStatus.FINISHED}) == (sorted(jobs.started(marks)), statuses)


@KINDS
def test_told_to_stop_while_redis_is_away(
    server: EmbeddedServer,
    yard: Yard,
    worker_class: type[BaseWorker],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An idle worker that is told to stop does not wait for ever for a Redis that is away."""
    monkeypatch.setattr("shedder.rq.worker.LAST_PATIENCE_SECONDS", 0.3)
    with server.client() as client:
        worker = yard.start("mail", worker_class=worker_class, server=server)
        worker.wait_until_idle(client)
    server.kill()
    _wait_for_notice(worker)
    worker.send(signal.SIGTERM)
    worker.wait()


def test_lost_replies(redis_of_ours: Redis, marks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that loses every sixth reply, and so sends commands twice, runs each job once."""
    monkeypatch.setattr("shedder.rq.claims.LEASE_MS", 300)
    monkeypatch.setattr("shedder.rq.patience.FIRST_WAIT_SECONDS", 0.001)
    keys = [str(number) for number in range(40)]
    queue = Queue("mail", connection=redis_of_ours)
    for key in keys:
        queue.low.enqueue(jobs.mark, marks, key)
    lossy = _lose_replies(monkeypatch, random.Random(7))
    worker = SimpleWorker(["mail", "reports"], connection=redis_of_ours)

    def is_done() -> bool:
        run_burst(worker)
        return int(redis_of_ours.zcard(KEYS.claims)) == 0

    wait_until(is_done, timeout=20, interval=0.05)
    assert Counter(keys) == Counter(jobs.started(marks))
    assert 20 < lossy.lost


def test_a_start_whose_reply_was_lost(
    redis_of_ours: Redis, marks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that never heard that its job may start asks again, and starts it."""
    job = Queue("mail", connection=redis_of_ours).enqueue(jobs.mark, marks, "a")
    worker = SimpleWorker(["mail"], connection=redis_of_ours)
    found = worker.dequeue_job_and_maintain_ttl(None)
    assert found is not None
    _lose_reply_of_script(monkeypatch)
    worker.execute_job(*found)
    assert (["a"], JobStatus.FINISHED) == (jobs.started(marks), job.get_status())
    assert {} == redis_of_ours.hgetall(KEYS.starting)


def test_a_claim_whose_reply_was_lost(
    redis_of_ours: Redis, marks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that never heard which job it has gives it back at once, and not after a lease."""
    queue = Queue("mail", connection=redis_of_ours)
    many = [queue.enqueue(jobs.mark, marks, key) for key in "ab"]
    worker = SimpleWorker(["mail"], connection=redis_of_ours)
    run_burst(worker, max_jobs=1)
    _lose_reply_of_script(monkeypatch)
    run_burst(worker)
    assert (["a", "b"], 0) == (jobs.started(marks), redis_of_ours.zcard(KEYS.claims))
    assert None is redis_of_ours.hget(many[1].key, CRASHES_FIELD)


@pytest.mark.parametrize("again", [{"retry": Retry(max=3)}, {"repeat": Repeat(times=1)}])
def test_a_push_whose_reply_was_lost(
    redis_of_ours: Redis, marks: str, monkeypatch: pytest.MonkeyPatch, again: dict[str, Any]
) -> None:
    """A retry or repeat that another worker has run by the time the first hears of it runs once."""
    function = jobs.fail if "retry" in again else jobs.mark
    job = Queue("mail", connection=redis_of_ours).enqueue(function, marks, "a", **again)
    real: Any = redis.client.Pipeline.execute
    lost: list[Any] = []

    def lose_push(self: Any, raise_on_error: bool = True) -> Any:
        is_push = any(args[0] == "RPUSH" for args, _ in self.command_stack)
        replies = real(self, raise_on_error)
        if is_push and not lost:
            lost.append(replies)
            run_burst(SimpleWorker(["mail"], connection=redis_of_ours))
            raise redis.exceptions.ConnectionError("the reply was lost")
        return replies

    monkeypatch.setattr(redis.client.Pipeline, "execute", lose_push)
    run_burst(SimpleWorker(["mail"], connection=redis_of_ours))
    assert (["a", "a"], JobStatus.FINISHED) == (jobs.started(marks), job.get_status())
    assert 1 == len(lost)


def test_busy_between_watch_and_exec(
    redis_of_ours: Redis, marks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is busy while RQ reads under WATCH does not fail a job that succeeded."""
    job = Queue("mail", connection=redis_of_ours).enqueue(jobs.mark, marks, "a")
    real: Any = redis.client.Pipeline.immediate_execute_command
    refused: list[Any] = []

    def refuse_once(self: Any, *args: Any, **options: Any) -> Any:
        if args[0] == "SMEMBERS" and not refused:
            refused.append(args)
            raise redis.exceptions.ResponseError("BUSY Redis is busy running a script.")
        return real(self, *args, **options)

    monkeypatch.setattr(redis.client.Pipeline, "immediate_execute_command", refuse_once)
    run_burst(SimpleWorker(["mail"], connection=redis_of_ours))
    assert (1, JobStatus.FINISHED) == (len(refused), job.get_status())


@pytest.mark.parametrize(
    "error",
    [
        redis.exceptions.ConnectionError("Connection refused"),
        redis.exceptions.TimeoutError("Timeout reading from socket"),
        redis.exceptions.BusyLoadingError("Redis is loading the dataset in memory"),
        redis.exceptions.ReadOnlyError("You can't write against a read only replica."),
        redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        redis.exceptions.ResponseError("BUSY Redis is busy running a script."),
        redis.exceptions.ResponseError("MISCONF Redis is configured to save RDB snapshots"),
        redis.exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."),
        redis.exceptions.ResponseError("UNBLOCKED force unblock from blocking operation"),
        redis.exceptions.ResponseError("Command # 2 (HSET a b) of pipeline caused error: BUSY x"),
    ],
)
def test_errors_that_pass(error: Exception) -> None:
    """What Redis may do later is waited for."""
    assert is_passing(error)


@pytest.mark.parametrize(
    "error",
    [
        redis.exceptions.AuthenticationError("invalid username-password pair"),
        redis.exceptions.MaxConnectionsError("Too many connections"),
        redis.exceptions.NoPermissionError("this user has no permissions"),
        redis.exceptions.ResponseError("WRONGTYPE Operation against a key"),
        redis.exceptions.ResponseError("unknown command 'BUSY'"),
        redis.exceptions.WatchError("Watched variable changed."),
        redis.exceptions.NoScriptError("No matching script."),
        ValueError("BUSY"),
    ],
)
def test_errors_that_last(error: Exception) -> None:
    """What no waiting helps is raised."""
    assert not is_passing(error)


def test_the_given_client_stays_as_it_is(server: EmbeddedServer) -> None:
    """Patience is for the worker: the client that it was given still raises at once."""
    with server.client() as client:
        worker = SimpleWorker(["mail"], connection=client)
        assert isinstance(worker.connection, PatientRedis)
        assert type(client) is Redis
        server.kill()
        begin = time.monotonic()
        with pytest.raises(redis.exceptions.ConnectionError):
            client.ping()
        assert 1 > time.monotonic() - begin


def test_read_only_makes_it_connect_again(server: EmbeddedServer) -> None:
    """A client that meets a demoted server connects anew, because the name may lead elsewhere."""
    with server.client() as client, server.client() as operator:
        ours = patient(client)
        ours.set("a", 1)
        first = ours.client_id()
        with read_only(server):
            thread = threading.Thread(target=ours.set, args=("a", 2), daemon=True)
            thread.start()
            wait_until(lambda: first not in _client_ids(operator), what="the end of the connection")
        thread.join(10)
        assert b"2" == operator.get("a")


def test_scripts_on_a_pipeline_after_a_restart(
    server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A script that is on a pipeline works on a server that restarted and knows no script."""
    with server.client() as client:
        ours = patient(client)
        script = ours.register_script("return redis.call('INCR', KEYS[1])")
        script(keys=["a"])
        with ours.pipeline() as pipeline:
            script(keys=["a"], client=pipeline)
            with restarting(server):
                replies: list[Any] = []
                send = threading.Thread(
                    target=lambda: replies.extend(pipeline.execute()), daemon=True
                )
                send.start()
                wait_until(lambda: SORRY in caplog.text)
            send.join(10)
        assert [2] == replies


def test_rate_limited_jobs_after_a_restart(server: EmbeddedServer, yard: Yard, marks: str) -> None:
    """RQ's own scripts, which a restarted server does not know, lose no rate limited job."""
    with server.client() as client:
        queue = Queue("mail", connection=client)
        limit = RateLimit("tenant", concurrency=1)
        for number in range(6):
            queue.enqueue(jobs.mark, marks, str(number), 0.05, rate_limit=limit)
        worker = yard.start("mail", server=server)
        wait_until(lambda: len(jobs.started(marks)) == 2)
    with restarting(server):
        _wait_for_notice(worker)
    wait_until(lambda: len(jobs.ended(marks)) == 6, what=f"all jobs; {worker}")
    _end(worker)
    assert [str(number) for number in range(6)] == sorted(jobs.started(marks))


# polite ends at any instant


class PoliteEnds:
    """Tells workers to stop at random instants while jobs are enqueued, and looks for lost ones."""

    def __init__(
        self, client: Redis, yard: Yard, path: str, kinds: list[type[BaseWorker]], queue_class: Any
    ) -> None:
        self._client = client
        self._yard = yard
        self._path = path
        self._kinds = kinds
        self._queues = [queue_class(name, connection=client) for name in ("mail", "reports")]
        self._chance = random.Random(11)
        self._ids: dict[str, str] = {}

    def try_once(self) -> set[str]:
        """The jobs that have not started and are nowhere any more, after one more worker."""
        self._kinds.append(self._kinds.pop(0))
        worker = self._yard.start("mail", "reports", worker_class=self._kinds[0])
        wait_until(lambda: self._client.hget(worker.key, "state") is not None)
        instant = time.monotonic() + self._chance.uniform(0, 0.05)
        while time.monotonic() < instant:
            key = str(len(self._ids))
            queue = self._queues[len(self._ids) % 2]
            self._ids[queue.enqueue(jobs.mark, self._path, key).id] = key
        worker.send(signal.SIGTERM)
        self._wait_for_the_end(worker)
        worker.kill()  # it only waits for its subscription to end, for a second at times
        waiting = {self._ids[each] for queue in self._queues for each in queue.job_ids}
        return set(self._ids.values()) - set(jobs.started(self._path)) - waiting

    def _wait_for_the_end(self, worker: WorkerProcess) -> None:
        def has_ended() -> bool:
            return not worker.is_alive() or self._client.hexists(worker.key, "death")

        if not issubclass(self._kinds[0], WorkerMixin):
            # RQ's own at times do not hear: they are told again
            with suppress(AssertionError):
                wait_until(has_ended, timeout=2)
            worker.send(signal.SIGTERM)
        wait_until(has_ended, what=f"the end of {worker}")


def test_polite_ends_lose_nothing(server: EmbeddedServer, tmp_path: Path, marks: str) -> None:
    """Workers that are told to stop at random instants lose no job and run none twice."""
    with server.client() as client, Yard(server, tmp_path) as yard:
        ends = PoliteEnds(client, yard, marks, [Worker, SimpleWorker], Queue)
        for _ in range(24):
            assert set() == ends.try_once()
            assert 0 == client.zcard(KEYS.claims)
    starts = Counter(jobs.started(marks))
    assert [] == [key for key, times in starts.items() if times > 1]


def test_polite_ends_of_stock_workers_lose_jobs(
    server: EmbeddedServer, tmp_path: Path, marks: str
) -> None:
    """The same, done to RQ's own workers, finds jobs that are lost: so it would find ours."""
    with server.client() as client, Yard(server, tmp_path) as yard:
        ends = PoliteEnds(client, yard, marks, [StockSimpleWorker, StockWorker], StockQueue)
        assert any(ends.try_once() for _ in range(150))


@pytest.fixture
def redis_of_ours(server: EmbeddedServer) -> Iterator[Redis]:
    with server.client() as client:
        yield client


def _wait_for_notice(worker: WorkerProcess) -> None:
    wait_until(lambda: SORRY in worker.log.read_text(), what=f"a notice of {worker}")


def _end(worker: WorkerProcess) -> None:
    worker.send(signal.SIGTERM)
    assert 0 == worker.wait()


def _refusal(client: Redis) -> str:
    """The first word of what the server says to a write, empty when it obeys."""
    try:
        client.set("probe", "1")
    except redis.exceptions.OutOfMemoryError:
        return "OOM"
    except redis.exceptions.ReadOnlyError:
        return "READONLY"
    except redis.exceptions.ResponseError as error:
        return str(error).split()[0]
    return ""


def _client_ids(client: Redis) -> set[int]:
    return {int(each["id"]) for each in client.client_list()}


def _lose_reply_of_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """Carry the next script that claims or starts a job out, and lose its reply."""
    real: Any = redis.client.Redis.execute_command
    calls: list[Any] = []

    def lose_first(self: Redis, *args: Any, **options: Any) -> Any:
        reply = real(self, *args, **options)
        if args[0] in ("EVAL", "EVALSHA") and KEYS.claims in args and not calls:
            calls.append(args)
            raise redis.exceptions.ConnectionError("the reply was lost")
        return reply

    monkeypatch.setattr(redis.client.Redis, "execute_command", lose_first)


class _Losses:
    lost = 0


def _lose_replies(monkeypatch: pytest.MonkeyPatch, chance: random.Random) -> _Losses:
    """Carry every command of patient clients out, and lose every sixth reply."""
    losses = _Losses()
    real: Any = redis.client.Redis.execute_command
    real_pipeline: Any = redis.client.Pipeline.execute

    def lose() -> None:
        if chance.random() < 1 / 6:
            losses.lost += 1
            raise redis.exceptions.ConnectionError("the reply was lost")

    def execute_command(self: Redis, *args: Any, **options: Any) -> Any:
        reply = real(self, *args, **options)
        if isinstance(self, PatientRedis):
            lose()
        return reply

    def execute(self: Any, raise_on_error: bool = True) -> Any:
        replies = real_pipeline(self, raise_on_error)
        if hasattr(self, "patience"):
            lose()
        return replies

    monkeypatch.setattr(redis.client.Redis, "execute_command", execute_command)
    monkeypatch.setattr(redis.client.Pipeline, "execute", execute)
    return losses
