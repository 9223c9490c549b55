"""How was a lane at a moment that is past, as its samples say?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from shedder.incident.readings import Reading
from shedder.keys import Keys
from shedder.samples import Sample, paces_of, read_samples
from shedder.store import Store

WINDOW = timedelta(seconds=60)
"""Rates are told from so long before the moment; a sample that is older tells nothing of it."""

SLACK = timedelta(seconds=15)
"""A sample that is so much later still tells of the moment."""


def readings_at(store: Store, keys: Keys, lanes: Sequence[str], at: datetime) -> dict[str, Reading]:
    """How those of `lanes` were at `at` that were sampled then."""
    found = read_samples(store, keys, lanes, since=at - WINDOW, until=at + SLACK)
    readings = {lane: reading_from(samples, at) for lane, samples in found.items()}
    return {lane: reading for lane, reading in readings.items() if reading is not None}


def reading_from(samples: Sequence[Sample], at: datetime) -> Reading | None:
    """How a lane was at `at`; None when no sample is near."""
    near = [each for each in samples if at - WINDOW <= each.at <= at + SLACK]
    if not near or near[-1].at < at - SLACK:
        return None
    last = near[-1]
    paces = paces_of(near)
    seconds = sum(each.seconds for each in paces)
    return Reading(
        waiting=last.waiting,
        backlog=last.backlog,
        oldest_seconds=float(last.oldest) if last.waiting else None,
        arrivals=sum(e.arrivals * e.seconds for e in paces) / seconds if seconds else None,
        completions=sum(e.completions * e.seconds for e in paces) / seconds if seconds else None,
    )
