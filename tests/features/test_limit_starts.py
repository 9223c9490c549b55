"""Limits on starts: a rate, a number at once, and who beats whom."""

from __future__ import annotations

import logging
import operator
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from rq.defaults import RQ_KEY_PREFIX

from shedder import Rate, Selection, Shedder
from shedder.errors import CannotUndo, InvalidInput
from shedder.queues.claims import Claimed, HeldClaim, NothingClaimed, claim_job, release_claim, start_job
from shedder.queues.controls import Divert
from shedder.queues.divert import DivertReceipt
from shedder.rq import Queue, SimpleWorker
from shedder.store.store import Store
from tests import jobs
from tests.waiting import wait_until
from tests.workers import Yard

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from shedder.embedded import EmbeddedServer

HOUR = timedelta(hours=1)
LANES = ("mail.critical", "mail.high", "mail", "mail.low")


@pytest.fixture
def shed(redis: Redis) -> Shedder:
    logging.getLogger("rq.worker").setLevel(logging.WARNING)
    return Shedder(redis, by="test")


def claim(shed: Shedder, worker: str = "w") -> Claimed | NothingClaimed:
    return shed.store.run(claim_job(shed.keys, LANES, worker=worker))


def fill(redis: Redis, count: int) -> list[str]:
    mail = Queue("mail", connection=redis)
    return [mail.enqueue(operator.neg, 1).id for _ in range(count)]


def test_a_rate_lets_so_many_start_and_tells_when_the_next_may(redis: Redis, shed: Shedder) -> None:
    """Under a slow rate nothing starts without a token, and a worker learns how long to wait."""
    fill(redis, 3)
    shed.limit_starts("mail", rate=Rate(1, 3600), reason="slow")
    answer = claim(shed)
    assert isinstance(answer, NothingClaimed)
    assert answer.wait_ms > 0


def test_a_limited_lane_does_not_block_the_lanes_behind_it(redis: Redis, shed: Shedder) -> None:
    """A lane over its rate is passed by a lane of lower priority that has none."""
    fill(redis, 2)
    shed.limit_starts("mail.normal", rate=Rate(1, 3600), reason="slow")
    low = Queue("mail", connection=redis).low.enqueue(operator.neg, 1)
    answer = claim(shed)
    assert isinstance(answer, Claimed)
    assert low.id == answer.job_id


def test_no_more_than_the_bound_run_at_once(redis: Redis, shed: Shedder) -> None:
    """With two at once the third is claimed only when one of the two has gone back."""
    fill(redis, 3)
    shed.limit_starts("mail", most=2, reason="few connections")
    first, second = claim(shed, "a"), claim(shed, "b")
    assert isinstance(first, Claimed)
    assert isinstance(second, Claimed)
    assert isinstance(claim(shed, "c"), NothingClaimed)
    shed.store.run(release_claim(shed.keys, first.token))
    assert isinstance(claim(shed, "c"), Claimed)


def test_a_job_that_has_ended_makes_room_for_the_next(redis: Redis, shed: Shedder) -> None:
    """One at once is one after another: a worker gets through all of them."""
    ids = fill(redis, 4)
    shed.limit_starts("mail", most=1, reason="one by one")
    SimpleWorker(["mail"], connection=redis).work(burst=True)
    assert len(ids) == Queue("mail", connection=redis).finished_job_registry.count
    assert 0 == sum(redis.zcard(key) for key in redis.keys(f"{RQ_KEY_PREFIX}:shedder:running:*"))


@pytest.mark.parametrize("functions", [(), ("tests.jobs.*",)])
def test_a_worker_that_died_gives_its_place_back(
    redis: Redis, server: EmbeddedServer, shed: Shedder, functions: tuple[str, ...],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A job without a time-out whose worker was killed holds its place until RQ knows of it."""
    monkeypatch.setattr("shedder.queues.maintenance.FORGET_AFTER_MS", 0)
    marks, mail = tmp_path / "marks", Queue("mail", connection=redis)
    shed.limit_starts("mail", most=1, selection=Selection.parse(functions=functions), reason="slow database")
    lost = mail.enqueue(jobs.hold, str(marks), "lost", str(tmp_path / "never"), job_timeout=-1)
    with Yard(server, tmp_path) as yard:
        first = yard.start("mail")
        wait_until(lambda: ["lost"] == jobs.started(marks), what="the job that is to be lost")
        mail.enqueue(jobs.mark, str(marks), "next")
        yard.start("mail").wait_until_idle(redis)
        first.kill(and_children=True)
        rounds = redis.hget(shed.keys.meters, "claims")
        redis.delete(shed.keys.sampled)
        wait_until(lambda: redis.exists(shed.keys.sampled), what="one more upkeep")
        assert (["lost"], rounds) == (jobs.started(marks), redis.hget(shed.keys.meters, "claims"))
        redis.delete(shed.keys.engine.executions + lost.id)  # as when its heartbeats have ended
        wait_until(lambda: ["next"] == jobs.ended(marks), what="the next job")


def test_a_limit_of_one_function_lets_the_others_pass(redis: Redis, shed: Shedder) -> None:
    """Jobs of a limited function wait aside while the others of their lane go on."""
    mail = Queue("mail", connection=redis)
    slow = mail.enqueue(operator.neg, 1)
    quick = mail.enqueue(operator.abs, 1)
    selection = Selection.parse(functions=("_operator.neg",))
    shed.limit_starts("mail", rate=Rate(1, 3600), selection=selection, reason="slow")
    answer = claim(shed)
    assert isinstance(answer, Claimed)
    assert (quick.id, slow.id) == (answer.job_id, slow.id)
    assert isinstance(claim(shed), NothingClaimed)


def test_a_divert_beats_a_limit(redis: Redis, shed: Shedder) -> None:
    """What waits under a limit goes to the backlog of a divert, and does not start."""
    fill(redis, 3)
    shed.limit_starts("mail", rate=Rate(1000), reason="limit")
    receipt = shed.divert("mail", reason="all of it")
    assert 3 == receipt.moved
    answer = claim(shed)
    assert isinstance(answer, NothingClaimed)


def test_a_job_claimed_under_a_limit_is_stopped_by_a_later_divert(redis: Redis, shed: Shedder) -> None:
    """The gate diverts a job that a limit had let out before the divert was set."""
    fill(redis, 1)
    shed.limit_starts("mail", most=5, reason="limit")
    answer = claim(shed)
    assert isinstance(answer, Claimed)
    shed.divert("mail", reason="all of it")
    held = HeldClaim(answer.token, answer.job_id, answer.lane, running=answer.running)
    gate = shed.store.run(start_job(shed.keys, held, timestamp="t", function="x", meta={}))
    assert "diverted" == gate.verdict
    assert 0 == redis.zcard(answer.running)


def test_lifting_a_limit_puts_the_jobs_back_in_order(redis: Redis, shed: Shedder) -> None:
    """After a limit is lifted its jobs are in their lane as they were."""
    ids = fill(redis, 5)
    shed.limit_starts("mail", rate=Rate(1, 3600), reason="limit")
    receipt = shed.lift_limit("mail", reason="over")
    assert 5 == receipt.restored
    assert ids == Queue("mail", connection=redis).job_ids


def test_a_limit_ends_by_the_clock_of_the_server(redis: Redis, shed: Shedder) -> None:
    """A limit whose time is over holds nothing back."""
    ids = fill(redis, 2)
    shed.limit_starts("mail", rate=Rate(1, 3600), expires_in=timedelta(milliseconds=1), reason="x")
    SimpleWorker(["mail"], connection=redis).work(burst=True)
    assert len(ids) == Queue("mail", connection=redis).finished_job_registry.count


def test_a_drain_leaves_limits_alone(redis: Redis, shed: Shedder) -> None:
    """`drain` speaks of diverts: where only a limit stands there is nothing to drain."""
    fill(redis, 2)
    shed.limit_starts("mail", rate=Rate(1, 3600), reason="limit")
    assert "" == shed.drain("mail", rate=Rate(5), reason="no").event


def test_who_changes_a_limit_is_told_what_it_replaced(redis: Redis, shed: Shedder) -> None:
    """The receipt, the status and the journal name both operators and both terms."""
    first = shed.limit_starts("mail", rate=Rate(5), most=1, expires_in=HOUR, by="oncall@ops", reason="slow")
    assert () == first.replaced
    later = shed.limit_starts("mail", rate=Rate(9), by="ana@desk", reason="faster")
    assert {"mail.critical", "mail.high", "mail", "mail.low"} == {it.lane for it in later.replaced}
    found = later.replaced[0]
    assert (Rate(5), 1, "oncall@ops", "slow") == (found.rate, found.most, found.by, found.why)
    assert first.at + HOUR == found.until
    (stands,) = status_of(shed)
    assert (Rate(9), None, None) == (stands.drain and stands.drain.rate, stands.most, stands.until)
    assert ("ana@desk", "faster") == (stands.by, stands.why)


def test_undo_of_a_change_sets_the_limit_that_was(redis: Redis, shed: Shedder) -> None:
    """Its rate, its number and what is left of its time; the undo of the first one lifts it."""
    first = shed.limit_starts("mail", rate=Rate(5), most=1, expires_in=HOUR, reason="slow")
    later = shed.limit_starts("mail", most=7, reason="faster")
    with pytest.raises(CannotUndo):
        shed.undo(first.event, reason="it is not the last one")
    undone = shed.undo(later.event, reason="too fast")
    assert isinstance(undone, DivertReceipt)
    assert (Rate(5), 1, 7) == (undone.rate, undone.most, undone.replaced[0].most)
    (stands,) = status_of(shed)
    assert (Rate(5), 1) == (stands.drain and stands.drain.rate, stands.most)
    assert abs(first.at + HOUR - (stands.until or first.at)) < timedelta(minutes=1)
    assert later.event == shed.events()[-1].undoes


def test_undo_of_a_change_is_refused_when_what_was_would_have_ended(redis: Redis, shed: Shedder) -> None:
    """Nothing is changed then."""
    shed.limit_starts("mail", rate=Rate(5), expires_in=timedelta(milliseconds=1), reason="slow")
    later = shed.limit_starts("mail", rate=Rate(9), reason="faster")
    with pytest.raises(CannotUndo, match="would have ended"):
        shed.undo(later.event, reason="too fast")
    drain = status_of(shed)[0].drain
    assert Rate(9) == (drain and drain.rate)


def test_lifting_two_limits_counts_each_job_once(redis: Redis, shed: Shedder) -> None:
    """Jobs that one of them gives back are not taken by the other on the way."""
    fill(redis, 3)
    shed.limit_starts("mail", rate=Rate(1, 3600), reason="all")
    selection = Selection.parse(functions=("_operator.*",))
    shed.limit_starts("mail", most=1, selection=selection, reason="some")
    assert 3 == shed.lift_limit("mail", reason="done").restored
    assert 3 == redis.llen(f"{RQ_KEY_PREFIX}:queue:mail")


def status_of(shed: Shedder) -> tuple[Divert, ...]:
    """What stands on the lane `mail`."""
    return next(lane.diverts for lane in shed.status("mail").lanes if lane.lane == "mail")


def test_undo_ends_a_limit(redis: Redis, shed: Shedder) -> None:
    """The undo of a limit puts what waited under it back."""
    ids = fill(redis, 2)
    shed.limit_starts("mail", rate=Rate(1, 3600), reason="limit")
    shed.undo(reason="wrong queue")
    assert ids == Queue("mail", connection=redis).job_ids


def test_a_limit_without_terms_is_refused(shed: Shedder) -> None:
    """Neither a rate nor a number of jobs is no limit."""
    with pytest.raises(InvalidInput):
        shed.limit_starts("mail", reason="nothing")
    assert isinstance(shed.store, Store)
