"""What comes back and what was done: drains, retries and the journal, as a page or a screen shows them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import fmean, stdev

from shedder.events import Event, verb_of
from shedder.incident.effects import effects_of
from shedder.incident.records import Effect, Incident, Reading
from shedder.lanes import targets_of
from shedder.postmortem.narrative import event_sentence, undone_at
from shedder.queues.controls import Divert, HaltedDrain
from shedder.queues.samples import Sample, combined
from shedder.status.readings import LaneStatus, Status
from shedder.wording import moment, pace, spoken

MEASURED = timedelta(minutes=2)
"""The time of which samples tell how fast a backlog becomes less."""

BIN_SECONDS = 10.0
"""The error is told from the differences between so long times."""

FEWEST_BINS = 3

LONGEST_AHEAD = timedelta(days=14)

DRAINING, HALTED, STANDS = "draining", "halted", "stands"
"""What a backlog does."""


@dataclass(frozen=True, slots=True)
class DrainRow:
    """The backlogs of one order.

    Attributes:
        order: Its id.
        state: `draining`, `halted` or `stands` (nobody has ordered a drain, or it was stopped).
        is_retry: It holds failed jobs that come back.
        is_limit: It is a limit on starts.
        targets: The queues or lanes, as commands name them.
        words: Which jobs it takes.
        by: Who ordered the drain; where there is none, the divert.
        why: For which reason.
        since: Since when (server's clock, UTC).
        rate: The rate of the drain, such as `200/second`; empty without one.
        left: Jobs in the backlogs.
        released: Jobs released so far.
        failed: Those of them that have failed.
        skipped: Jobs that could not run any more, by cause.
        halted: Why it halted; None when it did not.
        is_served: Workers serve all its lanes that have a backlog.
        end: When it will be over, with the error; empty where there is nothing to tell.
        bounds: The terms of a limit on starts; empty for all others.
    """

    order: str
    state: str
    is_retry: bool
    is_limit: bool
    targets: tuple[str, ...]
    words: str
    by: str
    why: str
    since: datetime
    rate: str = ""
    left: int = 0
    released: int = 0
    failed: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    halted: HaltedDrain | None = None
    is_served: bool = True
    end: str = ""
    bounds: str = ""

    @property
    def share_done(self) -> float:
        """The share of its jobs that it has released, 0 to 1."""
        whole = self.released + self.left
        return self.released / whole if whole else 1.0


@dataclass(frozen=True, slots=True)
class JournalLine:
    """One event as people read it.

    Attributes:
        id: Its id.
        at: When it happened (server's clock, UTC).
        verb: Its verb.
        by: Who did it.
        role: The role in which they did it; empty without one.
        what: What was done, in words.
        why: For which reason.
        numbers: Its numbers, in a few words.
        effect: What became of its lanes some minutes later; empty where it is not known.
        targets: What it concerns, as commands name it.
        lanes: The lanes concerned.
        can_undo: There is a way back that is still open.
        is_undone: It was undone since.
        is_undo: It undid another one.
    """

    id: str
    at: datetime
    verb: str
    by: str
    role: str
    what: str
    why: str
    numbers: str = ""
    effect: str = ""
    targets: tuple[str, ...] = ()
    lanes: tuple[str, ...] = ()
    can_undo: bool = False
    is_undone: bool = False
    is_undo: bool = False


# drains


def drains_of(status: Status, samples: Mapping[str, Sequence[Sample]] | None = None) -> tuple[DrainRow, ...]:
    """The orders that stand, those that halted first, then those that drain."""
    together: dict[str, list[tuple[LaneStatus, Divert]]] = {}
    for lane in status.lanes:
        for divert in lane.diverts:
            together.setdefault(divert.order, []).append((lane, divert))
    rows = [_drain_row(pairs, status.at, samples or {}) for pairs in together.values()]
    return tuple(sorted(rows, key=lambda row: (_ORDER[row.state], -row.left)))


_ORDER = {HALTED: 0, DRAINING: 1, STANDS: 2}


def _drain_row(
    pairs: Sequence[tuple[LaneStatus, Divert]], at: datetime, samples: Mapping[str, Sequence[Sample]]
) -> DrainRow:
    first = pairs[0][1]
    drains = [each.drain for _, each in pairs if each.drain is not None]
    ordered = drains[0] if drains and not first.is_limit else first
    left = sum(each.backlog for _, each in pairs)
    skipped: dict[str, int] = {}
    for drain in drains:
        for cause, jobs in drain.skipped.items():
            skipped[cause] = skipped.get(cause, 0) + jobs
    halted = next((each.halted for _, each in pairs if each.halted is not None), None)
    return DrainRow(
        order=first.order,
        state=HALTED if halted else DRAINING if drains else STANDS,
        is_retry=first.is_retry,
        is_limit=first.is_limit,
        targets=targets_of(lane.lane for lane, _ in pairs),
        words="failed jobs that come back" if first.is_retry else first.selection.describe(),
        by=ordered.by, why=ordered.why, since=ordered.since,
        rate=str(drains[0].rate) if drains else str(halted.rate) if halted else "",
        left=left,
        released=sum(each.released for each in drains),
        failed=sum(each.failed for each in drains),
        skipped=skipped,
        halted=halted,
        is_served=all(lane.workers or lane.stock_workers for lane, each in pairs if each.backlog),
        end=_end_of(pairs, at, samples) if drains and not first.is_limit else "",
        bounds=_bounds_of(first) if first.is_limit else "",
    )  # fmt: skip


def _bounds_of(divert: Divert) -> str:
    terms = [str(divert.drain.rate)] if divert.drain else []
    return ", ".join([*terms, *([f"{divert.most} at once"] if divert.most else [])])


def _end_of(pairs: Sequence[tuple[LaneStatus, Divert]], at: datetime, samples: Mapping[str, Sequence[Sample]]) -> str:
    """When its backlogs are empty; measured where the lanes have no other backlog, else by its rate."""
    left = sum(each.backlog for _, each in pairs)
    if not left:
        return "its backlog is empty"
    if any(lane.pause is not None for lane, each in pairs if each.backlog):
        return "not before its pause is over"
    if not all(lane.workers or lane.stock_workers for lane, each in pairs if each.backlog):
        return "it stands: no worker serves it"
    since = max([at - MEASURED, *(each.drain.since for _, each in pairs if each.drain is not None)])
    series = [[sample for sample in samples.get(lane.lane, ()) if sample.at >= since] for lane, _ in pairs]
    is_own = all(len(lane.diverts) == 1 for lane, _ in pairs)
    paces = paces_of_backlog(combined([each for each in series if each])) if is_own and any(series) else ()
    if len(paces) < FEWEST_BINS:
        slowest = max(each.backlog / each.drain.rate.per_second for _, each in pairs if each.drain is not None)
        return f"not before {moment(at + timedelta(seconds=slowest), at)}, at its rate; too young to measure"
    return end_sentence(left, paces, at)


def paces_of_backlog(samples: Sequence[Sample]) -> tuple[float, ...]:
    """By how many jobs a second the backlog became less, in times of `BIN_SECONDS` at least."""
    found: list[float] = []
    first = next(iter(samples), None)
    for sample in samples:
        if first is not None and (seconds := (sample.at - first.at).total_seconds()) >= BIN_SECONDS:
            found.append((first.backlog - sample.backlog) / seconds)
            first = sample
    return tuple(found)


def end_sentence(left: int, paces: Sequence[float], at: datetime) -> str:
    """`about 14:52 (14:50 to 14:55), 58/s lately`: from paces that were measured, and how they differ."""
    mean = fmean(paces)
    error = 2 * stdev(paces) / math.sqrt(len(paces)) if len(paces) > 1 else mean
    if mean <= 0 or left / mean > LONGEST_AHEAD.total_seconds():
        return "it does not become less: as much arrives as starts"
    when = moment(at + timedelta(seconds=left / mean), at)
    soonest = moment(at + timedelta(seconds=left / (mean + error)), at)
    if error >= mean:
        return f"about {when} (not before {soonest}; it may be much later), {pace(mean)} lately"
    latest = moment(at + timedelta(seconds=left / (mean - error)), at)
    between = "" if soonest == latest else f" ({soonest} to {latest})"
    return f"about {when}{between}, {pace(mean)} lately"


# the journal


def journal_of(
    events: Sequence[Event], samples: Mapping[str, Sequence[Sample]], incident: Incident | None, at: datetime
) -> tuple[JournalLine, ...]:
    """The newest of `events`, which come oldest first, as the first line."""
    undone = undone_at(events)
    effects = {
        each.event: effect_sentence(each) for each in effects_of(incident or _none_open(at), events, samples, at)
    }
    return tuple(_line(each, effects.get(each.id, ""), is_undone=each.id in undone) for each in reversed(events))


def _none_open(at: datetime) -> Incident:
    """An incident that has measured nothing and is not over."""
    return Incident("", "", 5, at, "")


def _line(event: Event, effect: str, *, is_undone: bool) -> JournalLine:
    names = event.details.get("names")
    targets = targets_of(event.lanes)
    return JournalLine(
        event.id, event.at, event.verb, event.by, event.role, event_sentence(event), event.why,
        numbers=verb_of(event).numbers(event), effect=effect,
        targets=targets or (tuple(map(str, names)) if isinstance(names, list) else ()),
        lanes=event.lanes,
        can_undo=event.can_undo and not is_undone and not event.undoes, is_undone=is_undone, is_undo=bool(event.undoes),
    )  # fmt: skip


def effect_sentence(effect: Effect) -> str:
    """`after 5 min: 41,200 to 310 waiting, oldest 38 min to 12 s`."""
    before, after = _in_all(effect.before.values()), _in_all(effect.after.values())
    told = [f"{before[0]:,} to {after[0]:,} waiting"]
    if before[1] or after[1]:
        told.append(f"{before[1]:,} to {after[1]:,} in the backlog")
    if before[2] or after[2]:
        told.append(f"oldest {_age(before[2])} to {_age(after[2])}")
    return f"after {spoken(timedelta(seconds=effect.after_seconds))}: {', '.join(told)}"


def _in_all(readings: Iterable[Reading]) -> tuple[int, int, float]:
    known = list(readings)
    oldest = max((each.oldest_seconds or 0.0 for each in known), default=0.0)
    return sum(each.waiting for each in known), sum(each.backlog for each in known), oldest


def _age(seconds: float) -> str:
    return spoken(timedelta(seconds=seconds))


def sampled_lanes(events: Sequence[Event], *, most: int) -> tuple[str, ...]:
    """The lanes of which samples are needed to tell the effects of `events`, the newest first."""
    lanes = dict.fromkeys(lane for each in reversed(events) if verb_of(each).has_effect for lane in each.lanes)
    return tuple(lanes)[:most]
