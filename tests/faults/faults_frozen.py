"""An operator's process freezes between two commands of an order, and thaws when others went on."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from shedder.errors import ShedderError
from tests.faults.accounting import Wrong
from tests.faults.actors import Child, thaw
from tests.faults.faults_memory import take_all
from tests.faults.faults_network import signature
from tests.faults.faults_operators import counted_commands
from tests.faults.faults_pairs import ORDERS
from tests.faults.load import Load
from tests.faults.schedule import Fault
from tests.faults.verbs import (
    MOST_STEPS,
    VERBS,
    Verb,
    end_all_controls,
    fill_lanes,
    first_commands,
    small_steps,
    wrong_when_idle,
)
from tests.waiting import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from shedder import Shedder
    from tests.faults.stage import Stage

NAMES = (
    "pause with stock workers",
    "resume",
    "divert some",
    "divert some of a parked lane",
    "divert more",
    "drain",
    "stop drain",
    "drain at once",
    "drain at once and merge",
    "undo divert",
    "undo pause",
    "undo drain",
)
"""Orders of several commands; the others freeze under load."""


def freezes(child: Child, *, timeout: float = PATIENCE_SECONDS) -> bool:
    """Whether `child` froze; it has ended otherwise."""
    status = 0

    def is_over() -> bool:
        nonlocal status
        pid, status = os.waitpid(child.pid, os.WNOHANG | os.WUNTRACED)
        return bool(pid)

    wait_until(is_over, timeout=timeout, interval=0.002, what="a child that freezes or ends")
    if not os.WIFSTOPPED(status):
        child.status = os.waitstatus_to_exitcode(status)
    return os.WIFSTOPPED(status)


def _freeze_me() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _act(stage: Stage, verb: Verb, number: int) -> None:
    frozen = False

    def freeze() -> None:
        nonlocal frozen
        if not frozen:
            frozen = True
            _freeze_me()

    # what somebody else has done meanwhile may be told as an error of ours, such as an undo twice
    with counted_commands(number, freeze), contextlib.suppress(ShedderError):
        verb.act(stage.operator())


@dataclass(frozen=True, slots=True)
class Frozen:
    """An order is given again and again; its process freezes one command later each time.

    Attributes:
        verb: The order.
        ends_all: The other operator ends every control meanwhile, so that a late step of an order
            which was already given has nothing left to do; else he gives any order, or a part of
            it, and workers take all jobs that they may.
    """

    verb: Verb
    ends_all: bool

    def __call__(self, stage: Stage) -> None:
        """Play it."""
        with small_steps():
            for number in stage.steps(MOST_STEPS):
                if not self._play(stage, number):
                    return

    def _play(self, stage: Stage, number: int) -> bool:
        """Whether the process froze before it was done."""
        stage.redis.flushall()
        stage.forget()
        self.verb.prepare(stage)
        given = _changes(stage)
        child = stage.start(partial(_act, stage, self.verb, number))
        if not freezes(child):
            self._expect_success(stage, child)
            return False
        stage.outcome.injected += 1
        is_given = _changes(stage) > given
        self._others_act(stage)
        before = _told(stage)
        thaw(child.pid)
        child.wait()
        self._expect_success(stage, child)
        stage.check_now()
        if self.ends_all and is_given and _told(stage) != before:
            stage.outcome.wrong.append(Wrong("other", f"a late step after command {number}"))
        self._end(stage)
        return True

    def _others_act(self, stage: Stage) -> None:
        if self.ends_all:
            end_all_controls(stage)
        else:
            self._another_orders(stage)
            take_all(stage)
        stage.check_now()

    def _another_orders(self, stage: Stage) -> None:
        order = ORDERS[stage.dice.choice(list(ORDERS))]
        # half of these die amid their order
        most = stage.dice.choice((1, 2, 3, 5, *[MOST_STEPS] * 4))
        with contextlib.suppress(ShedderError):
            first_commands(stage, order, most)

    def _expect_success(self, stage: Stage, child: Child) -> None:
        if child.status:
            stage.outcome.wrong.append(Wrong("other", f"it ended with {child.said()}"))

    def _end(self, stage: Stage) -> None:
        end_all_controls(stage)
        stage.redis.delete(stage.keys.starting)
        wrong = wrong_when_idle(stage)
        # what was in hand, and what one operator diverts while another puts it back, has no order
        stage.outcome.wrong += [w for w in wrong if self.ends_all or w.kind != "order"]
        stage.outcome.jobs += len(stage.book.sure)


def _changes(stage: Stage) -> int:
    return int(stage.redis.xlen(stage.keys.events))


def _told(stage: Stage) -> Any:
    """Where every job is, and what is in force."""
    keys = stage.keys
    return (signature(stage.snapshot()), stage.redis.hgetall(keys.pauses), stage.redis.hgetall(keys.diverts))


def _amid_a_restore(stage: Stage) -> None:
    """Who diverts some freezes; another puts back and dies; the first thaws and dies; a third ends.

    The scan has nothing to do any more: each job is in its lane in the order of arrival.
    """
    divert = next(verb for verb in VERBS if verb.name == "divert some")
    operator = stage.operator()
    with small_steps():
        for _ in range(stage.size):
            stage.redis.flushall()
            stage.forget()
            for _ in range(3):
                fill_lanes(stage)
            first, second = stage.dice.randrange(2, 12), stage.dice.randrange(1, 6)
            then = {first: _freeze_me, first + second: die}
            give = partial(act_until, stage.operator(), b'"scanning":true', divert.act, then)
            child = stage.start(give)
            if not freezes(child):
                raise RuntimeError(f"the divert had an end: {child.said()}")
            was_scanning = _is(operator, b'"scanning":true')
            put_back, then = ORDERS["drain at once"], {stage.dice.randrange(1, 4): die}
            act_until(operator, b'"restoring":true', put_back, then)
            _thaw_and_end(stage, child, is_amid=was_scanning and _is(operator, b'"restoring":true'))


class DiesError(Exception):
    """Stands for the death of a process."""


def die() -> None:
    """Die, for `act_until`."""
    raise DiesError


def _is(operator: Shedder, sign: bytes) -> bool:
    return sign in (operator.store.connection.hget(operator.keys.diverts, "mail") or b"")


def act_until(
    operator: Shedder, sign: bytes, act: Callable[[Shedder], object], then: Mapping[int, Callable[[], object]]
) -> None:
    """Give an order; `then`: what happens before which command since the divert says `sign`."""
    seen = 0

    def look() -> None:
        nonlocal seen
        if seen or _is(operator, sign):
            seen += 1
            then.get(seen, lambda: None)()

    with counted_commands(0, look), contextlib.suppress(DiesError, ShedderError):
        act(operator)


def _thaw_and_end(stage: Stage, child: Child, *, is_amid: bool) -> None:
    stage.outcome.injected += is_amid
    thaw(child.pid)
    if child.wait():
        stage.outcome.wrong.append(Wrong("other", f"it ended with {child.said()}"))
    stage.check_now()
    end_all_controls(stage)
    stage.outcome.jobs += len(stage.book.sure)
    wrong = wrong_when_idle(stage)
    # when the restore is over, the scan that goes on diverts what was put back: that has no order
    stage.outcome.wrong += [each for each in wrong if is_amid or each.kind != "order"]


def _frozen_under_load(stage: Stage) -> None:
    """Operators freeze amid their orders while another one gives orders and workers work."""
    with small_steps():
        load = Load(stage)
        load.wait_for_progress()
        for _ in range(2 * stage.size):
            verb = stage.dice.choice(VERBS)
            child = stage.start(partial(_act, stage, verb, stage.dice.randrange(6)))
            if freezes(child):
                stage.outcome.injected += 1
                time.sleep(stage.dice.uniform(0.02, 0.2))
                thaw(child.pid)
            if child.wait():
                stage.outcome.wrong.append(Wrong("other", f"{verb.name}: {child.said()}"))
        load.finish()


def faults() -> list[Fault]:
    """The rows of this family."""
    verbs = [verb for verb in VERBS if verb.name in NAMES]
    return [
        *[
            Fault(
                f"operator freeze: {verb.name}",
                "frozen",
                Frozen(verb, ends_all=False),
                is_short="divert" in verb.name or "drain at once" in verb.name,
            )
            for verb in verbs
        ],
        *[Fault(f"operator freeze, all ended: {verb.name}", "frozen", Frozen(verb, ends_all=True)) for verb in verbs],
        Fault("operator freeze: a scan amid a restore", "frozen", _amid_a_restore),
        Fault("operator freeze under load", "frozen", _frozen_under_load),
    ]
