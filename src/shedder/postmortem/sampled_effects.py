"""What did a deed do that nobody measured then? Told from the samples of its lanes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from shedder.postmortem.facts import Deed, LaneEffect
from shedder.records import Event
from shedder.samples import Sample, paces_of

AFTER = timedelta(minutes=5)
SHORTEST = timedelta(seconds=1)
"""What happened sooner than that is not told as an effect."""

PACE_OVER = timedelta(seconds=30)
"""The pace around a moment is told over so long before it."""


def with_sampled_effects(
    deeds: Sequence[Deed], events: Sequence[Event], samples: Mapping[str, Sequence[Sample]]
) -> tuple[Deed, ...]:
    """The deeds, with the effect five minutes later, or until the next deed on the same lanes.

    What was measured meanwhile stays; flags and limits have no lanes, and get no effect.
    """
    lanes_of = {event.id: event.lanes for event in events}
    return tuple(
        deed if deed.effects else _sampled(deed, lanes_of, deeds[number + 1 :], samples)
        for number, deed in enumerate(deeds)
    )


def _sampled(
    deed: Deed,
    lanes_of: Mapping[str, tuple[str, ...]],
    later: Sequence[Deed],
    samples: Mapping[str, Sequence[Sample]],
) -> Deed:
    own = lanes_of.get(deed.moment.event, ())
    began = deed.moment.at
    until = began + AFTER
    for other in later:
        if set(own) & set(lanes_of.get(other.moment.event, ())):
            until = min(until, other.moment.at)
            break
    effects, measured = [], timedelta()
    for lane in own:
        before, after = _at(samples.get(lane, ()), began), _at(samples.get(lane, ()), until)
        if before is None or after is None or after.at - began < SHORTEST:
            continue
        if before.depth or after.depth:
            effects.append(_effect(lane, before, after, samples[lane]))
            measured = max(measured, after.at - began)
    return replace(deed, after=measured, effects=tuple(effects))


def _at(samples: Sequence[Sample], moment: datetime) -> Sample | None:
    """The last sample that is not after `moment`."""
    before = [each for each in samples if each.at <= moment]
    return before[-1] if before else None


def _effect(lane: str, before: Sample, after: Sample, samples: Sequence[Sample]) -> LaneEffect:
    return LaneEffect(
        lane=lane,
        depth_before=before.depth,
        depth_after=after.depth,
        oldest_before=timedelta(seconds=before.age),
        oldest_after=timedelta(seconds=after.age),
        completions_before=_pace_until(samples, before.at),
        completions_after=_pace_until(samples, after.at),
    )


def _pace_until(samples: Sequence[Sample], moment: datetime) -> float | None:
    span = [each for each in samples if moment - PACE_OVER <= each.at <= moment]
    paces = paces_of(span)
    seconds = sum(each.seconds for each in paces)
    return sum(each.completions * each.seconds for each in paces) / seconds if seconds else None
