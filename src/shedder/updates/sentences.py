"""An update as text: each number in it is one of the situation.

Card charges fail: 38 in the last minute, 96 of 120 in the last 5 min. Receipt e-mails: 41,200
delayed, oldest 38 min, catching up at 60/s, done about 14:50. Payments are not affected (oldest
2 s). Next update 14:45 UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from shedder.policy.lateness import about
from shedder.queues.outcomes import Outcomes
from shedder.updates.situation import TEAM, InForce, MeasuredWorkload, Situation
from shedder.wording import counted, moment, named, pace, spoken

LEAST_NET = 0.05
"""A change by fewer jobs a second is no trend."""

LONGEST_FORECAST = timedelta(days=14)


def compose(situation: Situation, *, audience: str) -> str:
    """The update for `audience`, in one paragraph; for the team one with the lanes and commands."""
    others = [work for work in situation.works if not (work.is_failing or work.is_late)]
    parts = [
        *(_failing(work, situation.at) for work in situation.works if work.is_failing),
        *(_late(work, situation.at) for work in situation.works if work.is_late and not work.is_failing),
        *(_held(work, situation.at) for work in others if work.held),
        *(_doubtful(work, situation.at) for work in others if not work.held and not work.is_well),
        *_unaffected(situation.works),
        *_done(situation, audience),
        *_brought_back(situation),
        *_taken_back(situation),
        *situation.notices,
        *(_numbers(work) for work in situation.works if audience == TEAM),
        *_next(situation),
    ]
    return " ".join(_sentence(part) for part in parts)


def expected_end(work: MeasuredWorkload, at: datetime) -> datetime | None:
    """When all of it that waits will have started, if things go on as now; None when never.

    What is held does not expire.
    """
    net = work.net
    if net is None or net <= LEAST_NET or work.held:
        return None
    left = timedelta(seconds=work.waiting / net)
    return at + left if left <= LONGEST_FORECAST else None


def _failing(work: MeasuredWorkload, at: datetime) -> str:
    """That what starts fails; no trend, since what fails is not done."""
    waits = [*_delayed(work, at), *_on_hold(work)] if work.is_late or work.held else []
    waits += _overdue(work, at)
    return f"{work.noun} fail: {', '.join([*_failures(work, at), *waits])}"


def _failures(work: MeasuredWorkload, at: datetime) -> list[str]:
    """How many failed lately, and since the incident began; empty when none did."""
    found, told = work.outcomes, []
    if found is None:
        return ["whether they fail is not known, because jobs that share their queue do"]
    if found.failed_in_minute:
        told.append(f"{found.failed_in_minute:,} in the last minute")
    if found.failed_lately:
        told.append(f"{found.failed_lately:,} of {max(found.ended_lately, found.failed_lately):,} in the last 5 min")
    if found.failed_in_hour > found.failed_lately:
        told.append(f"{found.failed_in_hour:,} in the last hour")
    if work.counted_since and work.failed > found.failed_in_hour:
        told.append(f"{work.failed:,} since {moment(work.counted_since, at)}")
    return told


def _have_failed(work: MeasuredWorkload, at: datetime) -> list[str]:
    """The same of work of which some failed, to stand behind what else is said of it."""
    told = _failures(work, at)
    if work.outcomes is None or not told:
        return told
    lately = [] if work.outcomes.failed_lately else ["none in the last 5 min"]
    return [f"failed: {', '.join([*told, *lately])}"]


def _late(work: MeasuredWorkload, at: datetime) -> str:
    facts = [*_delayed(work, at), *_trend(work, at), *_overdue(work, at), *_have_failed(work, at)]
    return f"{work.noun}: {', '.join(facts)}"


def _delayed(work: MeasuredWorkload, at: datetime) -> list[str]:
    if not work.is_late:
        return []
    roughly = f"{'about ' if work.is_estimated else ''}{work.late:,}"
    facts = [f"{about(work.late, work.late_error, work.late_seen) if work.late_error else roughly} delayed"]
    if work.tenants:
        at_least = "at least " if work.is_tenants_partial else ""
        facts[0] += f" for {at_least}{counted(work.tenants, 'tenant')}"
    if work.since:
        facts[0] += f" since {moment(work.since, at)}"
    return [*facts, *_oldest(work)]


def _oldest(work: MeasuredWorkload) -> list[str]:
    return [] if work.oldest is None else [f"oldest {spoken(work.oldest)}"]


def _trend(work: MeasuredWorkload, at: datetime) -> list[str]:
    if work.held >= work.waiting:
        return ["on hold until we let them go"]
    held = [f"{work.held:,} of them on hold"] if work.held else []
    if work.outcomes is None:
        return held
    if work.net is None:
        return [*held, "pace not known yet"]
    if abs(work.net) <= LEAST_NET:
        return [*held, "neither better nor worse"]
    if work.net < 0:
        return [*held, f"growing by {pace(-work.net)}"]
    end = expected_end(work, at)
    done = [f"done about {moment(end, at)}"] if end else []
    return [*held, f"catching up at {pace(work.net)}", *done]


def _on_hold(work: MeasuredWorkload) -> list[str]:
    if not work.held:
        return []
    if work.is_late:
        return [f"{work.held:,} of them on hold"]
    roughly = "about " if work.is_estimated else ""
    return [f"{roughly}{work.held:,} on hold", *_oldest(work)]


def _held(work: MeasuredWorkload, at: datetime) -> str:
    failed = _have_failed(work, at)
    late = ["whether any is late is not known"] if work.doubt else [] if failed or work.overdue else ["none late yet"]
    return f"{work.noun}: {', '.join([*_on_hold(work), *late, *_overdue(work, at), *failed])}"


def _doubtful(work: MeasuredWorkload, at: datetime) -> str:
    """Work that is paused or overdue, of which some failed, or of which it is not known whether it fails or is late."""
    waits = f" whose oldest job has waited {spoken(at - work.doubt.oldest)}" if work.doubt else ""
    late = [f"whether any is late is not known, because they share a queue{waits}"] if work.doubt else [_age(work)]
    paused = ["paused"] if work.is_paused else []
    return f"{work.noun}: {', '.join([*paused, *_overdue(work, at), *_have_failed(work, at), *late])}"


def _overdue(work: MeasuredWorkload, at: datetime) -> list[str]:
    """How many were to start by now and have not: planned ones, retries, repeats."""
    if work.overdue_since is None:
        return []
    whose = "" if work.is_overdue else ", some of them perhaps of other work"
    return [f"{counted(work.overdue, 'job')} overdue since {moment(work.overdue_since, at)}{whose}"]


def _unaffected(works: Sequence[MeasuredWorkload]) -> Iterator[str]:
    fine = [work for work in works if work.is_well]
    if not fine:
        return
    ages = [_age(work) for work in fine]
    if len(set(ages)) == 1:
        yield f"{named([work.noun for work in fine])} are not affected ({ages[0]})"
    else:
        each = [f"{work.noun} ({age})" for work, age in zip(fine, ages, strict=True)]
        yield f"{named(each)} are not affected"


def _age(work: MeasuredWorkload) -> str:
    return "none waits" if work.oldest is None else f"oldest {spoken(work.oldest)}"


def _done(situation: Situation, audience: str) -> Iterator[str]:
    if not situation.measures:
        return
    told = [_told(each, situation.at, audience) for each in situation.measures]
    yield f"in force: {'; '.join(told)}"


def _brought_back(situation: Situation) -> Iterator[str]:
    if situation.brought_back:
        yield f"started after all: {named(situation.brought_back)}"


def _taken_back(situation: Situation) -> Iterator[str]:
    if situation.taken_back:
        yield f"taken back: {named(situation.taken_back)}"


def _told(done: InForce, at: datetime, audience: str) -> str:
    role = f"{done.role}, " if done.role else ""
    said = f"{done.what} ({role}since {moment(done.since, at)})"
    if audience != TEAM:
        return said
    why = f", because {done.why}" if done.why else ""
    return f"{said}{why}{f' [{done.command}]' if done.command else ''}"


def _numbers(work: MeasuredWorkload) -> str:
    """What the team wants to know besides."""
    found = work.outcomes or Outcomes()
    has_failed = bool(found.failed_lately or found.failed_in_hour)
    ends = ((found.well, "end well"), (found.failing, "fail")) if has_failed else ((work.completions, "end"),)
    paces = [
        f"{pace(per_second)} {what}"
        for per_second, what in ((work.arrivals, "arrive"), *ends)
        if per_second is not None
    ]
    counts = [f"{work.waiting:,} wait", f"{work.held:,} of them on hold"]
    mostly = [f"mostly {found.exception}"] if found.exception and has_failed else []
    return f"{work.noun} [{', '.join(work.targets)}]: {', '.join([*counts, *paces, *mostly])}"


def _next(situation: Situation) -> Iterator[str]:
    if situation.next_update is not None:
        yield f"next update {moment(situation.next_update, situation.at)} UTC"
    else:
        yield f"this was at {moment(situation.at, situation.at)} UTC"


def _sentence(text: str) -> str:
    text = text.strip()
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
