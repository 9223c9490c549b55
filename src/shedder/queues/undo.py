"""The way back: which change can be undone, and how."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from shedder.errors import CannotUndo, NothingToUndo
from shedder.events import Cause, Event, events_back, events_of_operation, find_event
from shedder.lanes import target_of
from shedder.policy.applied import PolicyReceipt, undo_policy
from shedder.queues.controls import Backlog, Standing, standing_on, with_lengths
from shedder.queues.divert import DivertReceipt
from shedder.queues.drain import DrainReceipt
from shedder.queues.pause import PauseReceipt, PausesSetBack, ResumeReceipt, pause_before, pause_set_by, set_back
from shedder.queues.restore import RestoreReceipt, restore_backlogs
from shedder.queues.retry import RetryTakenBack, take_back
from shedder.queues.skip import put_back
from shedder.queues.starts import changed_since, divert_before, drain_before, is_as_set_by, set_by
from shedder.settings.flags import FlagReceipt, undo_flags
from shedder.settings.limits import LimitReceipt, undo_limit
from shedder.store.codec import mapping_field
from shedder.store.store import Store, new_id

Undone = (
    PauseReceipt | ResumeReceipt | RestoreReceipt | DivertReceipt | DrainReceipt
    | FlagReceipt | LimitReceipt | PolicyReceipt | RetryTakenBack
)  # fmt: skip


def event_to_undo(store: Store, event_id: str) -> Event:
    """The event with this id.

    Raises:
        EventNotFound: there is none with this id.
        CannotUndo: there is no way back from it.
    """
    event = find_event(store, event_id)
    if not event.can_undo:
        raise _no_way_back(store, event)
    return event


def changes_to_undo(store: Store) -> Iterator[Event]:
    """The changes that have a way back and were not undone since, the last one first."""
    undone: set[str] = set()
    for event in events_back(store):
        if event.id in undone:
            continue
        if event.can_undo and not event.undoes:
            yield event
        undone.add(event.undoes)


def undo(store: Store, event: Event, cause: Cause) -> Undone:
    """Take back what `event` did, and what else was done with it.

    Raises:
        CannotUndo: nothing of it, or not all of it, could be taken back; the error says so.
    """
    parts = [each for each in events_of_operation(store, event) if each.can_undo]
    if len(parts) == 1:
        return _undone(store, parts[0], cause)
    cause = replace(cause, operation=new_id())
    done: list[Undone] = []
    refused: list[CannotUndo] = []
    for part in parts:
        try:
            done.append(_undone(store, part, cause))
        except CannotUndo as error:
            refused.append(error)
    kept = [each for each in refused if not isinstance(each, NothingToUndo)]
    if not done:
        raise (kept or refused)[0]
    if kept:
        reason = f"{len(done)} of its {len(parts)} parts were taken back, and of another {kept[0].reason}"
        raise CannotUndo(event.id, reason=reason, try_instead=kept[0].try_instead)
    return _in_one(done)


def _in_one(receipts: Sequence[Undone]) -> Undone:
    """One receipt of all: of the kind that most lanes need, with the events of the others."""
    kinds = [type(each) for each in receipts]
    kind = next((each for each in (PauseReceipt, RestoreReceipt) if each in kinds), kinds[0])
    alike: list[Any] = [each for each in receipts if isinstance(each, kind)]
    others: list[Any] = [each for each in receipts if not isinstance(each, kind)]
    lanes = tuple(lane for each in alike for lane in each.lanes)
    if kind is RestoreReceipt:
        events = (*(each.event for each in others), *(event for each in alike for event in each.events))
        return replace(alike[-1], lanes=lanes, events=events)  # type: ignore[no-any-return]
    if kind is PauseReceipt:
        resumed = (lane for each in receipts for lane in getattr(each, "resumed", getattr(each, "lanes", ())))
        return replace(alike[-1], lanes=lanes, resumed=tuple(resumed))  # type: ignore[no-any-return]
    return replace(alike[-1], lanes=lanes)  # type: ignore[no-any-return]


def _undone(store: Store, event: Event, cause: Cause) -> Undone:
    if event.verb in ("pause", "resume"):
        return _pauses_before(store, event, cause)
    if event.verb in ("divert", "limit start"):
        return _divert_before(store, event, cause)
    if event.verb == "retry":
        return _retry_before(store, event, cause)
    if event.verb == "policy apply":
        return undo_policy(store, event, cause)
    if event.verb.startswith("flag "):
        return put_back(store, undo_flags(store, event, cause))
    if event.verb.startswith("limit "):
        return undo_limit(store, event, cause)
    return drain_before(store, event, cause)


def _no_way_back(store: Store, event: Event) -> CannotUndo:
    reason, try_instead = f"there is no way back from '{event.verb}'", "shedder status"
    if event.verb == "drain halted":
        reason += ", and what its drain released has started; when its jobs succeed, drain again"
        try_instead = _drain_again(store, event)
    elif event.details.get("retry"):
        retries = [each.id for each in events_of_operation(store, event) if each.can_undo]
        reason += ", which is a part of a retry"
        try_instead = f"shedder undo {retries[0]}" if retries else try_instead
    return CannotUndo(event.id, reason=reason, try_instead=try_instead)


def _drain_again(store: Store, event: Event) -> str:
    """The command that goes on where a drain halted."""
    halted = [each.divert.halted for orders in standing_on(store, event.lanes).values() for each in orders]
    rate = next((f" --rate {each.rate}" for each in halted if each and each.event == event.id), "")
    return f"shedder drain {shlex.join(map(target_of, event.lanes))}{rate}"


def _pauses_before(store: Store, event: Event, cause: Cause) -> PauseReceipt | ResumeReceipt:
    ways = {lane: _way_of_pause(event, lane) for lane in event.lanes if lane in event.after}
    done = set_back(store, ways, cause, undoes=event)
    if done.receipt is None:
        raise _pauses_stay(event, done)
    return done.receipt


def _way_of_pause(event: Event, lane: str) -> tuple[str, str]:
    before = pause_before(event, lane)
    if before is None:
        reason = f"it does not say which pause stood on {lane} before it"
        raise CannotUndo(event.id, reason=reason, try_instead="shedder resume")
    return pause_set_by(event, lane), before


def _pauses_stay(event: Event, done: PausesSetBack) -> CannotUndo:
    if done.state == "over":
        return NothingToUndo(event.id, reason="the pause would have ended by now", try_instead="shedder pause")
    if done.state == "same":
        return NothingToUndo(event.id, reason="all of it is as it was before", try_instead="shedder status")
    if done.standing is None:
        reason = f"{done.changed} was resumed, or its pause has ended, since"
        return NothingToUndo(event.id, reason=reason, try_instead="shedder status")
    reason = f"{done.standing.by} has paused {done.changed} again since"
    try_instead = f"shedder undo {done.newer}".strip() if done.newer else "shedder status"
    return CannotUndo(event.id, reason=reason, try_instead=try_instead)


def _divert_before(store: Store, event: Event, cause: Cause) -> RestoreReceipt | DivertReceipt | DrainReceipt:
    standing = standing_on(store, event.lanes)
    known = {lane: orders for lane, orders in standing.items() if _stood_before(event, lane)}
    backlogs = _set_first_by(store, event, {k: v for k, v in standing.items() if k not in known})
    changed = divert_before(store, event, cause, known) if known else None
    if changed and not backlogs:
        return changed
    set_by_lane = {lane: set_by(event, lane) for lane, _, _ in backlogs}
    receipt = restore_backlogs(store, backlogs, cause, undoes=event.id, undid=event.verb, set_by=set_by_lane)
    if changed:
        return replace(receipt, events=(changed.event, *receipt.events))
    if not receipt.events:
        reason = "this divert has ended, its backlog is empty"
        raise NothingToUndo(event.id, reason=reason, try_instead="shedder status")
    return receipt


def _retry_before(store: Store, event: Event, cause: Cause) -> RetryTakenBack:
    done = [take_back(store, lane, event.order, cause, undoes=event.id) for lane in event.lanes]
    for receipt in done:
        if receipt is not None:
            return receipt
    reason = "all that this retry brought back has started, or was taken back"
    raise NothingToUndo(event.id, reason=reason, try_instead="shedder status")


def _stood_before(event: Event, lane: str) -> bool:
    return mapping_field(event.before, lane).get("diverted") is True


def _set_first_by(store: Store, event: Event, standing: Standing) -> list[Backlog]:
    """The backlogs of the order that `event` set on lanes where it did not stand before."""
    found = [(lane, each) for lane, orders in standing.items() for each in orders if each.divert.order == event.order]
    for lane, each in found:
        if not is_as_set_by(event, each):
            raise changed_since(event, lane, each.divert.by)
    return with_lengths(store, found)
