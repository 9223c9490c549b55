"""Producers come by every way in, between any two commands of an order."""

from __future__ import annotations

import contextlib
import time
from datetime import timedelta
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING

from rq import Queue as RQQueue
from rq.cron import CronScheduler
from rq.registry import ReadyJobRegistry, ScheduledJobRegistry
from rq.scheduler import RQScheduler

from shedder.errors import ShedderError
from shedder.rq import Queue, SimpleWorker
from tests import jobs
from tests.faults.accounting import RUNS_TWICE, Wrong
from tests.faults.faults_operators import counted_commands
from tests.faults.load import WAYS as LOAD_WAYS
from tests.faults.load import Load
from tests.faults.producers import WAYS, put
from tests.faults.schedule import Fault
from tests.faults.verbs import LANES, VERBS, Verb, end_all_controls, small_steps
from tests.workers import run_burst

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.stage import Stage

SCHEDULED, SCHEDULED_STOCK, CRON = "scheduled", "scheduled by a stock producer", "cron"
EVERY_WAY = (*WAYS, "limited", "other", "stock other", SCHEDULED, SCHEDULED_STOCK, CRON)
PER_BATCH = 2
MOST_BURSTS = 20


def _every_way(stage: Stage) -> None:
    """Before the first commands of an order a batch of jobs comes by the next way; then all run."""
    verbs = stage.dice.sample(VERBS, max(2, stage.size // 2))
    ways = cycle(stage.dice.sample(EVERY_WAY, len(EVERY_WAY)))
    with small_steps():
        for verb in verbs:
            _begin(stage, verb)
            places = cycle(LANES)
            with counted_commands(0, _some(stage, ways, places)):
                verb.act(stage.operator())
            # what the orders of few commands have not met comes while they are in force
            for _ in EVERY_WAY:
                _come(stage, next(places), next(ways))
            before = len(stage.outcome.wrong)
            stage.check_now()
            _run_all(stage)
            stage.check_end()
            for wrong in stage.outcome.wrong[before:]:
                stage.outcome.wrong.append(Wrong("other", f"{verb.name}: {wrong.what}"))


def _some(stage: Stage, ways: Iterator[str], places: Iterator[str]) -> Callable[[], None]:
    left = iter(range(2 * stage.size))

    def come() -> None:
        if next(left, None) is not None:
            _come(stage, next(places), next(ways))

    return come


def _begin(stage: Stage, verb: Verb) -> None:
    stage.redis.flushall()
    stage.forget()
    stage.clear_marks()
    verb.prepare(stage)


def _come(stage: Stage, lane: str, way: str) -> None:
    stage.outcome.injected += 1
    ids = [stage.next_id(lane) for _ in range(PER_BATCH)]
    if way == "retry":
        ids = [job.replace("-", f"{RUNS_TWICE}-") for job in ids]
    if way == CRON:
        ids = [_come_by_cron(stage, lane)]
    elif way in (SCHEDULED, SCHEDULED_STOCK):
        _come_by_schedule(stage, lane, ids, is_stock=way == SCHEDULED_STOCK)
    else:
        put(stage.redis, lane, ids, way=way, seconds=0.0, marks=stage.marks_path)
    stage.book.sure.update(dict.fromkeys(ids, lane))


def _come_by_schedule(stage: Stage, lane: str, ids: list[str], *, is_stock: bool) -> None:
    queue = (RQQueue if is_stock else Queue)(lane, connection=stage.redis)
    for job in ids:
        queue.enqueue_in(timedelta(hours=1), jobs.mark, stage.marks_path, job, 0.0, job_id=job)
    registry = ScheduledJobRegistry(lane, connection=stage.redis)
    stage.redis.zadd(registry.key, dict.fromkeys(ids, 1))
    scheduler = RQScheduler([lane], connection=stage.redis, logging_level="WARNING")
    scheduler.acquire_locks()
    scheduler.enqueue_scheduled_jobs()
    scheduler.release_locks()
    scheduler.connection.close()


def _come_by_cron(stage: Stage, lane: str) -> str:
    """RQ's cron chooses the id."""
    cron = CronScheduler(connection=stage.redis, logging_level="WARNING")
    cron.register(jobs.mark_own, lane, args=(stage.marks_path,), interval=3600)
    known = stage.snapshot().status.keys()
    cron.enqueue_jobs()
    (job,) = stage.snapshot().status.keys() - known
    return job


def _run_all(stage: Stage) -> None:
    """Every control ends, and a worker does all there is, also what RQ takes up only later."""
    end_all_controls(stage)
    for _ in range(MOST_BURSTS):
        stage.start(partial(_burst, stage)).wait()
        if stage.wait_until_done(timeout=0.01):
            return
        for lane in LANES:
            ReadyJobRegistry(lane, connection=stage.redis).cleanup(timestamp=time.time() + 10_000)


def _burst(stage: Stage) -> None:
    run_burst(SimpleWorker(["mail", "reports"], connection=stage.server.client()))


def _under_load(stage: Stage) -> None:
    """Producers by every way, a worker of each kind, and an operator who gives every order."""
    load = Load(stage, ways=(*LOAD_WAYS, *WAYS, "limited", "stock other"))
    load.wait_for_progress()
    end = time.monotonic() + 0.5 + 0.1 * stage.size
    with small_steps():
        while time.monotonic() < end:
            verb = stage.dice.choice(VERBS)
            with contextlib.suppress(ShedderError):  # such as an undo of what another has undone
                verb.act(stage.operator())
            stage.outcome.injected += 1
            stage.book.read(stage.ledger_path)
            stage.check_now()
    load.finish()


def faults() -> list[Fault]:
    """The rows of this family."""
    return [
        Fault("every way in, within orders", "producers", _every_way),
        Fault("every way in, under load", "producers", _under_load),
    ]
