"""Pause, resume, wait until idle: commands, flow, receipts.

A pause is in force when its command returns. A worker may have passed the gate just before, and
stock workers do not obey: so the flow parks their lanes, and waits until no start is uncertain.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from shedder.engine.workers import WorkerSeen, ask_registered, live_workers, registered_from
from shedder.errors import RecordUnreadable
from shedder.events import Cause, Event, event_head
from shedder.lanes import Lane
from shedder.queues.claims import RunningJob, ask_executions, list_claims, running_from, running_jobs
from shedder.queues.controls import Pause, in_one, in_steps, pause_from
from shedder.queues.samples import LANES_PER_SAMPLE, sample_lanes
from shedder.store.codec import RECORD_VERSION, given_fields, in_rows, mapping_field, text_of, time_from_ms
from shedder.store.keys import Keys
from shedder.store.store import Command, Store, new_id
from shedder.units import milliseconds_of

SETTLE_SECONDS = 1.0
"""A start that is not reported for so long after the gate is named as uncertain."""

GRACE_SECONDS = 0.05
"""From the report of a start to the first line of the function, on a busy machine."""

POLL_SECONDS = 0.01
WATCH_SECONDS = 0.2

IDS_PER_STEP = 1000
"""Ids that one step of a fold or a park moves at most: about 1 ms of the server."""


@dataclass(frozen=True, slots=True)
class PauseReceipt:
    """What `pause` did.

    Attributes:
        event: Id of its event; `undo` takes it.
        at: When it was in force (server's clock, UTC).
        until: When it expires, if it does; None also where an undo put pauses back that end
            at different times.
        lanes: The lanes, one by one.
        running: Jobs of these lanes that still run, uncertain ones among them.
        workers: The workers that serve these lanes, stock ones among them.
        resumed: Of an undo: the other lanes, which were not paused before and are not any more.
    """

    event: str
    at: datetime
    until: datetime | None
    lanes: tuple[PausedLane, ...]
    running: tuple[RunningJob, ...] = ()
    workers: tuple[WorkerSeen, ...] = ()
    resumed: tuple[ResumedLane, ...] = ()

    @property
    def stock_workers(self) -> tuple[WorkerSeen, ...]:
        """The workers that do not obey the pause."""
        return tuple(worker for worker in self.workers if worker.is_stock)


@dataclass(frozen=True, slots=True)
class PausedLane:
    """What `pause` did to one lane.

    Attributes:
        lane: Its name.
        waiting: Jobs that wait in it.
        replaced: The pause that was in force before, if there was one.
        parked: Jobs taken out of the reach of stock workers.
        restored: Of an undo: the pause that stood before and stands again.
    """

    lane: str
    waiting: int
    replaced: Pause | None = None
    parked: int = 0
    restored: Pause | None = None


@dataclass(frozen=True, slots=True)
class ResumeReceipt:
    """What `resume` did.

    Attributes:
        event: Id of its event; empty when nothing was paused.
        at: When it was in force (server's clock, UTC).
        lanes: The lanes, one by one.
    """

    event: str
    at: datetime
    lanes: tuple[ResumedLane, ...]


@dataclass(frozen=True, slots=True)
class ResumedLane:
    """What `resume` did to one lane.

    Attributes:
        lane: Its name.
        waiting: Jobs that wait in it.
        ended: The pause that ended; None when it was not paused.
    """

    lane: str
    waiting: int
    ended: Pause | None


@dataclass(frozen=True, slots=True)
class PausesSetBack:
    """Pauses that are as they were before an event, or why they are not.

    Attributes:
        state: `done`, `changed` (somebody has changed one since), `over` (they would have ended by
            now) or `same` (they are so already).
        receipt: What was done; None unless it is done.
        unfolded: Lanes in front of whose list ids still stand.
        changed: The lane that somebody has changed.
        standing: The pause that stands there now; None when it was resumed, or has ended.
        newer: Id of the event that set it, as far as it is noted.
    """

    state: str
    receipt: PauseReceipt | ResumeReceipt | None = None
    unfolded: tuple[str, ...] = ()
    changed: str = ""
    standing: Pause | None = None
    newer: str = ""


def pause(store: Store, lanes: Sequence[Lane], cause: Cause, expires_in: timedelta | None = None) -> PauseReceipt:
    """Pause `lanes`, and return when those that had just passed the gate have settled."""
    steps = in_steps(lanes, cause)
    return _held(store, in_one([store.run(pause_lanes(store.keys, *step, expires_in=expires_in)) for step in steps]))


def settle(store: Store, lanes: Sequence[str], running: tuple[RunningJob, ...]) -> tuple[RunningJob, ...]:
    """The jobs of `lanes` that run, once nobody is between the gate and the function.

    `running` are those that ran when it was last read.
    """
    deadline = time.monotonic() + SETTLE_SECONDS
    while not all(job.is_certain for job in running) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        running = running_jobs(store, lanes)
    if running:
        time.sleep(GRACE_SECONDS)
    return running


def wait_until_idle(
    store: Store,
    lanes: Sequence[str],
    *,
    timeout: timedelta | None = None,
    on_change: Callable[[tuple[RunningJob, ...]], None] | None = None,
) -> tuple[RunningJob, ...]:
    """Wait until no job of `lanes` runs; those that still do when `timeout` is over."""
    deadline = time.monotonic() + timeout.total_seconds() if timeout else None
    last: tuple[RunningJob, ...] | None = None
    while True:
        running = running_jobs(store, lanes)
        if on_change is not None and running != last:
            on_change(running)
        last = running
        if not running or (deadline is not None and time.monotonic() >= deadline):
            return running
        time.sleep(WATCH_SECONDS)


def resume(store: Store, lanes: Sequence[Lane], cause: Cause) -> ResumeReceipt:
    """End the pause of `lanes`; what was parked is in the lanes again, in order."""
    receipts = []
    for step in in_steps(lanes, cause):
        receipt, unfolded = store.run(resume_lanes(store.keys, *step))
        receipts.append(receipt)
        for lane in unfolded:
            fold(store, lane)
    return in_one(receipts)


def set_back(store: Store, ways: Mapping[str, tuple[str, str]], cause: Cause, *, undoes: Event) -> PausesSetBack:
    """Put the pauses of lanes back as they were; those that are paused again are parked again."""
    done = store.run(set_back_pauses(store.keys, ways, cause, undoes=undoes.id, undid=undoes.verb))
    for lane in done.unfolded:
        fold(store, lane)
    if isinstance(done.receipt, PauseReceipt):
        return replace(done, receipt=_held(store, done.receipt))
    return done


def fold(store: Store, lane: str) -> None:
    """Make `lane` one list again, in bounded steps."""
    while store.run(fold_lane(store.keys, lane)):
        pass


def pause_lanes(
    keys: Keys, lanes: Sequence[Lane], cause: Cause, *, operation: str = "", expires_in: timedelta | None = None
) -> Command[PauseReceipt]:
    """Pause `lanes` until they are resumed, or for `expires_in`."""
    names = tuple(lane.name for lane in lanes)
    duration = milliseconds_of(expires_in)

    def parse(reply: list[Any]) -> PauseReceipt:
        event, at, *rest = reply
        done = tuple(
            PausedLane(lane=name, waiting=int(waiting), replaced=_pause_or_none(name, previous))
            for name, (previous, waiting) in zip(names, in_rows(rest, 2), strict=True)
        )
        since = time_from_ms(int(at))
        return PauseReceipt(text_of(event), since, since + expires_in if expires_in else None, done)

    return Command(
        "pause_lanes",
        _keys(keys, operation, names),
        ("pause", event_head("pause", cause, names, duration_ms=duration or None), duration,
         cause.by, cause.why, *names),
        parse,
    )  # fmt: skip


def resume_lanes(
    keys: Keys, lanes: Sequence[Lane], cause: Cause, *, operation: str = ""
) -> Command[tuple[ResumeReceipt, tuple[str, ...]]]:
    """End the pause of `lanes`; with the receipt the lanes that must be folded."""
    names = tuple(lane.name for lane in lanes)

    def parse(reply: list[Any]) -> tuple[ResumeReceipt, tuple[str, ...]]:
        event, at, *rest = reply
        done = tuple(
            ResumedLane(lane=name, waiting=int(waiting), ended=_pause_or_none(name, record))
            for name, record, waiting in zip(names, rest[::3], rest[1::3], strict=True)
        )
        unfolded = tuple(name for name, front in zip(names, rest[2::3], strict=True) if int(front))
        return ResumeReceipt(text_of(event), time_from_ms(int(at)), done), unfolded

    return Command(
        "resume_lanes", _keys(keys, operation, names), ("resume", event_head("resume", cause, names), *names), parse
    )


def set_back_pauses(
    keys: Keys, ways: Mapping[str, tuple[str, str]], cause: Cause, *, undoes: str, undid: str = "", operation: str = ""
) -> Command[PausesSetBack]:
    """Put the pauses of lanes back; `ways` has by lane what stands now and what stood before.

    Both are JSON, and empty for no pause; see `pause_set_by` and `pause_before`.
    """
    said = tuple(part for name, way in ways.items() for part in (name, *way))
    return Command(
        "set_back_pauses",
        _keys(keys, operation, ways),
        ("set back", event_head("", cause, (), undoes=undoes, undid=undid or None), *said),
        lambda reply: _pauses_set_back(reply, ways),
    )


def pause_set_by(event: Event, lane: str) -> str:
    """What must stand on `lane` for `event` to be the last change there, as JSON."""
    after = mapping_field(event.after, lane)
    if not after.get("paused"):
        return ""
    known = {"event": after.get("event") or event.id, "by": event.by, "why": event.why}
    return json.dumps({**known, **given_fields(after, "until")})


def pause_before(event: Event, lane: str) -> str | None:
    """The record of the pause that `event` replaced on `lane`, as JSON; empty when there was none.

    None when the event does not say, because the record was damaged or an earlier shedder wrote it.
    """
    before = mapping_field(event.before, lane)
    if not before.get("paused"):
        return ""
    if "since" not in before:
        return None
    return json.dumps({"v": RECORD_VERSION, **given_fields(before, "by", "why", "since", "until", "event")})


def park_lane(keys: Keys, lane: str) -> Command[tuple[bool, int]]:
    """One step of taking the list of a paused lane out of the reach of stock workers.

    Its reply: whether nothing is left to move, and how many jobs are parked.
    """
    return Command(
        "park_lane",
        (keys.pauses, *keys.lane(lane)),
        (IDS_PER_STEP, lane),
        lambda reply: (bool(reply[0]), int(reply[1])),
    )


def fold_lane(keys: Keys, lane: str) -> Command[int]:
    """One step of making a lane one list again; its reply: ids still to be moved."""
    return Command("fold_lane", (keys.pauses, *keys.lane(lane)), (IDS_PER_STEP, lane), int)


def _held(store: Store, receipt: PauseReceipt) -> PauseReceipt:
    """The receipt of a pause, once its lanes are parked and no start is uncertain any more."""
    names = [lane.lane for lane in receipt.lanes]
    workers, running = _at_work(store, names)
    receipt = replace(receipt, lanes=_park(store, receipt.lanes, workers), workers=workers)
    if receipt.stock_workers:  # they may have started a job meanwhile
        running = running_jobs(store, names)
    return replace(receipt, running=settle(store, names, running))


def _at_work(store: Store, lanes: Sequence[str]) -> tuple[tuple[WorkerSeen, ...], tuple[RunningJob, ...]]:
    """The workers that serve `lanes`, and the jobs of them that run; the lanes are sampled."""

    def ask_all(ask: Any) -> None:
        ask_registered(ask, lanes)
        ask_executions(ask, lanes)

    sample = sample_lanes(store.keys, lanes[:LANES_PER_SAMPLE], is_upkeep=False)
    replies, claims = store.read_and_run(ask_all, list_claims(store.keys, limit=0), along=sample)
    registered = registered_from(lanes, replies[: len(lanes)])
    running = running_from(store, lanes, replies[len(lanes) :], claims)
    return live_workers(store, registered), running


def _park(store: Store, lanes: Sequence[PausedLane], workers: Sequence[WorkerSeen]) -> tuple[PausedLane, ...]:
    served = {name for worker in workers if worker.is_stock for name in worker.lanes}
    return tuple(_parked(store, lane) if lane.lane in served else lane for lane in lanes)


def _parked(store: Store, lane: PausedLane) -> PausedLane:
    is_done, parked = False, 0
    while not is_done:
        is_done, parked = store.run(park_lane(store.keys, lane.lane))
    return replace(lane, parked=parked)


def _pauses_set_back(reply: list[Any], ways: Mapping[str, tuple[str, str]]) -> PausesSetBack:
    state, *rest = reply
    if text_of(state) != "done":
        lane, record = map(text_of, rest[:2])
        standing = _pause_or_none(lane, record)
        newer = json.loads(record).get("event", "") if standing and standing.by else ""
        return PausesSetBack(text_of(state), changed=lane, standing=standing, newer=newer)
    resume, pause, at, *numbers = rest
    resumed, paused, unfolded = [], [], []
    rows = zip(ways.items(), in_rows(numbers, 4), strict=True)
    for (name, (_, was)), (kind, record, waiting, front) in rows:
        ended = _pause_or_none(name, record)
        if text_of(kind) == "resumed":
            resumed.append(ResumedLane(name, int(waiting), ended))
        elif text_of(kind) == "paused":
            restored = _pause_or_none(name, was)
            paused.append(PausedLane(name, int(waiting), ended, restored=restored))
        if int(front):
            unfolded.append(name)
    since = time_from_ms(int(at))
    if not paused:
        return PausesSetBack("done", ResumeReceipt(text_of(resume), since, tuple(resumed)), tuple(unfolded))
    ends = {each.restored.until for each in paused if each.restored}
    until = ends.pop() if len(ends) == 1 else None
    receipt = PauseReceipt(text_of(pause), since, until, tuple(paused), resumed=tuple(resumed))
    return PausesSetBack("done", receipt, tuple(unfolded))


def _pause_or_none(lane: str, record: bytes | str) -> Pause | None:
    """The pause that `record` describes; a damaged one is told as by nobody, never hidden."""
    try:
        return pause_from(lane, record)
    except RecordUnreadable as error:
        return Pause(lane, by="", why=str(error), since=time_from_ms(0))


def _keys(keys: Keys, operation: str, lanes: Iterable[str]) -> tuple[str, ...]:
    lane_keys = (key for lane in lanes for key in keys.lane(lane))
    return (keys.pauses, keys.events, keys.operation(operation or new_id()), *lane_keys)
