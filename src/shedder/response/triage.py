"""The checklist of an incident, with the next commands.

In the order of the framework: a bad release, work that fails, too much traffic, a clogged queue.
Decisions only, from what is known: nothing is read here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from shedder.events import Event
from shedder.incident.records import Effect, Incident
from shedder.lanes import DEFAULT_PRIORITY, lane_of, target_of
from shedder.policy.lateness import Late, lateness_sentence
from shedder.policy.model import Policy
from shedder.queues.controls import Divert
from shedder.queues.outcomes import FEWEST_ENDED
from shedder.response.failing import FailingWork, failing_work, how_jobs_end
from shedder.response.mitigation import BEGAN, NO_END_YET, began_at, without_ended
from shedder.settings.flags import FlagState
from shedder.settings.limits import LimitState
from shedder.status.findings import overdue_findings
from shedder.status.readings import LaneStatus, Status
from shedder.units import format_duration
from shedder.wording import REASON_BLANK, counted, jobs_do, named

MOST_COMMANDS = 4

PROTECTED = ("critical", "high")

FINE_WITHIN = timedelta(seconds=30)
"""A lane of high priority is fine while its oldest job waits no longer, unless the policy says."""

FEWEST_JOBS = 10
"""A queue with fewer waiting jobs is not clogged."""


@dataclass(frozen=True, slots=True)
class Triage:
    """The checklist as a whole.

    Attributes:
        at: When the queues were read (server's clock, UTC).
        incident: Id of the incident; empty without one.
        steps: The questions, in the order in which they are to be asked.
    """

    at: datetime
    incident: str
    steps: tuple[TriageStep, ...]


@dataclass(frozen=True, slots=True)
class TriageStep:
    """One question of the checklist.

    Attributes:
        name: `release`, `success`, `limits`, `degrade`, `scale`, `pause`, `divert` or `protect`.
        question: The question.
        rule: What to do if so.
        state: `done` when something was done about it, `fine` when nothing is to be, else `open`.
        finding: What the queues say of it, one sentence; empty when they say nothing.
        done: What was done about it, oldest first.
        commands: What to type next.
    """

    name: str
    question: str
    rule: str
    state: str = "open"
    finding: str = ""
    done: tuple[TriageDone, ...] = ()
    commands: tuple[TriageCommand, ...] = ()


@dataclass(frozen=True, slots=True)
class TriageDone:
    """What was done about a question already.

    Attributes:
        event: Id of its event.
        verb: What was done.
        by: Who did it.
        role: In which role; empty without one.
        at: When (server's clock, UTC).
        what: To which queues, flags or limits, or by which mitigation.
        effect: What it did some minutes later; None while that is not measured.
        outcome: How a mitigation ended, or that no end is recorded; empty for all else.
    """

    event: str
    verb: str
    by: str
    role: str
    at: datetime
    what: tuple[str, ...]
    effect: Effect | None = None
    outcome: str = ""

    @property
    def is_failed(self) -> bool:
        """Whether it was a mitigation that has not ended well, or of which nobody knows."""
        return self.outcome not in ("", "done")


@dataclass(frozen=True, slots=True)
class TriageCommand:
    """A command to be typed next.

    Attributes:
        purpose: What for.
        words: The command without `shedder`, a word each, as the shell shall get them.
        is_complete: It can be typed as it stands; otherwise words in capitals are to be filled in.
    """

    purpose: str
    words: tuple[str, ...]
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class Seen:
    """All that the checklist is made of.

    Attributes:
        status: How the queues are.
        flags: All flags.
        limits: All limits.
        policy: What the team decided before.
        events: What was done: in the incident, or lately without one.
        incident: The incident that is open; None without one.
    """

    status: Status
    flags: tuple[FlagState, ...] = ()
    limits: tuple[LimitState, ...] = ()
    policy: Policy = field(default_factory=Policy)
    events: tuple[Event, ...] = ()
    incident: Incident | None = None

    @property
    def reason(self) -> tuple[str, str]:
        """What the commands give as their reason: the incident, or a blank to fill in."""
        return "-r", self.incident.title if self.incident else REASON_BLANK

    @property
    def clogged(self) -> LaneStatus | None:
        """The lane in which most jobs wait, unless those are few."""
        busy = [lane for lane in self.status.lanes if lane.waiting >= FEWEST_JOBS]
        return max(busy, key=lambda lane: lane.waiting, default=None)

    def command(self, purpose: str, *words: str) -> TriageCommand:
        """A command that gives the incident as its reason; without one the reason is to be filled in."""
        return TriageCommand(purpose, (*words, *self.reason), is_complete=self.incident is not None)

    def done(self, *verbs: str, kind: str = "") -> tuple[TriageDone, ...]:
        """What these verbs, or mitigations of a kind, did and what still stands, oldest first."""
        wanted = (*verbs, BEGAN) if "mitigate" in verbs else verbs
        undone = {each.undoes for each in self.events if each.undoes}
        effects = {each.event: each for each in self.incident.effects} if self.incident else {}
        return tuple(
            TriageDone(each.id, each.verb, each.by, each.role, began_at(each), _what(each),
                       effects.get(each.id), _outcome(each))
            for each in without_ended(self.events)
            if each.verb in wanted and each.id not in undone and not each.undoes
            and (not kind or each.details.get("kind") == kind)
        )  # fmt: skip


def checklist(seen: Seen) -> Triage:
    """The checklist: each question with its state, what was done, and the next commands."""
    steps = (
        _release(seen), _success(seen), _limits(seen), _degrade(seen), _scale(seen), _pause(seen), _divert(seen),
        _protect_unless_failing(seen),
    )  # fmt: skip
    incident = seen.incident.id if seen.incident else ""
    return Triage(seen.status.at, incident, tuple(_stated(seen, each) for each in steps))


def _release(seen: Seen) -> TriageStep:
    commands = _mitigations(seen, "rollback", {})
    return TriageStep(
        "release", "Is it a bad release?", "Roll back; do not hotfix forward.",
        finding="" if commands else "no mitigation of kind rollback is declared in the policy",
        done=seen.done("mitigate", kind="rollback"), commands=commands,
    )  # fmt: skip


def _success(seen: Seen) -> TriageStep:
    failing = failing_work(seen.status, seen.policy)
    halted = [each for lane in seen.status.lanes for each in lane.diverts if each.halted]
    said = [*(each.sentence for each in failing), *map(_halt_sentence, halted)]
    commands = _stops(seen, failing)
    if not failing and not halted:
        found = how_jobs_end(seen.status, seen.policy)
        if failed := [lane for lane in seen.status.lanes if _has_failed(lane)]:
            return _failed_work(seen, failed)
        state = "fine" if found.is_known else "open"
        return TriageStep("success", _SUCCEEDS, _STOP, state=state, finding=found.sentence)
    return TriageStep(
        "success", _SUCCEEDS, _STOP, state="open" if commands else "done", finding="; ".join(said),
        done=seen.done("drain stopped"), commands=_first(commands or _goings_on(seen, halted)),
    )  # fmt: skip


def _has_failed(lane: LaneStatus) -> bool:
    """Whether much of it failed in the last hour, what ends now ends well, and nothing of it comes back yet."""
    found = lane.outcomes
    is_much = min(found.failed_in_hour, found.failed_kept) >= FEWEST_ENDED
    return is_much and not found.failing and not any(each.is_retry for each in lane.diverts)


def _failed_work(seen: Seen, lanes: Sequence[LaneStatus]) -> TriageStep:
    """What can come back, now that jobs succeed again."""
    most = max(lanes, key=lambda lane: lane.outcomes.failed_in_hour)
    mostly = [lane.outcomes.exception.rpartition(".")[2] for lane in lanes if lane.outcomes.exception]
    jobs = min(sum(lane.outcomes.failed_in_hour for lane in lanes), sum(lane.outcomes.failed_kept for lane in lanes))
    why = f", mostly {named(list(dict.fromkeys(mostly)))}" if mostly else ""
    exception = most.outcomes.exception.rpartition(".")[2]
    words = ["--exception", exception] if exception.isidentifier() else []
    targets = list(dict.fromkeys(target_of(lane.lane) for lane in lanes))
    return TriageStep(
        "success", _SUCCEEDS, _STOP, state="open",
        finding=f"none fails now, but {counted(jobs, 'job')} failed in the last hour{why}",
        done=seen.done("retry"),
        commands=(seen.command("what failed can come back", "retry", *targets, *words, "--since", "1h", "--dry-run"),),
    )  # fmt: skip


_SUCCEEDS = "Does what starts also succeed?"
_STOP = "Let no more start while it fails; what waits is not lost."


def _stops(seen: Seen, failing: Sequence[FailingWork]) -> list[TriageCommand]:
    """What keeps more of it from starting: the drain stops, or its lanes pause."""
    names = {name for each in failing for name in each.lanes}
    lanes = [each for each in seen.status.lanes if each.lane in names and each.pause is None]
    draining = [target_of(each.lane) for each in lanes if _is_draining(each)]
    others = [target_of(each.lane) for each in lanes if not _is_draining(each) and not _is_whole(each)]
    commands = [seen.command("the drain stops, its backlog stays", "drain", *draining, "--stop")] if draining else []
    return [*commands, *([seen.command("no more of it starts", "pause", *others)] if others else [])]


def _goings_on(seen: Seen, halted: Sequence[Divert]) -> list[TriageCommand]:
    """The drains that were halted, at the rate that they had."""
    return [
        seen.command("only once its jobs succeed", "drain", target_of(each.lane), "--rate", str(each.halted.rate))
        for each in halted
        if each.halted
    ]


def _halt_sentence(divert: Divert) -> str:
    found = divert.halted
    if found is None:
        return ""
    what = "retry" if divert.is_retry else "drain"
    return (f"the {what} of {divert.lane} has halted: {found.failed} of its last {found.ended} jobs failed, "
            f"{counted(divert.backlog, 'job')} stay in the backlog")  # fmt: skip


def _is_draining(lane: LaneStatus) -> bool:
    return any(each.drain and not each.is_limit for each in lane.diverts)


def _limits(seen: Seen) -> TriageStep:
    commands = [
        seen.command(f"half of {each.default}", "limit", "set", each.name, _halved(each))
        for each in seen.limits
        if each.default and not each.setting and not each.key
    ]
    none = "" if commands else "no limit on what comes in is declared in code and free to be set"
    return TriageStep(
        "limits", "Is it too much traffic?", "Limit what comes in.",
        finding="; ".join(filter(None, (_growth(seen.status), none))),
        done=seen.done("limit set"), commands=_first(commands),
    )  # fmt: skip


def _degrade(seen: Seen) -> TriageStep:
    on = [each for each in seen.flags if not each.percent and each.is_declared]
    commands = [
        seen.command(f"all of {group}", "flag", "degrade", "--group", group)
        for group in dict.fromkeys(each.group for each in on if each.group)
    ]
    commands += [
        seen.command(each.description or f"degrade {each.name}", "flag", "degrade", each.name)
        for each in on
        if not each.group
    ]
    return TriageStep(
        "degrade", "Can features do without?", "Degrade what customers need least.",
        finding="" if on else "no flag that is on has been declared",
        done=seen.done("flag degrade"), commands=_first(commands),
    )  # fmt: skip


def _scale(seen: Seen) -> TriageStep:
    lane = seen.clogged
    workers = lane.workers + lane.stock_workers if lane else 0
    known = dict.fromkeys(("workers", "count", "replicas", "number"), str(max(2 * workers, 2)))
    commands = _mitigations(seen, "scale", known)
    said = "" if lane is None else f"{counted(workers, 'worker')} on {lane.lane}"
    none = "" if commands else "no mitigation of kind scale is declared in the policy"
    return TriageStep(
        "scale", "Would more workers help?", "Scale up, if what they wait for can bear it.",
        finding=said or none, done=seen.done("mitigate", kind="scale"), commands=commands,
    )  # fmt: skip


def _pause(seen: Seen) -> TriageStep:
    lane = seen.clogged
    commands, finding = [], f"in no lane {FEWEST_JOBS} jobs wait"
    if lane is not None:
        finding = f"{jobs_do(lane.waiting, 'wait', 'waits')} in {lane.lane}{_age(lane, seen.status.at)}"
        if lane.pause is None:
            commands = [seen.command("nothing of it starts", "pause", lane_of(lane.lane).queue), *_half(seen, lane)]
        else:
            finding += "; it is paused"
    return TriageStep(
        "pause", "Is a queue clogged?", "Pause it: stop the bleeding first.",
        state="open" if commands else "fine", finding=finding, done=seen.done("pause", "limit start"),
        commands=tuple(commands),
    )  # fmt: skip


def _half(seen: Seen, lane: LaneStatus) -> list[TriageCommand]:
    """A limit on starts, where jobs end fast enough to halve that."""
    if not lane.completions or lane.completions < 2 or any(each.is_limit for each in lane.diverts):
        return []
    words = ("limit", "starts", target_of(lane.lane), "--rate", f"{lane.completions / 2:.0f}/second")
    return [seen.command("half of what starts now", *words)]


def _divert(seen: Seen) -> TriageStep:
    commands = [*_shed_commands(seen), *_low_commands(seen)]
    lane = seen.clogged
    if not commands and lane is not None and not _is_whole(lane):
        words = ("divert", lane_of(lane.lane).queue, "--dry-run")
        commands = [TriageCommand("what waits there", words)]
    return TriageStep(
        "divert", "What of it can wait?", "Divert low priority to the backlog; nothing is lost.",
        state="open" if commands else "fine",
        finding="" if commands else "nothing waits in a lane that has no divert, or too few jobs",
        done=seen.done("divert"), commands=_first(commands),
    )  # fmt: skip


def _protect_unless_failing(seen: Seen) -> TriageStep:
    """Work that starts in time and fails does not go on."""
    step, failing = _protect(seen), failing_work(seen.status, seen.policy)
    if step.state != "fine" or not failing:
        return step
    return replace(step, state="open", finding=f"jobs of {named([each.name for each in failing])} fail: see question 2")


def _protect(seen: Seen) -> TriageStep:
    held = [target_of(each.lane) for each in seen.status.lanes if _is_held(seen, each)]
    late = [each for each in seen.status.lanes if _is_late(seen, each)]
    said = [f"{each.lane} waits{_age(each, seen.status.at)}" for each in late if not each.late]
    said += [lateness_sentence(each, seen.status.at).rstrip(".") for each in _late_work(seen)]
    overdue = [*overdue_findings(seen.status)]
    said += [each.says.rstrip(".") for each in overdue]
    commands = [seen.command("let it go on", "resume", *held)] if held else []
    commands += [TriageCommand("what is due starts", each.command) for each in overdue if each.command]
    known = "no work that may not be shed is late" if seen.policy.rules else "no policy says what may wait how long"
    return TriageStep(
        "protect", "Does what matters most go on?", "Let high priority go first.",
        state="open" if said or held else "fine", finding="; ".join(said) or known,
        done=seen.done("resume"), commands=tuple(commands),
    )  # fmt: skip


def _stated(seen: Seen, step: TriageStep) -> TriageStep:
    """`done` where something was done and nothing is left to be typed.

    One resume does not bring all work back: that is done once nothing is late, nor held back by a control.
    """
    helped = any(not each.is_failed for each in step.done)
    if step.name == "protect" and (step.state == "open" or any(map(_holds_back, seen.status.lanes))):
        return step
    if helped and (not step.commands or step.name in ("release", "scale", "limits")):
        return replace(step, state="done")
    return step


def _mitigations(seen: Seen, kind: str, known: Mapping[str, str]) -> tuple[TriageCommand, ...]:
    """A command for each declared mitigation of `kind`, with the values that are `known`."""
    return tuple(
        TriageCommand(
            each.name,
            ("mitigate", each.name, *(word for name in each.placeholders
                                      for word in (f"--{name}", known.get(name, name.upper()))),
             *seen.reason),
            all(name in known for name in each.placeholders),
        )
        for each in seen.policy.mitigations.values()
        if each.kind == kind
    )  # fmt: skip


def _shed_commands(seen: Seen) -> Iterable[TriageCommand]:
    """What the policy says may be shed, first to shed first, of queues that have such jobs."""
    queues = dict.fromkeys(
        lane_of(each.lane).queue for each in seen.status.lanes if each.waiting and not _is_whole(each)
    )
    for _, rule in seen.policy.in_shed_order():
        for queue in queues:
            if rule.is_for_queue(queue) and not rule.selection.is_whole:
                words = ("divert", queue, *_options(rule.selection.functions, rule.selection.meta))
                if not _is_diverted(seen.status, queue, rule.selection.describe()):
                    yield seen.command(rule.label or rule.describe(), *words)


def _low_commands(seen: Seen) -> Iterable[TriageCommand]:
    for each in seen.status.lanes:
        if lane_of(each.lane).priority == "low" and each.waiting and not _is_whole(each):
            yield seen.command(f"{counted(each.waiting, 'job')} of low priority", "divert", each.lane)


def _options(functions: Sequence[str], meta: Iterable[tuple[str, str]]) -> list[str]:
    words = [word for glob in functions for word in ("--function", glob)]
    return words + [word for name, value in meta for word in ("--meta", f"{name}={value}")]


def _halved(limit: LimitState) -> str:
    amount, _, unit = str(limit.default).partition("/")
    try:
        half = max(float(amount) / 2, 1.0)
    except ValueError:
        return str(limit.default)
    return f"{half:g}/{unit}"


def _first(commands: Sequence[TriageCommand]) -> tuple[TriageCommand, ...]:
    return tuple(commands[:MOST_COMMANDS])


def _growth(status: Status) -> str:
    """Which lanes grow, and how fast; empty when none does."""
    growing = [
        each
        for each in status.lanes
        if each.arrivals is not None and each.completions is not None and each.arrivals > each.completions + 0.1
    ]
    return ", ".join(
        f"{each.lane} grows: {each.arrivals:.1f}/s in, {each.completions:.1f}/s out" for each in growing[:3]
    )


def _age(lane: LaneStatus, now: datetime) -> str:
    """How long the oldest job of a lane has waited, to stand behind its name; empty without one."""
    if lane.oldest is None:
        return ""
    return f", the oldest for {format_duration(max((now - lane.oldest).total_seconds(), 0) // 1)}"


def _is_held(seen: Seen, lane: LaneStatus) -> bool:
    """Whether a pause holds jobs that matter most, or what is left once the rest was diverted."""
    if lane.pause is None or not lane.waiting:
        return False
    is_first = _priority(seen, lane) in PROTECTED
    queue = [each for each in seen.status.lanes if each.queue == lane.queue]
    has_diverted = any(not each.is_limit for other in queue for each in other.diverts)
    return is_first or (has_diverted and _priority(seen, lane) == DEFAULT_PRIORITY)


def _holds_back(lane: LaneStatus) -> bool:
    """Whether jobs of the lane do not start because somebody has decided so."""
    stand = (each for each in lane.diverts if not (each.drain or each.is_limit or each.is_restoring))
    return bool(lane.pause and lane.waiting) or any(each.backlog for each in stand)


def _is_late(seen: Seen, lane: LaneStatus) -> bool:
    """Whether jobs that matter most wait longer than is tolerated."""
    if _priority(seen, lane) not in PROTECTED or lane.oldest is None:
        return False
    found = seen.policy.rule_for("tolerance", queue=lane_of(lane.lane).queue)
    tolerance = (found[1].tolerance if found else None) or FINE_WITHIN
    return seen.status.at - lane.oldest > tolerance


def _late_work(seen: Seen) -> list[Late]:
    """The work that is late, or may be, but for what may be shed or is of low priority."""
    rules = dict(enumerate(seen.policy.rules, start=1))
    return [
        late for lane in seen.status.lanes for late in lane.late
        if (rule := rules.get(late.rule)) is not None and rule.shed is None
        and "low" not in (rule.priority, lane.priority)
    ]  # fmt: skip


def _is_whole(lane: LaneStatus) -> bool:
    """Whether a divert takes all jobs of the lane."""
    return any(each.selection.is_whole and not each.is_limit for each in lane.diverts)


def _is_diverted(status: Status, queue: str, described: str) -> bool:
    """Whether a divert of such jobs stands on the queue already."""
    return any(
        each.selection.describe() == described
        for lane in status.lanes
        if lane_of(lane.lane).queue == queue
        for each in lane.diverts
    )


def _priority(seen: Seen, lane: LaneStatus) -> str:
    return seen.policy.served_as(lane.lane)


def _what(event: Event) -> tuple[str, ...]:
    if event.lanes:
        return event.lanes
    names = event.details.get("names")
    if isinstance(names, list):
        return tuple(str(each) for each in names)
    said = event.details.get("mitigation")
    return (str(said),) if said else ()


def _outcome(event: Event) -> str:
    if not event.verb.startswith("mitigate"):
        return ""
    return str(event.details.get("outcome", NO_END_YET))
