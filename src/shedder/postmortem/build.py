"""A post-mortem's facts, made of what is recorded: what work suffered and failed, and the questions raised."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise

from shedder.api.shedder import Shedder
from shedder.events import Event
from shedder.incident.effects import effects_of
from shedder.incident.records import Incident, ReviewPart, RoleHeld, RolePast, SeveritySince
from shedder.lanes import lane_of
from shedder.policy.model import FAILS_AT, Policy
from shedder.policy.workload import Workload, kind_in, kinds_of
from shedder.postmortem.facts import (
    Blank,
    Impact,
    Intervention,
    LaneEffect,
    Moment,
    PostMortem,
    Span,
    WorkOverTime,
)
from shedder.postmortem.narrative import anonymize, interventions_of, roles_by_name, timeline_of
from shedder.queues.maintenance import end_silent
from shedder.queues.outcomes import LATELY, Counts, read_counts
from shedder.queues.samples import Sample, between, paces_of
from shedder.store.codec import server_time
from shedder.wording import moment, named, pace, spoken

LOOK_BACK = timedelta(hours=24)
"""The longest time between the beginning of an incident and its notice."""

SLOW_TO_NOTICE = timedelta(minutes=5)
SLOW_TO_ACT = timedelta(minutes=10)
CLEARLY_FASTER = 1.5

LEAST_ENDED = 20
"""From this number of jobs on the share of those that failed says something."""

MOST_NOUNS = 2
"""Kinds of work that share lanes, and more than these, are called by their lanes."""

_WRAPS_AT = 2**32
_LONGEST_STEP = timedelta(minutes=11)
"""Between samples that are further apart nobody knows how it was."""

_Interval = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Material:
    """What a post-mortem is made of.

    Attributes:
        incident: The record.
        events: The events that belong to it, oldest first.
        kinds: The kinds of work that the policy names.
        samples: By lane how it was, from `LOOK_BACK` before the incident on.
        at: The server's time now.
        tenants: By noun, the most tenants that an update counted.
        late: By noun, the most late jobs that an update counted.
        most: By noun, the most waiting jobs that an update counted.
        counts: How many jobs had ended and failed, over the time of the samples.
    """

    incident: Incident
    events: tuple[Event, ...]
    kinds: tuple[Workload, ...]
    samples: Mapping[str, tuple[Sample, ...]]
    at: datetime
    tenants: Mapping[str, int]
    late: Mapping[str, int] = field(default_factory=dict)
    most: Mapping[str, int] = field(default_factory=dict)
    counts: tuple[Counts, ...] = ()


def make_postmortem(shed: Shedder, policy: Policy, *, incident: str | None = None) -> PostMortem:
    """The facts of the post-mortem of an incident; without an id of the last one.

    Raises:
        NothingMatched: there is no such incident.
    """
    return postmortem_of(material_of(shed, policy, incident_or_latest(shed, incident)))


def incident_or_latest(shed: Shedder, incident: str | None) -> Incident:
    """The incident with this id, or the one that is open, or the last one."""
    if incident is None and (latest := shed.incidents.list(limit=1)):
        return shed.incidents.current() or latest[0]
    return shed.incidents.read(incident)


def material_of(shed: Shedder, policy: Policy, incident: Incident) -> Material:
    """All that is recorded of `incident`, also that nobody has seen how a mitigation ended."""
    end_silent(shed.store)
    events = shed.incidents.timeline(incident.id)
    noticed = incident.detected_at or incident.opened_at
    began = min(noticed, incident.began_at or noticed)
    queues = shed.queues()
    return Material(
        incident=incident,
        events=events,
        kinds=kinds_of(policy, queues),
        samples=shed.samples(*queues, since=began - LOOK_BACK) if queues else {},
        at=server_time(shed.store),
        tenants=_most_in(events, "tenants"),
        late=_most_in(events, "late"),
        most=_most_in(events, "waiting"),
        counts=read_counts(shed.store, began - LOOK_BACK),
    )


def postmortem_of(material: Material) -> PostMortem:
    """The facts of the document."""
    incident = material.incident
    until = incident.resolved_at or material.at
    since, is_measured = _beginning(material, until)
    samples = _samples(material, since, until)
    impacts = tuple(_with_failed(each, material, since, until) for each in _impacts(material, samples))
    spans = _spans(incident, since, is_measured=is_measured)
    timeline = timeline_of(incident, material.events)
    roles = roles_by_name(incident, material.events)
    done = _interventions(material, timeline, roles)
    worst = min([each.severity for each in incident.severities] or [incident.severity])
    return PostMortem(
        incident=incident.id,
        title=incident.title,
        severity=worst,
        state=incident.state,
        at=material.at,
        since=since,
        until=until,
        is_began_measured=is_measured,
        summary=_summary(incident, since, until, impacts, done),
        spans=spans,
        impacts=impacts,
        timeline=timeline,
        deeds=done,
        updates=tuple((each.at, anonymize(each.text, roles)) for each in incident.updates),
        findings=tuple((each.at, each.task, anonymize(each.text, roles)) for each in incident.notes),
        blanks=_blanks(incident),
        factors=(*_of_failing(material, impacts, done, until),
                 *_questions(impacts, done, spans, samples, since=since)),
        actions=incident.actions,
        review_due=incident.review_due_at,
        log=material.events,
        samples=samples,
        works=_works(material, samples, since, until),
        roles=_roles(incident),
    )  # fmt: skip


def _with_failed(impact: Impact, material: Material, since: datetime, until: datetime) -> Impact:
    """`impact` with what ended and failed: of lanes of its own, or as counted by its label."""
    kind = next(each for each in material.kinds if each.noun == impact.noun)
    counted = _ends_of(_counted_by(kind), material, since, until)
    return impact if counted is None else replace(impact, ended=counted[0], failed=counted[1])


def _counted_by(kind: Workload) -> Sequence[str] | str:
    """The lanes, or the label, by which the jobs of `kind` are counted."""
    return kind.lanes if kind.rule is None else kind.noun


def _ends_of(what: Sequence[str] | str, material: Material, since: datetime, until: datetime) -> tuple[int, int] | None:
    """How many jobs of some lanes, or of a label, ended and failed in a time; None when nobody counted."""
    points = _points_of(what, [each for each in material.counts if each.at <= until])
    before = [each for each in points if each[0] <= since] or points[:1]
    if not points:
        return None
    ended, failed = (max(last - first, 0) for first, last in zip(before[-1][1:], points[-1][1:], strict=True))
    return (ended, failed) if ended else None


def _points_of(what: Sequence[str] | str, counts: Sequence[Counts]) -> list[tuple[datetime, int, int]]:
    if isinstance(what, str):
        return [(each.at, *each.labels.get(what, (0, 0))) for each in counts]
    return [(each.at, *each.of_lanes(what)) for each in counts]


def _works(
    material: Material, samples: Mapping[str, Sequence[Sample]], since: datetime, until: datetime
) -> tuple[WorkOverTime, ...]:
    """The kinds of work in the lanes of `samples`; those that share lanes stand together."""
    lanes_by_kinds: dict[tuple[Workload, ...], list[str]] = {}
    for lane in samples:
        own = tuple(kind for kind in material.kinds if lane in kind.lanes)
        lanes_by_kinds.setdefault(own, []).append(lane)
    counts = [each for each in material.counts if since <= each.at <= until]
    return tuple(_work(kinds, lanes, counts) for kinds, lanes in lanes_by_kinds.items())


def _work(kinds: Sequence[Workload], lanes: Sequence[str], counts: Sequence[Counts]) -> WorkOverTime:
    nouns = list(dict.fromkeys(kind.noun for kind in kinds))
    called = named(nouns) if 0 < len(nouns) <= MOST_NOUNS else f"jobs of {named(list(lanes))}"
    points = {kind.noun: _points_of(kind.noun, counts) for kind in kinds if kind.rule is not None}
    ends = {noun: tuple(each) for noun, each in points.items() if each and each[-1][1] > each[0][1]}
    return WorkOverTime(called, tuple(lanes), ends)


def _samples(material: Material, since: datetime, until: datetime) -> dict[str, tuple[Sample, ...]]:
    """The samples of that time, of the lanes that had work then."""
    inside = {lane: between(each, since, until) for lane, each in material.samples.items()}
    return {lane: found for lane, found in inside.items() if any(sample.depth or sample.running for sample in found)}


def _interventions(
    material: Material, timeline: Sequence[Moment], roles: Mapping[str, str]
) -> tuple[Intervention, ...]:
    """What was done; its effects say what is in each lane, and how long that may wait."""
    effects = effects_of(material.incident, material.events, material.samples, material.at)
    return tuple(
        replace(each, why=anonymize(each.why, roles),
                effects=tuple(_with_workload(lane, material.kinds) for lane in each.effects))
        for each in interventions_of(timeline, material.events, effects)
    )  # fmt: skip


def _with_workload(effect: LaneEffect, kinds: Sequence[Workload]) -> LaneEffect:
    kind = kind_in(effect.lane, kinds)
    return replace(effect, noun=kind.noun, tolerance=kind.tolerance) if kind else effect


def _beginning(material: Material, until: datetime) -> tuple[datetime, bool]:
    """Where it began, and whether samples say so because nobody has."""
    incident = material.incident
    if incident.began_at is not None:
        return incident.began_at, False
    noticed = incident.detected_at or incident.opened_at
    found = (_impact(material, kind, material.samples, until) for kind in material.kinds)
    earlier = [each.began for each in found if each.began is not None and each.began < noticed]
    return (min(earlier), True) if earlier else (noticed, False)


def _impacts(material: Material, samples: Mapping[str, tuple[Sample, ...]]) -> tuple[Impact, ...]:
    found = [_impact(material, kind, samples, None) for kind in material.kinds]
    return tuple(sorted(found, key=lambda each: each.outside, reverse=True))


def _impact(
    material: Material, kind: Workload, samples: Mapping[str, tuple[Sample, ...]], until: datetime | None
) -> Impact:
    lanes = {
        lane: tuple(each for each in samples[lane] if until is None or each.at <= until)
        for lane in kind.lanes
        if lane in samples
    }
    tenants = material.tenants.get(kind.noun)
    severities = material.incident.severities
    if kind.rule is None:
        return impact_of(kind.noun, kind.tolerance, lanes, severities, tenants=tenants)
    # of lanes that it shares, what waits says how it fared; whose the backlog is nobody knows
    passing = {lane: [_passing(sample) for sample in each] for lane, each in lanes.items()}
    found = impact_of(kind.noun, kind.tolerance, passing, severities, tenants=tenants)
    late, most = material.late.get(kind.noun), material.most.get(kind.noun, 0)
    whole = impact_of(kind.noun, kind.tolerance, lanes, severities)
    is_known = bool(late) or max(whole.oldest, whole.oldest_aside) <= kind.tolerance
    return replace(found, late_jobs=late, deepest=most, is_lane_shared=True, is_known=is_known)


def _passing(sample: Sample) -> Sample:
    return replace(sample, backlog=0, oldest_in_backlog=0)


def impact_of(
    noun: str, tolerance: timedelta, lanes: Mapping[str, Sequence[Sample]], severities: Sequence[SeveritySince], *,
    tenants: int | None = None,
) -> Impact:  # fmt: skip
    """What the work in `lanes` suffered; `severities` are those that the incident had, in order.

    While the oldest job of a lane had waited longer than the tolerance, the lane was outside of it,
    and what started from its front started late, because a lane is served in order. Jobs of a
    backlog are told apart by how much shorter it became. The lanes of one kind of work that were
    outside at the same time count once.
    """
    spans = _merged(span for each in lanes.values() for span in _outside(each, tolerance))
    samples = [sample for each in lanes.values() for sample in each]
    return Impact(
        noun=noun,
        tolerance=tolerance,
        outside=_total(spans),
        by_severity=_by_severity(spans, severities),
        late_jobs=sum(_late_jobs(each, tolerance) for each in lanes.values()),
        oldest=timedelta(seconds=max((each.oldest for each in samples), default=0)),
        oldest_aside=timedelta(seconds=max((each.oldest_in_backlog for each in samples), default=0)),
        deepest=_deepest(lanes),
        tenants=tenants,
        began=spans[0][0] if spans else None,
        targets=tuple(lanes),
    )


def _outside(samples: Sequence[Sample], tolerance: timedelta) -> Iterator[_Interval]:
    """The times in which the oldest job had waited longer than it may."""
    limit = tolerance.total_seconds()
    for before, after in pairwise(samples):
        if after.at - before.at > _LONGEST_STEP or max(before.age, after.age) <= limit:
            continue
        began = before.at
        if before.age <= limit:
            # the oldest job grows old with time: it became late so long before the sample
            began = max(before.at, after.at - timedelta(seconds=after.age - limit))
        yield began, after.at


def _merged(spans: Iterable[_Interval]) -> list[_Interval]:
    found: list[_Interval] = []
    for began, ended in sorted(spans):
        if found and began <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], ended))
        else:
            found.append((began, ended))
    return found


def _total(spans: Iterable[_Interval]) -> timedelta:
    return sum((ended - began for began, ended in spans), timedelta())


def _by_severity(spans: Sequence[_Interval], severities: Sequence[SeveritySince]) -> dict[int, timedelta]:
    found: dict[int, timedelta] = {}
    for index, each in enumerate(severities):
        # what was before it was opened counts for the severity that it was opened with
        began = None if index == 0 else each.since
        ended = severities[index + 1].since if index + 1 < len(severities) else None
        inside = ((max(first, began or first), min(last, ended or last)) for first, last in spans)
        length = _total(span for span in inside if span[1] > span[0])
        found[each.severity] = found.get(each.severity, timedelta()) + length
    return found


def _late_jobs(samples: Sequence[Sample], tolerance: timedelta) -> int:
    limit = tolerance.total_seconds()
    late = 0
    for before, after in pairwise(samples):
        started = (after.started - before.started) % _WRAPS_AT
        from_backlog = min(max(before.backlog - after.backlog, 0), started)
        if max(before.oldest_in_backlog, after.oldest_in_backlog) > limit:
            late += from_backlog
        if before.oldest > limit or (before.oldest and after.oldest > limit):
            late += started - from_backlog
    return late + (_still_late(samples[-1], limit) if samples else 0)


def _still_late(last: Sample, limit: float) -> int:
    """Of jobs that came evenly, those that are older than the limit."""
    pairs = ((last.waiting, last.oldest), (last.backlog, last.oldest_in_backlog))
    return sum(round(jobs * (1 - limit / oldest)) for jobs, oldest in pairs if oldest > limit)


def _deepest(lanes: Mapping[str, Sequence[Sample]]) -> int:
    """The most jobs of all lanes together, each as its last sample says."""
    now: dict[str, int] = {}
    deepest = 0
    depths = ((sample.at, lane, sample.depth) for lane, each in lanes.items() for sample in each)
    for _, lane, depth in sorted(depths):
        now[lane] = depth
        deepest = max(deepest, sum(now.values()))
    return deepest


def _spans(incident: Incident, since: datetime, *, is_measured: bool) -> tuple[Span, ...]:
    began = "work first was late" if is_measured else "it began"
    noticed = incident.detected_at
    acknowledged = min([incident.opened_at, *(each.since for each in incident.roles)])
    return (
        Span("detect", f"from when {began} until it was noticed", _length(since, noticed)),
        Span("acknowledge", "from when it was noticed until the incident was opened",
             _length(noticed, max(acknowledged, noticed or acknowledged))),
        Span("mitigate", f"from when {began} until customers were helped",
             _length(since, incident.mitigated_at)),
        Span("resolve", f"from when {began} until it was over",
             _length(since, incident.resolved_at)),
    )  # fmt: skip


def _length(since: datetime | None, until: datetime | None) -> timedelta | None:
    return None if since is None or until is None else max(until - since, timedelta())


def _summary(
    incident: Incident, since: datetime, until: datetime, impacts: Sequence[Impact], done: Sequence[Intervention]
) -> str:
    unknown = [each for each in impacts if not each.is_known]
    hurt = [each for each in impacts if each.outside and each.is_known]
    late = [each for each in impacts if not each.outside and each.late_jobs]
    failed = sorted((each for each in impacts if each.failed), key=lambda each: each.failed or 0, reverse=True)
    spared = [each for each in impacts
              if each not in hurt and each not in late and each not in failed and each.is_known]  # fmt: skip
    over = f"until {moment(until, since)}" if incident.resolved_at else "and is not over"
    times = f"from {moment(since, until)} {over} UTC ({spoken(until - since)})"
    sentences = [
        f"{incident.title.rstrip('.')}: {times}.",
        *(
            f"{each.noun[:1].upper()}{each.noun[1:]} were outside of their tolerance of "
            f"{spoken(each.tolerance)} for {spoken(each.outside)}{_how_many(each)}; the oldest had "
            f"waited {spoken(max(each.oldest, each.oldest_aside))}."
            for each in hurt[:3]
        ),
        *(f"About {each.late_jobs:,} {each.noun} were late." for each in late[:3]),
        *(f"{each.failed:,} of {each.ended:,} {each.noun} failed." for each in failed[:3]),
        *_of_the_spared(spared),
    ]
    if unknown:
        sentences.append(
            f"Not known: whether {named([each.noun for each in unknown])} were late. Jobs of lanes that they share "
            "waited too long, and no update counted whose they were."
        )
    if done:
        first = done[0].moment
        sentences.append(
            f"The first measure, {spoken(max(first.at - since, timedelta()))} after the beginning: "
            f"{first.who} {first.what}."
        )
    return " ".join(sentences)


def _of_the_spared(spared: Sequence[Impact]) -> Iterator[str]:
    """Which work was neither late nor failed, and of which it is not known whether it failed."""
    counted, not_counted = ([each.noun for each in spared if (each.failed is None) == unknown]
                            for unknown in (False, True))  # fmt: skip
    if counted:
        yield f"Neither late nor failed: {named(counted)}."
    if not_counted:
        yield f"Not late, and nobody counted how many failed: {named(not_counted)}."


def _how_many(impact: Impact) -> str:
    return "" if impact.late_jobs is None else f", about {impact.late_jobs:,} of them late"


def _blanks(incident: Incident) -> tuple[Blank, ...]:
    written = incident.review
    texts = {
        ReviewPart.WELL: ("What went well", "What helped, and should be so the next time too?"),
        ReviewPart.BADLY: ("What went badly", "What was slow, missing, or misleading?"),
        ReviewPart.LUCK: ("Where we had luck", "What could as well have made it worse?"),
        ReviewPart.FACTORS: (
            "Contributing factors",
            "Answer the questions above, and others that they raise. Systems, not people.",
        ),
    }
    return tuple(
        Blank(part.value, title, question, written.get(part.value, "")) for part, (title, question) in texts.items()
    )


def _roles(incident: Incident) -> tuple[str, ...]:
    held: list[RoleHeld | RolePast] = [*incident.past_roles, *incident.roles]
    names = (f"{each.role.value}{f' ({each.task})' if each.task else ''}" for each in held)
    return tuple(dict.fromkeys(names))


def _most_in(events: Iterable[Event], count: str) -> dict[str, int]:
    """By noun the most that an update counted, of `tenants`, of `late` or of `waiting` jobs."""
    most: dict[str, int] = {}
    found = (event.details.get("works") for event in events)
    for work in (each for works in found if isinstance(works, list) for each in works):
        if isinstance(work, Mapping) and isinstance(work.get(count), int):
            noun = str(work.get("noun"))
            most[noun] = max(most.get(noun, 0), work[count])
    return most


def _questions(
    impacts: Sequence[Impact], done: Sequence[Intervention], spans: Sequence[Span],
    samples: Mapping[str, Sequence[Sample]], *, since: datetime,
) -> tuple[str, ...]:  # fmt: skip
    """The questions, the more certain ones first."""
    return (
        *_of_arrivals(samples),
        *_of_noticing(spans),
        *_of_acting(done, since),
        *_of_sharing(impacts),
        *_of_worsening(done),
        "What would have happened with twice as many jobs, or with half of the workers?",
    )


def _of_failing(
    material: Material, impacts: Sequence[Impact], done: Sequence[Intervention], until: datetime
) -> Iterator[str]:
    """Why work failed after a measure let it start, and what showed first that it failed."""
    events = {event.id: event for event in material.events}
    for number, deed in enumerate(done):
        event = events[deed.moment.event]
        if event.verb not in LETS_START:
            continue
        later = (events[each.moment.event] for each in done[number + 1 :])
        ends = [each.at for each in later if not set(each.lanes).isdisjoint(event.lanes)]
        ended, failed = _ends_of(event.lanes, material, event.at, min([until, *ends])) or (0, 0)
        if _fails(ended, failed):
            yield (
                f"Why did {failed:,} of {ended:,} {_called(event.lanes, material.kinds)} fail after "
                f"{LETS_START[event.verb]} ({deed.moment.mark}), and what could have told so before?"
            )
    for each in impacts:
        kind = next(kind for kind in material.kinds if kind.noun == each.noun)
        found = _failing_time(_points_of(_counted_by(kind), [it for it in material.counts if it.at <= until]))
        if each.failed and found:
            began, ended_at = (moment(at, until) for at in found)
            yield (
                f"{each.failed:,} of {each.ended:,} {each.noun} failed, most of them from {began} to {ended_at}. What "
                "showed it first, and to whom?"
            )


def _failing_time(points: Sequence[tuple[datetime, int, int]]) -> _Interval | None:
    """The time in which more of what ended failed than may, looked at in steps of five minutes; None if never."""
    steps: list[tuple[datetime, int, int]] = []
    found: list[datetime] = []
    for point in points:
        steps = [each for each in steps if point[0] - each[0] <= LATELY] + [point]
        ended, failed = point[1] - steps[0][1], point[2] - steps[0][2]
        if _fails(ended, failed):
            found += [max(found[-1:] or [steps[0][0]]), point[0]]
    return (found[0], found[-1]) if found else None


LETS_START = {
    "drain": "the drain began",
    "resume": "the pause ended",
    "restore": "the backlog was put back",
    "replay": "old jobs were put back",
}
"""Decisions that let work start, and how they are told."""


def _fails(ended: int, failed: int) -> bool:
    return ended >= LEAST_ENDED and failed >= FAILS_AT * ended


def _called(lanes: Sequence[str], kinds: Sequence[Workload]) -> str:
    nouns = {kind.noun for kind in kinds if not set(kind.lanes).isdisjoint(lanes)}
    return nouns.pop() if len(nouns) == 1 else f"jobs of {named(sorted({lane_of(lane).queue for lane in lanes}))}"


def _of_arrivals(samples: Mapping[str, Sequence[Sample]]) -> Iterator[str]:
    for lane, each in samples.items():
        paces = paces_of(each)
        arrivals = max((one.arrivals for one in paces), default=0.0)
        ended = max((one.completions for one in paces), default=0.0)
        if ended and arrivals > CLEARLY_FASTER * ended and arrivals >= 1:
            yield (
                f"Jobs arrived in {lane} at up to {pace(arrivals)}, and at most {pace(ended)} were "
                "done. What lets in more than can be done, and what would have limited it?"
            )


def _of_noticing(spans: Sequence[Span]) -> Iterator[str]:
    lengths = {span.name: span.length for span in spans}
    detect = lengths.get("detect")
    if detect is not None and detect >= SLOW_TO_NOTICE:
        yield (
            f"It took {spoken(detect)} until it was noticed. Which number showed it first, and "
            "which alarm would have told of it?"
        )


def _of_acting(done: Sequence[Intervention], since: datetime) -> Iterator[str]:
    if not done:
        yield "Nothing was done to the queues. What made the options hard to see, or not needed?"
        return
    first = done[0].moment.at - since
    if first >= SLOW_TO_ACT:
        yield (
            f"The first measure came {spoken(first)} after the beginning. What had to be found out "
            "before, and where could that be seen at a glance?"
        )


def _of_sharing(impacts: Sequence[Impact]) -> Iterator[str]:
    hurt = [each for each in impacts if each.outside]
    if len(hurt) > 1:
        urgent = min(hurt, key=lambda each: each.tolerance)
        yield (
            f"{urgent.noun[:1].upper()}{urgent.noun[1:]} may wait {spoken(urgent.tolerance)} and "
            "waited behind work that may wait longer. What would keep them apart from the start?"
        )


def _of_worsening(done: Sequence[Intervention]) -> Iterator[str]:
    for each in done:
        worse = [lane for lane in each.effects if lane.oldest_after > lane.oldest_before]
        if each.effects and len(worse) == len(each.effects):
            yield (
                f"After measure {each.moment.mark} the oldest jobs were older than before. What "
                "did it change, and when could that be seen?"
            )
            return
