"""What operators do to drains, one script at a time."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from shedder.lanes import lane_of, lanes_of_targets
from shedder.queues.drain import order_drain, release_backlog
from shedder.units import Rate
from tests.model.hands import new_id
from tests.model.machine import CAUSE, Machine, lanes_named, repeats
from tests.model.things import Order, Pace

FAST, SLOW = Rate(1e9), Rate(1, 86400.0)


class DrainSteps(Machine):
    """Steps of drains, and of releases for stock workers."""

    @precondition(lambda self: self.orders())
    @rule(data=st.data(), rate=st.sampled_from((FAST, FAST, FAST, SLOW, None)), stays=repeats, again=repeats)
    def drain(self, data: st.DataObject, rate: Rate | None, stays: bool, again: bool) -> None:
        lane, _ = data.draw(st.sampled_from(self.orders()))
        where = data.draw(st.sampled_from((explicit(lane), explicit(lane), lane_of(lane).queue)))
        names, operation = lanes_named(where), new_id()
        command = order_drain(self.keys, lanes_of_targets([where]), rate, CAUSE, operation=operation, stays=stays)
        done = self.send(command, operation=operation, again=again)
        standing = [(n, o) for n in names for o in self.model.orders[n] if not o.is_restoring]
        assert [(n, o.id, len(o.backlog)) for n, o in standing] == [
            (lane.lane, lane.order, lane.backlog) for lane in done.lanes
        ]
        if standing:
            self.expect_event("drain" if rate else "drain stopped", names)
        ended = [each for each in standing if rate and not stays and self.is_empty(*each)]
        for lane, order in standing:
            order.pace = paced(order.pace, rate, stays=stays)
            if (lane, order) in ended:
                self.model.orders[lane].remove(order)
        if ended:
            self.expect_event("drained", tuple(lane for lane, _ in ended))

    def is_empty(self, lane: str, order: Order) -> bool:
        """Whether nothing is left to drain, in the lane either if all of it is diverted."""
        has_more = order.is_scanning or (order.is_whole and self.model.lanes[lane])
        return not order.backlog and not has_more

    @precondition(lambda self: any(order.pace for _, order in self.orders()))
    @rule(data=st.data(), cap=st.sampled_from((1, 2, 5)))
    def release(self, data: st.DataObject, cap: int) -> None:
        """One step of releasing a backlog for stock workers."""
        lane, order = data.draw(st.sampled_from([e for e in self.orders() if e[1].pace]))
        self.expect_released(lane, order, cap)
        self.store.run(release_backlog(self.keys, lane, order.id, cap=cap))

    def expect_released(self, lane: str, order: Order, cap: int) -> None:
        if self.model.is_held(lane) or order.pace is None:
            return
        parts, waiting = self.parts(lane), self.model.lanes[lane]
        out = len(parts.listed)
        if order.is_whole:
            near = parts.listed[:cap]
            out = near.index(order.last_released) + 1 if order.last_released in near else 0
            arrived = len(waiting) - len(parts.listed) + out
            order.backlog += waiting[arrived:]
            del waiting[arrived:]
        aside: list[str] = []
        while order.backlog and order.pace.may_start and out < cap:
            job = order.backlog.pop(0)
            if self.model.works[job].obstacle:
                continue
            if self.model.is_stale(job):
                aside.append(job)
            else:
                waiting.append(job)
                order.last_released = job
                order.pace.tokens -= 1
                out += 1
        self.model.tell_aside(lane, aside)
        self.model.end_if_drained(lane, order)


def explicit(lane: str) -> str:
    """The target that stands for one lane only."""
    return f"{lane_of(lane).queue}.{lane_of(lane).priority}"


def paced(before: Pace | None, rate: Rate | None, *, stays: bool) -> Pace | None:
    """The pace after an order to drain: a slower one keeps at most one token."""
    if rate is None:
        return None
    if rate is FAST:
        return Pace(is_fast=True, stays=stays)
    tokens = 0 if before is None else 1 if before.is_fast else before.tokens
    return Pace(is_fast=False, stays=stays, tokens=tokens)
