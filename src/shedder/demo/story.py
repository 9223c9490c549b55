"""The story of the demo: what is done, step by step, and the count of all jobs at its end."""

from __future__ import annotations

import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shedder.cli.output import number, per_second
from shedder.demo.fleet import WORKER_COMMAND, WORKERS
from shedder.demo.jobs import (
    BULK,
    KINDS,
    PRODUCERS,
    QUEUE,
    TENANTS,
    DemoFailed,
    Runs,
    planned_id,
    planned_kind,
    producing,
)
from shedder.demo.stage import Stage
from shedder.engine.names import rq_keys
from shedder.store.keys import Keys
from shedder.units import format_duration
from shedder.wording import counted

COMMANDER, COMMUNICATIONS = "ana@desk", "bob@desk"

_RULES = (
    ("charge_card", "card charges", "10s", ""),
    ("send_receipt", "receipt e-mails", "10m", ""),
    ("send_newsletter", "newsletters", "8h", ""),
    ("rebuild_report", "reports", "1d", ""),
    ("reset_password", "password mails", "10s", 'priority = "high"\n'),
)
"""A function, what it does in the words of the business, how long that may wait, and more."""

_BULK_OPTIONS = tuple(word for kind in BULK for word in ("--function", f"*.{kind.function}"))
_FULL_LENGTH = 100_000
"""Jobs from which on each step has its full length."""

_LATEST_SECONDS = 100.0
"""When all steps should be over; from half of it on they become shorter."""

_AHEAD = 10
"""Failed jobs that come back before the others."""

_LOOK_SECONDS = 600.0
_REGISTRIES = {"wip": "running", "failed": "failed"}
PLACES = ("waiting", "backlog", "claimed", "running", "failed")
"""Where an id may stand in Redis: in a lane's list, a backlog, the claims, RQ's registries."""

_JOB = re.compile(rb"(?:%s)-\d{6,}" % b"|".join(kind.name.encode() for kind in KINDS))


@dataclass(frozen=True, slots=True)
class Accounts:
    """Where the jobs are, as numbers, and those for which the numbers do not come out.

    Attributes:
        sent: jobs that were enqueued.
        run: jobs that have run, by what they wrote themselves.
        running: jobs that run now.
        claimed: jobs in a worker's hands that have not started.
        waiting: jobs that wait in a lane.
        backlog: jobs in a backlog.
        failed: jobs that are among the failed; in the end there should be none.
        came_back: of those that have run, or run now, the ones that had failed before.
        missing: ids that are in none of these places.
        twice: ids that are in two of them, or in one of them twice.
        run_again: ids of jobs that began more than once, and had not failed.
        strangers: ids that were found and never sent.
    """

    sent: int
    run: int
    running: int
    claimed: int
    waiting: int
    backlog: int
    failed: int
    came_back: int
    missing: tuple[str, ...]
    twice: tuple[str, ...]
    run_again: tuple[str, ...]
    strangers: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every id that was sent, and no other, is in exactly one place."""
        return not (self.wrong or self.failed)

    @property
    def wrong(self) -> tuple[str, ...]:
        """All ids for which the numbers do not come out."""
        return (*self.missing, *self.twice, *self.run_again, *self.strangers)


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
    postmortem: str

    @property
    def is_good(self) -> bool:
        """Whether every job is accounted for, and none started while paused."""
        return self.is_audit_clean and self.accounts.is_complete and self.started_while_paused == 0


def tell_story(stage: Stage, *, out: str) -> Ending:
    """Tell the story on `stage`, from the policy to the post-mortem, which goes to `out`.

    Raises:
        DemoFailed: something that the story needs did not work.
        KeyboardInterrupt: it is to end.
    """
    _apply_policy(stage)
    loading_seconds = _enqueue(stage)
    _clog(stage)
    _open_incident(stage)
    started_while_paused = _pause(stage)
    _divert(stage)
    _tell_others(stage)
    _resume(stage)
    _retry(stage)
    _drain(stage)
    is_audit_clean, accounts = _account(stage)
    _tell_others(stage)
    folder = _close(stage, out)
    return Ending(loading_seconds, started_while_paused, is_audit_clean, accounts, folder)


def _apply_policy(stage: Stage) -> None:
    stage.teller.head("A quiet day before: the team says what its jobs are to the business")
    path = stage.folder / "shedder.toml"
    rules = (
        f'[[rules]]\nfunction = "*.{work}"\nlabel = "{label}"\ntolerance = "{tolerance}"\n{more}'
        for work, label, tolerance, more in _RULES
    )
    path.write_text("\n".join(["version = 1\n", *rules]), encoding="utf-8")
    stage.run("policy", "apply", str(path), "-r", "agreed in the review", "--by", COMMANDER)


def _enqueue(stage: Stage) -> float:
    """Fill the queue and start the workers; the seconds that the first took."""
    teller, jobs = stage.teller, stage.jobs
    teller.head(f"A campaign starts: {number(jobs)} jobs go into the queue `{QUEUE}`")
    seconds = _load(stage)
    kinds = Counter(planned_kind(job) for job in range(jobs))
    lines = [f"{number(count):>9}  {kind.lane:<10} {kind.path}" for kind, count in kinds.most_common()]
    teller.quote("\n".join(["     jobs  lane       function", *lines]))
    teller.say(
        f"""{PRODUCERS} producer processes took {seconds:.1f} s for it, for {len(TENANTS)} tenants.
        Now {WORKERS} worker processes start:"""
    )
    stage.fleet.start()
    teller.quote(f"$ {WORKER_COMMAND}")
    stage.watch(20.0, until=lambda: bool(stage.log.starts))
    return seconds


def _load(stage: Stage) -> float:
    began = time.monotonic()
    with producing(stage.server, stage.jobs) as producers, stage.teller.bar("jobs sent") as show:
        for producer in producers:
            while producer.is_alive():
                producer.join(0.1)
                stage.check()
                show(stage.waiting(), stage.jobs)
        if any(producer.exitcode for producer in producers):
            raise DemoFailed("a producer process ended before all jobs were enqueued")
    return time.monotonic() - began


def _clog(stage: Stage) -> None:
    """Let important jobs wait behind those that could."""
    stage.teller.head("Clogged: who pays by card waits behind the newsletters")
    stage.teller.say(
        """From now on a customer pays every tenth of a second. To the business charge_card is of
        high priority, but nobody has declared that: it stands in one line with the newsletters.
        And the database is full: one mail in five finds no connection to it, and fails."""
    )
    stage.log.fill_database()
    stage.customers.begin("clogged")
    enough = len(stage.log.starts) + stage.jobs // 4
    seen = stage.watch(_long(stage, 8.0), until=lambda: len(stage.log.starts) >= enough)
    _show_waits(stage)
    ahead = stage.waiting("mail", "mail.high")
    turn = format_duration(ahead / max(seen.pace, 0.1) // 1)
    stage.teller.say(
        f"""The workers start {per_second(seen.pace)} jobs a second. Before a charge that comes now
        stand {counted(ahead, "job")}: its turn comes in about {turn}.
        Mails that have failed: {number(len(stage.log.failed))}."""
    )


def _open_incident(stage: Stage) -> None:
    stage.teller.head("We have an incident: one commander, and a record that fills itself")
    severity = ("--severity", "2", "--commander", COMMANDER)
    stage.run("incident", "open", "Card charges are late", *severity, "--by", COMMANDER)
    stage.run("incident", "take", "operations")
    stage.run("incident", "assign", "communications", COMMUNICATIONS, "--by", COMMANDER)


def _pause(stage: Stage) -> int:
    """Stop the bleeding; how many jobs started although the command had returned."""
    stage.teller.head("Stop the bleeding")
    stage.run("pause", QUEUE, "-r", "database at 99 %")
    stage.customers.begin("paused")
    seen = stage.watch(_long(stage, 2.0))
    started = stage.log.started_after(stage.returned)
    stage.log.free_database()
    stage.teller.say(
        f"""Jobs that started in the {format_duration(seen.seconds)} after the command had returned:
        {started}. Nobody works, so everybody waits; but now there is time to think."""
    )
    _show_waits(stage)
    return started


def _divert(stage: Stage) -> None:
    stage.teller.head("Move aside what can wait: first only look, then do it")
    stage.run("divert", QUEUE, *_BULK_OPTIONS, "--dry-run", may_fail=True)
    stage.run("divert", QUEUE, *_BULK_OPTIONS, "-r", "only what customers wait for")


def _tell_others(stage: Stage) -> None:
    """Post an update that nobody has typed, and show that it arrived."""
    stage.teller.head("Tell the others: an update that wrote itself")
    before = len(stage.listener.heard)
    stage.run("incident", "update", "--by", COMMUNICATIONS)
    arrived = len(stage.listener.heard) - before
    stage.teller.say(f"Messages that came to the demo's channel: {arrived}.")


def _resume(stage: Stage) -> None:
    """Let the rest run."""
    stage.teller.head("Let the rest run")
    stage.customers.begin("resumed")
    stage.run("resume", QUEUE, "-r", "newsletters are out of the way")
    seen = stage.watch(30.0, until=lambda: stage.waiting() <= WORKERS)
    waiting = stage.waiting()
    left = "no job waited" if waiting <= WORKERS else f"{counted(waiting, 'job')} still waited"
    stage.teller.say(
        f"""What customers wait for starts in its old order, the charges among it.
        {format_duration(seen.seconds)} later {left}."""
    )
    stage.customers.begin("diverted")
    stage.watch(_long(stage, 4.0))
    _show_waits(stage)
    stage.run("status")


def _retry(stage: Stage) -> None:
    """Bring the failed mails back: look, send a few ahead, then the others at a pace."""
    teller, failed = stage.teller, len(stage.log.failed)
    teller.head("The database is well again: what has failed comes back, and first a look")
    chosen = ("retry", QUEUE, "--exception", "OperationalError")
    # few jobs may have failed by now, or none
    stage.run(*chosen, "--dry-run", may_fail=True)
    teller.say("A few go ahead, and the command waits until it knows how they have ended:")
    ahead = str(max(min(_AHEAD, failed), 1))
    stage.run(*chosen, "--first", ahead, "--rate", "50/second", "-r", "a canary", may_fail=True)
    teller.say("So the others follow:")
    pace = max(round(failed / _long(stage, 4.0)), 1)
    reason = ("-r", "the database is well again")
    stage.run(*chosen, "--rate", f"{pace}/second", "--detach", *reason, may_fail=True)
    seen = stage.watch(30.0, until=lambda: not stage.log.failed)
    teller.say(
        f"""{format_duration(seen.seconds)} later {number(len(stage.log.came_back))} of
        {counted(failed, "mail")} that had failed have come back."""
    )


def _drain(stage: Stage) -> None:
    """Bring the backlog back, at a gentle pace and then as fast as the workers can."""
    stage.teller.head("The database copes: bring the backlog back, slowly")
    stage.teller.say(
        """From now on the producer declares the priority, which is one word more:
        queue.high.enqueue(charge_card, ...). So charges stay first, whatever comes back."""
    )
    _drain_at(stage, 40, "draining", reason="database at 60 %, gently")
    stage.teller.head("It copes: faster, while it runs")
    _drain_at(stage, 1000, "draining faster", reason="it copes, as fast as the workers can")


def _drain_at(stage: Stage, pace: int, step: str, *, reason: str) -> None:
    rate = max(round(pace * min(stage.jobs / _FULL_LENGTH, 1.0)), 4)
    # few jobs may have drained by now
    stage.run("drain", QUEUE, "--rate", f"{rate}/second", "--detach", "-r", reason, may_fail=True)
    stage.customers.begin(step, priority="high")
    seen = stage.watch(_long(stage, 4.0))
    _show_waits(stage)
    stage.teller.say(
        f"""Newsletters and reports came back at {per_second(seen.bulk_pace)} a second, from two
        backlogs with at most {number(rate)} a second each."""
    )


def _account(stage: Stage) -> tuple[bool, Accounts]:
    """Look where every job is: whether the product's audit is clean, and our own count."""
    stage.teller.head("Is every job accounted for?")
    stage.customers.leave()
    audit = stage.run("audit", may_fail=True)
    stage.teller.say(
        """That was the product's own audit. And here is a count that does not trust it: the ids
        that the jobs themselves wrote into a file as they began or failed, and those in any list of
        the server, at one instant while the workers go on."""
    )
    with _standing_still(stage):
        places = _find_jobs(stage)
        stage.log.refresh()
    sent = [*(planned_id(job) for job in range(stage.jobs)), *stage.customers.ids]
    accounts = balance(sent, runs=stage.log, places=places)
    stage.teller.quote("\n".join(_lines(accounts, stage.jobs)))
    return audit.exit_code == 0, accounts


def _close(stage: Stage, out: str) -> str:
    """Resolve the incident, and leave the post-mortem in a folder that stays; the folder."""
    stage.teller.head("It is over: a review is due in 48 hours")
    stage.run("incident", "resolve", "--by", COMMANDER, "-r", "charges start at once")
    stage.teller.head("The journal: who did what, why, and how to take it back")
    stage.run("events")
    stage.teller.head("The post-mortem: what nobody has to write down any more")
    folder = str(Path(out)) if out else tempfile.mkdtemp(prefix="shedder-postmortem-")
    stage.run("incident", "postmortem", "--out", folder)
    return folder


def _show_waits(stage: Stage) -> None:
    stage.teller.say("High-priority jobs (the charges), from enqueue to start; >: still waiting")
    stage.teller.waits(stage.customers.waits(stage.log))


def _long(stage: Stage, seconds: float) -> float:
    """The length of a step: a small demo is a short one, and one that is late makes haste."""
    haste = min(max((_LATEST_SECONDS - stage.teller.seconds) / _LATEST_SECONDS * 2, 0.4), 1.0)
    return seconds * min(max(stage.jobs / _FULL_LENGTH, 0.25), 1.0) * haste


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
    sent = f"{number(jobs)} and {counted(accounts.sent - jobs, 'card charge')}"
    return [
        *(f"{number(count):>9}  {name}" for name, count in known.items()),
        f"{'-' * 9}",
        f"{number(sum(known.values())):>9}  of {number(accounts.sent)} sent ({sent})",
        f"{number(accounts.came_back):>9}  of those that have run had failed before, and came back",
        "",
        ", ".join(f"{name} {count}" for name, count in wrong.items()),
    ]


def balance(sent: Iterable[str], *, runs: Runs, places: Mapping[str, list[str]]) -> Accounts:
    """Hold the ids that were sent against those that are found.

    Args:
        sent: all ids that were enqueued.
        runs: what the jobs wrote.
        places: the ids that were found in Redis, once for each time, by place.
    """
    # Until it has started, and again when it was given back, a job is in RQ's registry of running
    # jobs and in the place that counts.
    elsewhere = [job for place in PLACES if place != "running" for job in places[place]]
    running = set(places["running"]).difference(elsewhere)
    # One that has failed has to be somewhere in Redis, to be failed or to come back.
    run = set(runs.starts) - runs.failed - running
    known, counts = set(sent), Counter([*elsewhere, *running, *run])
    return Accounts(
        sent=len(known),
        run=len(run),
        running=len(running),
        claimed=len(places["claimed"]),
        waiting=len(places["waiting"]),
        backlog=len(places["backlog"]),
        failed=len(places["failed"]),
        came_back=len(runs.came_back),
        missing=tuple(sorted(known - counts.keys())),
        twice=tuple(sorted(job for job, count in counts.items() if count > 1)),
        run_again=tuple(sorted(runs.again)),
        strangers=tuple(sorted(counts.keys() - known)),
    )


@contextmanager
def _standing_still(stage: Stage) -> Iterator[None]:
    """Let nobody write to the server meanwhile, which only a demo may do to its own.

    So what is found is one instant of a system that is at work.
    """
    stage.client.client_pause(int(_LOOK_SECONDS * 1000), all=False)
    try:
        yield
    finally:
        stage.client.client_unpause()


def _find_jobs(stage: Stage) -> dict[str, list[str]]:
    """The ids of our jobs, by place, in any list and sorted set of the server; trusts no index."""
    keys = rq_keys()
    found: dict[str, list[str]] = {place: [] for place in PLACES}
    for kind, read in (("list", stage.client.lrange), ("zset", stage.client.zrange)):
        # A scan may name a key twice.
        for key in {key.decode() for key in stage.client.scan_iter(count=10_000, _type=kind)}:
            place = _place_of_list(key, keys) if kind == "list" else _place_of_set(key, keys)
            items: Any = read(key, 0, -1) if place else ()
            found.get(place, []).extend(job[0].decode() for item in items if (job := _JOB.search(item)))
    return found


def _place_of_list(key: str, keys: Keys) -> str:
    name = key.removeprefix(keys.root)
    if name.startswith("skipped:"):
        return ""  # ids of jobs that are gone, for people to read
    # What is in a list that is no backlog can only be waiting, whatever the list is called.
    return "backlog" if name.startswith("backlog:") else "waiting"


def _place_of_set(key: str, keys: Keys) -> str:
    registry = key.removeprefix(f"{keys.engine.prefix}:").partition(":")[0]
    return "claimed" if key == keys.claims else _REGISTRIES.get(registry, "")
