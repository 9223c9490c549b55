"""What operators do to pauses, one script at a time."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from shedder.lanes import lanes_of_targets
from shedder.queues.pause import fold_lane, park_lane, pause_lanes, resume_lanes
from tests.model.hands import new_id
from tests.model.machine import CAUSE, Machine, is_same, lanes_named, repeats, targets
from tests.model.things import Hold

if TYPE_CHECKING:
    from collections.abc import Sequence

few = st.sampled_from((1, 2, 1000))


class PauseSteps(Machine):
    """Steps of pauses, and of replies that were lost."""

    @rule(where=targets, again=repeats, what=st.sampled_from(("pause", "resume", "resume")))
    def pause_or_resume(self, where: str, again: bool, what: str) -> None:
        if what == "resume":
            self.resume(where, again=again)
        else:
            self.pause(where, again=again, expires=again)

    def pause(self, where: str, *, again: bool, expires: bool) -> None:
        names, operation = lanes_named(where), new_id()
        command = pause_lanes(
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
        command = resume_lanes(self.keys, lanes_of_targets([where]), CAUSE, operation=operation)
        receipt, _ = self.send(command, operation=operation, again=again)
        self.end_those_over(names)
        ended = [name for name in names if self.model.pauses.pop(name, None)]
        assert ended == [lane.lane for lane in receipt.lanes if lane.ended]
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
        with mock.patch("shedder.queues.pause.IDS_PER_STEP", at_a_time):
            command = park_lane(self.keys, lane)
        is_done, _ = self.store.run(command)
        assert is_done or self.model.is_held(lane)
        if self.model.is_held(lane):
            self.model.pauses[lane].is_parked = True

    @precondition(lambda self: self.lanes_in_parts())
    @rule(data=st.data(), at_a_time=few)
    def fold(self, data: st.DataObject, at_a_time: int) -> None:
        """One step of making a lane one list again."""
        lane = data.draw(st.sampled_from(self.lanes_in_parts()))
        with mock.patch("shedder.queues.pause.IDS_PER_STEP", at_a_time):
            command = fold_lane(self.keys, lane)
        self.store.run(command)

    def lanes_in_parts(self) -> list[str]:
        return [lane for lane, parts in self.seen.parts.items() if parts.kept or parts.parked]

    @precondition(lambda self: self.replies)
    @rule(data=st.data(), flushes=repeats)
    def replay(self, data: st.DataObject, flushes: bool) -> None:
        """A client that lost a reply repeats the last step of its operation, however late."""
        if flushes:
            self.redis.script_flush()
        command, reply = self.replies[data.draw(st.sampled_from(sorted(self.replies)))]
        assert is_same(reply, self.store.run(command))
