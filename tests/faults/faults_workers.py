"""Workers die, stop and freeze at each step of a job, and while they wait; others go on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from shedder.rq import Worker
from tests.faults.accounting import Wrong, marks_of
from tests.faults.actors import (
    ANY,
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
    PREPARED,
    REPORTED,
    RUNNING,
    TERM,
    WAITING,
    Doom,
    DoomedWorker,
    notes_in,
    thaw,
)
from tests.faults.producers import fill
from tests.faults.schedule import Fault
from tests.faults.stage import with_usual_leases
from tests.faults.storms import Storm
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.faults.stage import Stage

STORM_TIMES, STORM_AT_ONCE = 25, 4
MINUTE = 60.0


def as_usual(stage: Stage) -> None:
    """One worker is killed and one frozen for a minute, each with a claim, and leases as they are.

    Both claims are back within the minute; the frozen worker, when it thaws, starts nothing.
    """
    with with_usual_leases():
        for action in (KILL, FREEZE):
            fill(stage, "mail", 1)
            doom = Doom(CLAIMED, 1, action, str(stage.notes_path))
            thawed = stage.start_worker(("mail",), DoomedWorker, settings={"doom": doom})
            wait_until(lambda action=action: action in _struck(stage), what="its end")
        stage.outcome.injected, stage.outcome.kills = 2, 1
        stage.start_worker(("mail",), Worker)
        if not stage.wait_until_done(timeout=MINUTE):
            stage.outcome.wrong.append(Wrong("stuck", "claims are not back within a minute"))
        frozen = next(note for note in notes_in(stage.notes_path) if note.action == FREEZE)
        wait_until(lambda: time.monotonic() - frozen.at > MINUTE, timeout=2 * MINUTE)
        for pid in {frozen.worker, frozen.horse} - {0}:
            thaw(pid)
        thawed.wait_until_idle(stage.redis)
    starts = {mark.key: mark.at for mark in marks_of(stage.marks_path) if mark.what == "start"}
    struck = notes_in(stage.notes_path)
    stage.outcome.recovered = [starts[n.job] - n.at for n in struck if n.job in starts]
    stage.check_end()


def _struck(stage: Stage) -> set[str]:
    return {note.action for note in notes_in(stage.notes_path)}


_SHORT = {
    (CLAIMED, KILL, "fork"),
    (PREPARED, KILL, "fork"),
    (BEGUN, KILL, "fork"),
    (GATED, KILL, "fork"),
    (BEGUN, KILL_BOTH, "fork"),
    (RUNNING, ORPHAN, "fork"),
    (CLAIMED, TERM, "fork"),
    (BEGUN, FREEZE, "fork"),
    (WAITING, KILL, "fork"),
    (GATED, KILL, "simple"),
}


def faults() -> list[Fault]:
    """The rows of this family."""
    rows = [
        *[(step, KILL, kind) for kind in ("fork", "simple") for step in (CLAIMED, PREPARED)],
        *[(step, KILL, kind) for kind in ("fork", "simple") for step in (BEGUN, GATED)],
        *[(step, KILL, "fork") for step in (FORKED, REPORTED, RUNNING, ENDED, FINISHED)],
        *[(step, KILL_BOTH, "fork") for step in (BEGUN, GATED, RUNNING, FINISHED)],
        *[(step, ORPHAN, "fork") for step in (BEGUN, RUNNING)],
        *[(step, TERM, "fork") for step in (WAITING, CLAIMED, PREPARED, BEGUN, RUNNING, ENDED)],
        *[(step, TERM, "simple") for step in (WAITING, CLAIMED, PREPARED, BEGUN, RUNNING, ENDED)],
        *[(step, FREEZE, "fork") for step in (WAITING, CLAIMED, PREPARED, BEGUN, RUNNING, ENDED)],
        *[(step, FREEZE, "simple") for step in (WAITING, CLAIMED)],
        *[(step, KILL, kind) for step in (WAITING, ANY) for kind in ("fork", "simple")],
        (ANY, KILL_BOTH, "fork"),
        (ANY, KILL, "spawn"),
        (BEGUN, KILL, "spawn"),
    ]
    made = [_fault(step, action, kind) for step, action, kind in rows]
    one_queue = Storm(CLAIMED, KILL, queues=("mail",))
    made.append(Fault("worker kill: claimed (fork on one queue)", "workers", one_queue, is_short=False))
    for kind, action in (("fork", KILL_BOTH), ("simple", KILL)):
        storm = Storm(ANY, action, kind, times=STORM_TIMES, at_once=STORM_AT_ONCE)
        made.append(Fault(f"kill storm ({kind})", "workers", storm, is_short=False))
    return [*made, Fault("worker kill and freeze: leases as they are", "workers", as_usual, is_short=False)]


def _fault(step: str, action: str, kind: str) -> Fault:
    return Fault(
        name=f"worker {action}: {step} ({kind})",
        family="workers",
        trial=Storm(step, action, kind),
        beside=Storm(step, action, kind, is_stock=True),
        is_short=(step, action, kind) in _SHORT,
    )
