"""Which questions about the system do the facts raise? None is about a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from shedder.postmortem.facts import Deed, Impact, Span
from shedder.samples import Sample, paces_of
from shedder.sentences import pace, spoken

SLOW_TO_NOTICE = timedelta(minutes=5)
SLOW_TO_ACT = timedelta(minutes=10)
CLEARLY_FASTER = 1.5


def questions_of(
    impacts: Sequence[Impact],
    deeds: Sequence[Deed],
    spans: Sequence[Span],
    samples: Mapping[str, Sequence[Sample]],
    *,
    since: datetime,
) -> tuple[str, ...]:
    """The questions, the more certain ones first."""
    return (
        *_of_arrivals(samples),
        *_of_noticing(spans),
        *_of_acting(deeds, since),
        *_of_sharing(impacts),
        *_of_deeds(deeds),
        "What would have happened with twice as many jobs, or with half of the workers?",
    )


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


def _of_acting(deeds: Sequence[Deed], since: datetime) -> Iterator[str]:
    if not deeds:
        yield "Nothing was done to the queues. What made the options hard to see, or not needed?"
        return
    first = deeds[0].moment.at - since
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


def _of_deeds(deeds: Sequence[Deed]) -> Iterator[str]:
    for deed in deeds:
        worse = [each for each in deed.effects if each.oldest_after > each.oldest_before]
        if deed.effects and len(worse) == len(deed.effects):
            yield (
                f"After measure {deed.moment.mark} the oldest jobs were older than before. What "
                "did it change, and when could that be seen?"
            )
            return
