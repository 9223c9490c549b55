"""The situation: each workload, measured, and what has been done and still holds.

Late jobs of a workload that has lanes of its own are counted: lists are in order of time. Of one
that shares its lanes, and for the tenants, some jobs of each list are read, evenly spaced; then the
numbers are estimates, and say so.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from shedder.api.shedder import Shedder
from shedder.engine.jobs import function_name
from shedder.incident.records import Incident
from shedder.lanes import lane_of
from shedder.policy.model import Policy
from shedder.policy.workload import Workload, kinds_of
from shedder.queues.controls import diverts_from
from shedder.queues.samples import Sample
from shedder.selection import Selection
from shedder.status.readings import WAITING_FIELDS, LaneStatus, Status, waiting_from
from shedder.store.codec import ms_from_time, text_of
from shedder.store.keys import Keys
from shedder.store.store import Command, Store
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
        oldest: How long the oldest of them has waited; None when none waits.
        tenants: Whose jobs are late, counted; None when the jobs do not say.
        since: When it became late (server's clock, UTC); None when it is not, or nobody knows.
        arrivals: Jobs that arrive a second; None when not known.
        completions: Jobs that end a second; None when not known.
        is_estimated: The counts were made from a part of the jobs.
        is_tenants_partial: The tenants were counted in a part of the jobs, so there may be more.
        targets: The queues or lanes that it is in.
    """

    noun: str
    tolerance: timedelta
    waiting: int = 0
    held: int = 0
    late: int = 0
    oldest: timedelta | None = None
    tenants: int | None = None
    since: datetime | None = None
    arrivals: float | None = None
    completions: float | None = None
    is_estimated: bool = False
    is_tenants_partial: bool = False
    targets: tuple[str, ...] = ()

    @property
    def is_late(self) -> bool:
        """Whether any of it has waited longer than it may."""
        return self.late > 0

    @property
    def net(self) -> float | None:
        """Jobs by which it becomes fewer a second; negative when it grows; None when not known."""
        if self.arrivals is None or self.completions is None:
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
    """

    at: datetime
    works: tuple[MeasuredWorkload, ...] = ()
    measures: tuple[InForce, ...] = ()
    notices: tuple[str, ...] = ()
    next_update: datetime | None = None
    title: str = ""
    began: datetime | None = None


LOOK_BACK = timedelta(hours=24)
MOST_NOUNS = 3
JOBS_LOOKED_AT = 500
"""Of each list; a list that is no longer is read as a whole."""

LATE_PROBES = 200
TENANT_FIELD = "tenant"


def read_situation(
    shed: Shedder, policy: Policy, incident: Incident | None, *, next_update: datetime | None = None
) -> Situation:
    """How things are, in the words of the policy."""
    status = shed.status()
    kinds = kinds_of(policy, [lane.queue for lane in status.lanes])
    lanes = tuple(dict.fromkeys(lane for kind in kinds for lane in kind.lanes))
    samples = shed.samples(*lanes, since=status.at - LOOK_BACK) if lanes else {}
    if next_update is None and incident is not None:
        next_update = due_at(incident, policy.incident)
    return Situation(
        at=status.at,
        works=tuple(_measured(shed.store, kind, status, samples) for kind in kinds),
        measures=tuple(_in_force(status, kinds, incident, known=shed.queues())),
        notices=tuple(_notices(policy, status)),
        next_update=next_update,
        title=incident.title if incident else "",
        began=(incident.began_at or incident.opened_at) if incident else None,
    )


def count_late(keys: Keys, lists: Sequence[str], cutoff: datetime) -> Command[list[int]]:
    """How many jobs of each of `lists` were enqueued before `cutoff`."""
    return Command("count_late", tuple(lists), (ms_from_time(cutoff), keys.engine.jobs, LATE_PROBES), list)


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
    store: Store, kind: Workload, status: Status, samples: Mapping[str, Sequence[Sample]]
) -> MeasuredWorkload:
    """How this kind of work is; `status` and `samples` are of its lanes, among others."""
    by_name = {lane.lane: lane for lane in status.lanes}
    lanes, at = [by_name[each] for each in kind.lanes if each in by_name], status.at
    lists = _lists(store, lanes)
    found = MeasuredWorkload(
        kind.noun, kind.tolerance, arrivals=_sum(lanes, "arrivals"),
        completions=_sum(lanes, "completions"),
        targets=tuple(dict.fromkeys(lane.lane for lane in lanes)),
    )  # fmt: skip
    if not lists:
        return found
    cutoff = at - kind.tolerance
    jobs = [job for job in _jobs(store, lists) if _is_of(kind, lanes, job)]
    if kind.rule is None:
        waiting, held, late, oldest = _counted(store, lists, lanes, cutoff)
    else:
        waiting, held, late, oldest = _estimated(jobs, cutoff)
        found = replace(found, arrivals=None, completions=None)  # those of all jobs of the lanes
    is_partial = any(each.length > JOBS_LOOKED_AT for each in lists)
    tenants = {job.meta.get(TENANT_FIELD) for job in jobs if job.is_older_than(cutoff)} - {None}
    return replace(
        found, waiting=waiting, held=held, late=late, tenants=len(tenants) or None,
        oldest=None if oldest is None else max(at - oldest, timedelta()),
        since=_late_since(kind, samples, at) if late else None,
        is_estimated=is_partial and kind.rule is not None, is_tenants_partial=is_partial,
    )  # fmt: skip


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


def _counted(store: Store, lists: Sequence[_List], lanes: Sequence[LaneStatus], cutoff: datetime) -> _Counts:
    late = store.run(count_late(store.keys, [each.key for each in lists], cutoff))
    times = [time for lane in lanes for time in (lane.oldest, lane.oldest_in_backlog) if time]
    held = sum(each.length for each in lists if each.is_held)
    return sum(each.length for each in lists), held, sum(late), min(times, default=None)


def _estimated(jobs: Sequence[_Job], cutoff: datetime) -> _Counts:
    times = [job.enqueued_at for job in jobs if job.enqueued_at is not None]
    late = sum(job.weight for job in jobs if job.is_older_than(cutoff))
    held = sum(job.weight for job in jobs if job.is_held)
    waiting = sum(job.weight for job in jobs)
    return round(waiting), round(held), round(late), min(times, default=None)


def _is_of(kind: Workload, lanes: Sequence[LaneStatus], job: _Job) -> bool:
    rule = kind.rule
    if rule is None:
        return True
    queues = {lane_of(lane.lane).queue for lane in lanes}
    return any(rule.matches(queue=queue, function=job.function, meta=job.meta) for queue in queues)


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
            yield _Job(each.length / len(ids), each.is_held, seen.enqueued, function, seen.meta)


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
                      f"shedder resume {lane.queue}", lane.pause.why)  # fmt: skip
    for divert in lane.diverts:
        whose = _subject(kinds, lane.queue, divert.selection)
        if divert.is_limit:
            what = f"{whose} started at a limit"
        elif divert.drain is not None:
            what = f"{whose} brought back at up to {divert.drain.rate}"
        elif divert.order in taken:
            what = f"{whose} put aside"
        else:
            what = f"{whose} to be put aside as they arrive, none so far"
        yield InForce(what, _role(incident, divert.by), divert.since, f"shedder drain {lane.queue}", divert.why)


def _subject(kinds: tuple[Workload, ...], queue: str, selection: Selection | None = None) -> str:
    """What a measure on `queue` concerns, such as `newsletters and reports are`."""
    own = [kind for kind in kinds if any(lane_of(lane).queue == queue for lane in kind.lanes)]
    taken = [kind for kind in own if selection is None or _may_take(selection, kind)]
    nouns = list(dict.fromkeys(kind.noun for kind in taken))
    if nouns and len(nouns) <= MOST_NOUNS:
        return f"{named(nouns)} are"
    return f"all jobs of {queue} are" if nouns or selection is None else f"some jobs of {queue} are"


def _may_take(selection: Selection, kind: Workload) -> bool:
    """Whether `selection` takes jobs of this kind, as far as their functions tell."""
    globs = kind.rule.selection.functions if kind.rule else ()
    if selection.is_whole or not selection.functions or not globs:
        return True
    pairs = [(mine, theirs) for mine in selection.functions for theirs in globs]
    return any(
        Selection(functions=(one,)).matches(function=other.replace("*", "x"), meta={}, age=timedelta())
        for one, other in (*pairs, *(pair[::-1] for pair in pairs))
    )


def _role(incident: Incident | None, by: str) -> str:
    return incident.role_of(by) if incident else ""


def _notices(policy: Policy, status: Status) -> Iterator[str]:
    for flag in status.flags:
        if notice := policy.notices.get(flag.name):
            share = "" if flag.percent >= 100 else f" (for {flag.percent:g} % of customers)"
            yield f"{notice.rstrip('.')}{share}"
