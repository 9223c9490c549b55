"""The effects of changes on their lanes, told from samples at the moment of a question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from shedder.events import Event, verb_of
from shedder.incident.records import Effect, Incident, Reading, Yardstick
from shedder.incident.timeline import with_own_drains
from shedder.lanes import lane_of
from shedder.policy.model import Policy
from shedder.policy.workload import kind_in, kinds_of
from shedder.queues.samples import Sample, paces_of

Samples = Mapping[str, Sequence[Sample]]

AFTER = timedelta(minutes=5)
SHORTEST = timedelta(seconds=1)
"""What came sooner after a change than that is not told as its effect."""

MOST_LANES = 20
"""An effect tells of at most this number of lanes, those with most jobs."""

WINDOW = timedelta(seconds=75)
"""The longest time between a sample and a moment that it tells of; rates are those of this time.

Samples are a minute apart for three days.
"""

RESOLUTION = timedelta(seconds=1)
"""The time of a sample is in whole seconds, cut off."""


def effects_of(incident: Incident, events: Sequence[Event], samples: Samples, now: datetime) -> tuple[Effect, ...]:
    """What each change among `events`, oldest first, did, as far as that can be told by `now`.

    Five minutes later, or at the next change of the same lanes or the end of the incident, when
    that is sooner. A change that names no lanes is told by all lanes that have samples. What the
    record of an older shedder has measured stays as it is.
    """
    measured = {each.event: each for each in incident.effects}
    changes = changes_of(events)
    found = (
        measured.get(each.id) or _effect(each, _until(each, changes[number + 1 :], incident), samples, now)
        for number, each in enumerate(changes)
    )
    return tuple(each for each in found if each is not None)


def changes_of(events: Iterable[Event]) -> tuple[Event, ...]:
    """Those of `events` that have an effect; that of the drain of a retry is the retry's."""
    return tuple(each for each in with_own_drains(events) if verb_of(each).has_effect)


def with_yardsticks(effects: Sequence[Effect], policy: Policy) -> tuple[Effect, ...]:
    """`effects` with what is in each lane, in the policy's labels, and how long that may wait."""
    lanes = list(dict.fromkeys(lane for each in effects for lane in each.before))
    kinds = kinds_of(policy, [lane_of(lane).queue for lane in lanes]) if policy.rules else ()
    known = {
        lane: Yardstick(kind.noun, kind.tolerance.total_seconds())
        for lane in lanes
        if (kind := kind_in(lane, kinds)) is not None
    }
    return tuple(
        each if each.yardsticks
        else replace(each, yardsticks={name: known[name] for name in each.before if name in known})
        for each in effects
    )  # fmt: skip


def reading_at(samples: Sequence[Sample], at: datetime) -> Reading | None:
    """How a lane was at `at`, oldest sample first; None when no sample tells.

    An empty lane that stays so writes no samples, so its last one holds.
    """
    past = [each for each in samples if each.at <= at]
    if not past or (past[-1].depth and past[-1].at < at - WINDOW):
        return None
    last = past[-1]
    rates = _rates([each for each in past if each.at >= last.at - WINDOW])
    oldest = float(last.oldest) if last.waiting else None
    return Reading(last.waiting, last.backlog, oldest, *rates)


def _until(change: Event, later: Sequence[Event], incident: Incident) -> datetime:
    """The moment at which the effect of `change` is told."""
    own = set(change.lanes)
    after = [each.at for each in later if not own.isdisjoint(each.lanes)][:1]
    if incident.resolved_at is not None and incident.resolved_at > change.at:
        after.append(incident.resolved_at)
    return min([change.at + AFTER, *after])


def _effect(change: Event, until: datetime, samples: Samples, now: datetime) -> Effect | None:
    found = ((lane, _readings(samples.get(lane, ()), change.at, until)) for lane in change.lanes or samples)
    pairs = {lane: pair for lane, pair in found if pair is not None}
    if until > now or not pairs:
        return None
    busiest = sorted(pairs, key=lambda lane: -max(map(_depth, pairs[lane])))[:MOST_LANES]
    before, after = ({lane: pairs[lane][side] for lane in busiest} for side in (0, 1))
    return Effect(change.id, change.verb, (until - change.at).total_seconds(), before, after)


def _readings(samples: Sequence[Sample], at: datetime, until: datetime) -> tuple[Reading, Reading] | None:
    """How a lane was before a change and at `until`; None where samples do not tell, or no jobs."""
    if until - at < SHORTEST:
        return None
    before = reading_at(samples, at - RESOLUTION)
    after = reading_at([each for each in samples if each.at >= at], until)
    if before is None or after is None or not (_depth(before) or _depth(after)):
        return None
    return before, after


def _rates(samples: Sequence[Sample]) -> tuple[float | None, float | None, float | None]:
    """Jobs that arrived, ended well and failed a second over the time of `samples`."""
    paces = paces_of(samples)
    seconds = sum(each.seconds for each in paces)
    if not seconds:
        return None, None, None
    sums = ((each.arrivals * each.seconds, each.well * each.seconds, each.failing * each.seconds) for each in paces)
    arrived, well, failed = map(sum, zip(*sums, strict=True))
    return arrived / seconds, well / seconds, failed / seconds


def _depth(reading: Reading) -> int:
    return reading.waiting + reading.backlog
