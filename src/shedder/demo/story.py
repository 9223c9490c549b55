"""What happens in the demo, step by step?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shedder.demo.accounts import Accounts, balance
from shedder.demo.fleet import COMMAND, WORKERS
from shedder.demo.incident import (
    apply_policy,
    open_incident,
    resolve,
    tell_others,
    write_postmortem,
)
from shedder.demo.load import PRODUCERS, load_jobs
from shedder.demo.mix import QUEUE, TENANTS, planned
from shedder.demo.places import find_jobs, standing_still
from shedder.demo.telling import number

if TYPE_CHECKING:
    from pathlib import Path

    from shedder.demo.stage import Stage

CLOGGED, PAUSED, CATCHING_UP = "clogged", "paused", "resumed"
DIVERTED, DRAINING, FASTER = "diverted", "draining", "draining faster"

_BULK = ("--function", "*.send_newsletter", "--function", "*.rebuild_report")
_FULL_LENGTH = 100_000
"""Jobs from which on each step has its full length."""

_LATEST_SECONDS = 100.0
"""When all steps should be over; from half of it on they become shorter."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What the story has found.

    Attributes:
        loading_seconds: how long it took to enqueue all jobs.
        started_while_paused: jobs that started after `shedder pause` had returned.
        is_audit_clean: whether `shedder audit` found every job in one place.
        accounts: where all jobs are at the end, by a count of the demo's own.
        postmortem: the folder with the post-mortem, which stays.
    """

    loading_seconds: float
    started_while_paused: int
    is_audit_clean: bool
    accounts: Accounts
    postmortem: Path

    @property
    def is_good(self) -> bool:
        """Whether every job is accounted for, and none started while paused."""
        is_accounted_for = self.is_audit_clean and self.accounts.is_complete
        return is_accounted_for and self.started_while_paused == 0


def tell_story(stage: Stage) -> Ending:
    """Tell the story on `stage`, from the policy to the post-mortem.

    Raises:
        DemoFailed: something that the story needs did not work.
    """
    apply_policy(stage)
    loading_seconds = enqueue(stage)
    clog(stage)
    open_incident(stage)
    started_while_paused = pause(stage)
    divert(stage)
    tell_others(stage)
    resume(stage)
    drain(stage)
    drain_faster(stage)
    is_audit_clean, accounts = account(stage)
    tell_others(stage)
    resolve(stage)
    stage.teller.head("The journal: who did what, why, and how to take it back")
    stage.commands.run("events")
    folder = write_postmortem(stage)
    return Ending(loading_seconds, started_while_paused, is_audit_clean, accounts, folder)


def enqueue(stage: Stage) -> float:
    """Fill the queue; the seconds it took."""
    teller, jobs = stage.teller, stage.jobs
    teller.head(f"A campaign starts: {number(jobs)} jobs go into the queue `{QUEUE}`")
    seconds = load_jobs(stage.server, jobs, on_progress=lambda done: _loaded(stage, done))
    kinds = Counter(planned(job).kind for job in range(jobs))
    lines = [f"{number(count):>9}  {kind.lane:<10} {kind.path}"
             for kind, count in kinds.most_common()]  # fmt: skip
    teller.quote("\n".join(["     jobs  lane       function", *lines]))
    teller.say(
        f"""{PRODUCERS} producer processes took {seconds:.1f} s for it, for {len(TENANTS)} tenants.
        Now {WORKERS} worker processes start:"""
    )
    stage.fleet.start()
    teller.quote(f"$ {COMMAND}")
    stage.watch(20.0, until=lambda: bool(stage.log.starts))
    return seconds


def _loaded(stage: Stage, done: int) -> None:
    stage.check()
    stage.teller.progress(f"{number(done)} jobs are in")


def clog(stage: Stage) -> None:
    """Let important jobs wait behind those that could."""
    stage.teller.head("Clogged: who pays by card waits behind the newsletters")
    stage.teller.say(
        """From now on a customer pays every tenth of a second. To the business charge_card is of
        high priority, but nobody has declared that: it stands in one line with the newsletters."""
    )
    stage.customers.begin(CLOGGED)
    enough = len(stage.log.starts) + stage.jobs // 4
    seen = stage.watch(_long(stage, 8.0), until=lambda: len(stage.log.starts) >= enough)
    _show_waits(stage)
    ahead = stage.waiting("mail", "mail.high")
    stage.teller.say(
        f"""The workers start {seen.pace:.0f} jobs a second. Before a charge that comes now stand
        {number(ahead)} jobs: its turn comes in about {_minutes(ahead / max(seen.pace, 0.1))}."""
    )


def pause(stage: Stage) -> int:
    """Stop the bleeding; how many jobs started although the command had returned."""
    stage.teller.head("Stop the bleeding")
    receipt = stage.commands.run("pause", QUEUE, "-r", "database at 99 %")
    stage.customers.begin(PAUSED)
    seen = stage.watch(_long(stage, 2.0))
    started = stage.log.started_after(receipt.ended)
    stage.teller.say(
        f"""Jobs that started in the {seen.seconds:.1f} s after the command had returned:
        {started}. Nobody works, so everybody waits; but now there is time to think."""
    )
    _show_waits(stage)
    return started


def divert(stage: Stage) -> None:
    """Move aside what can wait."""
    stage.teller.head("Move aside what can wait: first only look, then do it")
    stage.commands.run("divert", QUEUE, *_BULK, "--dry-run", may_fail=True)
    stage.commands.run("divert", QUEUE, *_BULK, "-r", "only what customers wait for")


def resume(stage: Stage) -> None:
    """Let the rest run."""
    stage.teller.head("Let the rest run")
    stage.customers.begin(CATCHING_UP)
    stage.commands.run("resume", QUEUE, "-r", "newsletters are out of the way")
    seen = stage.watch(30.0, until=lambda: stage.waiting() <= WORKERS)
    stage.teller.say(
        f"""What customers wait for starts in its old order, the charges among it.
        {seen.seconds:.1f} s later {_jobs_wait(stage.waiting())}."""
    )
    stage.customers.begin(DIVERTED)
    stage.watch(_long(stage, 6.0))
    _show_waits(stage)
    stage.commands.run("status")


def drain(stage: Stage) -> None:
    """Bring the backlog back at a gentle pace."""
    stage.teller.head("The database is well again: bring the backlog back, slowly")
    stage.teller.say(
        """From now on the producer declares the priority, which is one word more:
        queue.high.enqueue(charge_card, ...). So charges stay first, whatever comes back."""
    )
    _drain_at(stage, _rate(stage, 40), DRAINING, reason="database at 60 %, gently")


def drain_faster(stage: Stage) -> None:
    """Bring the backlog back as fast as the workers can."""
    stage.teller.head("It copes: faster, while it runs")
    _drain_at(stage, _rate(stage, 1000), FASTER, reason="it copes, as fast as the workers can")


def account(stage: Stage) -> tuple[bool, Accounts]:
    """Look where every job is: whether the product's audit is clean, and our own count."""
    stage.teller.head("Is every job accounted for?")
    stage.customers.leave()
    audit = stage.commands.run("audit", may_fail=True)
    stage.teller.say(
        """That was the product's own audit. And here is a count that does not trust it: the ids
        that the jobs themselves wrote into a file as they began, and those in any list of the
        server, at one instant while the workers go on."""
    )
    accounts = _count(stage)
    stage.teller.quote("\n".join(_lines(accounts, stage.jobs)))
    return audit.exit_code == 0, accounts


def _count(stage: Stage) -> Accounts:
    with standing_still(stage.client):
        places = find_jobs(stage.client)
        stage.log.refresh()
        sent = [*(planned(job).id for job in range(stage.jobs)), *stage.customers.ids]
        return balance(sent, started=stage.log.starts, again=stage.log.again, places=places)


def _lines(accounts: Accounts, jobs: int) -> list[str]:
    known = {
        "have run": accounts.run,
        "run now": accounts.running,
        "in a worker's hands": accounts.claimed,
        "wait in a lane": accounts.waiting,
        "in the backlog": accounts.backlog,
    }
    wrong = {
        "failed": accounts.failed,
        "in no place": len(accounts.missing),
        "in two places": len(accounts.twice),
        "run twice": len(accounts.run_again),
        "never sent": len(accounts.strangers),
    }
    sent = f"{number(jobs)} and {number(accounts.sent - jobs)} card charges"
    return [
        *(f"{number(count):>9}  {name}" for name, count in known.items()),
        f"{'-' * 9}",
        f"{number(sum(known.values())):>9}  of {number(accounts.sent)} sent ({sent})",
        "",
        ", ".join(f"{name} {count}" for name, count in wrong.items()),
    ]


def _drain_at(stage: Stage, rate: int, step: str, *, reason: str) -> None:
    order = ("drain", QUEUE, "--rate", f"{rate}/second", "--detach", "-r", reason)
    stage.commands.run(*order, may_fail=True)  # few jobs may have drained by now
    stage.customers.begin(step, priority="high")
    seen = stage.watch(_long(stage, 5.0))
    _show_waits(stage)
    stage.teller.say(
        f"""Newsletters and reports came back at {seen.bulk_pace:.0f} a second, from two backlogs
        with at most {number(rate)} a second each."""
    )


def _show_waits(stage: Stage) -> None:
    stage.teller.say("High-priority jobs (the charges), from enqueue to start; >: still waiting")
    stage.teller.waits(stage.customers.waits(stage.log))


def _long(stage: Stage, seconds: float) -> float:
    """The length of a step: a small demo is a short one, and one that is late makes haste."""
    haste = min(max((_LATEST_SECONDS - stage.teller.seconds) / _LATEST_SECONDS * 2, 0.4), 1.0)
    return seconds * min(max(stage.jobs / _FULL_LENGTH, 0.25), 1.0) * haste


def _rate(stage: Stage, per_second: int) -> int:
    return max(round(per_second * min(stage.jobs / _FULL_LENGTH, 1.0)), 4)


def _jobs_wait(count: int) -> str:
    return "the queue was empty" if count <= WORKERS else f"{number(count)} jobs still waited"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} s"
