"""Who plays: workers that die at a named step, and other processes that do one thing.

All are forks of this process, so that one is there in milliseconds.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rq.worker import BaseWorker
from rq.worker import SimpleWorker as RQSimpleWorker
from rq.worker import SpawnWorker as RQSpawnWorker
from rq.worker import Worker as RQWorker

from shedder.rq import SimpleWorker, SpawnWorker, Worker
from tests import jobs
from tests.faults.accounting import append_line
from tests.jobs import whole_lines
from tests.lifeline import end_with_parent
from tests.waiting import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rq.job import Job

CLAIMED, PREPARED, FORKED = "claimed", "prepared", "forked"
BEGUN, GATED, REPORTED = "before the gate", "past the gate", "reported"
RUNNING, ENDED, FINISHED = "running", "ended", "finished"

STEPS = (CLAIMED, PREPARED, FORKED, BEGUN, GATED, REPORTED, RUNNING, ENDED, FINISHED)
PAST_START = (GATED, REPORTED, RUNNING, ENDED, FINISHED)

WAITING, ANY = "waiting", "any"
"""No steps of a job: the fault comes from outside, to a worker that is idle, or at any moment."""

KILL, KILL_BOTH, ORPHAN, TERM, FREEZE = "kill", "kill both", "orphan", "term", "freeze"

_DOOM, _NUMBER = "FAULTS_DOOM", "FAULTS_JOB_NUMBER"


@dataclass(frozen=True, slots=True)
class Doom:
    """What happens to a worker.

    Attributes:
        step: At which of `STEPS`.
        number: In every how manieth job.
        action: `kill` the process at that step, `kill both` worker and work-horse, `orphan` the
            work-horse, `term` the worker, or `freeze` both until somebody thaws them.
        notes: File that is told of it just before.
    """

    step: str
    number: int
    action: str
    notes: str

    def __str__(self) -> str:
        return f"{self.step}|{self.number}|{self.action}|{self.notes}"

    @classmethod
    def read(cls) -> Doom | None:
        """The doom that this process was given."""
        text = os.environ.get(_DOOM)
        if not text:
            return None
        step, number, action, notes = text.split("|")
        return cls(step, int(number), action, notes)


@dataclass(frozen=True, slots=True)
class Note:
    """What a doom told before it came: the job, the processes, and when (monotonic seconds)."""

    step: str
    action: str
    job: str
    worker: int
    horse: int
    at: float


def notes_in(path: Path) -> list[Note]:
    """All dooms that have come."""
    rows = [line.split("\t") for line in whole_lines(path)]
    return [Note(s, a, job, int(w), int(h), float(at)) for s, a, job, w, h, at in rows]


class Doomed(BaseWorker):
    """A worker of any class that something happens to at a named step of a job."""

    def __init__(self, *args: Any, doom: Doom | None = None, **kwargs: Any) -> None:
        if doom is not None:
            os.environ[_DOOM] = str(doom)
        self._doom = Doom.read()
        super().__init__(*args, **kwargs)

    def dequeue_job_and_maintain_ttl(self, *args: Any, **kwargs: Any) -> Any:
        found = super().dequeue_job_and_maintain_ttl(*args, **kwargs)
        if found is not None:
            os.environ[_NUMBER] = str(int(os.environ.get(_NUMBER, "0")) + 1)
            self._at(CLAIMED, found[0])
        return found

    def prepare_execution(self, job: Job) -> Any:
        execution = super().prepare_execution(job)
        self._at(PREPARED, job)
        return execution

    def fork_work_horse(self, job: Job, queue: Any) -> None:
        super().fork_work_horse(job, queue)
        self._at(FORKED, job)

    def perform_job(self, job: Job, queue: Any, execution: Any) -> bool:
        self._at(BEGUN, job)
        jobs.meanwhile[:] = [lambda: self._at(RUNNING, job)]
        return super().perform_job(job, queue, execution)

    def prepare_job_execution(self, job: Job, remove_from_intermediate_queue: bool = False) -> None:
        self._at(GATED, job)
        super().prepare_job_execution(job, remove_from_intermediate_queue)
        self._at(REPORTED, job)

    def handle_execution_ended(self, job: Job, queue: Any, heartbeat_ttl: int) -> None:
        self._at(ENDED, job)
        super().handle_execution_ended(job, queue, heartbeat_ttl)

    def handle_job_success(self, job: Job, *args: Any, **kwargs: Any) -> None:
        super().handle_job_success(job, *args, **kwargs)
        self._at(FINISHED, job)

    def _at(self, step: str, job: Job) -> None:
        doom = self._doom
        if doom is None or doom.step != step or int(os.environ.get(_NUMBER, "1")) % doom.number:
            return
        worker = os.getppid() if self._is_horse else os.getpid()
        horse = os.getpid() if self._is_horse else self._horse_pid
        append_line(doom.notes, step, doom.action, job.id, worker, horse, time.monotonic())
        _strike(doom.action, worker, horse)


def _strike(action: str, worker: int, horse: int) -> None:
    me = os.getpid()
    other = horse if me == worker else worker
    if action in (KILL_BOTH, ORPHAN) and other:
        os.kill(other, signal.SIGKILL)
    if action in (KILL, KILL_BOTH):
        os.kill(me, signal.SIGKILL)
    if action == TERM:
        os.kill(worker, signal.SIGTERM)
    if action == FREEZE:
        if other:
            os.kill(other, signal.SIGSTOP)
        os.kill(me, signal.SIGSTOP)


class DoomedWorker(Doomed, Worker):
    """Ours, a fork for each job."""


class DoomedSimple(Doomed, SimpleWorker):
    """Ours, jobs in its own process."""


class DoomedSpawn(Doomed, SpawnWorker):
    """Ours, a fresh process for each job."""


class DoomedStock(Doomed, RQWorker):
    """RQ's, a fork for each job."""


class DoomedStockSimple(Doomed, RQSimpleWorker):
    """RQ's, jobs in its own process."""


class DoomedStockSpawn(Doomed, RQSpawnWorker):
    """RQ's, a fresh process for each job."""


class Child:
    """A fork of this process that does one thing and ends; it never outlives its deadline."""

    def __init__(self, action: Callable[[], object], *, log: Path) -> None:
        self.log = log
        self.status: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            _act(action, log)

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is None

    def wait(self, *, timeout: float = PATIENCE_SECONDS) -> int:
        """Its exit code: 0, 1 after an error, minus the signal that ended it."""
        wait_until(lambda: not self.is_alive(), timeout=timeout, what=f"the end of {self.said()}")
        assert self.status is not None
        return self.status

    def kill(self) -> None:
        """End it with SIGKILL, if it has not ended."""
        if self.is_alive():
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def said(self) -> str:
        """The last lines of its log."""
        with contextlib.suppress(FileNotFoundError):
            return self.log.read_text(encoding="utf-8", errors="replace")[-1500:]
        return ""


def _act(action: Callable[[], object], log: Path) -> None:
    from tests.workers import _leave_the_test

    status = 1
    try:
        end_with_parent()
        _leave_the_test(log)
        action()
        status = 0
    except BaseException:
        logging.getLogger("faults").exception("the process ends")
    finally:
        os._exit(status)


def thaw(pid: int) -> None:
    """Let a frozen process go on, if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
