"""How is a change taken back?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

from shedder import journal
from shedder.applied import PolicyReceipt, undo_policy
from shedder.degrading import undo_flags
from shedder.drain import order_drain, rate_or_none
from shedder.errors import CannotUndo
from shedder.keys import Keys
from shedder.lanes import Lane, lane_of
from shedder.limiting import undo_limit
from shedder.rates import Rate
from shedder.records import (
    Cause,
    DivertReceipt,
    DrainReceipt,
    Event,
    PauseReceipt,
    RestoreReceipt,
    ResumeReceipt,
)
from shedder.rq import pausing
from shedder.rq.fleet import workers_of
from shedder.rq.progress import Progress
from shedder.rq.relimiting import limit_before
from shedder.rq.restoring import Backlog, restore
from shedder.rq.skipping import bring_back
from shedder.setting_records import FlagReceipt, LimitReceipt
from shedder.store import Store
from shedder.stored import diverts_from, server_time

Undone = (
    PauseReceipt
    | ResumeReceipt
    | RestoreReceipt
    | DivertReceipt
    | DrainReceipt
    | FlagReceipt
    | LimitReceipt
    | PolicyReceipt
)

EVENTS_LOOKED_AT = 200


def event_to_undo(store: Store, keys: Keys, event_id: str | None) -> Event:
    """The event with this id; the last that can be taken back when none is named.

    Raises:
        EventNotFound: there is none with this id.
        CannotUndo: there is no way back from it, or nothing to undo.
    """
    event = journal.find_event(store, keys, event_id) if event_id else _last(store, keys)
    if not event.can_undo:
        raise CannotUndo(
            event.id,
            reason=f"there is no way back from '{event.verb}'",
            try_instead="shedder status",
        )
    return event


def undo(store: Store, keys: Keys, event: Event, cause: Cause) -> Undone:
    """Take back what `event` did."""
    if event.verb == "pause":
        return _resume(store, keys, event, cause)
    if event.verb == "resume":
        return _pause_again(store, keys, event, cause)
    if event.verb == "limit start":
        return limit_before(store, keys, event, cause) or _restore(store, keys, event, cause)
    if event.verb == "divert":
        return _restore(store, keys, event, cause)
    if event.verb == "policy apply":
        return undo_policy(store, keys, event, cause, operation=uuid4().hex)
    if event.verb.startswith("flag "):
        return _flags_as_before(store, keys, event, cause)
    if event.verb.startswith("limit "):
        return undo_limit(store, keys, event, cause, operation=uuid4().hex)
    return _drain_as_before(store, keys, event, cause)


def restore_targets(
    store: Store,
    keys: Keys,
    lanes: Sequence[str],
    cause: Cause,
    *,
    on_progress: Progress | None = None,
) -> RestoreReceipt:
    """Put all backlogs of `lanes` back."""
    backlogs = backlogs_of(store, keys, lanes)
    events, restored = restore(store, keys, backlogs, cause, on_progress=on_progress)
    # who died after the last step of a restore left the front of the lane where it was merged
    for lane in set(lanes).difference(lane for lane, _, _ in backlogs):
        pausing.fold(store, keys, lane)
    return RestoreReceipt(events, server_time(store), restored)


def lift_limits(store: Store, keys: Keys, lanes: Sequence[str], cause: Cause) -> RestoreReceipt:
    """End the limits on starts of `lanes`; what waits under them is in the lanes again."""
    backlogs = backlogs_of(store, keys, lanes, are_limits=True)
    # the last first: what comes back from an earlier one could still be taken by a later one
    events, restored = restore(store, keys, backlogs[::-1], cause)
    return RestoreReceipt(events, server_time(store), restored)


def _last(store: Store, keys: Keys) -> Event:
    events = journal.read_events(store, keys, limit=EVENTS_LOOKED_AT, wanted=_counts)
    undone = {event.undoes for event in events if event.undoes}
    for event in reversed(events):
        if event.can_undo and not event.undoes and event.id not in undone:
            return event
    raise CannotUndo("(last)", reason="there is nothing to undo", try_instead="shedder events")


def _counts(event: Event) -> bool:
    return event.can_undo or bool(event.undoes)


def _resume(store: Store, keys: Keys, event: Event, cause: Cause) -> ResumeReceipt:
    records = store.read(lambda ask: [ask.hget(keys.pauses, lane) for lane in event.lanes])
    if not any(records):
        raise CannotUndo(
            event.id, reason="nothing of it is paused now", try_instead="shedder status"
        )
    later = journal.read_events(
        store, keys, limit=EVENTS_LOOKED_AT, after=event.id, lanes=event.lanes,
        wanted=lambda each: each.verb == "pause",
    )  # fmt: skip
    newer = next((each for each in reversed(later) if each.verb == "pause"), None)
    if newer is not None:
        raise CannotUndo(
            event.id,
            reason=f"{newer.by} has paused it again since",
            try_instead=f"shedder undo {newer.id}",
        )
    lanes = [lane_of(name) for name in event.lanes]
    return pausing.resume(store, keys, lanes, cause, operation=uuid4().hex, undoes=event.id)


def _pause_again(store: Store, keys: Keys, event: Event, cause: Cause) -> PauseReceipt:
    lanes = [lane_of(name) for name in event.lanes if event.before.get(name, {}).get("paused")]
    until = [event.before[lane.name].get("until") for lane in lanes]
    left = None
    if until and all(until):
        left = timedelta(milliseconds=max(until) - server_time(store).timestamp() * 1000)
        if left <= timedelta():
            raise CannotUndo(
                event.id, reason="the pause would have ended by now", try_instead="shedder pause"
            )
    return pausing.pause(
        store, keys, lanes, cause, operation=uuid4().hex, expires_in=left, undoes=event.id
    )


def _restore(store: Store, keys: Keys, event: Event, cause: Cause) -> RestoreReceipt:
    backlogs = backlogs_of(store, keys, event.lanes, only=event.order)
    if not backlogs:
        raise CannotUndo(
            event.id,
            reason="this divert has ended, its backlog is empty",
            try_instead="shedder status",
        )
    events, lanes = restore(store, keys, backlogs, cause, undoes=event.id)
    return RestoreReceipt(events, server_time(store), lanes)


def _flags_as_before(store: Store, keys: Keys, event: Event, cause: Cause) -> FlagReceipt:
    receipt = undo_flags(store, keys, event, cause, operation=uuid4().hex)
    return bring_back(store, keys, receipt)


def _drain_as_before(store: Store, keys: Keys, event: Event, cause: Cause) -> DrainReceipt:
    if not backlogs_of(store, keys, event.lanes):
        raise CannotUndo(
            event.id,
            reason="this drain has ended, its backlog is empty",
            try_instead="shedder status",
        )
    done = [
        store.run(order_drain(keys, lanes, rate, cause, operation=uuid4().hex, undoes=event.id))
        for rate, lanes in _lanes_by_rate(event).items()
    ]
    return DrainReceipt(
        event=next((each.event for each in done if each.event), ""),
        at=done[-1].at,
        rate=max(
            filter(None, _lanes_by_rate(event)), key=lambda rate: rate.per_second, default=None
        ),
        lanes=tuple(lane for each in done for lane in each.lanes),
        workers=workers_of(store, keys, list(event.lanes)),
    )


def _lanes_by_rate(event: Event) -> dict[Rate | None, list[Lane]]:
    """The rates at which the lanes of a drain drained before it; None for those that did not."""
    found: dict[Rate | None, list[Lane]] = {}
    for name, before in event.before.items():
        rate = rate_or_none(float(before.get("rate", 0)) / 1000)
        found.setdefault(rate, []).append(lane_of(name))
    return found


def backlogs_of(
    store: Store,
    keys: Keys,
    lanes: Sequence[str],
    *,
    only: str = "",
    are_limits: bool = False,
) -> list[Backlog]:
    """The backlogs of diverts of `lanes` (of limits with `are_limits`), or of the order `only`."""
    if not lanes:
        return []
    records = store.read(lambda ask: ask.hmget(keys.diverts, list(lanes)))[0]
    orders = [
        (lane, each)
        for lane, record in zip(lanes, records, strict=True)
        for each in diverts_from(lane, record)
        if (each.divert.order == only if only else each.divert.is_limit == are_limits)
    ]
    if not orders:
        return []
    lengths = store.read(
        lambda ask: [ask.llen(part) for _, each in orders for part in each.backlog_keys]
    )
    return [
        (lane, each.divert.order, sum(lengths[3 * index : 3 * index + 3]))
        for index, (lane, each) in enumerate(orders)
    ]
