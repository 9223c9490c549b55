"""What a page or a screen of the control room shows of lanes, made purely from what was read.

It uses the rules of `status` and `check`, and has none of its own: that a lane is late, fails or is
perhaps forgotten is said there. What is not known is said to be so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shedder.incident.records import Incident
from shedder.lanes import DEFAULT_PRIORITY, target_of
from shedder.policy.lateness import Late, about, lateness_sentence
from shedder.policy.model import Policy
from shedder.policy.workload import Workload, kinds_of
from shedder.queues.controls import Divert, Pause
from shedder.queues.outcomes import is_failing
from shedder.queues.samples import Sample
from shedder.response.plan import HORIZON_SECONDS, SLOW, UNKNOWN, WHY_NEVER, Option, Outlook, Phase, forecast
from shedder.status.findings import FAILS, CheckProblem, CheckResult, check_status
from shedder.status.readings import LaneStatus, Status
from shedder.status.verdict import UNKNOWN as NOT_KNOWN
from shedder.status.verdict import ended_sentence, good_sentence, level_of
from shedder.updates.messages import due_at
from shedder.wording import counted, moment, pace, some_named, spoken

MOST_PROBLEMS = 6
"""Problems that stand below the verdict; how many more there are is said."""

FEW_QUEUES = 9
"""So many quiet queues are not folded."""

PHASES_SHOWN, PHASE_LANES = 12, 6
"""Of the arithmetic of the plan so many phases are told, and so many lanes of each."""

TROUBLE, HELD_BACK, WORKS, QUIET = "trouble", "held", "works", "quiet"
"""How a lane is: something is wrong; somebody holds it back; it has jobs; it has none."""


@dataclass(frozen=True, slots=True)
class BoardVerdict:
    """How it is, in one sentence.

    Attributes:
        level: `OK`, `UNKNOWN`, `WARNING` or `CRITICAL`, as `shedder check` says.
        sentence: What is so, in the words of the business.
        because: Why, as far as it is known; empty where it is not.
        lane: The lane that it is about; empty where it is about none.
        is_failing: It is about work that fails.
        others: What else is wrong, the worst first.
        more: How many problems are left out.
        unknown: What is not known, a sentence each.
        looked_at: What was looked at.
    """

    level: str
    sentence: str
    because: str = ""
    lane: str = ""
    is_failing: bool = False
    others: tuple[CheckProblem, ...] = ()
    more: int = 0
    unknown: tuple[str, ...] = ()
    looked_at: str = ""

    @property
    def target(self) -> str:
        """The lane, as a command names it."""
        return target_of(self.lane) if self.lane else ""


@dataclass(frozen=True, slots=True)
class ControlLine:
    """A decision that stands on a lane.

    Attributes:
        kind: `paused`, `diverted`, `draining`, `halted`, `limited` or `retry`.
        words: What it is, such as `draining 200/s`.
        by: Who decided it.
        why: For which reason.
        since: Since when (server's clock, UTC).
        until: When it ends; None when it stands until somebody ends it.
        detail: Which jobs it takes and what became of them; empty for a pause.
    """

    kind: str
    words: str
    by: str
    why: str
    since: datetime
    until: datetime | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LaneRow:
    """A lane, or a quiet queue, in a table.

    Attributes:
        name: The lane, or the queue.
        target: What a command is told that concerns it.
        state: `trouble`, `held`, `works` or `quiet`.
        waiting: Jobs that wait.
        backlog: Jobs in its backlogs.
        running: Jobs that run.
        arrivals: Jobs that arrive a second; None when not known.
        completions: Jobs that end well a second; None when not known.
        failing: Jobs that fail a second; None when not known.
        oldest: How long the oldest has waited; None when none waits.
        tolerance: How long a job of it may wait; None when nothing says so.
        is_late: It is known that some of it is late.
        may_be_late: It is not known whether any is late.
        controls: What was decided about it.
        warnings: What a person should know, one sentence each.
        samples: How it was in the last ten minutes, oldest first.
        workers: Workers of ours that serve it.
        stock_workers: Stock workers that serve it.
    """

    name: str
    target: str
    state: str
    waiting: int = 0
    backlog: int = 0
    running: int = 0
    arrivals: float | None = None
    completions: float | None = None
    failing: float | None = None
    oldest: timedelta | None = None
    tolerance: timedelta | None = None
    is_late: bool = False
    may_be_late: bool = False
    controls: tuple[ControlLine, ...] = ()
    warnings: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()
    workers: int = 0
    stock_workers: int = 0

    @property
    def is_paused(self) -> bool:
        """Whether a pause stands on it."""
        return any(each.kind == "paused" for each in self.controls)

    @property
    def is_diverted(self) -> bool:
        """Whether it has a divert that is drained or could be."""
        return any(each.kind in ("diverted", "draining", "halted") for each in self.controls)


@dataclass(frozen=True, slots=True)
class Board:
    """All lanes at a moment.

    Attributes:
        at: When they were read (server's clock, UTC).
        verdict: How it is.
        lanes: Lanes in trouble or held back, the worst first.
        quiet: Queues of which nothing is wrong, one row each, those with jobs first.
        warnings: What concerns several lanes or the server, and is no problem of the verdict.
        memory_used: Share of the server's memory limit in use, 0 to 1; None without a limit.
        waiting: Jobs that wait in all lanes.
        backlog: Jobs in all backlogs.
        running: Jobs that run.
        completions: Jobs that end well a second; None when not known.
        failing: Jobs that fail a second; None when not known.
    """

    at: datetime
    verdict: BoardVerdict
    lanes: tuple[LaneRow, ...]
    quiet: tuple[LaneRow, ...]
    warnings: tuple[str, ...] = ()
    memory_used: float | None = None
    waiting: int = 0
    backlog: int = 0
    running: int = 0
    completions: float | None = None
    failing: float | None = None

    @property
    def is_folded(self) -> bool:
        """Whether the quiet queues are too many to stand open."""
        return len(self.quiet) > FEW_QUEUES


@dataclass(frozen=True, slots=True)
class IncidentBar:
    """The open incident, in a line.

    Attributes:
        id: Its id.
        title: What happens.
        severity: 1 (worst) to 5.
        state: `open` or `mitigated`.
        commander: Who coordinates; empty when nobody does.
        since: When it was opened (server's clock, UTC).
        due: When the next update is due; None when none is.
        left: Until then; negative when it is overdue.
    """

    id: str
    title: str
    severity: int
    state: str
    commander: str
    since: datetime
    due: datetime | None = None
    left: timedelta | None = None

    @property
    def is_overdue(self) -> bool:
        """Whether the update is due and was not posted."""
        return self.left is not None and self.left < timedelta()


def board_of(status: Status, policy: Policy, samples: Mapping[str, Sequence[Sample]] | None = None) -> Board:
    """All lanes of `status`, with the `samples` of the last ten minutes."""
    kinds = {queue: kinds_with_tolerance(policy, queue) for queue in dict.fromkeys(each.queue for each in status.lanes)}
    rows = {
        lane.lane: _row(lane, status, _shortest(lane.lane, kinds[lane.queue]), (samples or {}).get(lane.lane, ()))
        for lane in status.lanes
    }
    queues: dict[str, list[LaneStatus]] = {}
    for lane in status.lanes:
        queues.setdefault(lane.queue, []).append(lane)
    loud = {queue for queue, lanes in queues.items() if any(_is_loud(rows[lane.lane]) for lane in lanes)}
    quiet = [_as_one([(lane, rows[lane.lane]) for lane in lanes]) for queue, lanes in queues.items()
             if queue not in loud]  # fmt: skip
    verdict = verdict_of(status, policy)
    told = {verdict.sentence, *(each.text for each in check_status(status).problems)}
    return Board(
        at=status.at,
        verdict=verdict,
        lanes=tuple(_by_rank(rows[lane.lane] for lane in status.lanes if lane.queue in loud and _is_shown(lane))),
        quiet=tuple(sorted(quiet, key=lambda row: row.state != WORKS)),
        warnings=tuple(each for each in status.warnings if each not in told),
        memory_used=status.memory_used,
        waiting=sum(lane.waiting for lane in status.lanes),
        backlog=sum(lane.backlog for lane in status.lanes),
        running=sum(lane.running for lane in status.lanes),
        completions=_sum(lane.completions for lane in status.lanes),
        failing=_sum(lane.outcomes.failing for lane in status.lanes),
    )


def lane_row(lane: LaneStatus, status: Status, policy: Policy, samples: Sequence[Sample] = ()) -> LaneRow:
    """One lane of `status`."""
    return _row(lane, status, tolerance_of(lane.lane, lane.queue, policy), samples)


def _row(lane: LaneStatus, status: Status, tolerance: timedelta | None, samples: Sequence[Sample]) -> LaneRow:
    controls = tuple(controls_of(lane))
    oldest = min(filter(None, (lane.oldest, lane.oldest_in_backlog)), default=None)
    return LaneRow(
        name=lane.lane,
        target=target_of(lane.lane),
        state=_state(lane, status, controls),
        waiting=lane.waiting,
        backlog=lane.backlog,
        running=lane.running,
        arrivals=lane.arrivals,
        completions=lane.completions,
        failing=lane.outcomes.failing,
        oldest=None if oldest is None else max(status.at - oldest, timedelta()),
        tolerance=tolerance,
        is_late=any(each.is_certain for each in lane.late),
        may_be_late=any(not each.is_certain for each in lane.late),
        controls=controls,
        warnings=lane.warnings,
        samples=tuple(samples),
        workers=lane.workers,
        stock_workers=lane.stock_workers,
    )


def tolerance_of(lane: str, queue: str, policy: Policy) -> timedelta | None:
    """How long that work of `lane` may wait that may wait least; None where the policy says nothing of it."""
    return _shortest(lane, kinds_with_tolerance(policy, queue))


def kinds_with_tolerance(policy: Policy, queue: str) -> Sequence[Workload]:
    """The kinds of work of `queue`; none where the policy gives none of them a tolerance."""
    return kinds_of(policy, [queue]) if policy_names(policy, queue) else ()


def _shortest(lane: str, kinds: Iterable[Workload]) -> timedelta | None:
    return min((kind.tolerance for kind in kinds if lane in kind.lanes), default=None)


def policy_names(policy: Policy, queue: str) -> bool:
    """Whether a rule of `policy` gives work of `queue` a tolerance."""
    return any(rule.tolerance is not None and rule.is_for_queue(queue) for rule in policy.rules)


# the verdict


def verdict_of(status: Status, policy: Policy) -> BoardVerdict:
    """How all lanes of `status` are, in one sentence."""
    found = check_status(status)
    first = _first(found, status)
    looked_at = _looked_at(found, status, policy)
    if first is None:
        good = good_sentence(found) if found.lanes else "there is no queue yet, so nothing is known"
        return BoardVerdict(_good_level(found), _sentence(good), _standing(status),
                            unknown=found.unknown, looked_at=looked_at)  # fmt: skip
    lanes = {lane.lane: lane for lane in status.lanes}
    sentence, because = _told(first, lanes.get(first.target), status)
    others = [each for each in found.problems if each != first]
    return BoardVerdict(
        level_of(found), sentence, because,
        lane=first.target if first.target in lanes else "", is_failing=first.kind == FAILS,
        others=tuple(others[:MOST_PROBLEMS]), more=max(len(others) - MOST_PROBLEMS, 0),
        unknown=found.unknown, looked_at=looked_at,
    )  # fmt: skip


def _good_level(found: CheckResult) -> str:
    return level_of(found) if found.lanes else NOT_KNOWN


def _first(found: CheckResult, status: Status) -> CheckProblem | None:
    """The problem to tell first; of work that fails that which has a name in the business."""
    labels = {each.label for each in status.labels}
    named_first = [each for each in found.problems if each.kind == FAILS and each.target in labels]
    worst = next(iter(found.problems), None)
    return named_first[0] if worst and worst.kind == FAILS and named_first else worst


def _told(problem: CheckProblem, lane: LaneStatus | None, status: Status) -> tuple[str, str]:
    """The sentence and its because."""
    late = next((each for each in (lane.late if lane else ())
                 if lateness_sentence(each, status.at) == problem.text), None)  # fmt: skip
    if late is None or lane is None:
        first, _, rest = problem.text.partition(". ")
        return _sentence(first), rest
    if not late.is_certain:
        return _sentence(problem.text), because_of(lane, status.at)
    return late_sentence(late, status.at), because_of(lane, status.at)


def late_sentence(late: Late, at: datetime) -> str:
    """`312 welcome mails are late, oldest 9 min`."""
    number = about(late.count, late.error, late.least) if late.error else f"{late.count:,}"
    what = f"1 of {late.noun} is late" if number == "1" else f"{number} {late.noun} are late"
    said = f"{what}, oldest {spoken(at - late.oldest)} (tolerated: {spoken(late.tolerance)})"
    return said[:1].upper() + said[1:]


def because_of(lane: LaneStatus, at: datetime) -> str:
    """Why jobs of a lane wait, as far as it is known."""
    if lane.pause is not None:
        return f"{lane.lane} is paused by {lane.pause.by} since {moment(lane.pause.since, at)}: {lane.pause.why}"
    if not (lane.workers or lane.stock_workers):
        return f"no worker serves {lane.lane}"
    held = [each for each in lane.diverts if each.backlog and each.drain is None and not each.is_limit]
    if held and held[0].backlog >= lane.waiting:
        jobs, are = counted(held[0].backlog, "job"), "is" if held[0].backlog == 1 else "are"
        return f"{jobs} of {lane.lane} {are} in the backlog, diverted by {held[0].by}: {held[0].why}"
    if lane.arrivals is None or lane.completions is None:
        return f"how fast {lane.lane} is worked off is not known yet"
    return f"{lane.lane} gets {pace(lane.arrivals)} and does {pace(lane.completions)}"


def _standing(status: Status) -> str:
    """What is held back though nothing is wrong."""
    paused = list(dict.fromkeys(lane.queue for lane in status.lanes if lane.pause))
    aside = list(dict.fromkeys(lane.queue for lane in status.lanes
                               if any(not each.is_limit and not each.is_retry for each in lane.diverts)))  # fmt: skip
    told = [f"{some_named(names)} {'is' if len(names) == 1 else 'are'} {state}"
            for names, state in ((paused, "paused"), (aside, "diverted")) if names]  # fmt: skip
    return f"By decision: {' and '.join(told)}" if told else ""


def _looked_at(found: CheckResult, status: Status, policy: Policy) -> str:
    queues = {lane.queue for lane in status.lanes}
    nouns = list(dict.fromkeys(each.label for each in policy.rules if each.label and each.tolerance))
    by = f"the tolerances of {some_named(nouns)}" if nouns else "no policy that says how long work may wait"
    return (
        f"Looked at {counted(found.lanes, 'lane')} of {counted(len(queues), 'queue')} by {by}: "
        f"{counted(found.waiting, 'job')} waiting, {found.backlog:,} in backlogs, {ended_sentence(found)}."
    )


def _sentence(text: str) -> str:
    text = text.strip().rstrip(".")
    return text[:1].upper() + text[1:]


# lanes


def controls_of(lane: LaneStatus) -> Iterator[ControlLine]:
    """What was decided about a lane, the pause first."""
    if lane.pause is not None:
        yield _pause_line(lane.pause)
    for divert in lane.diverts:
        yield _divert_line(divert)


def _pause_line(pause: Pause) -> ControlLine:
    return ControlLine("paused", "paused", pause.by, pause.why, pause.since, pause.until)


def _divert_line(divert: Divert) -> ControlLine:
    kind, words = _kind_of(divert)
    selection = "" if divert.is_retry else divert.selection.describe()
    backlog = counted(divert.backlog, "job") + (" under the limit" if divert.is_limit else " in the backlog")
    scanning = "first pass not finished" if divert.is_scanning else ""
    detail = ", ".join(filter(None, (selection, backlog, scanning)))
    return ControlLine(kind, words, divert.by, divert.why, divert.since, divert.until, detail)


def _kind_of(divert: Divert) -> tuple[str, str]:
    if divert.is_limit:
        terms = [str(divert.drain.rate)] if divert.drain else []
        terms += [f"{divert.most} at once"] if divert.most else []
        return "limited", f"limited to {', '.join(terms)}"
    what = "retry" if divert.is_retry else "drain"
    if divert.halted is not None:
        return "halted", f"{what} halted"
    if divert.drain is not None:
        return "draining", f"{'retry' if divert.is_retry else 'draining'} {pace(divert.drain.rate.per_second)}"
    return ("retry", "retry stopped") if divert.is_retry else ("diverted", "diverted")


def _state(lane: LaneStatus, status: Status, controls: Sequence[ControlLine]) -> str:
    is_bad = lane.late or is_failing(lane.outcomes, status.fails_at) or lane.overdue or lane.unreadable
    if is_bad or (lane.warnings and not controls) or any(each.kind == "halted" for each in controls):
        return TROUBLE
    if controls:
        return HELD_BACK
    return WORKS if lane.waiting or lane.running or lane.claimed or lane.backlog else QUIET


def _is_loud(row: LaneRow) -> bool:
    return row.state in (TROUBLE, HELD_BACK) or bool(row.warnings)


def _is_shown(lane: LaneStatus) -> bool:
    numbers = (lane.waiting, lane.backlog, lane.running, lane.claimed, lane.outcomes.failed_lately)
    stands = lane.priority == DEFAULT_PRIORITY and (lane.pause or lane.diverts)
    return bool(any(numbers) or stands or lane.warnings)


_RANKS = {TROUBLE: 0, HELD_BACK: 1, WORKS: 2, QUIET: 3}


def _by_rank(rows: Iterable[LaneRow]) -> list[LaneRow]:
    """Lanes in trouble first, those that are late or fail before others; then those held back; else as they were."""
    return sorted(rows, key=lambda row: (_RANKS[row.state], not row.is_late, not row.failing))


def _as_one(lanes: Sequence[tuple[LaneStatus, LaneRow]]) -> LaneRow:
    """The lanes of a quiet queue as one row."""
    rows = [row for _, row in lanes]
    queue = lanes[0][0].queue
    main = next((row for row in rows if row.name == queue), rows[0])
    return replace(
        main,
        name=queue,
        target=queue,
        state=min((row.state for row in rows), key=_RANKS.__getitem__),
        waiting=sum(row.waiting for row in rows),
        backlog=sum(row.backlog for row in rows),
        running=sum(row.running for row in rows),
        arrivals=_sum(row.arrivals for row in rows),
        completions=_sum(row.completions for row in rows),
        failing=_sum(row.failing for row in rows),
        oldest=max((row.oldest for row in rows if row.oldest is not None), default=None),
        tolerance=min((row.tolerance for row in rows if row.tolerance is not None), default=None),
    )


def _sum(numbers: Iterable[float | None]) -> float | None:
    known = [each for each in numbers if each is not None]
    return sum(known) if known else None


# the incident, and the plan


def bar_of(incident: Incident | None, policy: Policy, at: datetime) -> IncidentBar | None:
    """The incident in a line; None while none is open."""
    if incident is None or not incident.is_open:
        return None
    due = due_at(incident, policy.incident)
    return IncidentBar(
        incident.id, incident.title, incident.severity, incident.state, incident.commander, incident.opened_at,
        due=due, left=None if due is None else due - at,
    )  # fmt: skip


_NOT_KNOWN_WHEN = "not known: no job has ended lately"


@dataclass(frozen=True, slots=True)
class PlanRow:
    """What an option would bring.

    Attributes:
        option: What would be done, such as `divert mail.low`.
        urgent: When urgent work is well; empty where none is urgent.
        done: When what is open is done.
        left: Jobs that are held back by then.
        phases: The arithmetic, a sentence each; empty where nobody asked for it.
    """

    option: str
    urgent: str
    done: str
    left: int
    phases: tuple[str, ...] = ()


def plan_rows(outlook: Outlook, options: Iterable[tuple[str, Iterable[str]]]) -> tuple[PlanRow, ...]:
    """What it brings to hold back the lanes of each option, and to do nothing; nothing where nothing waits."""
    chosen = [Option(what, closed=frozenset(lanes)) for what, lanes in options]
    return option_rows(outlook, (*chosen, Option("do nothing")))


def option_rows(
    outlook: Outlook, options: Iterable[Option], *, is_explained: bool = False
) -> tuple[PlanRow, ...]:  # fmt: skip
    """What each option would bring; nothing where nothing waits."""
    if not any(each.has_work for each in outlook.lanes):
        return ()
    return tuple(_plan_row(outlook, each, is_explained=is_explained) for each in options)


def _plan_row(outlook: Outlook, option: Option, *, is_explained: bool) -> PlanRow:
    found = forecast(outlook.lanes, option, pace=outlook.pace, workers=outlook.workers)
    is_urgent = any(each.is_urgent for each in outlook.lanes)
    urgent = _when(found.urgent_in, found.urgent_never, outlook.at) if is_urgent else ""
    done = _when(found.gone_in, found.gone_never, outlook.at)
    phases = tuple(map(_phase_sentence, found.phases[:PHASES_SHOWN])) if is_explained else ()
    return PlanRow(option.name, urgent, done, round(found.left), phases)


def _phase_sentence(phase: Phase) -> str:
    """`from 0 s for 5 min: mail: 20 wait, 3/s start`."""
    lanes = [f"{lane}: {round(phase.depths[lane]):,} wait, {pace(served)} start"
             for lane, served in phase.served.items() if phase.depths[lane] or served]  # fmt: skip
    lasts = "ever" if phase.seconds >= HORIZON_SECONDS else spoken(timedelta(seconds=phase.seconds))
    said = "; ".join(lanes[:PHASE_LANES]) or "nothing waits"
    more = f"; and {len(lanes) - PHASE_LANES} more lanes" if len(lanes) > PHASE_LANES else ""
    return f"from {spoken(timedelta(seconds=phase.since))} for {lasts}: {said}{more}"


def _when(seconds: float | None, never: str, at: datetime) -> str:
    if seconds is None:
        return _NOT_KNOWN_WHEN if never == UNKNOWN else f"never: {WHY_NEVER[never or SLOW]}"
    return "now" if seconds < 1 else f"about {moment(at + timedelta(seconds=seconds), at)}"
