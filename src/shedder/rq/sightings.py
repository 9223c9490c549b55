"""Where does each of some jobs stand now, on a system that is at work?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from shedder.rq.places import Place, Walker, all_lanes


def met_anywhere(
    walker: Walker, jobs: set[str], *, origins: Iterable[str]
) -> Mapping[str, set[str]]:
    """In which kinds of places a walk with the flow meets each of `jobs`.

    It goes through the lanes of `origins` too. One that it does not name was nowhere, or was put
    back into a place that had been walked.
    """
    seen: dict[str, set[str]] = {}
    if jobs:
        lanes = all_lanes(walker.store, walker.keys, origins=origins)
        for place, ids in replace(walker, lanes=lanes).with_flow():
            for job in jobs.intersection(ids):
                seen.setdefault(job, set()).add(place.kind)
    return seen


def met_waiting(walker: Walker, jobs: set[str]) -> Mapping[str, tuple[Place, ...]]:
    """The places in which each of `jobs` waits, as often as it is there, in the order of a walk.

    The walk goes against the flow. One that it names twice was put back, or is there twice.
    """
    met: dict[str, tuple[Place, ...]] = {}
    for place, ids in walker.against_flow() if jobs else ():
        for job in ids:
            if job in jobs:
                met[job] = (*met.get(job, ()), place)
    return met
