"""An earlier shedder is at work beside today's: its workers, its producers, its command line.

As in a rolling upgrade, and in one that is rolled back: who came first leaves while the others go
on.
"""

from __future__ import annotations

import signal
import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from shedder.policy.model import Policy, Rule
from shedder.selection import Selection
from tests.faults.accounting import Wrong
from tests.faults.earlier import STORED, Earlier, NoHistoryError, before_last_change, export, shedder
from tests.faults.load import Load
from tests.faults.schedule import Fault
from tests.faults.stage import with_usual_leases
from tests.faults.verbs import bring_back_old
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.faults.stage import Stage

_PROGRAM = "tests.faults.earlier_program"
_SOME = ("--function", "tests.jobs.decorated")
_BY = ("--by", "oncall@desk")

PAIRS: Sequence[tuple[Sequence[str], Sequence[str]]] = (
    (("pause", "mail", "-r", "x"), ("resume", "mail", "-r", "x")),
    (("divert", "mail", "-r", "x", "--yes"), ("drain", "mail", "--rate", "200/second", "-r", "x")),
    (("divert", "mail", *_SOME, "-r", "x", "--yes", *_BY), ("undo", "-r", "x", *_BY)),
    (("divert", "reports", "-r", "x", "--yes"), ("drain", "reports", "--at-once", "-r", "x", "--yes")),
    (("status", "--json"), ("audit", "--json")),
)
"""An order by one, and what the other makes of it."""

POLICY = Policy(
    rules=(Rule(queue="mail", selection=Selection(functions=("tests.jobs.decorated",)),
                priority="low"),),
    stale_after=timedelta(milliseconds=200),
)  # fmt: skip
"""Sorts jobs into lanes, and sets aside what has waited a moment in a backlog."""

FINE = (0, 3)
"""Done, or nothing to be done: others give orders meanwhile."""


@dataclass(frozen=True, slots=True)
class BesideEarlier:
    """The shedder before the last change of some files works beside today's.

    Attributes:
        paths: The files or folders.
        policy: In force all the while; the earlier one may not know that there is such a thing.
    """

    paths: tuple[str, ...]
    policy: Policy | None = None

    def __call__(self, stage: Stage) -> None:
        """Play it."""
        try:
            earlier = export(before_last_change(*self.paths), stage.folder)
        except NoHistoryError as error:
            stage.outcome.skipped = str(error)
            return
        stage.outcome.notes.append(f"beside {earlier.commit}")
        if self.policy is not None:
            stage.operator().policies.apply(self.policy, reason="before the upgrade")
        with with_usual_leases(), self._at_work(stage, earlier):
            load = Load(stage)
            load.wait_for_progress()
            for number, (first, second) in enumerate(PAIRS if stage.size >= 10 else PAIRS[1:3]):
                is_theirs = bool(number % 2)
                self._order(stage, earlier if is_theirs else None, first)
                self._order(stage, None if is_theirs else earlier, second)
            self._check_now(stage)
        self._end_policy(stage)
        load.finish(also=lambda: bring_back_old(stage.operator()))

    @contextmanager
    def _at_work(self, stage: Stage, earlier: Earlier) -> Iterator[None]:
        """A time in which processes of the earlier one are at work; then they are asked to end."""
        common = str(earlier.folder), stage.server.url
        files = str(stage.ledger_path), stage.marks_path
        with ExitStack() as stack:
            for role, more in (("worker", ()), ("worker", ()), ("producer", files), ("order", ())):
                process = earlier.run(_PROGRAM, role, *common, *more, log=stage.folder / f"earlier-{role}.log")
                stack.callback(_end, process)
            yield

    def _order(self, stage: Stage, earlier: Earlier | None, words: Sequence[str]) -> None:
        words = ("--url", stage.server.url, *words)
        done = earlier.shedder(*words) if earlier else shedder(*words)
        stage.outcome.injected += 1
        if done.returncode not in FINE:
            who = earlier.commit if earlier else "today's"
            wrong = f"{who} {' '.join(words[2:])}: exit {done.returncode}, {done.stderr[-300:]}"
            stage.outcome.wrong.append(Wrong("other", wrong))

    def _end_policy(self, stage: Stage) -> None:
        """The policy is still the one that was applied, and what it has set aside is told."""
        operator = stage.operator()
        found = operator.policies.applied().policy
        if found != (self.policy or Policy()):
            stage.outcome.wrong.append(Wrong("other", f"another policy is in force: {found}"))
        if self.policy is not None:
            aside = sum(each.verb == "set aside" for each in operator.events(limit=100_000))
            stage.outcome.notes.append(f"old work was set aside {aside} times")
        stage.redis.delete(stage.keys.policy)

    def _check_now(self, stage: Stage) -> None:
        stage.book.read(stage.ledger_path)
        stage.check_now()
        stage.outcome.injected += 1


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def faults() -> list[Fault]:
    """The rows of this family."""
    return [
        Fault("upgrade: beside the previous source", "upgrade", BesideEarlier(("src",))),
        Fault("upgrade: beside what stored data otherwise", "upgrade", BesideEarlier(STORED), is_short=False),
        Fault(
            "upgrade: beside one without policies", "upgrade", BesideEarlier(("src/shedder/lua/lib/stale.lua",), POLICY)
        ),
        Fault(
            "upgrade: the previous source beside a policy", "upgrade", BesideEarlier(("src",), POLICY), is_short=False
        ),
    ]
