"""An update as text: each number in it is one of the situation.

Receipt e-mails: 41,200 delayed, oldest 38 min, catching up at 60/s, done about 14:50. Payments
are not affected (oldest 2 s). Next update 14:45 UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from shedder.policy.lateness import about
from shedder.updates.situation import TEAM, InForce, MeasuredWorkload, Situation
from shedder.wording import counted, moment, named, pace, spoken

LEAST_NET = 0.05
"""A change by fewer jobs a second is no trend."""

LONGEST_FORECAST = timedelta(days=14)


def compose(situation: Situation, *, audience: str) -> str:
    """The update for `audience`, in one paragraph; for the team one with the lanes and commands."""
    parts = [
        *(_late(work, situation.at) for work in situation.works if work.is_late),
        *(_held(work) for work in situation.works if work.held and not work.is_late),
        *(_doubtful(work, situation.at) for work in situation.works if work.doubt and not work.held),
        *_unaffected(situation.works),
        *_done(situation, audience),
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


def _late(work: MeasuredWorkload, at: datetime) -> str:
    roughly = f"{'about ' if work.is_estimated else ''}{work.late:,}"
    facts = [f"{about(work.late, work.late_error, work.late_seen) if work.late_error else roughly} delayed"]
    if work.tenants:
        at_least = "at least " if work.is_tenants_partial else ""
        facts[0] += f" for {at_least}{counted(work.tenants, 'tenant')}"
    if work.since:
        facts[0] += f" since {moment(work.since, at)}"
    if work.oldest is not None:
        facts.append(f"oldest {spoken(work.oldest)}")
    facts += _trend(work, at)
    return f"{work.noun}: {', '.join(facts)}"


def _trend(work: MeasuredWorkload, at: datetime) -> list[str]:
    if work.held >= work.waiting:
        return ["on hold until we let them go"]
    held = [f"{work.held:,} of them on hold"] if work.held else []
    if work.net is None:
        return [*held, "pace not known yet"]
    if abs(work.net) <= LEAST_NET:
        return [*held, "neither better nor worse"]
    if work.net < 0:
        return [*held, f"growing by {pace(-work.net)}"]
    end = expected_end(work, at)
    done = [f"done about {moment(end, at)}"] if end else []
    return [*held, f"catching up at {pace(work.net)}", *done]


def _doubtful(work: MeasuredWorkload, at: datetime) -> str:
    waits = f" whose oldest job has waited {spoken(at - work.doubt.oldest)}" if work.doubt else ""
    return f"whether {work.noun} are delayed is not known: they share a queue{waits}"


def _held(work: MeasuredWorkload) -> str:
    roughly = "about " if work.is_estimated else ""
    oldest = f", oldest {spoken(work.oldest)}" if work.oldest is not None else ""
    late = "none late yet" if work.is_on_time else "whether any is late is not known"
    return f"{work.noun}: {roughly}{work.held:,} on hold{oldest}, {late}"


def _unaffected(works: Sequence[MeasuredWorkload]) -> Iterator[str]:
    fine = [work for work in works if work.is_on_time and not work.held]
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
    paces = [
        f"{pace(per_second)} {what}"
        for per_second, what in ((work.arrivals, "arrive"), (work.completions, "end"))
        if per_second is not None
    ]
    counts = [f"{work.waiting:,} wait", f"{work.held:,} of them on hold"]
    return f"{work.noun} [{', '.join(work.targets)}]: {', '.join([*counts, *paces])}"


def _next(situation: Situation) -> Iterator[str]:
    if situation.next_update is not None:
        yield f"next update {moment(situation.next_update, situation.at)} UTC"
    else:
        yield f"this was at {moment(situation.at, situation.at)} UTC"


def _sentence(text: str) -> str:
    text = text.strip()
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
