"""Workers die, stop and freeze at each step of a job; others go on.

A storm: a few workers serve two queues, each with a doom of its own; who has died is replaced, and
one that nothing happens to is always there. Producers enqueue all the while.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from rq.registry import ReadyJobRegistry, StartedJobRegistry

from shedder.rq.performing import CRASHES_BEFORE_FAILURE
from tests.faults import actors
from tests.faults.accounting import marks_of
from tests.faults.actors import (
    BEGUN,
    CLAIMED,
    ENDED,
    FINISHED,
    FORKED,
    FREEZE,
    GATED,
    KILL,
    KILL_BOTH,
    ORPHAN,
    PAST_START,
    PREPARED,
    REPORTED,
    RUNNING,
    TERM,
    Doom,
    Note,
    notes_in,
    thaw,
)
from tests.faults.producers import produce
from tests.faults.schedule import Fault
from tests.faults.stage import LEASE_SECONDS, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rq.worker import BaseWorker

    from tests.workers import WorkerProcess

QUEUES = ("mail", "reports")
LANES = ("mail", "mail.low", "reports")
SEVERAL_WAYS = ("enqueue", "many", "unique", "pipeline", "stock", "retry", "dependent")
DOOMED_AT_ONCE = 2
FINISH_SECONDS = 120.0

_KINDS: dict[str, tuple[type[BaseWorker], type[BaseWorker]]] = {
    "fork": (actors.DoomedWorker, actors.DoomedStock),
    "simple": (actors.DoomedSimple, actors.DoomedStockSimple),
    "spawn": (actors.DoomedSpawn, actors.DoomedStockSpawn),
}


@dataclass(frozen=True, slots=True)
class Storm:
    """One kind of death, many times.

    Attributes:
        step: Where it comes, or `any` for any moment.
        action: What comes.
        kind: Class of worker: `fork`, `simple` or `spawn`.
        queues: The queues that each worker serves.
        is_stock: The workers are RQ's own.
    """

    step: str
    action: str
    kind: str = "fork"
    queues: tuple[str, ...] = QUEUES
    is_stock: bool = False

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
        self.deadline = time.monotonic() + 20 + 2 * stage.size

    def play(self) -> None:
        """Inject, let the rest be done, and settle the accounts."""
        stage = self.stage
        producer = stage.start(self._produce())
        healthy = self._start(None)
        while self._injected() < stage.size and time.monotonic() < self.deadline:
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
            pause=0.02,
        )

    def _start(self, doom: Doom | None) -> WorkerProcess:
        kind = _KINDS[self.storm.kind][self.storm.is_stock]
        return self.stage.start_worker(self.storm.queues, kind, settings={"doom": doom})

    def _replace_dead(self) -> None:
        storm, dice = self.storm, self.stage.dice
        for worker in self.doomed:
            if storm.step == "any" and worker.is_alive() and dice.random() < 0.1:
                self.struck.append(time.monotonic())
                worker.kill(and_children=storm.action == KILL_BOTH)
        self.doomed = [worker for worker in self.doomed if worker.is_alive()]
        if len(self.doomed) < DOOMED_AT_ONCE:
            notes = str(self.stage.notes_path)
            doom = Doom(storm.step, dice.choice((1, 1, 2, 3)), storm.action, notes)
            self.doomed.append(self._start(None if storm.step == "any" else doom))

    def _thaw(self) -> None:
        for note in self._notes() if self.storm.action == FREEZE else ():
            if note not in self.thawed and time.monotonic() - note.at > 1.6 * LEASE_SECONDS:
                self.thawed.add(note)
                for pid in {note.worker, note.horse} - {0}:
                    thaw(pid)

    def _finish(self, healthy: WorkerProcess) -> None:
        stage = self.stage
        end = time.monotonic() + FINISH_SECONDS
        frozen = len(self._notes())
        while time.monotonic() < end:
            self._thaw()
            if self.storm.action != FREEZE or len(self.thawed) >= frozen:
                self._end_doomed()
            if not healthy.is_alive():
                healthy = self._start(None)
            if stage.wait_until_done(timeout=1.0):
                return
            if settle_abandoned(stage, LANES) and self.storm.is_stock:
                return

    def _end_doomed(self) -> None:
        for worker in self.doomed:
            self.ended.append(time.monotonic())
            worker.kill(and_children=True)
        self.doomed = []

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


_SHORT = {
    (CLAIMED, KILL, "fork"),
    (PREPARED, KILL, "fork"),
    (BEGUN, KILL, "fork"),
    (GATED, KILL, "fork"),
    (BEGUN, KILL_BOTH, "fork"),
    (RUNNING, ORPHAN, "fork"),
    (CLAIMED, TERM, "fork"),
    (BEGUN, FREEZE, "fork"),
    ("any", KILL_BOTH, "fork"),
    (CLAIMED, KILL, "simple"),
    (GATED, KILL, "simple"),
    (PREPARED, TERM, "simple"),
}


def faults() -> list[Fault]:
    """The rows of this family."""
    rows = [
        *[(step, KILL, kind) for kind in ("fork", "simple") for step in (CLAIMED, PREPARED)],
        *[(step, KILL, kind) for kind in ("fork", "simple") for step in (BEGUN, GATED)],
        *[(step, KILL, "fork") for step in (FORKED, REPORTED, RUNNING, ENDED, FINISHED)],
        *[(step, KILL_BOTH, "fork") for step in (BEGUN, GATED, RUNNING, FINISHED)],
        *[(step, ORPHAN, "fork") for step in (BEGUN, RUNNING)],
        *[(step, TERM, "fork") for step in (CLAIMED, PREPARED, BEGUN, RUNNING)],
        *[(step, TERM, "simple") for step in (CLAIMED, PREPARED, BEGUN, RUNNING)],
        *[(step, FREEZE, "fork") for step in (CLAIMED, PREPARED, BEGUN)],
        (CLAIMED, FREEZE, "simple"),
        ("any", KILL, "fork"),
        ("any", KILL_BOTH, "fork"),
        ("any", KILL, "simple"),
        ("any", KILL, "spawn"),
        (BEGUN, KILL, "spawn"),
    ]
    made = [_fault(step, action, kind) for step, action, kind in rows]
    one_queue = Storm(CLAIMED, KILL, queues=("mail",))
    made.append(
        Fault("worker kill: claimed (fork on one queue)", "workers", one_queue, is_short=False)
    )
    return made


def _fault(step: str, action: str, kind: str) -> Fault:
    return Fault(
        name=f"worker {action}: {step} ({kind})",
        family="workers",
        trial=Storm(step, action, kind),
        beside=Storm(step, action, kind, is_stock=True),
        is_short=(step, action, kind) in _SHORT,
    )
