"""What each operation sends, exactly. A change of these numbers is a change of the price."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import rq
from click.testing import CliRunner

from benchmarks.gauges import sent_by_us, watched
from benchmarks.load import BULK, QUEUE, Load, fill, functions_as_globs
from benchmarks.work import nothing
from shedder import Rate, Selection, Shedder
from shedder.cli import main
from shedder.queues.maintenance import Upkeep
from shedder.rq import Queue, SimpleWorker
from tests.loops import async_client
from tests.servers import PatientServer, patient
from tests.workers import run_burst

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from redis import Redis

    from shedder.embedded import EmbeddedServer

LANES = 4
BULK_ONLY = Selection.parse(functions=functions_as_globs(BULK))


class Price:
    """Counts what an operation costs."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server

    def of(self, operation: Callable[[], Any]) -> tuple[int, int, int]:
        """Round trips, commands sent, and commands on the server with those inside scripts."""
        with self._server.client() as looker, watched(looker, self._server.pid) as served, sent_by_us() as sent:
            operation()
        return sent.round_trips, sent.total, served.total

    async def of_coroutine(self, operation: Awaitable[Any]) -> tuple[int, int, int]:
        """The same of what a coroutine awaits."""
        with self._server.client() as looker, watched(looker, self._server.pid) as served, sent_by_us() as sent:
            await operation
        return sent.round_trips, sent.total, served.total


@pytest.fixture(autouse=True)
def _policy_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process asks twice a second, so that the numbers would depend on the machine."""
    monkeypatch.setattr("shedder.policy.applied.FOLLOW_SECONDS", 3600.0)


@pytest.fixture
def no_upkeep(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine more seconds pass in one run than in another, and with each an upkeep."""
    monkeypatch.setattr(Upkeep, "is_late", False)
    monkeypatch.setattr(Upkeep, "do", lambda _upkeep: False)


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    """A server of which nothing else asks anything: what other tests left follows its settings on theirs."""
    with PatientServer() as own:
        yield own


@pytest.fixture
def price(server: EmbeddedServer) -> Price:
    return Price(server)


@pytest.fixture
def shedder(redis: Redis) -> Shedder:
    return Shedder(redis, by="test")


def test_enqueue_is_one_round_trip(redis: Redis, price: Price) -> None:
    """One script saves and pushes a job, where RQ takes two transactions."""
    ours, theirs = Queue(QUEUE, connection=redis), rq.Queue(QUEUE, connection=redis)
    ours.enqueue(nothing)

    assert (1, 1, 8) == price.of(lambda: ours.enqueue(nothing))
    assert (2, 8, 8) == price.of(lambda: theirs.enqueue(nothing))


def test_many_jobs_are_one_round_trip(redis: Redis, price: Price) -> None:
    """A hundred jobs go in one packet, with two commands for each and one bell for all."""
    queue = Queue(QUEUE, connection=redis)
    queue.enqueue(nothing)

    def enqueue() -> None:
        queue.enqueue_many([queue.prepare_data(nothing, (number,)) for number in range(100)])

    assert (1, 205, 205) == price.of(enqueue)


def test_a_coroutine_pays_what_a_thread_pays(server: EmbeddedServer, redis: Redis, price: Price) -> None:
    """One job is one script, and many are one packet, which names the queue once for each part."""

    async def enqueue() -> list[tuple[int, int, int]]:
        async with async_client(server) as client:
            queue = Queue(QUEUE, connection=redis, async_connection=client)
            await queue.enqueue_async(nothing)
            datas = [queue.prepare_data(nothing, (number,)) for number in range(100)]
            return [
                await price.of_coroutine(queue.enqueue_async(nothing)),
                await price.of_coroutine(queue.low.enqueue_async(nothing)),
                await price.of_coroutine(queue.enqueue_many_async(datas)),
            ]

    assert [(1, 1, 8), (1, 1, 8), (1, 206, 206)] == asyncio.run(enqueue())


@pytest.mark.parametrize("jobs", [1, 2000])
def test_a_divert_of_a_whole_queue_costs_the_same_at_every_length(
    redis: Redis, shedder: Shedder, price: Price, jobs: int
) -> None:
    """Five round trips: the incident, the divert, RQ's rate limits, who works there, and a sample."""
    _know_the_scripts(redis, shedder)
    fill(redis, Load(jobs))

    assert (5, 4 + LANES, 169) == price.of(lambda: shedder.divert(QUEUE, reason="test"))


@pytest.mark.parametrize("jobs", [1, 2000])
def test_an_undo_of_it_costs_no_more_with_its_length(redis: Redis, shedder: Shedder, price: Price, jobs: int) -> None:
    """The backlogs of four lanes get their old names back, in one round trip; a lane that got jobs is folded."""
    _know_the_scripts(redis, shedder)
    fill(redis, Load(jobs))
    event = shedder.divert(QUEUE, reason="test").event

    trips, sent, _ = price.of(lambda: shedder.undo(event, reason="test"))
    assert ({1: 8, 2000: 10}[jobs], 22) == (trips, sent)


@pytest.mark.parametrize("jobs", [1, 2000])
def test_status_costs_the_same_at_every_length(redis: Redis, shedder: Shedder, price: Price, jobs: int) -> None:
    """Four round trips, whatever waits."""
    _know_the_scripts(redis, shedder)
    fill(redis, Load(jobs))

    assert (4, 108, 108) == price.of(shedder.status)


def test_a_divert_by_function_takes_a_step_for_each_window(redis: Redis, shedder: Shedder, price: Price) -> None:
    """The commands sent grow by one with each window of jobs, and not with the jobs."""
    from shedder.queues.divert import JOBS_PER_STEP

    _know_the_scripts(redis, shedder)
    fill(redis, Load(2 * JOBS_PER_STEP))
    two, _, _ = price.of(lambda: shedder.divert(QUEUE, selection=BULK_ONLY, reason="test"))
    fill(redis, Load(6 * JOBS_PER_STEP))
    six, _, _ = price.of(lambda: shedder.divert(QUEUE, selection=BULK_ONLY, reason="test"))

    assert 4 == six - two


def test_a_merge_by_age_takes_a_step_for_each_window(redis: Redis, shedder: Shedder, price: Price) -> None:
    """A step's window is shared in proportion, and hardly a job is read twice: 125 in a step."""
    from shedder.queues.divert import JOBS_PER_STEP

    def back(windows: int) -> int:
        fill(redis, Load(windows * JOBS_PER_STEP))
        event = shedder.divert(QUEUE, selection=BULK_ONLY, reason="test").event
        return price.of(lambda: shedder.undo(event, reason="test"))[0]

    _know_the_scripts(redis, shedder)
    # one more where the shares of the windows, which follow the jobs' times, are rounded up, and one where the
    # shorter backlog went with others
    assert back(windows=22) - back(windows=2) in (16, 17, 18)


def test_pause_and_resume(redis: Redis, shedder: Shedder, price: Price) -> None:
    """A pause reads who works and what runs; a resume of an idle queue only asks for incidents; both take a sample."""
    _know_the_scripts(redis, shedder)
    fill(redis, Load(10))

    pause, resume = shedder.pause, shedder.resume
    assert (3, 12) == price.of(lambda: pause(QUEUE, reason="test"))[:2]
    assert (3, 3) == price.of(lambda: resume(QUEUE, reason="test"))[:2]


@pytest.mark.usefixtures("no_upkeep")
def test_a_job_costs_a_worker_fewer_round_trips_than_stock(redis: Redis, price: Price) -> None:
    """Claim, RQ's bookkeeping, gate, start and end: eight where RQ's own worker takes twenty."""
    assert 8 == _trips_of_a_job(redis, price, SimpleWorker, Queue)
    assert 20 == _trips_of_a_job(redis, price, rq.SimpleWorker, rq.Queue)


@pytest.mark.usefixtures("no_upkeep")
def test_a_drained_job_costs_a_worker_no_more(redis: Redis, shedder: Shedder, price: Price) -> None:
    """A job out of a backlog takes the round trips of any other."""

    def divert() -> None:
        shedder.divert(QUEUE, reason="test")
        shedder.drain(QUEUE, rate=Rate(1_000_000), reason="test")

    assert 8 == _trips_of_a_job(redis, price, SimpleWorker, Queue, prepare=divert)


@pytest.mark.slow
def test_an_idle_poller_asks_about_twice_a_second(redis: Redis, price: Price) -> None:
    """A wait and a claim in each of its looks, and now and then the upkeep."""
    worker = SimpleWorker([QUEUE], connection=redis)
    run_burst(worker)

    def idle() -> None:
        SimpleWorker([QUEUE], connection=redis).work(max_idle_time=3, logging_level="WARNING")

    trips, _, _ = price.of(idle)
    start_and_end, _, _ = price.of(lambda: run_burst(SimpleWorker([QUEUE], connection=redis)))
    # a wait and a claim in each 0.45 s, and the seven round trips of the upkeep in about a second
    assert (trips - start_and_end) / 3 <= 13


@pytest.mark.parametrize(("is_incident", "most"), [(False, 10), (True, 12)])
def test_a_pause_from_the_command_line(server: EmbeddedServer, redis: Redis, *, is_incident: bool, most: int) -> None:
    """The handshake included, and on a server that has seen none of the scripts."""
    if is_incident:
        Shedder(redis, by="test").incidents.open("late", severity=2)
    redis.script_flush()
    words = ["pause", QUEUE, "-r", "test", "-u", patient(server.url)]
    with sent_by_us() as sent:
        outcome = CliRunner().invoke(main, words)
    assert 0 == outcome.exit_code, outcome.output
    assert most == sent.round_trips, sent.commands


def _know_the_scripts(redis: Redis, shedder: Shedder) -> None:
    """The first call of a script sends its text."""
    fill(redis, Load(3))
    for selection in (Selection(), BULK_ONLY):
        shedder.undo(shedder.divert(QUEUE, selection=selection, reason="t").event, reason="t")
    shedder.pause(QUEUE, reason="test")
    shedder.resume(QUEUE, reason="test")
    shedder.status()


def _trips_of_a_job(
    redis: Redis,
    price: Price,
    worker_class: type[rq.SimpleWorker],
    queue_class: type[rq.Queue],
    *,
    prepare: Callable[[], None] = lambda: None,
) -> int:
    trips = []
    for jobs in (10, 10, 30):  # the first run sends the text of scripts
        fill(redis, Load(jobs, functions=(nothing,), queue_class=queue_class))
        prepare()
        worker = worker_class([QUEUE], connection=redis)
        trips.append(price.of(lambda worker=worker: run_burst(worker))[0])  # type: ignore[misc]
        assert 0 == redis.llen(f"rq:queue:{QUEUE}")
    # where a job takes long, a heartbeat falls into one of the runs
    return round((trips[2] - trips[1]) / 20)
