"""Which old jobs are looked at: all of a few, some of many, and how many in one step."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedder.status.looks import LOOKS, NEWEST, WORK, WORK_A_STEP, Borders, Ring, rings_of

MINUTES = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 30, 240))


def borders(*counts: int, total: int | None = None, unnoted: float = 0.0) -> Borders:
    """A list in which so many jobs are older than each tolerance, the shortest first."""
    by_tolerance = dict(zip(MINUTES, counts, strict=False))
    return Borders(max(counts) if total is None else total, None, timedelta(), by_tolerance, unnoted)


def indices_of(rings: tuple[Ring, ...]) -> list[int]:
    """The jobs that are looked at, in order."""
    return [index for ring in rings for ranges in ring.steps for first, count in ranges
            for index in range(first, first + count)]  # fmt: skip


@st.composite
def lists(draw: st.DrawFn, most: int = 2_000_000) -> Borders:
    total = draw(st.one_of(st.integers(0, 300), st.integers(0, 20_000), st.integers(0, most)))
    counts = sorted((draw(st.integers(0, total)) for _ in range(draw(st.integers(1, 4)))), reverse=True)
    return borders(*counts, total=total, unnoted=draw(st.sampled_from([0.0, 0.5, 1.0])))


@given(found=st.lists(lists(), max_size=3), with_meta=st.booleans())
def test_each_old_job_is_looked_at_once_or_stands_behind_others(found: list[Borders], with_meta: bool) -> None:
    """The parts have as many jobs as are old; no job is looked at twice, and none that is younger."""
    for each, rings in zip(found, rings_of(found, with_meta=with_meta), strict=True):
        old = max(each.counts.values())
        places = indices_of(rings)
        assert old == sum(ring.size for ring in rings)
        assert all(first < second for first, second in pairwise(places))
        assert places == [] or (places[0] >= 0 and places[-1] == old - 1)


@given(each=lists(), with_meta=st.booleans())
def test_a_step_has_a_bound(each: Borders, with_meta: bool) -> None:
    """However long a list is, a step looks at no more than 400 jobs, and at less where places are far apart."""
    (rings,) = rings_of([each], with_meta=with_meta)
    job = 1 + each.unnoted + 0.5 * with_meta
    for ranges in (ranges for ring in rings for ranges in ring.steps):
        places = [1 + min(first, each.total - first) / 20_000 for first, _ in ranges]
        costs = job * sum(count for _, count in ranges) + sum(places)
        assert costs <= WORK_A_STEP + places[-1]


@given(each=lists(most=100_000))
def test_all_looks_at_a_list_have_a_bound(each: Borders) -> None:
    """Up to 100,000 jobs, by however many tolerances they are divided, take the work of 4,000 at most."""
    (rings,) = rings_of([each], with_meta=False)
    job = 1 + each.unnoted
    ranges = [one for ring in rings for step in ring.steps for one in step]
    assert sum(job * count + 1 + min(first, each.total - first) / 20_000 for first, count in ranges) <= WORK * 1.02


@pytest.mark.parametrize(("found", "want"), [
    ([borders(3_990)], [3_990]), ([borders(2_400), borders(1_500)], [2_400, 1_500]),
    ([borders(1_990, unnoted=1.0)], [1_990]), ([borders(3_900, 2_000)], [3_900]),
])  # fmt: skip
def test_few_old_jobs_are_looked_at_one_and_all(found: list[Borders], want: list[int]) -> None:
    """All lists together may have thousands, less where each job costs more."""
    assert want == [sum(ring.looked_at for ring in rings) for rings in rings_of(found, with_meta=False)]


def test_the_oldest_are_looked_at_one_and_all_before_younger_ones() -> None:
    """What is needed to know of one kind of work is not spent on others."""
    (rings,) = rings_of([borders(1_000_000, 2_000, total=1_000_000)], with_meta=False)
    assert [2_000, 1_000_000 - 2_000 - NEWEST, NEWEST] == [ring.size for ring in rings]
    assert [True, False, True] == [ring.looked_at == ring.size for ring in rings]
    assert rings[1].looked_at == LOOKS


@pytest.mark.parametrize(("total", "least"), [(10_000, 1_100), (100_000, 700), (1_000_000, 190)])
def test_more_are_looked_at_where_that_is_cheap(total: int, least: int) -> None:
    """The shorter a list is, the more jobs can be found in the same time, and the smaller is the error."""
    (rings,) = rings_of([borders(total)], with_meta=False)
    assert least <= sum(ring.looked_at for ring in rings) <= 1.2 * least
