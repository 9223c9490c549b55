"""Jobs that fail, come back by a retry, and are taken back, one script at a time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from rq.job import Job

from shedder.queues.drain import end_drained
from shedder.queues.retry import NO_JOB, put_back_failed, retry_jobs
from tests.features.failures import fail_job
from tests.model.hands import new_id
from tests.model.machine import CAUSE, LANES, Machine, repeats
from tests.model.things import Order

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_ENDS = 60
"""More than the last ends of which a halt decides."""


class RetrySteps(Machine):
    """Steps of retries: out of RQ's registry, halted, and back."""

    @precondition(lambda self: any(parts.listed for parts in self.seen.parts.values()))
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        """A job that stands once, in the list of its lane, fails."""
        lane = data.draw(st.sampled_from([name for name, parts in self.seen.parts.items() if parts.listed]))
        job = data.draw(st.sampled_from(self.seen.parts[lane].listed))
        work = self.model.works[job]
        if work.obstacle or work.lane != lane or work.status != "queued" or self.places_of(job) != 1:
            return
        fail_job(self, Job.fetch(job, connection=self.redis))
        self.model.lanes[lane].remove(job)
        work.status = "failed"
        self.model.failed[lane].append(job)

    def places_of(self, job: str) -> int:
        """In how many places the job is, or is in somebody's hands."""
        lists = [*self.model.lanes.values(), *self.model.stale.values(), *(o.backlog for _, o in self.orders())]
        claimed = sum(taken.job == job for taken in self.model.claims.values())
        return sum(each.count(job) for each in lists) + claimed

    @precondition(lambda self: any(self.model.failed.values()))
    @rule(data=st.data(), adds=st.booleans(), again=repeats)
    def retry(self, data: st.DataObject, adds: bool, again: bool) -> None:
        """One step of a retry, the first of its order, or one that adds to an order that stands."""
        lane = data.draw(st.sampled_from([name for name in LANES if self.model.failed[name]]))
        jobs = data.draw(st.lists(st.sampled_from(self.model.failed[lane]), unique=True, min_size=1))
        standing = [order for order in self.model.orders[lane] if order.selection == NO_JOB and not order.is_restoring]
        order = data.draw(st.sampled_from(standing)) if standing and adds else None
        identifier, operation, tick = order.id if order else new_id(), new_id(), self.next_tick()
        command = retry_jobs(
            self.keys, lane, lane, jobs, CAUSE, order=identifier, selection="s", rate="1/second",
            operation=operation, step=1,
        )  # fmt: skip
        done = self.send(command, operation=operation, again=again)
        moved = [job for job in jobs if self.model.works[job].status == "failed"]
        assert len(moved) == done.moved
        assert {job for job in jobs if job not in moved} == set(done.skipped)
        self.expect_moved(lane, order or Order(identifier, NO_JOB, tick), moved)

    def expect_moved(self, lane: str, order: Order, moved: Sequence[str]) -> None:
        if not moved:
            return
        if order not in self.model.orders[lane]:
            self.model.orders[lane].append(order)
            self.expect_event("retry", (lane,))
        parts = self.front_of(lane, order)
        order.backlog[parts:parts] = moved[::-1]
        for job in moved:
            self.model.works[job].status, self.model.works[job].retry = "queued", order.id
            self.model.failed[lane].remove(job)

    def front_of(self, lane: str, order: Order) -> int:
        """How many jobs of the backlog are not in its last list: those that came back to its front."""
        front, _, slot = self.keys.backlog(order.id, lane)
        seen = {each.id: each for each in self.seen.orders.get(lane, ())}
        return 0 if order.id not in seen else sum(self.redis.llen(key) for key in (front, slot))

    @precondition(lambda self: any(order.pace for _, order in self.orders()))
    @rule(data=st.data())
    def halt(self, data: st.DataObject) -> None:
        """Too many of what a drain has released fail."""
        lane, order = data.draw(st.sampled_from([e for e in self.orders() if e[1].pace]))
        drains = self.drains()
        ends = (self.store.run(end_drained(self.keys, lane, order.id, "f")) for _ in range(MOST_ENDS))
        assert next(filter(None, ends), "")
        halted = [e for e in self.orders() if drains.get((e[0], e[1].id)) == drains[(lane, order.id)]]
        for _, each in halted:
            each.pace = None
        [(_, fields)] = self.redis.xrevrange(self.keys.events, count=1)
        lanes = tuple(json.loads(fields[b"head"])["lanes"])
        assert {name for name, _ in halted} == set(lanes)
        self.expect_event("drain halted", lanes)

    def drains(self) -> dict[tuple[str, str], str]:
        """By lane and order the event of the drain under way."""
        records = {lane.decode(): json.loads(text) for lane, text in self.redis.hgetall(self.keys.diverts).items()}
        return {(lane, order["id"]): order["drain"]["event"]
                for lane, orders in records.items() for order in orders if order.get("drain")}  # fmt: skip

    @precondition(lambda self: any(order.selection == NO_JOB for _, order in self.orders()))
    @rule(data=st.data(), again=repeats, at_a_time=st.sampled_from((1, 2, 100)))
    def take_back(self, data: st.DataObject, again: bool, at_a_time: int) -> None:
        """One step of the undo of a retry."""
        lane, order = data.draw(st.sampled_from([e for e in self.orders() if e[1].selection == NO_JOB]))
        if order.is_restoring:
            return
        operation = new_id()
        with mock.patch("shedder.queues.retry.TAKEN_BACK_PER_STEP", at_a_time):
            command = put_back_failed(self.keys, lane, order.id, CAUSE, operation, 1)
        done = self.send(command, operation=operation, again=again)
        taken = [order.backlog.pop() for _ in range(min(at_a_time, len(order.backlog)))]
        order.pace = None
        works = [self.model.works[job] for job in taken]
        back = [work.id for work in works if work.status == "queued" and work.retry == order.id]
        assert (len(back), len(taken) - len(back)) == (done.failed, done.lost)
        for job in back:
            self.model.works[job].status, self.model.works[job].retry = "failed", ""
            self.model.failed[self.model.works[job].lane].append(job)
        assert ("more" if order.backlog else "done") == done.state
        if not order.backlog:
            self.model.orders[lane].remove(order)
            self.expect_event("retry undone", (lane,))
