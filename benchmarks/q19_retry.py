"""How long it takes to bring failed jobs back, chosen by their error, beside `rq requeue --all`."""

from __future__ import annotations

import base64
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rq.exceptions import InvalidJobOperation, NoSuchJobError
from rq.registry import FailedJobRegistry

from benchmarks.gauges import cpu_of_calls, slow_log, watched
from benchmarks.ground import Ground
from benchmarks.load import QUEUE, Load, fill
from benchmarks.progress import say
from benchmarks.rows import Row, Verdict, count, per_second, seconds
from benchmarks.samples import exponent, median
from benchmarks.settings import Settings
from benchmarks.step_sizes import served_first
from shedder import FailedSelection, Rate, RetryReceipt, Shedder

if TYPE_CHECKING:
    import redis

QUESTION = 19
JOBS = 344_202
"""As many failed jobs as rq#1963 reports."""

PACE_GOAL, HOLD_GOAL, EXPONENT_GOAL = 50_000, 0.005, 1.1
CHOSEN = FailedSelection(exceptions=("OperationalError",))
LINES = (
    *["sqlalchemy.exc.OperationalError: (psycopg2.OperationalError) connection refused"] * 6,
    *["redis.exceptions.TimeoutError: Timeout reading from socket"] * 2,
    *["ValueError: no such order"] * 2,
)
"""What ten jobs in a row failed with."""

EXPIRED = 100
"""Of as many jobs the data of one has expired."""

REQUEUED = 3_000
"""So many jobs are requeued by RQ; the time of all is extrapolated."""

_FAIL = """
local list, failed, job_prefix, results_prefix = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local first, count, expired = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
for index = first, first + count - 1 do
  local id = redis.call('LPOP', list)
  if not id then break end
  redis.call('HSET', job_prefix .. id, 'status', 'failed', 'started_at', '2026-11-25T02:10:59.000000Z',
    'ended_at', '2026-11-25T02:11:00.000000Z')
  redis.call('EXPIRE', job_prefix .. id, 31536000)
  redis.call('ZADD', failed, redis.call('TIME')[1] + 31536000, id)
  local report = ARGV[6 + index % (#ARGV - 5)]
  redis.call('XADD', results_prefix .. id, (1790000000000 + index) .. '-0', 'type', '2', 'exc_string', report)
  if index % expired == expired - 1 then redis.call('DEL', job_prefix .. id) end
end
"""


def run(settings: Settings) -> Iterator[Row]:
    """The move of 60 %, what holds the server meanwhile, its growth, and RQ's loop."""
    jobs = settings.size(short=50_000, full=JOBS)
    shortest: list[float] = []
    yield from _move(jobs, settings, shortest)
    yield _growth(jobs, settings, min(shortest))
    yield _preview(jobs, settings)


@contextmanager
def failed_jobs(jobs: int, settings: Settings) -> Iterator[Ground]:
    """A server of its own with `jobs` failed jobs: to throw away those of before would hold it for seconds."""
    with Ground(latency_ms=settings.latency_ms) as ground, served_first(ground.server.pid):
        fill_failed(ground.near, jobs)
        yield ground


def fill_failed(connection: redis.Redis, jobs: int) -> None:
    """Let `jobs` have failed, of ten in a row six with one error; of one in a hundred the data has expired."""
    fill(connection, Load(jobs))
    frame = '  File "/srv/app/mail.py", line 81, in send\n    session.execute(query)\n'
    texts = [f"Traceback (most recent call last):\n{frame * 8}{line}\n" for line in LINES]
    reports = [base64.b64encode(zlib.compress(text.encode())) for text in texts]
    script: Any = connection.register_script(_FAIL)
    for first in range(0, jobs, 1000):
        args = ["rq:job:", "rq:results:", first, min(1000, jobs - first), EXPIRED, *reports]
        script(keys=[f"rq:queue:{QUEUE}", f"rq:failed:{QUEUE}"], args=args)


def _move(jobs: int, settings: Settings, times: list[float]) -> Iterator[Row]:
    paces, holds, above, server, operator = [], [], 0, [], []
    for _ in range(settings.times(short=3, full=3)):
        with (
            failed_jobs(jobs, settings) as ground,
            slow_log(ground.near) as held,
            watched(ground.near, ground.server.pid) as served,
        ):
            before = time.process_time()
            receipt, took = _retry(ground)
            operator.append(time.process_time() - before)
        assert receipt.jobs == _chosen(jobs)
        times.append(took)
        paces.append(receipt.jobs / took)
        holds.append(held.longest)
        above += held.above_5_ms
        server.append(served.cpu)
        say(f"retry of {receipt.jobs:,} of {jobs:,}: {took:.2f} s, longest hold {held.longest * 1000:.1f} ms")
    loop = _requeue(jobs, settings)
    chosen = _chosen(jobs)
    ours, costs = chosen / median(paces), (median(server) / chosen, median(operator) / chosen)
    yield Row(
        QUESTION,
        f"retry of {count(chosen)} of {count(jobs)} failed jobs, chosen by their exception",
        f"{per_second(median(paces))} ({per_second(min(paces))} to {per_second(max(paces))}), {seconds(ours)}; "
        f"processor time a moved job: server {seconds(costs[0])}, operator {seconds(costs[1])}",
        f"{per_second(1 / loop)}, {seconds(loop * jobs)} for all of them (RQ's loop of `rq requeue --all`, "
        f"extrapolated from {count(REQUEUED)})",
        f"{median(paces) * loop:.1f}x",
        goal=f"at least {count(PACE_GOAL)} jobs/s",
        verdict=Verdict.of(median(paces) >= PACE_GOAL),
        note="RQ's command stops at the first job whose data has expired; here the loop passes over it. "
        "What a moved job costs has that of reading those that stay in it",
        values={"jobs": jobs, "per_second": paces, "requeued_per_second": 1 / loop, "server_s": server,
                "operator_s": operator},
    )  # fmt: skip
    cpu = _longest_call(jobs, settings)
    yield Row(
        QUESTION,
        "longest command meanwhile",
        f"{seconds(cpu)} in processor time; {seconds(median(holds))} by the slow log, {above} above 5 ms",
        goal="at most 5 ms",
        verdict=Verdict.of(cpu <= HOLD_GOAL),
        note="the slow log has the wall clock: moments in which the machine ran something else among them, and the "
        "50 ms of a second for which it stops what is served before all others",
        values={"longest_cpu_s": cpu, "longest_s": holds, "above_5_ms": above},
    )


def _longest_call(jobs: int, settings: Settings) -> float:
    """The most processor time that one command takes of the server."""
    # with so few connections the steps go one after the other, each by this client
    with (
        failed_jobs(jobs, settings) as ground,
        ground.client(max_connections=2) as client,
        cpu_of_calls(client, ground.server.pid) as calls,
    ):
        shedder = Shedder(client, by="bench")
        shedder.retry(QUEUE, selection=CHOSEN, rate=Rate(1.0, 3600.0), reason="bench")
    return max(calls)


def _growth(jobs: int, settings: Settings, longest: float) -> Row:
    """The growth up to `jobs`, which took `longest` seconds."""
    sizes, times = [jobs // 16, jobs // 4, jobs], []
    for size in sizes[:-1]:
        tries = []
        for _ in range(settings.times(short=3, full=3)):
            with failed_jobs(size, settings) as ground:
                tries.append(_retry(ground)[1])
        times.append(min(tries))
    times.append(longest)
    found = exponent(sizes, times)
    return Row(
        QUESTION,
        f"growth of the time, {count(sizes[0])} to {count(sizes[-1])} failed jobs",
        f"exponent {found:.2f}",
        goal=f"at most {EXPONENT_GOAL:g}",
        verdict=Verdict.of(found <= EXPONENT_GOAL),
        values={"jobs": sizes, "seconds": times},
    )


def _preview(jobs: int, settings: Settings) -> Row:
    with failed_jobs(jobs, settings) as ground, ground.client() as client:
        shedder = Shedder(client, by="bench")
        began = time.perf_counter()
        preview = shedder.preview_retry(QUEUE, selection=CHOSEN)
        took = time.perf_counter() - began
    assert preview.jobs == _chosen(jobs)
    return Row(
        QUESTION,
        f"retry --dry-run over {count(jobs)} failed jobs",
        f"{seconds(took)}, {per_second(jobs / took)}",
        values={"jobs": jobs, "seconds": took},
    )


def _retry(ground: Ground) -> tuple[RetryReceipt, float]:
    with ground.client() as client:
        shedder = Shedder(client, by="bench")
        shedder.status(QUEUE)  # the connection stands, as for the other side
        began = time.perf_counter()
        receipt = shedder.retry(QUEUE, selection=CHOSEN, rate=Rate(1.0, 3600.0), reason="bench")
        return receipt, time.perf_counter() - began


def _chosen(jobs: int) -> int:
    """The jobs with the error that is asked for, and whose data has not expired."""
    return sum(index % 10 < 6 and index % EXPIRED != EXPIRED - 1 for index in range(jobs))


def _requeue(jobs: int, settings: Settings) -> float:
    """Seconds that RQ's loop takes for a job: what `rq requeue --all` does, but for the end at an expired job."""
    with failed_jobs(jobs, settings) as ground, ground.client() as client:
        registry = FailedJobRegistry(QUEUE, connection=client)
        ids = registry.get_job_ids(cleanup=False)[:REQUEUED]
        began = time.perf_counter()
        for job in ids:
            try:
                registry.requeue(job)
            except (InvalidJobOperation, NoSuchJobError):
                continue
        return (time.perf_counter() - began) / len(ids)
