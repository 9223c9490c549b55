"""Limits on starts lifted; diverts, limits and drains set back as they were before an event.

An event says of each lane what it replaced. A script compares what stands with what the event set,
and writes the earlier one again, in one step for all lanes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shedder.engine.workers import workers_of
from shedder.errors import CannotUndo, NothingToUndo
from shedder.events import Cause, Event, event_head
from shedder.queues.controls import LimitTerms, Standing, StoredDivert, backlogs_of, rate_or_none, standing_on
from shedder.queues.divert import DivertedLane, DivertReceipt, OrdersSetBack, set_back_orders
from shedder.queues.drain import DrainingLane, DrainReceipt
from shedder.queues.restore import RestoreReceipt, restore_backlogs
from shedder.selection import Selection
from shedder.store.codec import given_fields, mapping_field, ms_from_time
from shedder.store.keys import Keys
from shedder.store.store import Store
from shedder.units import Rate, burst_of

Ways = dict[str, dict[str, Any]]
"""By lane and order what `set_back_orders` takes."""


def lift_limits(store: Store, lanes: Sequence[str], cause: Cause) -> RestoreReceipt:
    """End the limits on starts of `lanes`; what waits under them is in the lanes again."""
    backlogs = backlogs_of(store, lanes, are_limits=True)
    # the last first: what comes back from an earlier one could still be taken by a later one
    return restore_backlogs(store, backlogs[::-1], cause)


def divert_before(store: Store, event: Event, cause: Cause, standing: Standing) -> DivertReceipt | DrainReceipt | None:
    """Set the diverts or limits that `event` changed as they were; None when all have ended.

    Raises:
        CannotUndo: one was changed since; or a limit would have ended by now.
    """
    ways = _ways_of_orders(event, standing)
    if not ways:
        return None
    selection = _selection_of(ways, standing)
    terms = _common_terms(ways)
    head = event_head(
        event.verb, cause, tuple(ways), undoes=event.id, undid=event.verb, selection=selection.describe(),
        order=next(iter(ways[next(iter(ways))])), **terms.describe(),
    )  # fmt: skip
    done = _carry_out(store, event, ways, head)
    if event.verb == "divert" and _fastest(ways):
        return _drain_receipt(store, done, _fastest(ways), halt_at=_halt_at(ways))
    return DivertReceipt(
        done.event, done.at, selection,
        tuple(DivertedLane(each.lane, each.order, 0, each.waiting) for each in done.orders),
        workers_of(store, list(ways)), rate=terms.rate, most=terms.most,
        replaced=tuple(each.limit for each in done.orders if each.limit),
    )  # fmt: skip


def drain_before(store: Store, event: Event, cause: Cause) -> DrainReceipt:
    """Let the backlogs of `event` drain as they did before it; what it ended stands again.

    Raises:
        CannotUndo: a drain was changed since, or all of them have ended.
    """
    ways = {lane: _way_of_drains(store.keys, event, lane) for lane in event.lanes if lane in event.before}
    rate = _fastest(ways)
    verb = "drain" if rate else "drain stopped"
    head = event_head(verb, cause, tuple(ways), undoes=event.id, undid=event.verb, rate=rate and str(rate))
    _check_not_halted(store, event)
    return _drain_receipt(store, _carry_out(store, event, ways, head), rate, halt_at=_halt_at(ways))


def is_as_set_by(event: Event, each: StoredDivert) -> bool:
    """Whether nobody has set the order `each` again since `event`."""
    after = event.after.get(each.divert.lane, {})
    if each.divert.is_limit and ms_from_time(each.divert.since) != after.get("since"):
        return False
    return each.event in ("", set_by(event, each.divert.lane))


def set_by(event: Event, lane: str) -> str:
    """The event that the order on `lane` names, as long as `event` was its last change."""
    return str(event.after.get(lane, {}).get("event") or event.id)


def changed_since(event: Event, lane: str, by: str) -> CannotUndo:
    """The refusal to undo `event` because `by` has changed `lane` since."""
    reason = f"{by or 'somebody'} has changed what stands on {lane} since, or it has ended"
    return CannotUndo(event.id, reason=reason, try_instead="shedder events")


def _check_not_halted(store: Store, event: Event) -> None:
    """A drain that has halted by itself is over, and what it released has started."""
    for lane, orders in standing_on(store, event.lanes).items():
        halted = next((each.divert.halted for each in orders if each.divert.halted), None)
        if halted and halted.drain == event.id:
            reason = (
                f"this drain of {lane} has halted by itself: "
                f"{halted.failed} of its last {halted.ended} jobs failed; nothing drains, and what is left "
                "is in the backlog"
            )
            raise NothingToUndo(event.id, reason=reason, try_instead="shedder status")


def _carry_out(store: Store, event: Event, ways: Ways, head: str) -> OrdersSetBack:
    done = store.run(set_back_orders(store.keys, ways, head))
    if done.state == "changed":
        raise changed_since(event, done.lane, done.by)
    if done.state == "over":
        reason = f"the limit before it on {done.lane} would have ended by now"
        raise CannotUndo(event.id, reason=reason, try_instead="shedder limit lift")
    if done.state == "ended":
        what = "drain" if event.verb.startswith("drain") else "divert"
        reason = f"this {what} has ended, its backlog is empty"
        raise NothingToUndo(event.id, reason=reason, try_instead="shedder status")
    return done


def _ways_of_orders(event: Event, standing: Standing) -> Ways:
    ways = {lane: _way_of_order(event, lane, orders) for lane, orders in standing.items()}
    known = {(lane, each.divert.order) for lane, orders in standing.items() for each in orders}
    return {lane: way for lane, way in ways.items() if (lane, next(iter(way))) in known}


def _way_of_order(event: Event, lane: str, orders: Sequence[StoredDivert]) -> dict[str, Any]:
    before, after = event.before[lane], event.after.get(lane, {})
    limit = before.get("limit")
    order = before.get("order") or _changed_limit(orders, after)
    if not order:
        raise _unknown(event, lane, "shedder status")
    drain = mapping_field(after, "drains").get(order, "")
    now = {"event": set_by(event, lane), **given_fields(after, "since"), "drain": drain}
    was = _limit_record(limit) if limit else given_fields(before, "event", "drain")
    return {order: {"is": now, "was": was}}


def _changed_limit(orders: Sequence[StoredDivert], after: Mapping[str, Any]) -> str:
    """The limit that an event of an earlier shedder changed, which does not name it."""
    found = (each.divert for each in orders if each.divert.is_limit)
    return next((it.order for it in found if ms_from_time(it.since) == after.get("since")), "")


def _limit_record(limit: Mapping[str, Any]) -> dict[str, Any]:
    pace = {"rate": limit["rate"], "burst": _burst(limit["rate"])} if "rate" in limit else {}
    who = given_fields(limit, "by", "why", "since")
    drain = {**pace, **given_fields(limit, "most"), "stay": True, **who}
    return {**who, **given_fields(limit, "until", "event"), "drain": drain}


def _burst(jobs_per_ms: float) -> float:
    rate = rate_or_none(jobs_per_ms)
    return burst_of(rate) if rate else 0.0


def _way_of_drains(keys: Keys, event: Event, lane: str) -> dict[str, Any]:
    before, stamps = event.before[lane], mapping_field(event.after.get(lane, {}), "drains")
    if "drains" not in before:
        raise _unknown(event, lane, "shedder drain")
    if before.get("revived"):
        reason = f"it brought back a divert of {lane} that a drain had ended"
        raise CannotUndo(event.id, reason=reason, try_instead="shedder drain")
    ended = mapping_field(before, "ended")
    return {
        order: {
            "is": {"drain": stamps.get(order, event.id)},
            "was": {"drain": drain} if drain else {},
            "bucket": keys.drain(order, lane),
            **({"ended": ended[order]} if order in ended else {}),
        }
        for order, drain in before["drains"].items()
    }


def _unknown(event: Event, lane: str, try_instead: str) -> CannotUndo:
    reason = f"it does not say what stood on {lane} before it: an earlier shedder wrote it"
    return CannotUndo(event.id, reason=reason, try_instead=try_instead)


def _selection_of(ways: Ways, standing: Standing) -> Selection:
    chosen = {order for way in ways.values() for order in way}
    found = (each.divert for orders in standing.values() for each in orders)
    return next((it.selection for it in found if it.order in chosen), Selection())


def _drains(ways: Ways) -> Iterable[Mapping[str, Any]]:
    return (item["was"].get("drain") or {} for way in ways.values() for item in way.values())


def _fastest(ways: Ways) -> Rate | None:
    return rate_or_none(max((float(drain.get("rate", 0)) for drain in _drains(ways)), default=0.0))


def _halt_at(ways: Ways) -> float | None:
    """The share of failed jobs at which the first of the drains halts; None when none does."""
    return next((float(drain["halt"]) for drain in _drains(ways) if "halt" in drain), None)


def _common_terms(ways: Ways) -> LimitTerms:
    """What a limit allows; of diverts, and where lanes differ, nothing in particular."""
    terms = {(drain.get("rate", 0), drain.get("most")) for drain in _drains(ways)}
    is_limit = all("since" in item["was"] for way in ways.values() for item in way.values())
    if not is_limit or len(terms) != 1:
        return LimitTerms()
    rate, most = terms.pop()
    return LimitTerms(rate_or_none(float(rate)), most if most is None else int(most))


def _drain_receipt(store: Store, done: OrdersSetBack, rate: Rate | None, *, halt_at: float | None) -> DrainReceipt:
    lanes = [DrainingLane(each.lane, each.order, each.backlog, each.rate) for each in done.orders]
    workers = workers_of(store, [each.lane for each in lanes])
    return DrainReceipt(done.event, done.at, rate, tuple(lanes), workers, halt_at)
