"""What RQ and its users do to jobs while they wait in a backlog, in a kept list or in a claim."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rq import Queue as RQQueue
from rq.job import Job
from rq.rate_limit import RateLimitRegistry
from rq.registry import CanceledJobRegistry

from shedder.engine.names import rq_keys
from shedder.queues.claims import claim_job
from shedder.rq import SimpleWorker
from shedder.store.store import Store
from shedder.units import Rate
from tests import jobs
from tests.faults.accounting import Wrong, marks_of
from tests.faults.load import Load
from tests.faults.producers import fill
from tests.faults.schedule import Fault
from tests.faults.verbs import SOME, end_all_controls, fill_lanes
from tests.workers import run_burst

if TYPE_CHECKING:
    from redis import Redis

    from tests.faults.stage import Stage

LANES = ("mail", "mail.low", "reports")
NEVER_RUN = ("cancelled", "deleted", "expired")


def _in_lane(stage: Stage) -> None:
    fill_lanes(stage)


def _in_kept(stage: Stage) -> None:
    """The front of a lane, as a scan leaves it whose operator died."""
    fill_lanes(stage)
    for _ in range(4):
        stage.redis.lmove(stage.keys.lane("mail")[0], stage.keys.kept("mail"))


def _in_parked(stage: Stage) -> None:
    from rq.worker import Worker as RQWorker

    fill_lanes(stage)
    stock = RQWorker(["mail"], connection=stage.redis)
    stock.register_birth()
    stage.operator().pause("mail", reason="x")
    stock.register_death()


def _in_backlog(stage: Stage) -> None:
    fill_lanes(stage)
    stage.operator().divert("mail", reason="x")


def _in_some_backlog(stage: Stage) -> None:
    fill_lanes(stage)
    stage.operator().divert("mail", selection=SOME, reason="x")


def _in_draining(stage: Stage) -> None:
    _in_backlog(stage)
    stage.operator().drain("mail", rate=Rate(1000.0), reason="x")


def _in_claim(stage: Stage) -> None:
    fill_lanes(stage)
    for _ in range(4):
        Store(stage.redis, rq_keys()).run(claim_job(stage.keys, ["mail"], worker="dead"))


_PLACES: dict[str, Callable[[Stage], None]] = {
    "a lane": _in_lane,
    "a kept list": _in_kept,
    "a parked list": _in_parked,
    "a backlog": _in_backlog,
    "a backlog of some": _in_some_backlog,
    "a backlog that drains": _in_draining,
    "a claim": _in_claim,
}


def _cancel(stage: Stage, job: str) -> str:
    Job.fetch(job, connection=stage.redis).cancel()
    return "cancelled"


def _delete(stage: Stage, job: str) -> str:
    Job.fetch(job, connection=stage.redis).delete()
    return "deleted"


def _expire(stage: Stage, job: str) -> str:
    stage.redis.pexpire(f"{stage.keys.engine.jobs}{job}", 1)
    time.sleep(0.003)
    return "expired"


def _cancel_and_requeue(stage: Stage, job: str) -> str:
    found = Job.fetch(job, connection=stage.redis)
    found.cancel()
    CanceledJobRegistry(found.origin, connection=stage.redis).requeue(found)
    return "requeued"


def _enqueue_again(stage: Stage, job: str) -> str:
    """As a producer does that gives the same id each night."""
    lane = stage.book.sure[job]
    RQQueue(lane, connection=stage.redis).enqueue(jobs.mark, stage.marks_path, job, job_id=job)
    return "enqueued again"


def _maintain(stage: Stage, _job: str) -> str:
    SimpleWorker(["mail", "reports"], connection=stage.redis).clean_registries()
    return "maintained"


_ACTS = (_cancel, _delete, _expire, _cancel_and_requeue, _enqueue_again, _maintain)


@dataclass(frozen=True, slots=True)
class JobsOf:
    """Something is done to jobs that stand in one kind of place; then all that are left run."""

    place: str

    def __call__(self, stage: Stage) -> None:
        """Play it."""
        for _ in range(max(2, stage.size // 3)):
            stage.redis.flushall()
            stage.forget()
            stage.clear_marks()
            _PLACES[self.place](stage)
            chosen = stage.dice.sample([*stage.book.sure], 4)
            done = {job: stage.dice.choice(_ACTS)(stage, job) for job in chosen}
            stage.outcome.injected += len(done)
            time.sleep(0.002)
            self._run_all(stage)
            self._check(stage, done)

    def _run_all(self, stage: Stage) -> None:
        stage.redis.zadd(stage.keys.claims, dict.fromkeys(_members(stage), 1))
        if stage.dice.random() < 0.5:
            _run(stage)
        end_all_controls(stage)
        _run(stage)

    def _check(self, stage: Stage, done: dict[str, str]) -> None:
        marks = marks_of(stage.marks_path)
        starts = [mark.key for mark in marks if mark.what == "start"]
        for job in stage.book.sure:
            expected = 0 if done.get(job) in NEVER_RUN else 1
            if starts.count(job) != expected:
                wrong = f"{job} in {self.place}, {done.get(job)}: started {starts.count(job)} times"
                stage.outcome.wrong.append(Wrong("other", wrong))
        gone = {job for job, what in done.items() if what in NEVER_RUN}
        stage.book.vanishing |= gone
        stage.check_end()
        stage.book.vanishing.clear()


def _members(stage: Stage) -> list[bytes]:
    return list(stage.redis.zrange(stage.keys.claims, 0, -1)) or [b"none"]


def _run(stage: Stage) -> None:
    stage.redis.zrem(stage.keys.claims, b"none")
    client: Redis = stage.server.client()
    worker = SimpleWorker(["mail", "reports"], connection=client)
    run_burst(worker)
    client.close()


def _empty(stage: Stage) -> None:
    """`rq empty` deletes what stands in RQ's list, and nothing of what is parked or diverted."""
    fill_lanes(stage)
    stage.operator().divert("mail", reason="x")
    fill(stage, "mail.low", 3)
    RQQueue("mail", connection=stage.redis).empty()
    RQQueue("reports", connection=stage.redis).empty()
    stage.outcome.injected += 2
    emptied = [job for job, lane in stage.book.sure.items() if lane == "reports"]
    stage.book.vanishing |= set(emptied)
    stage.check_now()
    end_all_controls(stage)
    _run(stage)
    stage.check_end()


def _limited(stage: Stage) -> None:
    """Jobs under RQ's own rate limit, while an operator pauses, diverts, drains and limits."""
    load = Load(stage, ways=("limited", "enqueue"))
    end = time.monotonic() + 0.5 + 0.1 * stage.size
    while time.monotonic() < end:
        stage.book.read(stage.ledger_path)
        stage.check_now()
        load.note_fault()
        time.sleep(0.05)
    load.finish(also=lambda: _free_leaked_slots(stage))
    running = most = 0
    for mark in marks_of(stage.marks_path):
        running += 1 if mark.what == "start" else -1
        most = max(most, running)
    if most > 4:
        stage.outcome.wrong.append(Wrong("other", f"{most} at once on two workers"))


def _free_leaked_slots(stage: Stage) -> None:
    for registry in RateLimitRegistry.all(stage.redis):
        registry.cleanup()


def faults() -> list[Fault]:
    """The rows of this family."""
    return [
        *[Fault(f"cancel and the like: jobs in {place}", "rq", JobsOf(place)) for place in _PLACES],
        Fault("rq empty", "rq", _empty),
        Fault("RQ's rate limit under orders", "rq", _limited),
    ]
