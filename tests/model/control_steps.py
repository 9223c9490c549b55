"""What operators do, one script at a time, in any order."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from shedder import backlog, controls
from shedder.backlog import divert_lanes, restore_lane, scan_lane
from shedder.drain import order_drain, release_backlog
from shedder.lanes import lane_of, lanes_of_targets
from shedder.rates import Rate
from shedder.rq.diverting import judge
from shedder.selection import Selection
from tests.model.expected import Hold, Order, Pace, verdict
from tests.model.hands import new_id
from tests.model.machine import CAUSE, Machine, lanes_named, repeats, targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

SELECTIONS = (
    Selection(),
    Selection(),
    Selection(functions=("app.mail.*",)),
    Selection(functions=("app.report.build",)),
    Selection(meta=(("tenant", "acme"),)),
    Selection(older_than=timedelta(hours=1)),
    Selection(functions=("app.mail.*",), meta=(("tenant", "acme"),)),
    Selection(functions=("app.mail.send",), older_than=timedelta(hours=1)),
)
FAST, SLOW = Rate(1e9), Rate(1, 86400.0)
MOST_ORDERS = 3
few = st.sampled_from((1, 2, 1000))


class ControlSteps(Machine):
    """Steps of operators, and of whoever goes on with what they began."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.scans: dict[tuple[str, str], tuple[str, int, list[tuple[str, bool]]]] = {}
        self.restores: dict[tuple[str, str], tuple[str, int]] = {}

    @rule(where=targets, again=repeats, what=st.sampled_from(("pause", "resume", "resume")))
    def pause_or_resume(self, where: str, again: bool, what: str) -> None:
        if what == "resume":
            self.resume(where, again=again)
        else:
            self.pause(where, again=again, expires=again)

    def pause(self, where: str, *, again: bool, expires: bool) -> None:
        names, operation = lanes_named(where), new_id()
        command = controls.pause_lanes(
            self.keys,
            lanes_of_targets([where]),
            CAUSE,
            operation=operation,
            expires_in=timedelta(hours=1) if expires else None,
        )
        done = self.send(command, operation=operation, again=again)
        assert [len(self.model.lanes[name]) for name in names] == [e.waiting for e in done.lanes]
        self.end_those_over(names)
        for name in names:
            self.model.pauses[name] = Hold(is_parked=self.model.is_parked(name))
        self.expect_event("pause", names)

    def resume(self, where: str, *, again: bool) -> None:
        names, operation = lanes_named(where), new_id()
        command = controls.resume_lanes(
            self.keys, lanes_of_targets([where]), CAUSE, operation=operation
        )
        done = self.send(command, operation=operation, again=again)
        self.end_those_over(names)
        ended = [name for name in names if self.model.pauses.pop(name, None)]
        assert ended == [lane.lane for lane in done.receipt.lanes if lane.ended]
        if ended:
            self.expect_event("resume", names)

    def end_those_over(self, names: Sequence[str]) -> None:
        for name in names:
            hold = self.model.pauses.get(name)
            if hold is not None and hold.is_over:
                del self.model.pauses[name]
                self.expect_event("pause expired", (name,))

    @precondition(lambda self: self.model.pauses)
    @rule(data=st.data(), parks=st.sampled_from((True, True, False)), at_a_time=few)
    def park_or_expire(self, data: st.DataObject, parks: bool, at_a_time: int) -> None:
        """One step of parking a paused lane; or the time of its pause is over."""
        name = data.draw(st.sampled_from(sorted(self.model.pauses)))
        if parks:
            self.park(name, at_a_time)
            return
        record = json.loads(self.redis.hget(self.keys.pauses, name) or b"")
        record["until"] = record["since"] - 1
        self.redis.hset(self.keys.pauses, name, json.dumps(record))
        self.model.pauses[name].is_over = True

    def park(self, lane: str, at_a_time: int) -> None:
        with mock.patch.object(controls, "IDS_PER_STEP", at_a_time):
            command = controls.park_lane(self.keys, lane)
        is_done, _ = self.store.run(command)
        assert is_done or self.model.is_held(lane)
        if self.model.is_held(lane):
            self.model.pauses[lane].is_parked = True

    @precondition(lambda self: self.lanes_in_parts())
    @rule(data=st.data(), at_a_time=few)
    def fold(self, data: st.DataObject, at_a_time: int) -> None:
        """One step of making a lane one list again."""
        lane = data.draw(st.sampled_from(self.lanes_in_parts()))
        with mock.patch.object(controls, "IDS_PER_STEP", at_a_time):
            command = controls.fold_lane(self.keys, lane)
        self.store.run(command)

    def lanes_in_parts(self) -> list[str]:
        return [lane for lane, parts in self.seen.parts.items() if parts.kept or parts.parked]

    # diverts

    @rule(
        where=targets,
        selection=st.sampled_from(SELECTIONS),
        again=repeats,
        at_a_time=st.sampled_from((0, 1, 2, 500)),
    )
    def divert(self, where: str, selection: Selection, again: bool, at_a_time: int) -> None:
        """Set a divert, and let its scan run to the end unless `at_a_time` is 0."""
        names, order = lanes_named(where), new_id()
        if any(len(self.model.orders[name]) >= MOST_ORDERS for name in names):
            return
        tick = self.next_tick()
        command = divert_lanes(self.keys, lanes_of_targets([where]), selection, CAUSE, order=order)
        done = self.send(command, operation=order, again=again)
        for name, identifier, moved, waiting in done.lanes:
            stands = self.order_like(name, selection)
            if stands is None:
                stands = Order(order, selection, tick)
                self.model.orders[name].append(stands)
            assert stands.id == identifier
            self.expect_diverted(name, stands, moved)
            assert len(self.model.lanes[name]) == waiting
        self.expect_event("divert", names)
        for name in names:
            stands = self.order_like(name, selection)
            while stands and stands.is_scanning and at_a_time:
                self.look_again()
                self.scan_step(name, stands, at_a_time)

    def order_like(self, lane: str, selection: Selection) -> Order | None:
        same = (
            each
            for each in self.model.orders[lane]
            if each.selection == selection and not each.is_restoring
        )
        return next(same, None)

    def expect_diverted(self, lane: str, order: Order, moved: int) -> None:
        """The front of the lane goes behind the backlog: all of it, if it is in one list."""
        waiting, parts = self.model.lanes[lane], self.parts(lane)
        order.is_scanning = not order.is_whole and bool(waiting)
        order.pace = None
        if order.is_whole and not order.backlog and not (parts.parked and parts.listed):
            assert len(waiting) == moved
        assert order.is_whole or not moved
        order.backlog += waiting[:moved]
        del waiting[:moved]

    @precondition(lambda self: any(order.is_scanning for _, order in self.orders()))
    @rule(data=st.data(), at_a_time=st.sampled_from((1, 3, 500)), again=repeats, forgets=repeats)
    def scan(self, data: st.DataObject, at_a_time: int, again: bool, forgets: bool) -> None:
        """One step of a scan, by who began it or by somebody who goes on with it."""
        lane, order = data.draw(st.sampled_from([e for e in self.orders() if e[1].is_scanning]))
        self.scan_step(lane, order, at_a_time, again=again, forgets=forgets)

    def scan_step(
        self,
        lane: str,
        order: Order,
        at_a_time: int,
        *,
        again: bool = False,
        forgets: bool = False,
    ) -> None:
        key = (lane, order.id)
        fresh: tuple[str, int, list[tuple[str, bool]]] = (new_id(), 0, [])
        operation, step, judged = fresh if forgets else self.scans.get(key, fresh)
        with mock.patch.object(backlog, "JOBS_PER_STEP", at_a_time):
            command = scan_lane(
                self.keys, lane, order.id, CAUSE, operation=operation, step=step, judged=judged
            )
        done = self.send(command, operation=operation, again=again)
        self.expect_scanned(lane, order, dict(judged), at_a_time, done)
        judged = [(job.job_id, judge(job, order.selection)) for job in done.undecided]
        self.scans[key] = (operation, step + 1, judged)

    def expect_scanned(
        self, lane: str, order: Order, judged: dict[str, bool], limit: int, done: Any
    ) -> None:
        parts = self.parts(lane)
        source = list(parts.parked or parts.listed)[:limit]
        taken, looked_at = self.scanned(source, order.selection, judged)
        left = [job for job in source[:looked_at] if job not in taken]
        assert (len(taken), looked_at) == (done.moved, done.looked_at)
        first = len(parts.kept)
        self.model.lanes[lane][first : first + looked_at] = left
        order.backlog += taken
        is_done = len(self.model.lanes[lane]) == first + len(left)
        assert done.state == ("done" if is_done else "more")
        if is_done:
            order.is_scanning = False
            self.expect_event("scan", (lane,))

    def scanned(
        self, source: list[str], selection: Selection, judged: dict[str, bool]
    ) -> tuple[list[str], int]:
        """The jobs that a scan takes, and how many it looks at before one it cannot decide."""
        taken = []
        for looked_at, job in enumerate(source):
            work = self.model.works[job]
            answer = verdict(work, selection, knows_function=work.is_noted, knows_meta=False)
            answer = 0 if work.status == "gone" else answer
            answer = int(judged[job]) if job in judged else answer
            if answer == -1:
                return taken, looked_at
            if answer == 1:
                taken.append(job)
        return taken, len(source)

    @precondition(lambda self: self.orders())
    @rule(data=st.data(), at_a_time=st.sampled_from((1, 2, 500)), again=repeats, forgets=repeats)
    def restore(self, data: st.DataObject, at_a_time: int, again: bool, forgets: bool) -> None:
        """One step of putting a backlog back."""
        standing = [each for each in self.orders() if each[1].backlog] or self.orders()
        lane, order = data.draw(st.sampled_from(standing))
        key = (lane, order.id)
        fresh = (new_id(), 0)
        operation, step = fresh if forgets else self.restores.get(key, fresh)
        self.restores[key] = (operation, step + 1)
        with mock.patch.object(backlog, "JOBS_PER_STEP", at_a_time):
            command = restore_lane(self.keys, lane, order.id, CAUSE, operation=operation, step=step)
        done = self.send(command, operation=operation, again=again)
        if done.state == "fold":
            assert self.parts(lane).kept
            del self.replies[operation]
            return
        self.expect_restored(lane, order, done)

    def expect_restored(self, lane: str, order: Order, done: Any) -> None:
        """The front of the backlog is in the lane, and both are in the order they had."""
        waiting, backlog_left = self.look_at(lane, order.id)
        moved = order.backlog[: len(order.backlog) - len(backlog_left)]
        assert order.backlog == moved + backlog_left
        assert len(moved) == done.restored
        assert is_merged(waiting, moved, self.model.lanes[lane])
        self.model.lanes[lane] = waiting
        order.backlog = backlog_left
        order.is_restoring, order.pace, order.is_scanning = True, None, False
        assert done.state == ("more" if backlog_left else "done")
        if not backlog_left:
            self.model.orders[lane].remove(order)
            self.expect_event("restore", (lane,))

    # drains

    @precondition(lambda self: self.orders())
    @rule(
        data=st.data(),
        rate=st.sampled_from((FAST, FAST, FAST, SLOW, None)),
        stays=repeats,
        again=repeats,
    )
    def drain(self, data: st.DataObject, rate: Rate | None, stays: bool, again: bool) -> None:
        lane, _ = data.draw(st.sampled_from(self.orders()))
        where = data.draw(st.sampled_from((explicit(lane), explicit(lane), lane_of(lane).queue)))
        names, operation = lanes_named(where), new_id()
        command = order_drain(
            self.keys, lanes_of_targets([where]), rate, CAUSE, operation=operation, stays=stays
        )
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
        return not order.backlog and not (order.is_whole and self.model.lanes[lane])

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
        while order.backlog and order.pace.may_start and out < cap:
            job = order.backlog.pop(0)
            if not self.model.works[job].obstacle:
                waiting.append(job)
                order.last_released = job
                order.pace.tokens -= 1
                out += 1
        self.model.end_if_drained(lane, order)

    # replies that were lost, and a server that lost its scripts

    @precondition(lambda self: self.replies)
    @rule(data=st.data(), flushes=repeats)
    def replay(self, data: st.DataObject, flushes: bool) -> None:
        """A client that lost a reply repeats the last step of its operation, however late."""
        if flushes:
            self.redis.script_flush()
        command, reply = self.replies[data.draw(st.sampled_from(sorted(self.replies)))]
        assert reply == self.store.run(command)


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


def is_merged(whole: list[str], first: list[str], second: list[str]) -> bool:
    """Whether `whole` has the ids of both, each in the order it had."""
    ends = {(0, 0)}
    for job in whole:
        ends = {
            (i + (side == 0), j + (side == 1))
            for i, j in ends
            for side, rest in ((0, first[i : i + 1]), (1, second[j : j + 1]))
            if rest == [job]
        }
    return (len(first), len(second)) in ends and len(whole) == len(first) + len(second)
