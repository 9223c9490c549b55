"""What producers and workers do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from shedder.lanes import serving_order
from shedder.queues.claims import LEASE_MS, Claimed, NothingClaimed, release_claim, renew_claim
from tests.model.machine import QUEUES, Machine, batches, busy_lanes, fronts
from tests.model.things import Parts, Taken, Work

if TYPE_CHECKING:
    from collections.abc import Sequence

served = st.sampled_from((("mail",), ("reports",), QUEUES, ("reports", "mail.low"), ("mail.low",)))
STALE_AT_ONCE = 10


class JobSteps(Machine):
    """Steps of jobs: into a lane, into a worker's hands, to their end."""

    @initialize(batch=batches)
    def begin_with_some(self, batch: list[tuple[str, str]]) -> None:
        for how in ("ours", "stock"):
            for function, tenant in batch:
                self.enqueue_one(how, "mail", function, tenant, at_front=False)

    @rule(how=st.sampled_from(("ours", "ours", "stock", "many")), lane=busy_lanes, batch=batches, at_front=fronts)
    def enqueue(self, how: str, lane: str, batch: list[tuple[str, str]], at_front: bool) -> None:
        for function, tenant in batch:
            self.enqueue_one(how, lane, function, tenant, at_front=at_front)

    def enqueue_one(self, how: str, lane: str, function: str, tenant: str, *, at_front: bool) -> None:
        self.jobs_made += 1
        job = f"job-{self.jobs_made}"
        work = Work(job, lane, function, tenant, is_noted=how != "stock")
        self.model.works[job] = work
        self.look_again()
        parts = self.parts(lane)
        self.hands.enqueue(how, lane, job, function, tenant, at_front=at_front)
        if how == "ours":
            self.model.arrive(work, lane, listed=len(parts.listed), at_front=at_front, is_known=True)
        else:
            self.model.arrive_unseen(job, lane, parts, at_front=at_front)

    @precondition(lambda self: self.waiting())
    @rule(data=st.data(), what=st.sampled_from(("age", "age", "push", "cancel", "delete", "expire")))
    def meddle(self, data: st.DataObject, what: str) -> None:
        """Something happens to a job that waits or is claimed, without its lane or claim."""
        work = self.draw(data, self.waiting())
        if what == "age":
            self.hands.age(work.id)
            work.is_old = True
        elif what == "push":
            self.push_again(work, at_front=data.draw(fronts))
        else:
            self.give_up(work, what)

    def push_again(self, work: Work, *, at_front: bool) -> None:
        """A reply was lost, or RQ enqueues a job again that had started."""
        self.hands.push(work.lane, work.id, at_front=at_front)
        listed = len(self.parts(work.lane).listed)
        self.model.arrive(work, work.lane, listed=listed, at_front=at_front, is_known=False)

    def give_up(self, work: Work, how: str) -> None:
        """A job is cancelled or deleted through RQ, which looks in the RQ list, or its ttl ends."""
        parts = self.parts(work.lane)
        if how != "expire" and work.id in parts.listed:
            at = len(parts.kept) + len(parts.parked) + parts.listed.index(work.id)
            del self.model.lanes[work.lane][at]
        getattr(self.hands, how)(work.id)
        work.status = "canceled" if how == "cancel" else "gone"

    @rule(queues=served, at_a_time=st.sampled_from((1, 2, 200)))
    def claim(self, queues: tuple[str, ...], at_a_time: int) -> None:
        # in the middle of a drain a next call may begin with what this one has just diverted
        is_draining = any(order.pace for _, order in self.orders())
        self.claim_one(serving_order(queues), 200 if is_draining else at_a_time)

    @rule(times=st.integers(1, 3), ends=st.booleans())
    def work(self, times: int, ends: bool) -> None:
        """A worker does what it finds, one job after the other."""
        for _ in range(times):
            token = self.claim_one(serving_order(QUEUES), 200)
            if token is None:
                return
            self.look_again()
            if token in self.model.claims and self.gate(token, starts=True) == "started":
                self.hands.report(token)
                if ends:
                    self.end(self.model.works[self.job_of[token]])
            self.look_again()

    def claim_one(self, names: tuple[str, ...], at_a_time: int) -> bytes | None:
        self.take_back_stale()
        kept = {name: len(self.seen.parts[name].kept) for name in names}
        expected, is_waiting = self.model.claim(names, kept)
        answer = self.hands.claim(names, at_a_time=at_a_time)
        if isinstance(answer, NothingClaimed):
            assert expected is None
            assert is_waiting == (answer.wait_ms > 0)
            return None
        assert expected is not None
        # a claim does not tell its order; where it goes back to does
        assert expected == Taken(answer.lane, answer.job_id, expected.order, answer.is_undecided)
        self.hold(answer, expected)
        return answer.token

    def hold(self, answer: Claimed, expected: Taken) -> None:
        tick = self.next_tick()
        self.model.claims[answer.token] = Taken(
            expected.lane, expected.job, expected.order, expected.is_undecided, tick
        )
        self.tokens.append(answer.token)
        self.job_of[answer.token] = answer.job_id
        if answer.is_undecided:
            self.gate(answer.token, starts=False)

    def take_back_stale(self) -> None:
        for token in [each for each in self.seen.claims if each in self.aged]:
            lane = self.model.claims[token].lane
            parts = self.model.give_back(token, self.parts(lane))
            self.seen.parts[lane] = parts
        self.aged.clear()

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), is_lost=st.booleans())
    def start(self, data: st.DataObject, is_lost: bool) -> None:
        """Ask the gate, with a claim in hand or one that was taken back meanwhile."""
        token = self.draw(data, self.held_or_lost())
        if self.gate(token, starts=True) == "started":
            if is_lost:
                assert "started" == self.hands.start_again(token).verdict
            self.hands.report(token)
            assert "lost" == self.hands.start_again(token).verdict

    def gate(self, token: bytes, *, starts: bool) -> str:
        taken = self.model.claims.get(token)
        work = self.model.works[taken.job] if taken else None
        if starts and work:
            work.executions += 1
        parts = self.parts(taken.lane) if taken else Parts()
        expected = self.model.gate(token, parts, starts=starts)
        gate = self.hands.start(token) if starts else self.hands.check(token)
        assert expected == (gate.verdict, gate.detail)
        if starts and work and gate.verdict != "started":
            work.executions -= 1
        return gate.verdict

    def end(self, work: Work) -> None:
        self.hands.finish(work.id)
        work.status, work.executions = "finished", 0

    @precondition(lambda self: self.running())
    @rule(data=st.data(), is_rescued=st.booleans())
    def finish(self, data: st.DataObject, is_rescued: bool) -> None:
        """A job returns; or its worker died after the start, and RQ enqueues it again."""
        work = self.draw(data, self.running())
        if not is_rescued:
            self.end(work)
            return
        self.hands.clean_up(work.id)
        work.status, work.executions = "queued", 0
        self.push_again(work, at_front=data.draw(fronts))

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), what=st.sampled_from(("die", "die", "release", "renew")))
    def end_claim(self, data: st.DataObject, what: str) -> None:
        """A worker dies before the start, gives its job back, or shows that it is alive."""
        token = self.draw(data, self.held_or_lost())
        is_ours = token in self.model.claims
        if what == "die":
            if is_ours and len(self.aged) < STALE_AT_ONCE:
                self.redis.zincrby(self.keys.claims, -(LEASE_MS + 1000), token)
                self.aged.add(token)
            return
        if what == "renew":
            assert is_ours == self.store.run(renew_claim(self.keys, token))
        else:
            if is_ours:
                self.model.give_back(token, self.parts(self.model.claims[token].lane))
            assert is_ours == self.store.run(release_claim(self.keys, token))
        self.aged.discard(token)

    # what there is to choose from

    def waiting(self) -> list[Work]:
        return [work for work in self.model.works.values() if work.status == "queued"]

    def held_or_lost(self) -> list[bytes]:
        """All claims in force, and the last that are not any more."""
        return [*self.model.claims, *self.tokens[-2:]]

    def running(self) -> list[Work]:
        return [work for work in self.model.works.values() if work.status == "started"]

    def draw(self, data: st.DataObject, choices: Sequence[Any]) -> Any:
        return choices[data.draw(st.integers(0, len(choices) - 1))]
