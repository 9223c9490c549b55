"""The orders in which an operator can be killed, cut off or answered wrongly.

Each with the state that it needs, in steps so small that it takes many commands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unittest import mock

from rq.job import Job
from rq.worker import Worker as RQWorker

from shedder import FailedSelection, Shedder
from shedder.engine.names import rq_keys
from shedder.lanes import lanes_of_targets
from shedder.queues.maintenance import Upkeep
from shedder.selection import Selection
from shedder.store.store import Store
from shedder.units import Rate
from tests.faults.accounting import Wrong, out_of_order
from tests.faults.producers import fill
from tests.faults.states import backlog_of_old, mend, set_aside, torn
from tests.features.failures import fail_job

if TYPE_CHECKING:
    from tests.faults.snapshot import Snapshot
    from tests.faults.stage import Stage

LANES = ("mail", "mail.low", "reports")
SOME = Selection(functions=("tests.jobs.decorated",))
MOST_STEPS = 200


@dataclass(frozen=True, slots=True)
class Verb:
    """An order and the state in which it is given.

    Attributes:
        name: What it is called.
        prepare: Makes the state.
        act: Gives the order.
        mends: The state has jobs in no place, and the order is what brings them back.
    """

    name: str
    prepare: Callable[[Stage], object]
    act: Callable[[Shedder], object]
    mends: bool = False


def fill_lanes(stage: Stage) -> None:
    """Jobs of two functions, from our producers and stock ones, in several lanes."""
    for way in ("enqueue", "other", "stock", "stock other", "many", "other"):
        fill(stage, "mail", 2, way=way)
    fill(stage, "mail.low", 3)
    fill(stage, "mail.low", 2, way="other")
    fill(stage, "reports", 3, way="unique")


def _diverted(stage: Stage) -> None:
    fill_lanes(stage)
    stage.operator().divert("mail", reason="before")
    fill(stage, "mail", 2)


def _some_diverted(stage: Stage) -> None:
    fill_lanes(stage)
    stage.operator().divert("mail", selection=SOME, reason="before")
    fill(stage, "mail", 3)
    fill(stage, "mail", 3, way="other")


def _draining(stage: Stage) -> None:
    _diverted(stage)
    stage.operator().drain("mail", rate=Rate(1.0), reason="before")


PLANTED = "app.errors.Planted: no answer"


def failed_jobs(stage: Stage) -> None:
    """Jobs of three lanes, most of which have failed."""
    fill_lanes(stage)
    for lane in ("mail", "mail.low"):
        for job in stage.redis.lrange(stage.keys.engine.lists + lane, 1, -1):
            fail_job(stage, Job.fetch(job.decode(), connection=stage.redis), PLANTED)


def _retried(stage: Stage) -> None:
    failed_jobs(stage)
    stage.operator().retry("mail", rate=Rate(1.0), reason="before")


def _with_stock_worker(stage: Stage) -> None:
    fill_lanes(stage)
    RQWorker(["mail", "mail.low"], connection=stage.redis).register_birth()


def _parked(stage: Stage) -> None:
    _with_stock_worker(stage)
    stage.operator().pause("mail", reason="before")
    fill(stage, "mail", 5, way="stock")


def _restoring(stage: Stage) -> None:
    """A restore whose operator died after its first step."""
    _some_diverted(stage)
    with mock.patch("shedder.queues.restore.RESTORED_PER_STEP", 2):
        first_commands(stage, lambda operator: operator.drain_at_once("mail", reason="x"), 4)


def _scanning(stage: Stage) -> None:
    """A divert whose operator died in the middle of its scan."""
    fill_lanes(stage)
    first_commands(stage, lambda operator: operator.divert("mail", selection=SOME, reason="x"), 4)


class _EnoughError(Exception):
    pass


def first_commands(stage: Stage, act: Callable[[Shedder], object], number: int) -> None:
    """Give an order of which only so many commands are carried out, as if its operator had died."""
    from tests.faults.faults_operators import counted_commands

    def end() -> None:
        raise _EnoughError

    with counted_commands(number, end):
        try:
            act(stage.operator())
        except _EnoughError:
            return


def _upkeep(operator: Shedder) -> None:
    lanes = [lane.name for lane in operator.lanes(LANES)]
    for _ in range(3):
        operator.store.read(lambda asked: asked.delete(operator.keys.sampled))
        Upkeep(operator.store, lanes).do()


VERBS: tuple[Verb, ...] = (
    Verb("pause", fill_lanes, lambda o: o.pause("mail", reason="x")),
    Verb("pause with stock workers", _with_stock_worker, lambda o: o.pause("mail", reason="x")),
    Verb("resume", _parked, lambda o: o.resume("mail", reason="x")),
    Verb("divert", fill_lanes, lambda o: o.divert("mail", "reports", reason="x")),
    Verb("divert some", fill_lanes, lambda o: o.divert("mail", selection=SOME, reason="x")),
    Verb("divert some of a parked lane", _parked, lambda o: o.divert("mail", selection=SOME, reason="x")),
    Verb("divert more", _some_diverted, lambda o: o.divert("mail", reason="x")),
    Verb("drain", _diverted, lambda o: o.drain("mail", rate=Rate(50.0), reason="x")),
    Verb("change of rate", _draining, lambda o: o.drain("mail", rate=Rate(50.0), reason="x")),
    Verb("stop drain", _draining, lambda o: o.stop_drain("mail", reason="x")),
    Verb("drain at once", _diverted, lambda o: o.drain_at_once("mail", reason="x")),
    Verb("drain at once and merge", _some_diverted, lambda o: o.drain_at_once("mail", reason="x")),
    Verb("undo divert", _some_diverted, lambda o: o.undo(None, reason="x")),
    Verb("undo pause", _parked, lambda o: o.undo(None, reason="x")),
    Verb("undo drain", _draining, lambda o: o.undo(None, reason="x")),
    Verb("retry", failed_jobs, lambda o: o.retry("mail", rate=Rate(1.0), reason="x")),
    Verb("retry the first", failed_jobs, lambda o: o.retry("mail", rate=Rate(1.0), first=5, reason="x")),
    Verb("stop retry", _retried, lambda o: o.stop_retry("mail", reason="x")),
    Verb("undo retry", _retried, lambda o: o.undo(None, reason="x")),
    Verb("limit starts", fill_lanes, lambda o: o.limit_starts("mail", rate=Rate(1.0), reason="x")),
    Verb("upkeep of a scan", _scanning, _upkeep),
    Verb("upkeep of a restore", _restoring, _upkeep),
    Verb("upkeep of old work", backlog_of_old, _upkeep),
    Verb("replay", set_aside, lambda o: o.replay_stale("mail", reason="x")),
    Verb("divert beside old work", set_aside, lambda o: o.divert("mail", reason="x")),
    Verb("drain of old work", backlog_of_old, lambda o: o.drain("mail", rate=Rate(1e6), reason="x")),
    Verb("drain at once of old work", backlog_of_old, lambda o: o.drain_at_once("mail", reason="x")),
)

ALL_VERBS = (*VERBS, Verb("repair", torn, mend, mends=True))
"""And those that bring back what is in no place: where the order is lost, it stays there."""


@contextmanager
def small_steps() -> Iterator[None]:
    """A time in which each step of an order moves very few jobs, here and in forks."""
    with ExitStack() as stack:
        for name, value in (
            ("shedder.queues.divert.JOBS_PER_STEP", 3),
            ("shedder.queues.restore.RESTORED_PER_STEP", 3),
            ("shedder.queues.divert.UNDECIDED_PER_STEP", 2),
            ("shedder.queues.pause.IDS_PER_STEP", 2),
            ("shedder.queues.stale.STALE_PER_STEP", 2),
            ("shedder.queues.failed.FAILED_PER_STEP", 4),
            ("shedder.queues.failed.IDS_PER_STEP", 5),
            ("shedder.queues.retry.RETRIED_PER_STEP", 3),
            ("shedder.queues.retry.TAKEN_BACK_PER_STEP", 3),
            ("shedder.health.repair.JOBS_PER_STEP", 2),
            ("shedder.health.repair.IDS_PER_STEP", 2),
            ("shedder.health.repair.JOBS_PER_STEP", 2),
        ):
            stack.enter_context(mock.patch(name, value))
        yield


def end_all_controls(stage: Stage) -> None:
    """What a second operator does in the end: nothing is paused, diverted or limited any more."""
    operator = stage.operator()
    finish_begun(operator)
    operator.store.connection.delete(operator.keys.policy)
    operator.resume(*LANES, reason="over")
    operator.lift_limit(*LANES, reason="over")
    chosen = FailedSelection(exceptions=("app.errors.Planted",))
    operator.retry(*LANES, selection=chosen, rate=Rate(1.0), reason="over")
    operator.drain_at_once(*LANES, reason="over")
    operator.resume(*LANES, reason="over")
    bring_back_old(operator)


def bring_back_old(operator: Shedder) -> None:
    """What was set aside is in its lanes again; no policy sets it aside once more."""
    operator.replay_stale(*LANES, reason="over")


def finish_begun(operator: Shedder) -> None:
    """What a worker does: the upkeep, without waiting until the dead are known to be dead."""
    keys = rq_keys()
    store = Store(operator.store.connection, rq_keys())
    names = [lane.name for lane in operator.lanes(LANES)]
    for _ in range(MOST_STEPS):
        at_work = [keys.lane_lease(name) for name in names]
        store.connection.delete(keys.sampled, *at_work)
        Upkeep(store, names).do()
        standing = store.connection.hvals(keys.diverts)
        if not any(b'"scanning":true' in each or b'"restoring":true' in each for each in standing):
            return
        time.sleep(0.001)
    raise AssertionError("the upkeep does not come to an end")


def wrong_lists(seen: Snapshot, *, in_hand: int = 0) -> list[Wrong]:
    """What stands in the wrong order: each lane is read kept, parked, list; a backlog by parts."""
    wrong = []
    keys = rq_keys()
    for lane in (each.name for each in lanes_of_targets(LANES)):
        listed, kept, parked, _ = keys.lane(lane)
        ids = [job for key in (kept, parked, listed) for job in seen.lists.get(key, ())]
        strangers = [job for job in ids if not job.rpartition("-")[2].isdecimal()]
        wrong += [Wrong("other", f"{job} is of no producer here: {seen.calls.get(job)}") for job in strangers]
        wrong += out_of_order([job for job in ids if job not in strangers], in_hand=in_hand)
    return wrong


def wrong_when_idle(stage: Stage) -> list[Wrong]:
    """What is wrong when no control is left and no job has run: each is in its lane, in order."""
    seen = stage.snapshot()
    wrong = wrong_lists(seen) + [Wrong("leaked", key) for key in seen.left_over()]
    for job, lane in stage.book.sure.items():
        if seen.places.get(job) != (f"{rq_keys().engine.lists}{lane}",):
            wrong.append(Wrong("lost", f"{job} is in {seen.places.get(job)}, not in {lane}"))
    return wrong
