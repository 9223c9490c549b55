"""What operators do to diverts, one script at a time, and whoever goes on with what they began."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from shedder.lanes import lanes_of_targets
from shedder.queues.divert import divert_lanes, judge, scan_lane
from shedder.queues.restore import restore_lane
from shedder.selection import Selection
from tests.model.hands import new_id
from tests.model.machine import CAUSE, Machine, lanes_named, repeats, targets
from tests.model.things import Order, verdict

if TYPE_CHECKING:
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
MOST_ORDERS = 3


class DivertSteps(Machine):
    """Steps of diverts, of their scans, and of the way back."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.scans: dict[tuple[str, str], tuple[str, int, list[tuple[str, bool]]]] = {}
        self.restores: dict[tuple[str, str], tuple[str, int]] = {}

    @rule(
        where=targets, selection=st.sampled_from(SELECTIONS), again=repeats, at_a_time=st.sampled_from((0, 1, 2, 500))
    )
    def divert(self, where: str, selection: Selection, again: bool, at_a_time: int) -> None:
        """Set a divert, and let its scan run to the end unless `at_a_time` is 0."""
        names, order = lanes_named(where), new_id()
        if any(len(self.model.orders[name]) >= MOST_ORDERS for name in names):
            return
        tick = self.next_tick()
        command = divert_lanes(self.keys, lanes_of_targets([where]), selection, CAUSE, order=order)
        done = self.send(command, operation=order, again=again)
        for lane in done.lanes:
            name = lane.lane
            stands = self.order_like(name, selection)
            if stands is None:
                stands = Order(order, selection, tick)
                self.model.orders[name].append(stands)
            assert stands.id == lane.order
            self.expect_diverted(name, stands, lane.moved)
            assert len(self.model.lanes[name]) == lane.waiting
        self.expect_event("divert", names)
        for name in names:
            stands = self.order_like(name, selection)
            while stands and stands.is_scanning and at_a_time:
                self.look_again()
                self.scan_step(name, stands, at_a_time)

    def order_like(self, lane: str, selection: Selection) -> Order | None:
        same = (each for each in self.model.orders[lane] if each.selection == selection and not each.is_restoring)
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

    def scan_step(self, lane: str, order: Order, at_a_time: int, *, again: bool = False, forgets: bool = False) -> None:
        key = (lane, order.id)
        fresh: tuple[str, int, list[tuple[str, bool]]] = (new_id(), 0, [])
        operation, step, judged = fresh if forgets else self.scans.get(key, fresh)
        with mock.patch("shedder.queues.divert.JOBS_PER_STEP", at_a_time):
            command = scan_lane(self.keys, lane, order.id, CAUSE, operation=operation, step=step, judged=judged)
        done = self.send(command, operation=operation, again=again)
        self.expect_scanned(lane, order, dict(judged), len(judged) + at_a_time, done)
        judged = [(job.job_id, judge(job, order.selection)) for job in done.undecided]
        self.scans[key] = (operation, step + 1, judged)

    def expect_scanned(self, lane: str, order: Order, judged: dict[str, bool], limit: int, done: Any) -> None:
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

    def scanned(self, source: list[str], selection: Selection, judged: dict[str, bool]) -> tuple[list[str], int]:
        """The jobs that a scan takes, and how many it looks at before one it cannot decide."""
        taken: list[str] = []
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
        with mock.patch("shedder.queues.restore.RESTORED_PER_STEP", at_a_time):
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
