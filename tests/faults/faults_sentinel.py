"""The master of a replicated pair dies, and sentinels let its replica take over.

Replication is asynchronous: what the master acknowledged in its last moments may be gone, jobs and
orders alike. Never half an order, never a job in two lists: a replica has all that its master did
up to some moment, and a script is one step of it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from shedder.errors import ShedderError
from tests.faults.accounting import Wrong
from tests.faults.faults_network import signature
from tests.faults.faults_operators import counted_commands
from tests.faults.faults_retry import bring_all_back, check_retries, fail_and_retry, wait_for_retry
from tests.faults.load import Load, command
from tests.faults.producers import fill
from tests.faults.schedule import Fault
from tests.faults.states import mend
from tests.faults.verbs import ALL_VERBS, Verb, end_all_controls, small_steps, wrong_lists, wrong_when_idle
from tests.sentinel import Watched

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from tests.faults.snapshot import Snapshot
    from tests.faults.stage import Stage

_RETRIES = tuple(verb for verb in ALL_VERBS if "retry" in verb.name)

LATE_JOBS = 5
"""Enqueued, and acknowledged, when the replica hears nothing any more."""


def under_load(stage: Stage, orders: Callable[[Stage, Any, Random], object] = command) -> None:
    """Workers, producers and an operator go on with the new master."""
    watched: Watched = stage.keep(Watched())
    stage.play_on(watched)
    load = Load(stage, orders=orders)
    load.wait_for_progress()
    if orders is fail_and_retry:
        wait_for_retry(stage)
    gone = 0
    for _ in range(max(1, stage.size // 7)):
        watched.wait_until_replicated()
        load.note_fault()
        _fail_over(stage, watched)
        load.wait_for_progress()
        gone += _write_off(stage)
    load.finish(also=partial(_settle, stage, has_failed=orders is fail_and_retry))
    _repair(stage)
    if orders is fail_and_retry:
        check_retries(stage)
    what = f"{gone} of {len(stage.book.sure)} acknowledged jobs went with a master"
    stage.outcome.notes.append(what)
    _compare_audit(stage)


def _settle(stage: Stage, *, has_failed: bool) -> None:
    if has_failed:
        bring_all_back(stage)
    _write_off(stage)


@dataclass(frozen=True, slots=True)
class InOrders:
    """The replica hears nothing from some command of an order on; then the master dies.

    Attributes:
        verbs: The orders, of which chance chooses.
    """

    verbs: Sequence[Verb] = ALL_VERBS

    def __call__(self, stage: Stage) -> None:
        """Play it."""
        watched: Watched = stage.keep(Watched())
        stage.play_on(watched)
        undone = 0
        rounds = max(2, stage.size // 3)
        with small_steps():
            for _ in range(rounds):
                undone += self._play(stage, watched, stage.dice.choice(self.verbs))
        stage.outcome.notes.append(f"{undone} of {rounds} acknowledged orders were undone, whole")

    def _play(self, stage: Stage, watched: Watched, verb: Verb) -> bool:
        """Whether the order, which was acknowledged, is not there afterwards."""
        stage.redis.flushall()
        stage.forget()
        verb.prepare(stage)
        watched.wait_until_replicated()
        before = signature(stage.snapshot())
        with counted_commands(stage.dice.randrange(4), _once(watched.cut_replication)):
            verb.act(stage.operator())
        expected = signature(stage.snapshot())
        late = fill(stage, "reports", LATE_JOBS)
        _fail_over(stage, watched)
        stage.outcome.injected += 1
        _write_off(stage, only=late)
        seen = stage.check_now(has_stock=verb.mends)
        stage.outcome.wrong += wrong_lists(seen)
        if not verb.mends:
            _compare_audit(stage)
        _repair(stage)
        _say_again(stage, verb)
        stage.check_now()
        end_all_controls(stage)
        stage.outcome.wrong += wrong_when_idle(stage)
        stage.outcome.jobs += len(stage.book.sure)
        return _is_undone(seen, before, expected)


def _once(action: Any) -> Any:
    """`action` at the first call, nothing at the later ones."""
    calls: list[int] = []

    def call() -> None:
        if not calls:
            calls.append(1)
            action()

    return call


def _is_undone(seen: Snapshot, before: Any, expected: Any) -> bool:
    return bool(before != expected and signature(seen) == before)


def _fail_over(stage: Stage, watched: Watched) -> None:
    """The master dies, the replica takes over, and the old master comes back as its replica."""
    old = watched.master
    since = time.monotonic()
    old.kill()
    stage.outcome.kills += 1
    watched.wait_for_another_master(old)
    stage.outcome.recovered.append(time.monotonic() - since)
    old.restart()
    with old.client() as client:  # sentinels do the same, some ten seconds later
        client.replicaof("127.0.0.1", watched.master.port)


def _write_off(stage: Stage, *, only: list[str] | None = None) -> int:
    """How many acknowledged jobs are gone; they are expected to be gone from now on."""
    stage.book.read(stage.ledger_path)
    there = stage.snapshot().status
    candidates = stage.book.sure if only is None else only
    gone = {job for job in candidates if job not in there} - stage.book.vanishing
    if only is not None:
        for job in gone:
            del stage.book.sure[job]
    else:
        stage.book.vanishing |= gone
    return len(gone)


def _compare_audit(stage: Stage) -> None:
    """`audit` finds in no list, and in two, exactly what we find."""
    report = stage.operator().audit()
    if report.nowhere or report.twice:
        found = f"audit names {report.nowhere} as nowhere and {report.twice} as twice"
        stage.outcome.wrong.append(Wrong("other", found))


def _repair(stage: Stage) -> None:
    """A check-up and a repair after it leave no job in no place, and nothing more to repair."""
    operator = stage.operator()
    mend(operator)
    left = operator.check_up()
    if left.repairable:
        stage.outcome.wrong.append(Wrong("other", f"left unrepaired: {left.repairable}"))
    _compare_audit(stage)
    stage.check_now()


def _say_again(stage: Stage, verb: Verb) -> None:
    try:
        verb.act(stage.operator())
    except ShedderError:
        return  # such as an undo of what was undone


def faults() -> list[Fault]:
    """The rows of this family."""
    return [
        Fault("sentinel: fail-over under load", "sentinel", under_load, is_short=False),
        Fault("sentinel: fail-over in orders", "sentinel", InOrders()),
        Fault("sentinel: fail-over under load, with retry", "sentinel", partial(under_load, orders=fail_and_retry)),
        Fault("sentinel: fail-over in retry and its undo", "sentinel", InOrders(_RETRIES), is_short=False),
    ]
