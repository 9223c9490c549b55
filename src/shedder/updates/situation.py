"""The situation: each workload, measured, how its jobs end, and what has been done and still holds.

Late jobs of a workload that has lanes of its own are counted: lists are in order of time. Of one
that shares its lanes, and for the tenants, some jobs of each list are read, evenly spaced; then the
numbers are estimates, and say so. Whether it is late is judged as in a status (`policy/lateness.py`).
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from shedder.api.shedder import Shedder
from shedder.engine.jobs import function_name
from shedder.events import EVERY_JOB, Event
from shedder.incident.records import Incident
from shedder.lanes import PRIORITIES, Lane, lane_of
from shedder.policy.lateness import (
    Looked,
    Verdict,
    WaitingJob,
    is_expected,
    is_of,
    may_hold,
    may_take,
    verdict_on,
)
from shedder.policy.model import FAILS_AT, Policy
from shedder.policy.workload import Workload, kinds_of
from shedder.queues.controls import Divert, diverts_from
from shedder.queues.outcomes import COUNTS_KEPT, Counts, Outcomes, counts_since, has_recovered, in_all
from shedder.queues.samples import Sample
from shedder.selection import Selection
from shedder.status.looks import LaneLook, read_looks, to_look_at
from shedder.status.readings import WAITING_FIELDS, LaneStatus, Status, waiting_from
from shedder.store.codec import text_of
from shedder.store.store import Store
from shedder.updates.messages import due_at
from shedder.wording import named

STAKEHOLDERS, TEAM = "stakeholders", "team"


@dataclass(frozen=True, slots=True)
class MeasuredWorkload:
    """One kind of work that the policy names, as it is now.

    Attributes:
        noun: What the business calls it, in the plural, such as `receipt e-mails`.
        tolerance: How long one of it may wait without harm.
        waiting: Jobs that have not started, those in backlogs among them.
        held: Those of them that do not start now because somebody decided so: in a backlog that
            does not drain, or in a paused lane.
        late: Those of them that have waited longer than the tolerance.
        late_error: By how much `late` may be wrong, 19 times out of 20; 0 when it is exact.
        late_seen: How many of the late ones were seen, where they are estimated.
        doubt: What was seen, when it is not known whether any is late; None when that is known.
        oldest: How long the oldest of them has waited; None when none waits.
        tenants: Whose jobs are late, counted; None when the jobs do not say.
        since: When it became late (server's clock, UTC); None when it is not, or nobody knows.
        arrivals: Jobs that arrive a second; None when not known.
        completions: Jobs that end a second; None when not known.
        is_estimated: The counts were made from a part of the jobs.
        is_tenants_partial: The tenants were counted in a part of the jobs, so there may be more.
        targets: The queues or lanes that it is in.
        outcomes: How its jobs ended lately; None when that is not known, because jobs fail in the
            lanes that it shares, and nobody counted whose they are.
        fails_at: Where this share of those that ended in five minutes failed, the work fails.
        failed: Attempts that failed since `counted_since`, as far as workers of ours counted them.
        counted_since: When the incident began, at most a week ago (server's clock, UTC).
        is_paused: A lane that it is in is paused.
        overdue: Jobs of its queues that are due, and that no scheduler puts into their lane.
        overdue_since: When the first of these was due (UTC); None without any.
        is_overdue: It is known that they are jobs of this kind.
    """

    noun: str
    tolerance: timedelta
    waiting: int = 0
    held: int = 0
    late: int = 0
    late_error: int = 0
    late_seen: int = 0
    doubt: Verdict | None = None
    oldest: timedelta | None = None
    tenants: int | None = None
    since: datetime | None = None
    arrivals: float | None = None
    completions: float | None = None
    is_estimated: bool = False
    is_tenants_partial: bool = False
    targets: tuple[str, ...] = ()
    outcomes: Outcomes | None = field(default_factory=Outcomes)
    fails_at: float = FAILS_AT
    failed: int = 0
    counted_since: datetime | None = None
    is_paused: bool = False
    overdue: int = 0
    overdue_since: datetime | None = None
    is_overdue: bool = False

    @property
    def has_failed(self) -> bool:
        """Whether any of it failed lately, or since the incident began."""
        return bool(self.failed or (self.outcomes and self.outcomes.failed_in_hour))

    @property
    def is_failing(self) -> bool:
        """Whether so many of it failed in the last five minutes that the work fails."""
        found = self.outcomes
        return found is not None and 0 < self.fails_at <= found.share_failed and not has_recovered(found)

    @property
    def is_well(self) -> bool:
        """Whether it is known that none of it is late, held, overdue or has failed."""
        is_stopped = self.held or self.is_paused or self.overdue
        return self.outcomes is not None and self.is_on_time and not is_stopped and not self.has_failed

    @property
    def is_late(self) -> bool:
        """Whether any of it has waited longer than it may."""
        return self.late > 0

    @property
    def is_on_time(self) -> bool:
        """Whether it is known that none of it has."""
        return not self.late and self.doubt is None

    @property
    def net(self) -> float | None:
        """Jobs by which it becomes fewer a second; negative when it grows; None when not known.

        It is not known of work that fails: what failed is not done.
        """
        if self.arrivals is None or self.completions is None or self.is_failing or self.outcomes is None:
            return None
        return self.completions - self.arrivals


@dataclass(frozen=True, slots=True)
class InForce:
    """Something that somebody has done and that still holds.

    Attributes:
        what: In words that follow a subject, such as `newsletters are paused`.
        role: Who did it, as a role: `operations`; empty when nobody had one.
        since: Since when (server's clock, UTC).
        command: The command that did it, for the team; empty when there is none.
        why: For which reason, for the team.
    """

    what: str
    role: str
    since: datetime
    command: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Situation:
    """All that an update tells.

    Attributes:
        at: When it was read (server's clock, UTC).
        works: The kinds of work that the policy names, in its order.
        measures: What has been done and holds, oldest first.
        notices: What customers notice of features that are degraded, a sentence each.
        next_update: When the next update is due; None when there will be none.
        title: What the incident is called; empty outside of one.
        began: When it began; None outside of one.
        taken_back: What was undone since the last update, such as `the pause of newsletters`.
        brought_back: What had failed and was brought back by retries of the incident that are over, such
            as `337 failed newsletters`.
    """

    at: datetime
    works: tuple[MeasuredWorkload, ...] = ()
    measures: tuple[InForce, ...] = ()
    notices: tuple[str, ...] = ()
    next_update: datetime | None = None
    title: str = ""
    began: datetime | None = None
    taken_back: tuple[str, ...] = ()
    brought_back: tuple[str, ...] = ()


LOOK_BACK = timedelta(hours=24)
MOST_NOUNS = 3
JOBS_LOOKED_AT = 500
"""Of each list; a list that is no longer is read as a whole."""

TENANT_FIELD = "tenant"


def read_situation(
    shed: Shedder, policy: Policy, incident: Incident | None, *, next_update: datetime | None = None
) -> Situation:
    """How things are, in the words of the policy."""
    status = shed.status(policy=policy)
    kinds = kinds_of(policy, [lane.queue for lane in status.lanes])
    lanes = tuple(dict.fromkeys(lane for kind in kinds for lane in kind.lanes))
    samples = shed.samples(*lanes, since=status.at - LOOK_BACK) if lanes else {}
    if next_update is None and incident is not None:
        next_update = due_at(incident, policy.incident)
    measured = _measure_all(shed.store, policy, kinds, status, samples)
    works = [_with_overdue(work, kind, status) for work, kind in zip(measured, kinds, strict=True)]
    counts = counts_since(shed.store, _counted_since(incident, status.at), status.at)
    return Situation(
        at=status.at,
        works=tuple(_with_outcomes(work, kind, status, policy, counts)
                    for work, kind in zip(works, kinds, strict=True)),
        measures=tuple(_in_force(status, kinds, incident, known=shed.queues())),
        notices=tuple(_notices(policy, status)),
        next_update=next_update,
        title=incident.title if incident else "",
        began=(incident.began_at or incident.opened_at) if incident else None,
    )  # fmt: skip


def _measure_all(
    store: Store, policy: Policy, kinds: Sequence[Workload], status: Status, samples: Mapping[str, Sequence[Sample]]
) -> tuple[MeasuredWorkload, ...]:
    """How each kind of work is; `status` and `samples` are of all their lanes."""
    lanes = {lane.lane: lane for lane in status.lanes}
    looks = _look(store, kinds, lanes, status.at)
    return tuple(
        _measured(store, policy, kind, [lanes[each] for each in kind.lanes if each in lanes], looks,
                  status.at, samples)
        for kind in kinds
    )  # fmt: skip


def _look(
    store: Store, kinds: Sequence[Workload], lanes: Mapping[str, LaneStatus], at: datetime
) -> dict[str, LaneLook]:
    """What is seen of the jobs that are older than the tolerances of `kinds`, by lane."""
    names = [name for name in lanes if any(name in kind.lanes for kind in kinds)]
    records = store.read(lambda ask: [ask.hget(store.keys.diverts, name) for name in names]) if names else []
    looks = {}
    for name, record in zip(names, records, strict=True):
        own = [kind for kind in kinds if name in kind.lanes]
        looks[name] = to_look_at(
            store.keys,
            name,
            diverts_from(name, record),
            tuple(sorted({kind.tolerance for kind in own})),
            is_told_by_jobs=any(kind.rule for kind in own),
            with_meta=any(kind.rule.selection.meta for kind in own if kind.rule),
        )
    return read_looks(store, looks, at)


def taken_back(events: Iterable[Event], policy: Policy, since: datetime) -> tuple[str, ...]:
    """What somebody had done or said and was undone after `since`, in the words of `policy`."""
    known = tuple(events)
    undone = {each.undoes for each in known if each.undoes and each.at > since}
    found = [_UNDONE[each.verb].format(_nouns(each, policy)) for each in known
             if each.id in undone and each.verb in _UNDONE]  # fmt: skip
    return tuple(dict.fromkeys(found))


def brought_back(events: Iterable[Event], policy: Policy) -> tuple[str, ...]:
    """What had failed and has started after all: how many of what, of the retries whose backlogs are empty."""
    known = tuple(events)
    retries = {each.order for each in known if each.verb == "retry"}
    jobs: Counter[str] = Counter()
    for each in known:
        if each.verb == "drained" and each.order in retries:
            jobs[_nouns(each, policy)] += int(each.after.get("released", 0))
    return tuple(f"{count:,} failed {nouns}" for nouns, count in jobs.items() if count)


_UNDONE = {
    "pause": "the pause of {}",
    "divert": "the divert of {}",
    "drain": "the return of {}",
    "limit start": "the limit on {}",
    "incident mitigated": "that customers are helped",
    "incident resolve": "that it is over",
}


def _nouns(event: Event, policy: Policy) -> str:
    """What an event of lanes concerns: kinds of work, or some or all jobs of queues."""
    queues = list(dict.fromkeys(lane_of(each).queue for each in event.lanes))
    if event.details.get("selection", EVERY_JOB) != EVERY_JOB:
        return f"some jobs of {named(queues)}"
    kinds = [kind for kind in kinds_of(policy, queues) if not set(event.lanes).isdisjoint(kind.lanes)]
    nouns = list(dict.fromkeys(kind.noun for kind in kinds))
    return named(nouns) if 0 < len(nouns) <= MOST_NOUNS else f"jobs of {named(queues)}"


@dataclass(frozen=True, slots=True)
class _Job:
    """A job that was looked at: it stands for `weight` jobs of its list."""

    weight: float
    is_held: bool
    enqueued_at: datetime | None
    function: str | None
    meta: Mapping[str, str]

    def is_older_than(self, cutoff: datetime) -> bool:
        return self.enqueued_at is not None and self.enqueued_at < cutoff


@dataclass(frozen=True, slots=True)
class _List:
    key: str
    length: int
    is_held: bool


def _measured(
    store: Store, policy: Policy, kind: Workload, lanes: Sequence[LaneStatus], looks: Mapping[str, LaneLook],
    at: datetime, samples: Mapping[str, Sequence[Sample]],
) -> MeasuredWorkload:  # fmt: skip
    lists = _lists(store, lanes)
    found = MeasuredWorkload(
        kind.noun, kind.tolerance, arrivals=_sum(lanes, "arrivals"),
        completions=_sum(lanes, "completions"),
        targets=tuple(dict.fromkeys(lane.lane for lane in lanes)),
    )  # fmt: skip
    if not lists:
        return found
    cutoff = at - kind.tolerance
    jobs = [job for job in _jobs(store, lists) if _is_of(policy, kind, lanes, job)]
    verdict = None if kind.rule is None else _judged(policy, kind, looks, at)
    if kind.rule is None:
        waiting, held, late, oldest = _counted(lists, lanes, sum(looks[lane.lane].older(kind.tolerance)
                                                                 for lane in lanes))  # fmt: skip
    else:
        waiting, held, late, oldest = _estimated(jobs, verdict)
        found = replace(found, arrivals=None, completions=None)  # those of all jobs of the lanes
    is_partial = any(each.length > JOBS_LOOKED_AT for each in lists)
    tenants = {job.meta.get(TENANT_FIELD) for job in jobs if job.is_older_than(cutoff)} - {None}
    return replace(
        found, waiting=waiting, held=held, late=late, tenants=len(tenants) or None,
        late_error=verdict.error if verdict and verdict.is_certain else 0,
        late_seen=verdict.least if verdict else 0,
        doubt=verdict if verdict and not verdict.is_certain else None,
        oldest=None if oldest is None else max(at - oldest, timedelta()),
        since=_late_since(kind, samples, at) if late else None,
        is_estimated=is_partial and kind.rule is not None, is_tenants_partial=is_partial,
    )  # fmt: skip


def _counted_since(incident: Incident | None, at: datetime) -> datetime:
    """Since when failed jobs are told: the beginning of the incident, or an hour ago."""
    hour = at - timedelta(hours=1)
    if incident is None:
        return hour
    began = min(filter(None, (incident.began_at, incident.detected_at, incident.opened_at)))
    return min(hour, max(began, at - COUNTS_KEPT))


def _with_overdue(work: MeasuredWorkload, kind: Workload, status: Status) -> MeasuredWorkload:
    """`work` with the overdue jobs of its queues; a job that is to start later is in no lane of its kind yet."""
    queues = {lane_of(lane).queue for lane in kind.lanes}
    lanes = [lane for lane in status.lanes if lane.queue in queues and lane.overdue]
    found = [lane.overdue for lane in lanes if lane.overdue]
    whole = {Lane(lane.queue, priority).name for lane in lanes for priority in PRIORITIES}
    return replace(
        work, overdue=sum(each.jobs for each in found), overdue_since=min((each.since for each in found), default=None),
        is_overdue=bool(found) and kind.rule is None and whole <= set(kind.lanes),
    )  # fmt: skip


def _with_outcomes(
    work: MeasuredWorkload, kind: Workload, status: Status, policy: Policy, counts: tuple[Counts, Counts]
) -> MeasuredWorkload:
    """`work` with how its jobs ended lately, and how many failed between the two `counts`."""
    lanes = [lane for lane in status.lanes if lane.lane in kind.lanes]
    of_lanes = in_all([lane.outcomes for lane in lanes])
    outcomes: Outcomes | None = of_lanes
    failed = _failed(counts, lambda it: it.of_lanes(kind.lanes))
    if kind.rule is not None and (failed or of_lanes.failed_in_hour):
        is_told = of_lanes.is_counted and _is_counted_by_label(kind, counts, failed)
        outcomes = next((each.outcomes for each in status.labels if is_told and each.label == kind.noun), None)
        failed = _failed(counts, lambda it: it.labels.get(kind.noun, (0, 0))) if outcomes is not None else 0
    return replace(
        work, outcomes=outcomes, failed=failed, counted_since=counts[0].at,
        fails_at=policy.defaults.share_that_fails, is_paused=any(lane.pause for lane in lanes),
    )  # fmt: skip


def _is_counted_by_label(kind: Workload, counts: tuple[Counts, Counts], failed: int) -> bool:
    """Whether workers counted the jobs of `kind` apart from others of its lanes, of which `failed` failed.

    They count by the policy in force: one that was applied meanwhile tells of what failed since.
    """
    before, now = counts
    told = sum(_failed(counts, lambda it, label=label: it.labels.get(label, (0, 0))) for label in now.labels)  # type: ignore[misc]
    return kind.noun in now.labels and (kind.noun in before.labels or failed <= told)


def _failed(counts: tuple[Counts, Counts], pick: Callable[[Counts], tuple[int, int]]) -> int:
    (_, before), (_, now) = map(pick, counts)
    return max(now - before, 0)


def _late_since(kind: Workload, samples: Mapping[str, Sequence[Sample]], at: datetime) -> datetime | None:
    """Since when without a break some lane of `kind` is outside of its tolerance, by samples."""
    limit = kind.tolerance.total_seconds()
    began: datetime | None = None
    for lane in kind.lanes:
        current: datetime | None = None
        for sample in samples.get(lane, ()):
            if sample.age <= limit:
                current = None
            elif current is None:
                current = sample.at - timedelta(seconds=sample.age - limit)
        if current is not None and (began is None or current < began):
            began = current
    return None if began is None else min(began, at)


_Counts = tuple[int, int, int, datetime | None]
"""Jobs that wait, that are held, that are late; and when the oldest was enqueued."""


def _counted(lists: Sequence[_List], lanes: Sequence[LaneStatus], late: int) -> _Counts:
    times = [time for lane in lanes for time in (lane.oldest, lane.oldest_in_backlog) if time]
    held = sum(each.length for each in lists if each.is_held)
    return sum(each.length for each in lists), held, late, min(times, default=None)


def _estimated(jobs: Sequence[_Job], verdict: Verdict | None) -> _Counts:
    times = [job.enqueued_at for job in jobs if job.enqueued_at is not None]
    held, waiting = sum(job.weight for job in jobs if job.is_held), sum(job.weight for job in jobs)
    if verdict is None or not verdict.is_certain:
        return round(waiting), round(held), 0, min(times, default=None)
    return max(round(waiting), verdict.count), round(held), verdict.count, min([*times, verdict.oldest])


def _judged(policy: Policy, kind: Workload, looks: Mapping[str, LaneLook], at: datetime) -> Verdict | None:
    """How late work is that shares its lanes, as `policy.lateness` judges."""
    looked: list[Looked] = []
    own: set[int] = set()
    rule = kind.rule
    for lane, look in looks.items():
        if rule is None or lane not in kind.lanes:
            continue
        jobs = [job for each in look.looked for part in each.parts for job in part.jobs]
        mine = {id(job) for job in jobs if is_of(policy, rule, lane_of(lane).queue, job)}
        if mine or is_expected(rule, lane, jobs):
            own |= mine
            looked += look.looked
    return verdict_on(looked, kind.tolerance, at, lambda job: id(job) in own,
                      lambda selection: rule is None or may_hold(policy, rule, selection))  # fmt: skip


def _is_of(policy: Policy, kind: Workload, lanes: Sequence[LaneStatus], job: _Job) -> bool:
    rule = kind.rule
    if rule is None:
        return True
    seen = WaitingJob(job.enqueued_at, job.function, job.meta)
    return any(is_of(policy, rule, queue, seen) for queue in {lane_of(lane.lane).queue for lane in lanes})


def _lists(store: Store, lanes: Sequence[LaneStatus]) -> list[_List]:
    """The lists of jobs that have not started, and whether they may start now."""
    records = store.read(lambda ask: [ask.hget(store.keys.diverts, each.lane) for each in lanes]) if lanes else []
    found: list[tuple[str, bool]] = []
    for lane, record in zip(lanes, records, strict=True):
        listed, kept, parked, _ = store.keys.lane(lane.lane)
        found += [(key, lane.pause is not None) for key in (kept, parked, listed)]
        for order in diverts_from(lane.lane, record):
            is_held = lane.pause is not None or order.divert.drain is None
            found += [(key, is_held) for key in order.backlog_keys]
    if not found:
        return []
    lengths = store.read(lambda ask: [ask.llen(key) for key, _ in found])
    return [_List(key, length, is_held) for (key, is_held), length in zip(found, lengths, strict=True) if length]


def _jobs(store: Store, lists: Sequence[_List]) -> Iterator[_Job]:
    for each in lists:
        ids = [text_of(job) for job in _evenly(store, each) if job is not None]
        if not ids:
            continue
        found = [*zip(ids, map(waiting_from, _rows(store, ids, WAITING_FIELDS)), strict=True)]
        data = _data(store, [job for job, seen in found if not seen.function])
        for job, seen in found:
            function = seen.function or function_name(data.get(job, b""))
            yield _Job(each.length / len(ids), each.is_held, seen.enqueued, function, seen.meta or {})


def _data(store: Store, ids: Sequence[str]) -> dict[str, bytes]:
    rows = _rows(store, ids, ("data",)) if ids else []
    return {job: row[0] for job, row in zip(ids, rows, strict=True) if row[0]}


def _rows(store: Store, ids: Sequence[str], names: Sequence[str]) -> list[Any]:
    return store.read(lambda ask: [ask.hmget(store.keys.engine.jobs + job, names) for job in ids])


def _evenly(store: Store, each: _List) -> list[Any]:
    if each.length <= JOBS_LOOKED_AT:
        whole: list[Any] = store.read(lambda ask: ask.lrange(each.key, 0, JOBS_LOOKED_AT - 1))[0]
        return whole
    step = each.length / JOBS_LOOKED_AT
    places = [int(step * number) for number in range(JOBS_LOOKED_AT)]
    return store.read(lambda ask: [ask.lindex(each.key, place) for place in places])


def _sum(lanes: Iterable[LaneStatus], name: str) -> float | None:
    found = [pace for lane in lanes if (pace := getattr(lane, name)) is not None]
    return sum(found) if found else None


def _in_force(
    status: Status, kinds: tuple[Workload, ...], incident: Incident | None, *, known: Sequence[str]
) -> list[InForce]:
    """What stands on queues and limits, oldest first, once for lanes that were done together.

    A queue that RQ does not know has never had a job: nobody outside is to hear of it.
    """
    found: dict[tuple[str, str, datetime], InForce] = {}
    taken = {divert.order for lane in status.lanes for divert in lane.diverts if divert.backlog}
    for lane in (lane for lane in status.lanes if lane.queue in known):
        for each in _of_lane(lane, kinds, incident, taken):
            found.setdefault((each.what, each.role, each.since), each)
    return sorted(found.values(), key=lambda each: each.since)


def _of_lane(
    lane: LaneStatus, kinds: tuple[Workload, ...], incident: Incident | None, taken: Container[str]
) -> Iterator[InForce]:
    """What stands on a lane; `taken` has the orders that have a backlog anywhere."""
    if lane.pause is not None:
        what = f"{_subject(kinds, lane.queue)} paused"
        yield InForce(what, _role(incident, lane.pause.by), lane.pause.since,
                      shlex.join(["shedder", "resume", lane.queue]), lane.pause.why)  # fmt: skip
    for divert in lane.diverts:
        whose = _whose_failed(kinds, lane.queue) if divert.is_retry else _subject(kinds, lane.queue, divert.selection)
        if divert.is_limit:
            what = f"{whose} started at a limit"
        elif divert.drain is not None:
            what = f"{whose} brought back at up to {divert.drain.rate}{_so_far(divert) if divert.is_retry else ''}"
        elif divert.halted is not None:
            ended = f"{divert.halted.failed} of the last {divert.halted.ended} that were let go failed"
            what = f"{whose} put aside and no longer brought back, because {ended}"
        elif divert.order in taken:
            what = f"{whose} put aside"
        else:
            what = f"{whose} to be put aside as they arrive, none so far"
        yield InForce(
            what, _role(incident, divert.by), divert.since, shlex.join(["shedder", "drain", lane.queue]), divert.why
        )


def _whose_failed(kinds: tuple[Workload, ...], queue: str) -> str:
    """Whose failed jobs come back, such as `failed receipts are`."""
    subject = _subject(kinds, queue)
    return f"failed jobs of {queue} are" if subject.startswith("all jobs of") else f"failed {subject}"


def _so_far(divert: Divert) -> str:
    """How far a retry is in one lane."""
    released, failed = (divert.drain.released, divert.drain.failed) if divert.drain else (0, 0)
    again = f", and {failed:,} of them failed again" if failed else ""
    return f": {released:,} of {released + divert.backlog:,} have started{again}"


def _subject(kinds: tuple[Workload, ...], queue: str, selection: Selection | None = None) -> str:
    """What a measure on `queue` concerns, such as `newsletters and reports are`."""
    own = [kind for kind in kinds if any(lane_of(lane).queue == queue for lane in kind.lanes)]
    taken = [kind for kind in own if selection is None or may_take(selection, kind.rule)]
    nouns = list(dict.fromkeys(kind.noun for kind in taken))
    if nouns and len(nouns) <= MOST_NOUNS:
        return f"{named(nouns)} are"
    return f"all jobs of {queue} are" if nouns or selection is None else f"some jobs of {queue} are"


def _role(incident: Incident | None, by: str) -> str:
    return incident.role_of(by) if incident else ""


def _notices(policy: Policy, status: Status) -> Iterator[str]:
    for flag in status.flags:
        if notice := policy.notices.get(flag.name):
            share = "" if flag.percent >= 100 else f" (for {flag.percent:g} % of customers)"
            yield f"{notice.rstrip('.')}{share}"
