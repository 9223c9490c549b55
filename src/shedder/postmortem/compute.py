"""What happened, what did it cost, what did it teach? From records to facts of a document."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from shedder.incident.effects import effects_of
from shedder.incident.records import Incident, ReviewPart, RoleHeld, RolePast
from shedder.postmortem.facts import Blank, Deed, Impact, Moment, PostMortem, Span
from shedder.postmortem.impact import impact_of
from shedder.postmortem.nameless import roles_by_name, without_names
from shedder.postmortem.questions import questions_of
from shedder.postmortem.telling import deeds_of, timeline_of
from shedder.records import Event
from shedder.samples import Sample, between
from shedder.sentences import moment, named, spoken
from shedder.works import Kind, kind_in

LOOK_BACK = timedelta(hours=24)
"""So long before it was noticed an incident may have begun."""


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
    """

    incident: Incident
    events: tuple[Event, ...]
    kinds: tuple[Kind, ...]
    samples: Mapping[str, tuple[Sample, ...]]
    at: datetime
    tenants: Mapping[str, int]
    late: Mapping[str, int] = field(default_factory=dict)
    most: Mapping[str, int] = field(default_factory=dict)


def postmortem_of(material: Material) -> PostMortem:
    """The facts of the document."""
    incident = material.incident
    until = incident.resolved_at or material.at
    since, is_measured = _beginning(material, until)
    samples = _samples(material, since, until)
    impacts = _impacts(material, samples)
    spans = _spans(incident, since, is_measured=is_measured)
    timeline = timeline_of(incident, material.events)
    nameless = partial(without_names, roles=roles_by_name(incident, material.events))
    deeds = _deeds(material, timeline, nameless)
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
        summary=_summary(incident, since, until, impacts, deeds),
        spans=spans,
        impacts=impacts,
        timeline=timeline,
        deeds=deeds,
        updates=tuple((each.at, nameless(each.text)) for each in incident.updates),
        findings=tuple((each.at, each.task, nameless(each.text)) for each in incident.notes),
        blanks=_blanks(incident),
        factors=questions_of(impacts, deeds, spans, samples, since=since),
        actions=incident.actions,
        review_due=incident.review_due_at,
        log=material.events,
        samples=samples,
        roles=_roles(incident),
    )


def _samples(material: Material, since: datetime, until: datetime) -> dict[str, tuple[Sample, ...]]:
    """The samples of that time, of the lanes that had work then."""
    inside = {lane: between(each, since, until) for lane, each in material.samples.items()}
    return {
        lane: found
        for lane, found in inside.items()
        if any(sample.depth or sample.running for sample in found)
    }


def _deeds(
    material: Material,
    timeline: Sequence[Moment],
    nameless: Callable[[str], str],
) -> tuple[Deed, ...]:
    effects = effects_of(material.incident, material.events, material.samples, material.at)
    known = deeds_of(timeline, material.events, effects)
    told = (_with_kinds(each, material.kinds) for each in known)
    return tuple(replace(each, why=nameless(each.why)) for each in told)


def _with_kinds(deed: Deed, kinds: Sequence[Kind]) -> Deed:
    """A deed whose effects say what is in each lane, and how long that may wait."""
    effects = []
    for each in deed.effects:
        kind = kind_in(each.lane, kinds)
        known = replace(each, noun=kind.noun, tolerance=kind.tolerance) if kind else each
        effects.append(known)
    return replace(deed, effects=tuple(effects))


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
    material: Material,
    kind: Kind,
    samples: Mapping[str, tuple[Sample, ...]],
    until: datetime | None,
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
    return replace(found, late_jobs=late, deepest=most, is_lane_shared=True)


def _passing(sample: Sample) -> Sample:
    return replace(sample, backlog=0, oldest_in_backlog=0)


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
    incident: Incident,
    since: datetime,
    until: datetime,
    impacts: Sequence[Impact],
    deeds: Sequence[Deed],
) -> str:
    hurt = [each for each in impacts if each.outside]
    late = [each for each in impacts if not each.outside and each.late_jobs]
    spared = [each for each in impacts if each not in hurt and each not in late]
    over = f"until {moment(until, since)}" if incident.resolved_at else "and is not over"
    first_sentence = (
        f"{incident.title.rstrip('.')}: from {moment(since, until)} {over} UTC "
        f"({spoken(until - since)})."
    )
    sentences = [
        first_sentence,
        *(
            f"{each.noun[:1].upper()}{each.noun[1:]} were outside of their tolerance of "
            f"{spoken(each.tolerance)} for {spoken(each.outside)}{_how_many(each)}; the oldest had "
            f"waited {spoken(each.oldest)}."
            for each in hurt[:3]
        ),
        *(f"About {each.late_jobs:,} {each.noun} were late." for each in late[:3]),
    ]
    if spared:
        sentences.append(f"Not affected: {named([each.noun for each in spared])}.")
    if deeds:
        first = deeds[0].moment
        sentences.append(
            f"The first measure, {spoken(max(first.at - since, timedelta()))} after the beginning: "
            f"{first.who} {first.what}."
        )
    return " ".join(sentences)


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
    }  # fmt: skip
    return tuple(
        Blank(part.value, title, question, written.get(part.value, ""))
        for part, (title, question) in texts.items()
    )


def _roles(incident: Incident) -> tuple[str, ...]:
    held: list[RoleHeld | RolePast] = [*incident.past_roles, *incident.roles]
    names = (f"{each.role.value}{f' ({each.task})' if each.task else ''}" for each in held)
    return tuple(dict.fromkeys(names))


def mark_times(timeline: Sequence[Moment]) -> tuple[tuple[str, datetime], ...]:
    """The letters that plots show, and when."""
    return tuple((each.mark, each.at) for each in timeline if each.mark)
