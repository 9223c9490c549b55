"""The work of a lane that is late, or may be: estimated from some of its jobs, with the error.

The jobs of a lane that are older than a tolerance are divided into parts by age, and of each part some
jobs are looked at. What was seen is certain, how many there are is an estimate, and work of which no late
job was seen is on time only if all jobs were looked at that are old enough; else it may be late.

Sources: the interval of a share is that of Clopper and Pearson, Biometrika 26 (1934), 404-413, which is
right for rare kinds of work too; those of several parts are put together as by Zou and Donner, Statistics
in Medicine 27 (2008), 1693-1702; a part of which many jobs were looked at has less error, by the
correction for a finite population.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache, partial

from shedder.lanes import DEFAULT_PRIORITY, Lane, lane_of
from shedder.policy.model import Policy, Rule
from shedder.selection import Selection
from shedder.units import format_duration

ERROR_RATE = 0.05
"""How often a number lies outside of its error."""

MOST_TOLERANCES = 4
"""By how many tolerances the jobs of a lane are divided; the shortest and the longest among them."""


@dataclass(frozen=True, slots=True)
class WaitingJob:
    """What is known of a job that waits in a lane or backlog, or of some that are alike.

    Attributes:
        enqueued: When it was enqueued (producer's clock, UTC); None when it is not known. Of some jobs, the oldest.
        function: Its function; None when it is not known.
        meta: The plain fields of its meta, as text; None when they cannot be read.
        is_ours: A producer of ours enqueued it, into the lane that the policy gives it.
        number: For how many jobs it stands, of one function and meta, and on one side of each tolerance.
    """

    enqueued: datetime | None
    function: str | None
    meta: Mapping[str, str] | None
    is_ours: bool = True
    number: int = 1

    @property
    def is_readable(self) -> bool:
        """Whether its kind can be told."""
        return self.function is not None and self.meta is not None and self.enqueued is not None

    def is_older_than(self, age: timedelta, at: datetime) -> bool:
        """Whether it has waited longer than `age` at the time `at`."""
        return self.enqueued is not None and at - self.enqueued > age


@dataclass(frozen=True, slots=True)
class Part:
    """Jobs of about the same age, and those of them that were looked at.

    Attributes:
        size: How many jobs there are.
        looked_at: How many were looked at; some may have been gone.
        jobs: Those that were there.
        age: They have waited for about so long at most; None when there is no such bound.
    """

    size: int
    looked_at: int
    jobs: tuple[WaitingJob, ...]
    age: timedelta | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all its jobs were looked at."""
        return self.looked_at >= self.size


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at lists says of those of their jobs that are older than the shortest tolerance.

    Attributes:
        parts: The parts, the oldest jobs first.
        oldest: When the oldest job that was looked at was enqueued; None when there is none.
        disorder: By how much a job was older than one before it.
        selection: Which jobs can be there, in a backlog; None for all.
    """

    parts: tuple[Part, ...] = ()
    oldest: datetime | None = None
    disorder: timedelta = timedelta()
    selection: Selection | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """How late one kind of work is.

    Attributes:
        count: How many of its jobs are late, about.
        error: By how much that may be wrong, 19 times out of 20; 0 when all were looked at.
        least: How many late ones were seen.
        oldest: When its oldest late job that was looked at was enqueued; that of the oldest job of any
            kind, when no late one was seen.
        seen: How many of its jobs were looked at, late or not.
        looked_at: How many jobs were looked at.
        is_certain: A late one was seen; False: it may be late.
    """

    count: int
    error: int
    least: int
    oldest: datetime
    seen: int
    looked_at: int
    is_certain: bool = True


@dataclass(frozen=True, slots=True)
class Late:
    """Work that waits longer than the policy tolerates, or may do so.

    Attributes:
        lane: Name of the lane in which it waits, or in whose backlog.
        noun: What the business calls it.
        rule: Number of the rule that says what is tolerated.
        tolerance: How long it may wait.
        oldest: When its oldest late job that was looked at was enqueued (producer's clock, UTC); the
            oldest of any work, when it only may be late.
        count: How many of its jobs are late, about; 0 when it only may be late.
        error: By how much `count` may be wrong, 19 times out of 20; 0 when it is exact.
        least: How many of its late jobs were seen, or counted.
        is_certain: Late jobs were seen. False: none was seen, and not all jobs were looked at.
        seen: How many of its jobs were looked at, late or not.
        looked_at: How many jobs of the lane were looked at.
    """

    lane: str
    noun: str
    rule: int
    tolerance: timedelta
    oldest: datetime
    count: int = 1
    error: int = 0
    least: int = 1
    is_certain: bool = True
    seen: int = 1
    looked_at: int = 1


# judging


def verdict_on(
    looked: Sequence[Looked], tolerance: timedelta, at: datetime, is_one: Callable[[WaitingJob], bool],
    is_possible: Callable[[Selection | None], bool] = lambda _: True,
) -> Verdict | None:  # fmt: skip
    """Whether jobs of one kind, by `is_one`, have waited longer than `tolerance`; None when it is known that none has.

    `looked` are the lists of a lane, or of several; by `is_possible` such jobs can be in a backlog. The one
    rule by which all of shedder says who is late.
    """
    pairs = [(part, one.disorder) for one in looked for part in one.parts]
    jobs = [job for part, _ in pairs for job in part.jobs]
    old = [job for job in jobs if job.is_older_than(tolerance, at)]
    late = [job for job in old if is_one(job)]
    since = [job.enqueued for job in late if job.enqueued is not None]
    count, error = _number([
        (part, _in_all(job for job in part.jobs if is_one(job) and job.is_older_than(tolerance, at)))
        for part, disorder in pairs if _may_hold(part, tolerance, disorder)
    ])  # fmt: skip
    seen, looked_at = _in_all(filter(is_one, jobs)), sum(part.looked_at for part, _ in pairs)
    if late:
        return Verdict(max(count, _in_all(late)), error, _in_all(late), min(since), seen, looked_at)
    ages = [oldest for each in looked if is_possible(each.selection) and (oldest := _doubtful(each, tolerance, at))]
    ages += [job.enqueued for job in old if job.enqueued is not None and not job.is_readable]
    return Verdict(0, error, 0, min(ages), seen, looked_at, is_certain=False) if ages else None


def late_in(policy: Policy, lane: str, looked: Sequence[Looked], at: datetime) -> tuple[Late, ...]:
    """Who is late in `lane`, or may be, at the time `at`; in the order of the policy."""
    jobs = [job for each in looked for part in each.parts for job in part.jobs]
    kind_of = _Kinds(policy, lane)
    found = dict.fromkeys((*map(kind_of, jobs), *kind_of.expected(jobs)))
    late = []
    for kind in sorted((kind for kind in found if kind is not None), key=lambda kind: kind.number):
        verdict = verdict_on(looked, kind.tolerance, at, partial(kind_of.is_of, kind),
                             partial(may_hold, policy, policy.rules[kind.number - 1]))  # fmt: skip
        if verdict is not None:
            late.append(_late(lane, kind, verdict))
    return tuple(late)


def late_as_whole(policy: Policy, lane: str, *, count: int, oldest: datetime | None, at: datetime) -> tuple[Late, ...]:
    """Who is late in a lane whose jobs all have one tolerance; `count` jobs have waited longer."""
    kind = _Kinds(policy, lane)(WaitingJob(oldest, None, {}))
    if kind is None or not count or oldest is None or at - oldest <= kind.tolerance:
        return ()
    return (_late(lane, kind, Verdict(count, 0, count, oldest, count, count)),)


def lateness_sentence(late: Late, at: datetime) -> str:
    """What a person reads of it, in the policy's labels."""
    waits, tolerated = (format_duration(each) for each in (at - late.oldest, late.tolerance))
    if late.is_certain:
        return (
            f"{late.noun} are late: the oldest waits {waits} in {late.lane}, tolerated are {tolerated}; "
            f"{number_late(late.count, late.error, late.least)} late."
        )
    return (
        f"{late.noun} may be late: the oldest job of {late.lane} waits {waits}, tolerated are {tolerated}, "
        f"and {share_seen(late.seen, late.looked_at)}; give them a priority of their own."
    )


def number_late(count: int, error: int, least: int) -> str:
    """`1 is`, `12 are`, `about 320, give or take 40, are`, `40 to 720 are`."""
    if not error:
        return f"{count:,} {'is' if count == 1 else 'are'}"
    return f"{about(count, error, least)} are"


def about(count: int, error: int, least: int) -> str:
    """`about 320, give or take 40,`, or `40 to 720` where the error is large: no more digits than are known."""
    step = 10 ** max(len(str(error)) - 2, 0)
    if error > count / 2:
        return f"{least:,} to {math.ceil((count + error) / step) * step:,}"
    return f"about {round(count / step) * step:,}, give or take {math.ceil(error / step) * step:,},"


def share_seen(seen: int, looked_at: int) -> str:
    """Which share of the jobs that were looked at is of one kind, in words."""
    if not seen:
        return f"none of the {looked_at:,} jobs looked at is one of them that is late"
    if seen == looked_at:
        return f"all {looked_at:,} jobs looked at are of them"
    return f"1 job in {max(round(looked_at / seen), 1):,} looked at is one of them"


# what a lane has to be looked at for


def tolerances_of(policy: Policy, queue: str) -> tuple[timedelta, ...]:
    """How long jobs of `queue` may wait, the shortest tolerance first."""
    return tuple(sorted({rule.tolerance for rule in _with_tolerance(policy, queue) if rule.tolerance is not None}))


def divided(tolerances: Iterable[timedelta]) -> tuple[timedelta, ...]:
    """At most `MOST_TOLERANCES` of `tolerances`, the shortest first."""
    known = sorted(set(tolerances))
    if len(known) <= MOST_TOLERANCES:
        return tuple(known)
    step = (len(known) - 1) / (MOST_TOLERANCES - 1)
    return tuple(known[round(number * step)] for number in range(MOST_TOLERANCES))


def looks_at_jobs(policy: Policy, queue: str) -> bool:
    """Whether a tolerance depends on what a job of `queue` does, and not only on its queue."""
    return any(not rule.selection.is_whole for rule in _with_tolerance(policy, queue))


def looks_at_meta(policy: Policy) -> bool:
    """Whether any rule asks for a field of the meta."""
    return any(rule.selection.meta for rule in policy.rules)


def _with_tolerance(policy: Policy, queue: str) -> list[Rule]:
    found = [rule for rule in policy.rules if rule.tolerance is not None and rule.is_for_queue(queue)]
    # behind the first that takes every job none decides anything
    last = next((number for number, rule in enumerate(found, start=1) if rule.selection.is_whole), None)
    return found[:last]


# kinds of work in a lane


@dataclass(frozen=True, slots=True)
class _Kind:
    number: int
    noun: str
    tolerance: timedelta


def is_of(policy: Policy, rule: Rule, queue: str, job: WaitingJob) -> bool:
    """Whether `rule` is the first that gives this job of `queue` a label or a tolerance, if that can be told."""
    if not job.is_readable and looks_at_jobs(policy, queue):
        return False
    found = (each for each in policy.rules if (each.label or each.tolerance)
             and each.matches(queue=queue, function=job.function, meta=job.meta or {}))  # fmt: skip
    return next(found, None) is rule


def is_expected(rule: Rule, lane: str, jobs: Sequence[WaitingJob]) -> bool:
    """Whether work of `rule` may be in `lane` though none was seen among `jobs`.

    Producers of ours put work with a priority of its own elsewhere, others do not.
    """
    here = lane_of(lane)
    return here == _home(rule, here.queue) or (here == Lane(here.queue) and not all(job.is_ours for job in jobs))


def may_hold(policy: Policy, rule: Rule, selection: Selection | None) -> bool:
    """Whether a backlog of the jobs of `selection` can hold work of `rule`, as far as functions tell."""
    if selection is None or not all(each.functions for each in selection.alternatives):
        return True
    earlier = (each for each in policy.rules[: policy.rules.index(rule)] if each.queue in ("*", rule.queue))
    is_others = any(each.tolerance is not None and _takes_all(each, selection) for each in earlier)
    return not is_others and may_take(selection, rule)


def may_take(selection: Selection, rule: Rule | None) -> bool:
    """Whether `selection` takes jobs of `rule`, as far as their functions tell."""
    globs = rule.selection.functions if rule else ()
    if not globs or not all(each.functions for each in selection.alternatives):
        return True
    pairs = [(mine, theirs) for each in selection.alternatives for mine in each.functions for theirs in globs]
    return any(_takes(one, other) for one, other in (*pairs, *(pair[::-1] for pair in pairs)))


def _takes_all(rule: Rule, selection: Selection) -> bool:
    return not rule.selection.meta and all(
        any(_takes(mine, theirs) for mine in rule.selection.functions)
        for each in selection.alternatives
        for theirs in each.functions
    )


def _takes(one: str, other: str) -> bool:
    """Whether the glob `one` takes an example of what `other` takes."""
    return Selection(functions=(one,)).matches(function=other.replace("*", "x"), meta={}, age=timedelta())


class _Kinds:
    """By job of one lane, its kind of work: what it is called and how long it may wait."""

    def __init__(self, policy: Policy, lane: str) -> None:
        self._policy, self._lane = policy, lane_of(lane)
        self._is_told_by_jobs = looks_at_jobs(policy, self._lane.queue)
        self._known: dict[tuple[str | None, tuple[tuple[str, str], ...]], _Kind | None] = {}

    def __call__(self, job: WaitingJob) -> _Kind | None:
        """The kind of `job`; None when it is not known, or when nothing is said of how long it may wait."""
        if self._is_told_by_jobs and not job.is_readable:
            return None
        key = job.function, tuple(sorted((job.meta or {}).items()))
        if key not in self._known:
            self._known[key] = self._kind_of(job.function, dict(key[1]))
        return self._known[key]

    def is_of(self, kind: _Kind, job: WaitingJob) -> bool:
        """Whether `job` is of `kind`."""
        return self(job) == kind

    def expected(self, jobs: Sequence[WaitingJob]) -> Iterable[_Kind]:
        """The kinds that may be in the lane though none of `jobs` is of them."""
        for rule in _with_tolerance(self._policy, self._lane.queue):
            if is_expected(rule, self._lane.name, jobs):
                number = self._policy.rules.index(rule) + 1
                yield _Kind(number, rule.label or self._noun(rule), rule.tolerance or timedelta())

    def _kind_of(self, function: str | None, meta: Mapping[str, str]) -> _Kind | None:
        queue = self._lane.queue
        found = self._policy.rule_for("tolerance", queue=queue, function=function, meta=meta)
        if found is None:
            return None
        named = self._policy.rule_for("label", queue=queue, function=function, meta=meta)
        noun = named[1].label if named else self._noun(found[1])
        return _Kind(found[0], noun, found[1].tolerance or timedelta())

    def _noun(self, rule: Rule) -> str:
        if not rule.selection.functions:
            return f"jobs of {self._lane.name}"
        return f"jobs of {' and '.join(name.rpartition('.')[2] for name in rule.selection.functions)}"


def _home(rule: Rule, queue: str) -> Lane:
    """The lane into which producers of ours put the jobs of `rule`."""
    return Lane(queue, DEFAULT_PRIORITY if rule.selection.is_whole else rule.priority or DEFAULT_PRIORITY)


# numbers


def _in_all(jobs: Iterable[WaitingJob]) -> int:
    return sum(job.number for job in jobs)


def _may_hold(part: Part, tolerance: timedelta, disorder: timedelta) -> bool:
    return part.age is None or part.age + disorder > tolerance


def _doubtful(looked: Looked, tolerance: timedelta, at: datetime) -> datetime | None:
    """When the oldest job was enqueued, if jobs that were not looked at may have waited for too long."""
    if looked.oldest is None or at - looked.oldest + looked.disorder <= tolerance:
        return None
    is_known = all(part.is_whole for part in looked.parts if _may_hold(part, tolerance, looked.disorder))
    return None if is_known else looked.oldest


def _number(found: Sequence[tuple[Part, int]]) -> tuple[int, int]:
    """How many jobs there are in all when each part has so many among those looked at; and the error."""
    total, below, above, certain = 0.0, 0.0, 0.0, 0
    for part, number in found:
        certain += number
        if part.is_whole:
            total += number
        else:
            share, low, high = interval(number, part.looked_at)
            scale = part.size * math.sqrt((part.size - part.looked_at) / max(part.size - 1, 1))
            total += part.size * share
            below += (scale * (share - low)) ** 2
            above += (scale * (high - share)) ** 2
    return max(round(total), certain), math.ceil(math.sqrt(max(below, above)))


@lru_cache(maxsize=1024)
def interval(found: int, of: int) -> tuple[float, float, float]:
    """The share of `found` in `of`, and what it is at least and at most, by Clopper and Pearson."""
    if not of:
        return 0.0, 0.0, 1.0
    tail = ERROR_RATE / 2
    low = 0.0 if not found else _root(lambda share: 1 - _at_most(found - 1, of, share) < tail)
    high = 1.0 if found >= of else _root(lambda share: _at_most(found, of, share) > tail)
    return found / of, low, high


def _root(is_below: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return (low + high) / 2


def _at_most(found: int, of: int, share: float) -> float:
    """How likely it is to find no more than `found` in `of`, when each is one with likelihood `share`."""
    if share in (0.0, 1.0):
        return 1.0 - share
    if found > of * share:  # the other end has fewer terms that count
        return 1.0 - _at_most(of - found - 1, of, 1.0 - share)
    term = math.exp(
        math.lgamma(of + 1) - math.lgamma(found + 1) - math.lgamma(of - found + 1)
        + found * math.log(share) + (of - found) * math.log1p(-share)
    )  # fmt: skip
    total = 0.0
    for number in range(found, -1, -1):
        total += term
        if term <= total * _NEGLIGIBLE:
            break
        term *= number / (of - number + 1) * (1.0 - share) / share
    return total


_NEGLIGIBLE = 1e-15


def _late(lane: str, kind: _Kind, verdict: Verdict) -> Late:
    return Late(
        lane, kind.noun, kind.number, kind.tolerance, verdict.oldest, verdict.count, verdict.error,
        verdict.least, verdict.is_certain, verdict.seen, verdict.looked_at,
    )  # fmt: skip
