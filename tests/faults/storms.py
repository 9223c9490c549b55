"""Storms: one kind of death, many times, among workers that are at work.

A few workers serve two queues, each with a doom of its own; who has died is replaced, and one that
nothing happens to is always there. Producers enqueue all the while.
"""

from __future__ import annotations

import signal
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from rq.registry import ReadyJobRegistry, StartedJobRegistry

from shedder.rq.gate import CRASHES_BEFORE_FAILURE
from tests.faults import actors
from tests.faults.accounting import marks_of
from tests.faults.actors import (
    ANY,
    BEGUN,
    CLAIMED,
    FORKED,
    FREEZE,
    KILL,
    KILL_BOTH,
    ORPHAN,
    PAST_START,
    PREPARED,
    TERM,
    WAITING,
    Doom,
    Note,
    notes_in,
    thaw,
)
from tests.faults.producers import produce
from tests.faults.stage import LEASE_SECONDS, Stage
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rq.worker import BaseWorker

    from tests.workers import WorkerProcess

QUEUES = ("mail", "reports")
LANES = ("mail", "mail.low", "reports")
SEVERAL_WAYS = ("enqueue", "many", "unique", "pipeline", "stock", "retry", "dependent")
DOOMED_AT_ONCE = 2
STORM_TIMES, STORM_AT_ONCE = 10, 4
FINISH_SECONDS = PATIENCE_SECONDS
"""How long nothing may move."""

IDLE_PAUSE_SECONDS = 0.5
"""Between two batches of jobs, so that workers wait for most of the time."""

_KINDS: dict[str, tuple[type[BaseWorker], type[BaseWorker]]] = {
    "fork": (actors.DoomedWorker, actors.DoomedStock),
    "simple": (actors.DoomedSimple, actors.DoomedStockSimple),
    "spawn": (actors.DoomedSpawn, actors.DoomedStockSpawn),
}


@dataclass(frozen=True, slots=True)
class Storm:
    """One kind of death, many times.

    Attributes:
        step: Where it comes; `WAITING` or `ANY` when it comes from outside.
        action: What comes.
        kind: Class of worker: `fork`, `simple` or `spawn`.
        queues: The queues that each worker serves.
        is_stock: The workers are RQ's own.
        times: So many times as many faults as in other trials.
        at_once: So many workers with a doom there are at a time.
    """

    step: str
    action: str
    kind: str = "fork"
    queues: tuple[str, ...] = QUEUES
    is_stock: bool = False
    times: int = 1
    at_once: int = DOOMED_AT_ONCE

    @property
    def is_from_outside(self) -> bool:
        """Whether the harness strikes, and not the worker itself."""
        return self.step in (ANY, WAITING)

    def __call__(self, stage: Stage) -> None:
        """Play it."""
        _Play(self, stage).play()


class _Play:
    def __init__(self, storm: Storm, stage: Stage) -> None:
        self.storm = storm
        self.stage = stage
        self.doomed: list[WorkerProcess] = []
        self.struck: list[float] = []
        self.ended: list[float] = []
        self.thawed: set[Note] = set()
        self.frozen: list[tuple[float, WorkerProcess]] = []
        self.size = storm.times * stage.size
        self.deadline = time.monotonic() + 20 + 2 * self.size

    def play(self) -> None:
        """Inject, let the rest be done, and settle the accounts."""
        stage = self.stage
        producer = stage.start(self._produce())
        healthy = self._start(None)
        while self._injected() < self.size and time.monotonic() < self.deadline:
            self._replace_dead()
            self._thaw()
            time.sleep(0.01)
        if not producer.is_alive():
            raise RuntimeError(f"the producer ended: {producer.said()}")
        producer.kill()
        stage.book.read(stage.ledger_path)
        stage.check_now(has_stock=self.storm.is_stock)
        self._finish(healthy)
        stage.outcome.injected += self._injected()
        stage.outcome.kills += sum(_KILLED[note.action] for note in self._notes())
        stage.outcome.recovered += list(self._recoveries())
        stage.check_end(self._excuses())

    def _produce(self):
        stage, storm = self.stage, self.storm
        served = [lane for lane in LANES if lane.partition(".")[0] in storm.queues]
        lanes = [lane for lane in served if not storm.is_stock or "." not in lane]
        dice = Random(stage.dice.random())
        ways = ("stock",) if storm.is_stock else SEVERAL_WAYS
        client = stage.server.client()
        return lambda: produce(
            client,
            lanes,
            name="p",
            ledger=str(stage.ledger_path),
            marks=stage.marks_path,
            dice=dice,
            ways=ways,
            pause=IDLE_PAUSE_SECONDS if storm.step == WAITING else stage.pause_seconds,
        )

    def _start(self, doom: Doom | None) -> WorkerProcess:
        kind = _KINDS[self.storm.kind][self.storm.is_stock]
        return self.stage.start_worker(self.storm.queues, kind, settings={"doom": doom})

    def _replace_dead(self) -> None:
        storm, dice = self.storm, self.stage.dice
        for worker in self.doomed if storm.is_from_outside else ():
            if worker.is_alive() and dice.random() < 0.1 and self._is_due(worker):
                self.struck.append(time.monotonic())
                self._strike(worker)
        self.doomed = [worker for worker in self.doomed if worker.is_alive()]
        if len(self.doomed) < storm.at_once:
            notes = str(self.stage.notes_path)
            doom = Doom(storm.step, dice.choice((1, 1, 2, 3)), storm.action, notes)
            self.doomed.append(self._start(None if storm.is_from_outside else doom))

    def _is_due(self, worker: WorkerProcess) -> bool:
        """Whether a worker is in the state in which it is to be struck."""
        if any(worker is each for _, each in self.frozen):
            return False
        state = self.stage.redis.hget(worker.key, "state")
        return self.storm.step == ANY or state == b"idle"

    def _strike(self, worker: WorkerProcess) -> None:
        action = self.storm.action
        if action == TERM:
            worker.send(signal.SIGTERM)
            worker.wait()
        elif action == FREEZE:
            worker.send(signal.SIGSTOP)
            self.frozen.append((time.monotonic(), worker))
        else:
            self.stage.outcome.kills += 1 + len(worker.children() if action == KILL_BOTH else ())
            worker.kill(and_children=action == KILL_BOTH)

    def _thaw(self) -> None:
        for at, worker in list(self.frozen):
            if time.monotonic() - at > 1.6 * LEASE_SECONDS:
                self.frozen.remove((at, worker))
                worker.send(signal.SIGCONT)
        for note in self._notes() if self.storm.action == FREEZE else ():
            if note not in self.thawed and time.monotonic() - note.at > 1.6 * LEASE_SECONDS:
                self.thawed.add(note)
                for pid in {note.worker, note.horse} - {0}:
                    thaw(pid)

    def _finish(self, healthy: WorkerProcess) -> None:
        stage = self.stage
        moved = time.monotonic()
        frozen, before = len(self._notes()), stage.snapshot().status
        while time.monotonic() < moved + FINISH_SECONDS:
            self._thaw()
            if self.storm.action != FREEZE or len(self.thawed) >= frozen:
                self._end_doomed()
            if not healthy.is_alive():
                healthy = self._start(None)
            if stage.wait_until_done(timeout=1.0):
                return
            if settle_abandoned(stage, LANES) and self.storm.is_stock:
                return
            if (status := stage.snapshot().status) != before:
                before, moved = status, time.monotonic()

    def _end_doomed(self) -> None:
        for worker in self.doomed:
            self.ended.append(time.monotonic())
            self.stage.outcome.kills += worker.is_alive()
            worker.kill(and_children=True)
        self.doomed, self.frozen = [], []

    def _injected(self) -> int:
        return len(self.struck) + len(notes_in(self.stage.notes_path))

    def _notes(self) -> list[Note]:
        return notes_in(self.stage.notes_path)

    def _excuses(self) -> dict[str, list[float]]:
        excuses = defaultdict(list)
        crashes = Counter(note.job for note in self._notes())
        for note in self._notes():
            is_past = note.step in (*PAST_START, FORKED) or note.action == ORPHAN
            if is_past or crashes[note.job] >= CRASHES_BEFORE_FAILURE:
                excuses[note.job].append(note.at)
        if self.struck or self.ended:
            excuses["*"] = [*self.struck, *self.ended]
        return excuses

    def _recoveries(self):
        """From the death of a worker to the start of the job that it had in hand."""
        starts = defaultdict(list)
        for mark in marks_of(self.stage.marks_path):
            if mark.what == "start":
                starts[mark.key].append(mark.at)
        for note in self._notes():
            later = [at for at in starts.get(note.job, ()) if at > note.at]
            if note.step in (CLAIMED, PREPARED, BEGUN) and later:
                yield min(later) - note.at


_KILLED = {KILL: 1, KILL_BOTH: 2, ORPHAN: 1, TERM: 0, FREEZE: 0}
"""Processes that end by SIGKILL in each."""


def settle_abandoned(stage: Stage, lanes: Sequence[str]) -> bool:
    """Let RQ do now what it does to executions that are not heard of for 90 s.

    True when nothing waits and nothing has moved meanwhile.
    """
    before = stage.snapshot()
    time.sleep(0.5)
    seen = stage.snapshot()
    if seen.waiting() or seen.status != before.status:
        return False
    for lane in lanes:
        later = time.time() + 10_000
        StartedJobRegistry(lane, connection=stage.redis).cleanup(timestamp=later)
        ReadyJobRegistry(lane, connection=stage.redis).cleanup(timestamp=later)
    return True
