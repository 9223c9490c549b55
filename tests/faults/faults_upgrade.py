"""An earlier shedder is at work beside today's: its workers, its producers, its command line.

As in a rolling upgrade, and in one that is rolled back: who came first leaves while the others go
on.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from rq.worker import BaseWorker

from shedder.policy.model import Policy, Rule
from shedder.selection import Selection
from tests.faults.accounting import Wrong
from tests.faults.earlier import STORED, Company, NoHistoryError, before_last_change, export
from tests.faults.earlier_program import WORKERS
from tests.faults.load import Load
from tests.faults.schedule import Fault
from tests.faults.stage import with_usual_leases
from tests.faults.verbs import bring_back_old
from tests.forked import run_module
from tests.servers import patient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.stage import Stage

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

SELDOM_SECONDS = 0.1
"""Between two jobs in the short form: six programs beside each other take all of a small machine else."""

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
        files = patient(stage.server.url), str(stage.ledger_path), stage.marks_path
        with with_usual_leases(), earlier.at_work(*files, log=stage.folder / "earlier.log") as company:
            self._wait_for_jobs(stage, company)
            load = Load(stage, pause=SELDOM_SECONDS if stage.is_short else None)
            load.wait_for_progress()
            for number, (first, second) in enumerate(PAIRS[1:3] if stage.is_short else PAIRS):
                is_theirs = bool(number % 2)
                self._order(stage, company if is_theirs else None, first)
                self._order(stage, None if is_theirs else company, second)
            self._check_now(stage)
        self._end_policy(stage)
        load.finish(also=lambda: bring_back_old(stage.operator()))

    def _wait_for_jobs(self, stage: Stage, company: Company) -> None:
        """Return when each worker of the earlier one has run a job, of which its producer has enqueued the first."""
        for name in WORKERS:
            key = f"{BaseWorker.redis_worker_namespace_prefix}{name}"
            company.wait_until(lambda key=key: stage.redis.hget(key, "successful_job_count"), what=f"a job of {name}")

    def _order(self, stage: Stage, company: Company | None, words: Sequence[str]) -> None:
        words = ("--url", patient(stage.server.url), *words)
        code, said = company.order(*words) if company else _ordered(words)
        stage.outcome.injected += 1
        if code not in FINE:
            who = "the earlier one's" if company else "today's"
            wrong = f"{who} {' '.join(words[2:])}: exit {code}, {said[-300:]}"
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


def _ordered(words: Sequence[str]) -> tuple[int, str]:
    """What today's command line does."""
    done = run_module("shedder", *words, env=os.environ)
    return done.returncode, done.stdout + done.stderr


def faults() -> list[Fault]:
    """The rows of this family."""
    return [
        Fault("upgrade: beside the previous source", "upgrade", BesideEarlier(("src",))),
        Fault("upgrade: beside what stored data otherwise", "upgrade", BesideEarlier(STORED), is_short=False),
        Fault(
            "upgrade: beside one without policies",
            "upgrade",
            BesideEarlier(("src/shedder/lua/lib/stale.lua",), POLICY),
            is_short=False,
        ),
        Fault(
            "upgrade: the previous source beside a policy", "upgrade", BesideEarlier(("src",), POLICY), is_short=False
        ),
    ]
