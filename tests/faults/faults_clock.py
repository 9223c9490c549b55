"""A client's clock is an hour ahead or behind, or the server's is set: the server's decides."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import rq.utils

from shedder.engine.names import rq_keys
from shedder.rq import SimpleWorker, Worker
from shedder.units import Rate
from tests.faults.accounting import Wrong, marks_of
from tests.faults.load import Load
from tests.faults.producers import fill
from tests.faults.schedule import Fault
from tests.stepped import stepped_server, why_not
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.faults.stage import Stage

HOUR = 3600.0
PAUSE = timedelta(seconds=1)


def shift_clock(seconds: float) -> None:
    """Let this process believe that it is so much later, for good."""
    true_time, true_now = time.time, rq.utils.now
    time.time = lambda: true_time() + seconds
    # RQ's other function of the time asks this one
    for module in list(sys.modules.values()):
        if getattr(module, "now", None) is true_now:
            module.now = lambda: true_now() + timedelta(seconds=seconds)


class ShiftedWorker(Worker):
    """Ours, with a wrong clock."""

    def __init__(self, *args: Any, shift: float = 0.0, **kwargs: Any) -> None:
        shift_clock(shift)
        super().__init__(*args, **kwargs)


class ShiftedSimpleWorker(SimpleWorker):
    """Ours, with a wrong clock."""

    def __init__(self, *args: Any, shift: float = 0.0, **kwargs: Any) -> None:
        shift_clock(shift)
        super().__init__(*args, **kwargs)


@dataclass(frozen=True, slots=True)
class WrongClock:
    """What a worker whose clock is off by `seconds` does to its own jobs and to those of others."""

    seconds: float

    def __call__(self, stage: Stage) -> None:
        """Play it."""
        kinds = (ShiftedWorker, ShiftedSimpleWorker)
        for kind in kinds[:1] if stage.is_short else kinds:
            self._jobs_of_others(stage, kind)
            self._own_jobs(stage, kind)
        self._pace(stage)
        self._lease(stage)
        stage.check_end()

    def _jobs_of_others(self, stage: Stage, kind: Any) -> None:
        """It starts, with RQ's maintenance, while another worker runs a job."""
        sound = stage.start_worker(("mail",), Worker)
        (job,) = fill(stage, "mail", 1, seconds=1.0)
        _wait_for_start(stage, job)
        wrong = stage.start_worker(("mail",), kind, settings={"shift": self.seconds})
        wrong.wait_until_idle(stage.redis)
        self._expect_finished(stage, job, "its own worker is sound")
        for worker in (sound, wrong):
            worker.kill(and_children=True)

    def _own_jobs(self, stage: Stage, kind: Any) -> None:
        """It runs a job while another worker starts, with RQ's maintenance."""
        wrong = stage.start_worker(("mail",), kind, settings={"shift": self.seconds})
        (job,) = fill(stage, "mail", 1, seconds=1.0)
        _wait_for_start(stage, job)
        sound = stage.start_worker(("mail",), Worker)
        sound.wait_until_idle(stage.redis)
        self._expect_finished(stage, job, "its own worker is wrong")
        for worker in (sound, wrong):
            worker.kill(and_children=True)

    def _expect_finished(self, stage: Stage, job: str, what: str) -> None:
        stage.outcome.injected += 1
        stage.wait_until_done()
        status = stage.snapshot().status.get(job)
        if status != "finished":
            wrong = f"{job} is {status} ({what}, {self.seconds:+g} s)"
            stage.outcome.wrong.append(Wrong("other", wrong))

    def _pace(self, stage: Stage) -> None:
        """A drain keeps its pace with it."""
        operator = stage.operator()
        operator.divert("mail", reason="x")
        ids = set(fill(stage, "mail", 40))
        operator.drain("mail", rate=Rate(10.0), reason="x")
        since = time.monotonic()
        stage.start_worker(("mail",), ShiftedSimpleWorker, settings={"shift": self.seconds})

        def started() -> int:
            return sum(mark.what == "start" and mark.key in ids for mark in marks_of(stage.marks_path))

        wait_until(lambda: started() >= 12, what="twelve starts")
        starts = started()
        allowed = 10.0 * (time.monotonic() - since) + 2
        if starts > allowed:
            wrong = f"{starts} starts, {allowed:.0f} allowed"
            stage.outcome.wrong.append(Wrong("other", wrong))
        operator.drain_at_once("mail", reason="x")
        stage.wait_until_done()
        stage.outcome.injected += 1

    def _lease(self, stage: Stage) -> None:
        """A pause of an operator with this clock ends when the server says so."""
        child = stage.start(lambda: self._pause(stage))
        child.wait()
        stage.outcome.injected += 1
        fill(stage, "reports", 1)
        (lane,) = stage.operator().status("reports.normal").lanes
        pause = lane.pause
        # who is late sees a pause that is over; who sees it, sees that it lasts as long as was said
        if pause is not None and pause.until != pause.since + PAUSE:
            stage.outcome.wrong.append(Wrong("paused", f"{pause.since} to {pause.until}"))
        stage.start_worker(("reports",), SimpleWorker)
        if not stage.wait_until_done():
            stage.outcome.wrong.append(Wrong("stuck", "its pause did not end"))
        # who claims a job looks no further: what is over in the lanes behind it goes with the next look
        wait_until(lambda: not stage.redis.exists(rq_keys().pauses), what="the end of the records of its pause")

    def _pause(self, stage: Stage) -> None:
        shift_clock(self.seconds)
        operator = stage.operator()
        operator.pause("reports", reason="x", expires_in=PAUSE)


def _wait_for_start(stage: Stage, job: str) -> None:
    wait_until(lambda: any(mark.key == job for mark in marks_of(stage.marks_path)), what=f"start of {job}")


@dataclass(frozen=True, slots=True)
class UnderLoad:
    """A worker with a wrong clock among sound ones, all at work."""

    seconds: float

    def __call__(self, stage: Stage) -> None:
        """Play it."""
        load = Load(stage)
        settings = {"shift": self.seconds}
        for kind in (ShiftedWorker, ShiftedSimpleWorker):
            stage.start_worker(("mail", "reports"), kind, settings=settings)
            load.note_fault()
        time.sleep(0.5 + 0.1 * stage.size)
        load.faults.clear()  # a wrong clock excuses nothing
        load.finish()


@dataclass(frozen=True, slots=True)
class ServerSet:
    """The server's clock is set, again and again, while everybody is at work."""

    seconds: int

    def __call__(self, stage: Stage) -> None:
        """Play it."""
        stage.outcome.skipped = why_not()
        if stage.outcome.skipped:
            return
        server = stage.keep(stepped_server())
        stage.play_on(server)
        load = Load(stage)
        load.wait_for_progress()
        for _ in range(max(2, stage.size // 5)):
            for seconds in (self.seconds, 0):
                time.sleep(stage.dice.uniform(0.1, 0.5))
                load.note_fault()
                server.step(seconds)
                load.wait_for_progress()
        load.faults.clear()  # it excuses nothing
        load.finish(also=lambda: self._let_go(stage))
        self._expect_runs(stage)

    def _let_go(self, stage: Stage) -> None:
        """Results that are kept for minutes go when an hour is over at once."""
        stage.book.vanishing |= stage.book.sure.keys() - stage.snapshot().status.keys()

    def _expect_runs(self, stage: Stage) -> None:
        begun = {mark.key for mark in marks_of(stage.marks_path)}
        status = stage.snapshot().status
        for job in stage.book.sure:
            if job not in status and job not in begun:
                stage.outcome.wrong.append(Wrong("lost", f"{job} is gone and never began"))


def faults() -> list[Fault]:
    """The rows of this family."""
    hours = (HOUR, -HOUR)
    alone = [
        Fault(f"clock of a worker {s:+g} s", "clock", WrongClock(s), is_short=abs(s) == HOUR) for s in (*hours, 120.0)
    ]
    among = [Fault(f"clock of workers {s:+g} s under load", "clock", UnderLoad(s)) for s in hours]
    of_server = [Fault(f"clock of the server set {s:+g} s", "clock", ServerSet(int(s))) for s in hours]
    return [*alone, *among, *of_server]
