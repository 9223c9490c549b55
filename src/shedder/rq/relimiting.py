"""How is a change of a limit on starts taken back?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from uuid import uuid4

from shedder.backlog import LimitTerms
from shedder.errors import CannotUndo
from shedder.keys import Keys
from shedder.lanes import lane_of
from shedder.records import Cause, Divert, DivertReceipt, Event, StartsLimit
from shedder.rq.diverting import divert
from shedder.store import Store
from shedder.stored import diverts_from, server_time, starts_limit_from, time_from_ms


def limit_before(store: Store, keys: Keys, event: Event, cause: Cause) -> DivertReceipt | None:
    """Set the limit as it was before `event`; None when the event set a first one.

    Raises:
        CannotUndo: it was changed since, was not the same on all lanes, or would have ended by now.
    """
    if not any(_since(event, lane) for lane in event.lanes):  # of a shedder before this one
        return None
    before = {
        lane: starts_limit_from(lane, found["limit"])
        for lane, found in event.before.items()
        if isinstance(found, Mapping) and "limit" in found
    }
    standing = _standing(store, keys, event)
    if not before:
        return None
    terms = _terms(store, event, before)
    return divert(
        store, keys, [lane_of(name) for name in event.lanes], standing.selection, cause,
        order=uuid4().hex, terms=terms, undoes=event.id,
    )  # fmt: skip


def _standing(store: Store, keys: Keys, event: Event) -> Divert:
    """The limit that `event` set, on its first lane; it must stand on all of them."""
    records = store.read(lambda ask: ask.hmget(keys.diverts, list(event.lanes)))[0]
    found = [
        each.divert
        for lane, record in zip(event.lanes, records, strict=True)
        for each in diverts_from(lane, record)
        if each.divert.is_limit and each.divert.since == _since(event, lane)
    ]
    if len(found) < len(event.lanes):
        raise CannotUndo(
            event.id, reason="this limit was changed, or has ended, since",
            try_instead="shedder status",
        )  # fmt: skip
    return found[0]


def _since(event: Event, lane: str) -> object:
    since = event.after.get(lane, {}).get("since")
    return None if since is None else time_from_ms(since)


def _terms(store: Store, event: Event, before: Mapping[str, StartsLimit]) -> LimitTerms:
    terms = {(each.rate, each.most, each.until) for each in before.values()}
    if len(terms) > 1 or len(before) < len(event.lanes):
        raise CannotUndo(
            event.id, reason="before it not all lanes had the same limit",
            try_instead="shedder limit starts",
        )  # fmt: skip
    rate, most, until = terms.pop()
    left = None if until is None else until - server_time(store)
    if left is not None and left <= timedelta():
        raise CannotUndo(
            event.id, reason="the limit before it would have ended by now",
            try_instead="shedder limit lift",
        )  # fmt: skip
    return LimitTerms(rate, most, left)
