"""The rules that say what is wrong with lanes, settings and the server, each once.

`status` shows what the rules find, `check` the problems, and `doctor` what concerns the
installation. Pure: what is read is handed in.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shedder.lanes import PRIORITIES, Lane, lane_of, target_of, why_refused
from shedder.policy.lateness import Late, lateness_sentence
from shedder.policy.model import FAILS_AT
from shedder.queues.controls import Divert, HaltedDrain
from shedder.queues.outcomes import LATELY, RATE_SECONDS, Outcomes, is_failing
from shedder.status.overdue import BEHIND, GONE, JOBS_AT_ONCE
from shedder.status.readings import LaneStatus, Status
from shedder.store.keys import flag_of_order
from shedder.units import format_duration
from shedder.wording import counted, moment, named, pace, some_named

OLD = timedelta(hours=24)
"""A control that has stood for longer may have been forgotten."""

FULL, FILLING = 0.9, 0.75
"""Shares of the memory limit from which on it is a problem, or worth a warning."""

PACE = "200/second"
"""The pace of a drain in a command that is proposed."""

FAILS, HALTED = "fails", "drain halted"
"""The rules on how jobs end."""

NO_WORKER = "no worker"
"""The rule on jobs that could start, and that nobody starts."""

OVERDUE = "overdue"
"""The rule on jobs that are due and that no scheduler puts into their lane."""

FINE, WARNING, PROBLEM = "fine", "warning", "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule found.

    Attributes:
        check: The rule, such as `persistence`.
        level: `fine`, `warning` (something to know) or `problem` (something to do).
        says: What is so, what it means and what to do about it.
        fix: What a repair does about it, in a few words; empty when a person must act.
        subjects: The lanes, jobs, workers or keys concerned.
        command: What to type next, a word each, without `shedder`; empty where no command helps.
        numbers: The numbers in `says`, such as `jobs`, `seconds` or `share`.
    """

    check: str
    level: str
    says: str
    fix: str = ""
    subjects: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckProblem:
    """One thing that is wrong.

    Attributes:
        kind: The rule: `late`, `may be late`, `fails`, `drain halted`, `overdue`, `old control`, `no worker`,
            `records`, `memory`, `eviction`, `policy`.
        target: The lane, flag, limit or label of the policy; `server` for what concerns all.
        text: One sentence.
    """

    kind: str
    target: str
    text: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found.

    Attributes:
        at: When it looked (server's clock, UTC).
        lanes: Lanes looked at.
        waiting: Jobs that wait in them.
        backlog: Jobs in their backlogs.
        problems: What is wrong; late work and work that fails first.
        ended: Jobs that ended in the last five minutes, well or not.
        failed: Those among them that failed.
        unknown: What it could not tell, one sentence each.
        is_blind: Jobs run of which it is not known whether they end well.
        unjudged: Queues that have jobs, of which the policy does not say how long these may wait.
    """

    at: datetime
    lanes: int
    waiting: int
    backlog: int
    problems: tuple[CheckProblem, ...] = ()
    unjudged: tuple[str, ...] = ()
    ended: int = 0
    failed: int = 0
    unknown: tuple[str, ...] = ()
    is_blind: bool = False

    @property
    def is_good(self) -> bool:
        """Whether nothing is known to be wrong."""
        return not self.problems

    @property
    def is_doubtful(self) -> bool:
        """Whether nothing is known to be wrong, but something may be."""
        return bool(self.problems) and all(each.kind == MAY_BE_LATE for each in self.problems)


def check_status(status: Status, *, older_than: timedelta = OLD) -> CheckResult:
    """The problems, such as a control that is older than `older_than`: what a monitor alerts on."""
    found = [
        *lanes_findings(status, older_than=older_than),
        *work_findings(status),
        *server_findings(status, older_than),
    ]
    problems = [each for each in found if each.level == PROBLEM]
    problems.sort(key=lambda each: _CHECKED.get(each.check, 1))
    return CheckResult(
        at=status.at,
        lanes=len(status.lanes),
        waiting=sum(lane.waiting for lane in status.lanes),
        backlog=sum(lane.backlog for lane in status.lanes),
        problems=tuple(CheckProblem(each.check, next(iter(each.subjects), "server"), each.says) for each in problems),
        unjudged=tuple(dict.fromkeys(lane.queue for lane in status.lanes
                                     if (lane.waiting or lane.backlog) and not lane.is_judged)),
        ended=sum(lane.outcomes.ended_lately for lane in status.lanes),
        failed=sum(lane.outcomes.failed_lately for lane in status.lanes),
        unknown=tuple(unknown_ends(status)),
        is_blind=any(_runs_unseen(lane, status.at) for lane in status.lanes),
    )  # fmt: skip


MAY_BE_LATE = "may be late"
"""The rule that found work of which it is not known whether it is late."""

_CHECKED = {"late": 0, FAILS: 0, HALTED: 0, OVERDUE: 0, MAY_BE_LATE: 2, "old control": 3}
"""Late work and work that fails are told first, and what may only be forgotten last."""


def lanes_findings(status: Status, *, older_than: timedelta = OLD) -> Iterator[Finding]:
    """What the rules find on all lanes."""
    for lane in status.lanes:
        yield from lane_findings(lane, at=status.at, older_than=older_than, fails_at=status.fails_at)


def lane_findings(
    lane: LaneStatus, *, at: datetime, older_than: timedelta = OLD, fails_at: float = FAILS_AT
) -> tuple[Finding, ...]:
    """What the rules find on `lane` at the time `at` by the server's clock, the worst first."""
    return (
        *(unreadable_record(lane.lane, said) for said in lane.unreadable),
        *(_late(lane, late, lateness_sentence(late, at)) for late in lane.late),
        *_fails(lane, fails_at),
        *_workers(lane),
        *_unfinished(lane),
        *_parked(lane),
        *_set_aside(lane),
        *_old_controls(lane, at, older_than),
    )


def server_findings(status: Status, older_than: timedelta = OLD) -> tuple[Finding, ...]:
    """What the rules find on the server, the policy, flags and limits, as far as status tells."""
    return (
        *suspension(is_suspended=status.is_suspended),
        *refused_names(status.refused),
        memory(status.memory_used),
        eviction(status.eviction, share=status.memory_used),
        *_policy(status.policy_error),
        *_old_settings(status, older_than),
    )


def work_findings(status: Status) -> Iterator[Finding]:
    """What the rules find on work in several lanes: what has a label, what one command drains, what is overdue."""
    for each in status.labels:
        if is_failing(each.outcomes, status.fails_at):
            says = f"{fails_sentence(each.label, each.outcomes)}. Run {_typed(_TRIAGE)} for what to do."
            yield Finding(
                FAILS, PROBLEM, says, subjects=(each.label,), command=_TRIAGE, numbers=_numbers(each.outcomes)
            )
    yield from _halts(status)
    yield from overdue_findings(status)


def status_warnings(status: Status) -> tuple[str, ...]:
    """The sentences of a status about several lanes or the server; how that is set up is left to `doctor`."""
    found = (*work_findings(status), *server_findings(status))
    return tuple(each.says for each in found if each.level == PROBLEM or each.check in _ALWAYS_TOLD)


_ALWAYS_TOLD = ("suspend", "names")


def by_trouble(lanes: Sequence[LaneStatus]) -> tuple[LaneStatus, ...]:
    """Queues in trouble first, the lanes of each queue together and most important first.

    Trouble is a warning, then a control, then the age of the oldest job.
    """
    worst: dict[str, tuple[bool, bool, float]] = {}
    for lane in lanes:
        worst[lane.queue] = min(worst.get(lane.queue, _CALM), _calmness(lane))
    return tuple(sorted(lanes, key=lambda lane: (worst[lane.queue], lane.queue, Lane(lane.queue, lane.priority).rank)))


_CALM = (True, True, float("inf"))


def _calmness(lane: LaneStatus) -> tuple[bool, bool, float]:
    times = [each.timestamp() for each in (lane.oldest, lane.oldest_in_backlog) if each]
    is_free = lane.pause is None and not lane.diverts
    return not lane.warnings, is_free, min(times, default=float("inf"))


# rules about the server


def suspension(*, is_suspended: bool) -> Iterator[Finding]:
    """RQ's own suspend."""
    if is_suspended:
        yield Finding("suspend", WARNING, "RQ's own suspend is on, so no worker takes a job: end it with `rq resume`.")


def refused_names(names: Sequence[str]) -> Iterator[Finding]:
    """RQ queues whose names could be meant for others."""
    if not names:
        return
    queues = "An RQ queue is" if len(names) == 1 else f"{len(names):,} RQ queues are"
    says = f"{queues} neither served nor controlled, no `--all` included; {why_refused(names[0])}."
    yield Finding("names", WARNING, says, subjects=tuple(names), numbers={"queues": len(names)})


def memory(share: float | None) -> Finding:
    """How full the server is; `share` is None without a limit."""
    if share is None:
        says = "The server has no memory limit and grows until the machine is full: set `maxmemory`."
        return Finding("memory", WARNING, says)
    says, numbers = f"The server's memory is {share:.0%} full", {"share": share}
    if share > FULL:
        way_out = "and a backlog frees none of it: raise `maxmemory`, or stop the producers."
        return Finding("memory", PROBLEM, f"{says}, {way_out}", numbers=numbers)
    level = WARNING if share > FILLING else FINE
    return Finding("memory", level, f"{says}.", numbers=numbers)


def eviction(policy: str, *, share: float | None) -> Finding:
    """Whether the server may throw away jobs; without a memory limit it never does."""
    if policy == "noeviction":
        return Finding("eviction", FINE, "The server throws nothing away when it is full.")
    when = "when it is full" if share is not None else "once it has a memory limit and is full,"
    says = (
        f"The server's maxmemory-policy is {policy}: {when} it throws away jobs, backlogs and pauses. "
        "Set it to noeviction."
    )
    return Finding("eviction", WARNING if share is None else PROBLEM, says)


def _policy(error: str) -> Iterator[Finding]:
    if error:  # without it nobody knows what is late
        command = ("policy", "apply", "--force")
        yield Finding("policy", PROBLEM, f"{error}: apply one again, {_typed(command)}.", command=command)


# rules about a lane


def unreadable_record(lane: str, said: str) -> Finding:
    """A pause or a divert of `lane` that cannot be read."""
    command = _command("resume", lane)
    says = (
        f"{said}: no job of {lane} starts until the newest shedder in use here has changed it, or "
        f"{_typed(command)} has removed an unreadable pause."
    )
    return Finding("records", PROBLEM, says, subjects=(lane,), command=command)


def _late(lane: LaneStatus, late: Late, sentence: str) -> Finding:
    check = "late" if late.is_certain else MAY_BE_LATE
    return Finding(check, PROBLEM, sentence, subjects=(lane.lane,), numbers={"jobs": late.count})


def _workers(lane: LaneStatus) -> Iterator[Finding]:
    jobs = lane.waiting + sum(each.backlog for each in lane.diverts if _lets_start(each))
    if jobs and not lane.workers and not lane.stock_workers:
        # a stock worker that was started for the queue does not know its other lanes
        whom = lane.queue if lane.lane == lane.queue else f"{lane.queue}, or a stock one for it"
        says = f"{lane.lane} has {counted(jobs, 'job')} and no worker: start one that serves {whom}."
        if not lane.waiting:
            says += " They are in a backlog, so RQ's list is empty, and an autoscaler that looks at it starts none."
        command = _command("worker", lane.queue, is_lane=False)
        yield Finding(NO_WORKER, PROBLEM, says, subjects=(lane.lane,), command=command, numbers={"jobs": jobs})
    if (lane.pause is not None or lane.diverts) and lane.stock_workers:
        number = lane.stock_workers
        who = "1 stock worker serves" if number == 1 else f"{number} stock workers serve"
        says = (
            f"{who} {lane.lane} and obeys neither pause nor divert: "
            "start workers with `--worker-class shedder.rq.Worker` instead."
        )
        yield Finding("stock workers", WARNING, says, subjects=(lane.lane,), numbers={"workers": number})


def _lets_start(divert: Divert) -> bool:
    """Whether jobs start from its backlog: it drains, or is a limit on starts."""
    return divert.is_limit or divert.drain is not None


def _unfinished(lane: LaneStatus) -> Iterator[Finding]:
    for divert in lane.diverts:
        if divert.is_scanning:
            what, verb = ("limit", "limit starts") if divert.is_limit else ("divert", "divert")
            again = "" if _flag_of(divert) else f", or give the same `shedder {verb}` again"
            says = (
                f"The {what} of {lane.lane} by {divert.by} has not looked at all waiting jobs: "
                f"a worker of shedder goes on with it{again}."
            )
            yield Finding("unfinished orders", WARNING, says, subjects=(lane.lane,))
        if divert.is_restoring:
            words = ("limit lift", lane.lane) if divert.is_limit else ("drain", lane.lane, "--at-once")
            command = _command(*words)
            says = (
                f"The backlog of {lane.lane} is only partly back in its lane: a worker of shedder "
                f"goes on with it, or run {_typed(command)}."
            )
            yield Finding("unfinished orders", WARNING, says, subjects=(lane.lane,), command=command)


def _parked(lane: LaneStatus) -> Iterator[Finding]:
    # of a record that cannot be read nobody knows whether it is a pause that wants it so
    if lane.parked and lane.pause is None and not lane.unreadable:
        command, numbers = _command("resume", lane.lane), {"jobs": lane.parked}
        says = (
            f"{counted(lane.parked, 'job')} of {lane.lane} {'is' if lane.parked == 1 else 'are'} out of the reach of "
            f"stock workers though nothing is paused: run {_typed(command)}."
        )
        yield Finding("left-over lists", WARNING, says, subjects=(lane.lane,), command=command, numbers=numbers)


def _set_aside(lane: LaneStatus) -> Iterator[Finding]:
    if lane.stale:
        command, numbers = _command("stale replay", lane.lane), {"jobs": lane.stale}
        says = (
            f"{counted(lane.stale, 'job')} of {lane.lane} {'was' if lane.stale == 1 else 'were'} set aside, older than "
            f"the policy allows: run {_typed(command)} to run them."
        )
        yield Finding("set aside", WARNING, says, subjects=(lane.lane,), command=command, numbers=numbers)


# rules about how jobs end

_TRIAGE = ("triage",)


def fails_sentence(name: str, outcomes: Outcomes) -> str:
    """How much of the lane or label `name` fails; of work that does."""
    jobs = f"{outcomes.failed_lately:,} of {counted(outcomes.ended_lately, 'job')} in {format_duration(LATELY)}"
    tail = f"{most_often(outcomes)}{_source(outcomes)}{kept_failed(outcomes)}"
    if outcomes.failing:
        return f"{pace(outcomes.failing)} of {name} fail: {jobs}{tail}"
    return f"{name} failed: {jobs}, none of them in the last {RATE_SECONDS} s{tail}"


def most_often(outcomes: Outcomes) -> str:
    """`, most often OperationalError`: the class, without its module."""
    named_class = outcomes.exception if " " in outcomes.exception else outcomes.exception.rpartition(".")[2]
    return f", most often {named_class}" if named_class else ""


def kept_failed(outcomes: Outcomes) -> str:
    """`; RQ keeps 5,455 failed jobs`."""
    return f"; RQ keeps {counted(outcomes.failed_kept, 'failed job')}" if outcomes.failed_kept else ""


def _source(outcomes: Outcomes) -> str:
    return "" if outcomes.is_counted else ", as RQ's registries tell, since stock workers count no end"


def _fails(lane: LaneStatus, share: float) -> Iterator[Finding]:
    if is_failing(lane.outcomes, share):
        command, what = _way_to_stop(lane)
        to_do = f" {what}: run {_typed(command)}." if command else ""
        says, numbers = f"{fails_sentence(lane.lane, lane.outcomes)}.{to_do}", _numbers(lane.outcomes)
        yield Finding(FAILS, PROBLEM, says, subjects=(lane.lane,), command=command, numbers=numbers)


def _way_to_stop(lane: LaneStatus) -> tuple[tuple[str, ...], str]:
    """The command after which no more of its jobs start, and what it does."""
    if lane.pause is not None:
        return (), ""
    if any(each.drain for each in lane.diverts if not each.is_limit):
        return _command("drain", lane.lane, "--stop"), "Stop its drain"
    return _command("pause", lane.lane), "Pause it until the cause is gone"


def _numbers(outcomes: Outcomes) -> dict[str, float]:
    return {"ended": outcomes.ended_lately, "failed": outcomes.failed_lately, "share": outcomes.share_failed}


def _halts(status: Status) -> Iterator[Finding]:
    """The drains that were halted and that have jobs left; those of one command together."""
    together: dict[str, tuple[HaltedDrain, list[Divert]]] = {}
    for divert in (divert for lane in status.lanes for divert in lane.diverts if divert.backlog):
        if divert.halted is not None:
            together.setdefault(divert.halted.event, (divert.halted, []))[1].append(divert)
    for halted, diverts in together.values():
        yield _halt(halted, diverts, status.at)


def _halt(halted: HaltedDrain, diverts: Sequence[Divert], at: datetime) -> Finding:
    lanes, jobs = tuple(each.lane for each in diverts), sum(each.backlog for each in diverts)
    command = _words("drain", _targets(lanes), "--rate", str(halted.rate))
    what, ago = "retry" if diverts[0].is_retry else "drain", format_duration((at - halted.since).total_seconds() // 1)
    says = (
        f"The {what} of {named(lanes)} halted {ago} ago, because "
        f"{halted.failed} of its last {halted.ended} jobs failed; {counted(jobs, 'job')} "
        f"{'waits' if jobs == 1 else 'wait'} in the backlog, in order. Run {_typed(command)} to go on when the cause "
        "is gone."
    )
    numbers = {"ended": halted.ended, "failed": halted.failed, "jobs": jobs}
    return Finding(HALTED, PROBLEM, says, subjects=lanes, command=command, numbers=numbers)


# rules about jobs that are due


def overdue_findings(status: Status) -> Iterator[Finding]:
    """The jobs that are due and not in their lane, once for each thing that their scheduler can be."""
    together: dict[str, list[LaneStatus]] = {}
    for lane in status.lanes:
        if lane.overdue is not None:
            together.setdefault(lane.overdue.scheduler, []).append(lane)
    for scheduler, lanes in together.items():
        yield _overdue(scheduler, lanes, status.at)


def _overdue(scheduler: str, lanes: Sequence[LaneStatus], at: datetime) -> Finding:
    known = [lane.overdue for lane in lanes if lane.overdue is not None]
    jobs, since = sum(each.jobs for each in known), min(each.since for each in known)
    queues = list(dict.fromkeys(lane.queue for lane in lanes))
    command = () if scheduler == BEHIND else _words("worker", queues, "--with-scheduler")
    which = "it" if len(lanes) == 1 else "them"
    silent, ends = max(each.silent_seconds for each in known), max(each.lock_seconds for each in known)
    why = {
        GONE: f"the scheduler of {which} has shown no sign of life for {silent:.0f} s: in {ends:.0f} s, when RQ's "
              f"lock of it has ended and no earlier, start a worker with one, {_typed(command)}",
        BEHIND: f"the scheduler of {which} is behind: it takes {JOBS_AT_ONCE:,} of a queue a second. Look "
                "at its log if they do not become fewer",
    }.get(scheduler, f"no scheduler runs for {which}: start a worker with one, {_typed(command)}")  # fmt: skip
    says = (
        f"{counted(jobs, 'job')} of {_listed(lanes)} {'is' if jobs == 1 else 'are'} overdue since "
        f"{moment(since, at)}, and {why}."
    )
    numbers = {"jobs": jobs, "seconds": max((at - since).total_seconds(), 0.0)}
    return Finding(
        OVERDUE, PROBLEM, says, subjects=tuple(lane.lane for lane in lanes), command=command, numbers=numbers
    )


# what the rules cannot tell


def unknown_ends(status: Status) -> Iterator[str]:
    """What is not known of how jobs end."""
    unseen = [lane for lane in status.lanes if _runs_unseen(lane, status.at)]
    if unseen:
        jobs = sum(lane.running for lane in unseen)
        end, run = ("ends", "runs") if jobs == 1 else ("end", "run")
        yield (
            f"whether the {counted(jobs, 'job')} of {_listed(unseen)} that {run} {end} well, "
            f"since none is known to have ended there for {format_duration(LATELY)}"
        )
    stock = [lane for lane in status.lanes if lane.stock_workers or not lane.outcomes.is_counted]
    if stock:
        yield (
            f"how many jobs of {_listed(stock)} fail, beyond what RQ's registries tell, "
            "since stock workers count no end"
        )


def _runs_unseen(lane: LaneStatus, at: datetime) -> bool:
    """Whether jobs of it run, and none has ended lately that would tell how they end.

    Workers of ours keep the counts between two jobs. Where none did, what is counted ended before.
    """
    is_kept = not lane.outcomes.is_counted or (lane.sampled is not None and at - lane.sampled <= LATELY)
    return bool(lane.running and not (lane.outcomes.ended_lately and is_kept))


def _listed(lanes: Sequence[LaneStatus]) -> str:
    return some_named([lane.lane for lane in lanes])


# rules about controls that may have been forgotten


def _old_controls(lane: LaneStatus, at: datetime, older_than: timedelta) -> Iterator[Finding]:
    name, pause = lane.lane, lane.pause
    if pause is not None:
        yield from _forgotten(name, "paused", pause.by, at - pause.since, older_than, _command("resume", name))
    for divert in lane.diverts:
        # who drains it has thought of it
        since = divert.since if divert.is_limit or not divert.drain else divert.drain.since
        what, command = _state_of(divert)
        yield from _forgotten(name, what, divert.by, at - since, older_than, command)


def _state_of(divert: Divert) -> tuple[str, tuple[str, ...]]:
    """What a divert is to the lane that it stands on, and the command that ends it."""
    flag = _flag_of(divert)
    if divert.is_limit:
        return "limited", _command("limit lift", divert.lane)
    if flag:  # after a drain the next job would set it again
        return "diverted", _command("flag restore", flag, is_lane=False)
    state = "a lane with failed jobs that are to come back" if divert.is_retry else "diverted"
    return state, _command("drain", divert.lane, "--rate", PACE)


def _flag_of(divert: Divert) -> str:
    return flag_of_order(divert.order, next(iter(divert.selection.functions), ""))


def _old_settings(status: Status, older_than: timedelta) -> Iterator[Finding]:
    found = [(flag.setting, "degraded", ("flag restore", flag.name)) for flag in status.flags]
    for limit in status.limits:
        key = ("--key", limit.key) if limit.key else ()
        found.append((limit.setting, "set", ("limit clear", limit.name, *key)))
    for setting, state, words in found:
        if setting is not None:
            command = _command(*words, is_lane=False)
            yield from _forgotten(setting.name, state, setting.by, status.at - setting.since, older_than, command)


def _forgotten(
    target: str, state: str, by: str, age: timedelta, older_than: timedelta, command: tuple[str, ...]
) -> Iterator[Finding]:
    if age > older_than:
        says = f"{target} has been {state} for {format_duration(age)} by {by}: run {_typed(command)} if that is over."
        numbers = {"seconds": age.total_seconds()}
        yield Finding("old control", PROBLEM, says, subjects=(target,), command=command, numbers=numbers)


# commands


def _command(verb: str, target: str, *options: str, is_lane: bool = True) -> tuple[str, ...]:
    """The words of a command for this lane alone, or for the flag, limit or queue `target`."""
    return _words(verb, (target_of(target) if is_lane else target,), *options)


def _words(verb: str, targets: Sequence[str], *options: str) -> tuple[str, ...]:
    if any(each.startswith("-") for each in targets):
        return (*verb.split(), *options, "--", *targets)
    return (*verb.split(), *targets, *options)


def _targets(lanes: Sequence[str]) -> tuple[str, ...]:
    """The targets of a command for these lanes: the queue where all of its lanes are among them."""
    queues = dict.fromkeys(lane_of(lane).queue for lane in lanes)
    whole = [queue for queue in queues if all(Lane(queue, each).name in lanes for each in PRIORITIES)]
    return (*whole, *(target_of(lane) for lane in lanes if lane_of(lane).queue not in whole))


def _typed(words: Sequence[str]) -> str:
    return f"`shedder {shlex.join(words)}`"
