"""What becomes of old work: a policy that calls it stale, and operators who replay it."""

from __future__ import annotations

from datetime import timedelta
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from shedder.events import event_head
from shedder.policy.applied import policy_command
from shedder.policy.model import Policy
from shedder.queues.stale import replay, set_aside
from tests.model.hands import new_id
from tests.model.machine import CAUSE, LANES, Machine, repeats

HOUR = Policy(stale_after=timedelta(hours=1))
few = st.sampled_from((1, 2, 100))


class StaleSteps(Machine):
    """Steps of old jobs: out of a backlog, and back into their lane."""

    @rule(sets_aside=st.sampled_from((True, True, False)))
    def apply_policy(self, sets_aside: bool) -> None:
        """From now on old jobs are stale, or none is any more."""
        policy, operation = HOUR if sets_aside else Policy(), new_id()
        head = event_head("policy", CAUSE, ())
        command = policy_command(self.keys, policy, head, CAUSE, operation=operation, based_on=None)
        if self.send(command, operation=operation)[0] == "applied":
            self.expect_event("policy", ())
        self.model.sets_aside = sets_aside

    @precondition(lambda self: self.orders())
    @rule(data=st.data(), at_a_time=few)
    def set_aside(self, data: st.DataObject, at_a_time: int) -> None:
        """One step of the upkeep: the old jobs at the front of a backlog."""
        lane, order = data.draw(st.sampled_from(self.orders()))
        with mock.patch("shedder.queues.stale.STALE_PER_STEP", at_a_time):
            command = set_aside(self.keys, lane, order.id)
        count, is_more = self.store.run(command)
        expected = self.model.set_aside(lane, order, at_a_time)
        assert expected == (count, is_more)

    @precondition(lambda self: any(self.model.stale.values()))
    @rule(data=st.data(), at_a_time=few, again=repeats)
    def replay_stale(self, data: st.DataObject, at_a_time: int, again: bool) -> None:
        """One step of a replay: the first of what was set aside arrive in their lane."""
        lane = data.draw(st.sampled_from([name for name in LANES if self.model.stale[name]]))
        some, operation = self.model.stale[lane][:at_a_time], new_id()
        waits = [job for job in some if not self.model.works[job].obstacle]
        command = replay(self.keys, lane, CAUSE, operation=operation, step=0, most=at_a_time)
        done = self.send(command, operation=operation, again=again)
        assert (len(waits), len(some) - len(waits)) == (done.replayed, done.skipped)
        del self.model.stale[lane][: len(some)]
        assert len(self.model.stale[lane]) == done.left
        listed = len(self.parts(lane).listed)
        for job in waits:
            listed = self.model.replay(job, lane, listed=listed)
        self.expect_event("replay", (lane,))
