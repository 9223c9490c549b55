"""What does the checklist of an incident say, and what is the next command?

In the order of the framework: a bad release, too much traffic, a clogged queue. Decisions only,
from what is known: nothing is read here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from shedder.counts import counted
from shedder.lanes import lane_of
from shedder.policy import Mitigation
from shedder.setting_records import LimitState
from shedder.triage import Triage, TriageCommand, TriageStep
from shedder.triage_findings import (
    Seen,
    age,
    clogged,
    done_about,
    growth,
    is_diverted,
    is_held,
    is_late,
    is_whole,
)

MOST_COMMANDS = 4


def triage(seen: Seen) -> Triage:
    """The checklist: each question with its state, what was done, and the next commands."""
    steps = (
        _release(seen), _limits(seen), _degrade(seen), _scale(seen), _pause(seen),
        _divert(seen), _protect(seen),
    )  # fmt: skip
    incident = seen.incident.id if seen.incident else ""
    return Triage(seen.status.at, incident, tuple(_stated(each) for each in steps))


def _release(seen: Seen) -> TriageStep:
    found = _mitigations(seen, "rollback")
    return TriageStep(
        "release", "Is it a bad release?", "Roll back; do not hotfix forward.",
        finding="" if found else "no mitigation of kind rollback is declared in the policy",
        done=done_about(seen, ("mitigate",), kind="rollback"),
        commands=tuple(_mitigate(seen, each, {}) for each in found),
    )  # fmt: skip


def _limits(seen: Seen) -> TriageStep:
    free = [each for each in seen.limits if each.default and not each.setting and not each.key]
    commands = [
        TriageCommand(f"half of {each.default}", (
            "limit", "set", each.name, _halved(each), *seen.reason))
        for each in free
    ]  # fmt: skip
    lane = clogged(seen.status)
    if lane is not None and lane.completions and lane.completions >= 2:
        rate = f"{lane.completions / 2:.0f}/second"
        words = ("limit", "starts", _target(lane.lane), "--rate", rate, *seen.reason)
        commands.append(TriageCommand("half of what it does now", words))
    return TriageStep(
        "limits", "Is it too much traffic?", "Limit what comes in.", finding=growth(seen.status),
        done=done_about(seen, ("limit set", "limit start")), commands=_first(commands),
    )  # fmt: skip


def _degrade(seen: Seen) -> TriageStep:
    on = [each for each in seen.flags if not each.percent and each.is_declared]
    groups = dict.fromkeys(each.group for each in on if each.group)
    commands = [
        TriageCommand(f"all of {group}", ("flag", "degrade", "--group", group, *seen.reason))
        for group in groups
    ]
    for each in on:
        if not each.group:
            purpose = each.description or f"degrade {each.name}"
            commands.append(TriageCommand(purpose, ("flag", "degrade", each.name, *seen.reason)))
    return TriageStep(
        "degrade", "Can features do without?", "Degrade what customers need least.",
        finding="" if on else "no flag that is on has been declared",
        done=done_about(seen, ("flag degrade",)), commands=_first(commands),
    )  # fmt: skip


def _scale(seen: Seen) -> TriageStep:
    lane = clogged(seen.status)
    workers = lane.workers + lane.stock_workers if lane else 0
    number = str(max(2 * workers, 2))
    known = dict.fromkeys(("workers", "count", "replicas", "number"), number)
    found = _mitigations(seen, "scale")
    said = "" if lane is None else f"{counted(workers, 'worker')} on {lane.lane}"
    return TriageStep(
        "scale", "Would more workers help?", "Scale up, if what they wait for can bear it.",
        finding=said or ("" if found else "no mitigation of kind scale is declared in the policy"),
        done=done_about(seen, ("mitigate",), kind="scale"),
        commands=tuple(_mitigate(seen, each, known) for each in found),
    )  # fmt: skip


def _pause(seen: Seen) -> TriageStep:
    lane = clogged(seen.status)
    commands: tuple[TriageCommand, ...] = ()
    finding = "no queue is clogged"
    if lane is not None:
        queue = lane_of(lane.lane).queue
        finding = f"{lane.waiting:,} jobs wait in {lane.lane}{age(lane, seen.status.at)}"
        if lane.pause is None:
            words = ("pause", queue, *seen.reason)
            commands = (TriageCommand("nothing of it starts", words),)
    return TriageStep(
        "pause", "Is a queue clogged?", "Pause it: stop the bleeding first.",
        state="open" if commands else "fine", finding=finding, done=done_about(seen, ("pause",)),
        commands=commands,
    )  # fmt: skip


def _divert(seen: Seen) -> TriageStep:
    commands = [*_shed_commands(seen), *_low_commands(seen)]
    lane = clogged(seen.status)
    if not commands and lane is not None and not is_whole(lane):
        queue = lane_of(lane.lane).queue
        commands = [TriageCommand("what waits there", ("divert", queue, "--dry-run"))]
    return TriageStep(
        "divert", "What of it can wait?", "Divert low priority to the backlog; nothing is lost.",
        state="open" if commands else "fine", done=done_about(seen, ("divert",)),
        commands=_first(commands),
    )  # fmt: skip


def _protect(seen: Seen) -> TriageStep:
    held = [each for each in seen.status.lanes if is_held(seen, each)]
    late = [each for each in seen.status.lanes if is_late(seen, each)]
    targets = tuple(_target(each.lane) for each in held)
    commands: tuple[TriageCommand, ...] = ()
    if targets:
        commands = (TriageCommand("let it go on", ("resume", *targets, *seen.reason)),)
    finding = ", ".join(f"{each.lane} waits{age(each, seen.status.at)}" for each in late)
    return TriageStep(
        "protect", "Does what matters most go on?", "Let high priority go first.",
        state="open" if late or held else "fine", finding=finding or "nothing of it is late",
        done=done_about(seen, ("resume",)), commands=commands,
    )  # fmt: skip


def _stated(step: TriageStep) -> TriageStep:
    """`done` where something was done and nothing is left to be typed."""
    helped = any(not each.is_failed for each in step.done)
    if helped and (not step.commands or step.name in ("release", "scale", "limits")):
        return replace(step, state="done")
    return step


def _mitigations(seen: Seen, kind: str) -> list[Mitigation]:
    return [each for each in seen.policy.mitigations.values() if each.kind == kind]


def _mitigate(seen: Seen, found: Mitigation, known: Mapping[str, str]) -> TriageCommand:
    values = [word for name in found.placeholders
              for word in (f"--{name}", known.get(name, name.upper()))]  # fmt: skip
    words = ("mitigate", found.name, *values, *seen.reason)
    return TriageCommand(found.name, words, all(name in known for name in found.placeholders))


def _shed_commands(seen: Seen) -> Iterable[TriageCommand]:
    """What the policy says may be shed, first to shed first, of queues that have such jobs."""
    queues = dict.fromkeys(
        lane_of(each.lane).queue for each in seen.status.lanes
        if each.waiting and not is_whole(each)
    )  # fmt: skip
    for _, rule in seen.policy.in_shed_order():
        for queue in queues:
            if rule.is_for_queue(queue) and not rule.selection.is_whole:
                words = ("divert", queue, *_options(rule.selection.functions, rule.selection.meta))
                purpose = rule.noun or rule.describe()
                if not is_diverted(seen.status, queue, rule.selection.describe()):
                    yield TriageCommand(purpose, (*words, *seen.reason))


def _low_commands(seen: Seen) -> Iterable[TriageCommand]:
    for each in seen.status.lanes:
        if lane_of(each.lane).priority == "low" and each.waiting and not is_whole(each):
            purpose = f"{each.waiting:,} jobs of low priority"
            yield TriageCommand(purpose, ("divert", each.lane, *seen.reason))


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


def _target(lane: str) -> str:
    found = lane_of(lane)
    return f"{found.queue}.{found.priority}"


def _first(commands: Sequence[TriageCommand]) -> tuple[TriageCommand, ...]:
    return tuple(commands[:MOST_COMMANDS])
