"""Which idle worker polls for jobs that rang no bell, while the others rest?"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from rq import Queue as StockQueue
from rq.exceptions import StopRequested

from shedder import Rate, Shedder
from shedder.engine.names import rq_keys
from shedder.queues.claims import Claimed, NothingClaimed, claim_job, hand_over_polling, poller_keys
from shedder.rq import SimpleWorker
from shedder.rq.fetch import _seconds_of_wait
from shedder.store.codec import text_of
from shedder.store.store import Command, Store
from tests import jobs
from tests.waiting import wait_until
from tests.workers import WorkerProcess, Yard, run_burst

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis


KEYS = rq_keys()
LANES = ("mail.high", "mail", "mail.low")
POLLER, HANDOFF = poller_keys(KEYS, LANES)


def claim(redis: Redis, worker: str, lanes: tuple[str, ...] = LANES, **options: Any) -> Any:
    options = {"is_staying": True, **options}
    return Store(redis, rq_keys()).run(claim_job(KEYS, lanes, worker=worker, **options))


def poller_of(redis: Redis, key: str = POLLER) -> str | None:
    found: Any = redis.get(key)
    return None if found is None else text_of(found)


def test_one_polls_and_the_others_rest(redis: Redis) -> None:
    """Of the idle workers of the same lanes the first becomes the poller, and stays so."""
    deeds = [claim(redis, worker).meanwhile for worker in ("a", "b", "c", "a")]
    assert ["poll", "rest", "rest", "poll"] == deeds
    assert "a" == poller_of(redis)


def test_each_group_has_its_own(redis: Redis) -> None:
    """A worker of other lanes does not rest on somebody who does not look at all of them."""
    claim(redis, "a")
    assert "poll" == claim(redis, "b", ("mail", "reports")).meanwhile
    assert "rest" == claim(redis, "c", ("mail.low", "mail", "mail.high")).meanwhile


def test_a_worker_in_a_burst_does_not_become_the_poller(redis: Redis) -> None:
    """Who will not wait looks for nobody."""
    assert "wait" == claim(redis, "a", is_staying=False).meanwhile
    assert None is poller_of(redis)


def test_a_poller_that_finds_a_job_calls_the_next(redis: Redis, marks: str) -> None:
    """With a job in hand a worker is no poller any more, and another is called."""
    claim(redis, "a")
    StockQueue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    claim(redis, "a")
    assert (None, 1) == (poller_of(redis), redis.llen(HANDOFF))
    assert "poll" == claim(redis, "b").meanwhile
    assert 0 == redis.exists(HANDOFF)


def test_a_job_that_is_found_while_nobody_looks_calls_one(redis: Redis, marks: str) -> None:
    """One that was called and found a job itself calls the next."""
    for key in "ab":
        StockQueue("mail", connection=redis).enqueue(jobs.mark, marks, key)
    claim(redis, "a")
    claim(redis, "b")
    assert (None, 1) == (poller_of(redis), redis.llen(HANDOFF))


def test_a_job_that_another_finds_leaves_the_poller_alone(redis: Redis, marks: str) -> None:
    """A worker that was rung for does not take the place of the poller."""
    claim(redis, "a")
    StockQueue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    claim(redis, "b")
    assert ("a", 0) == (poller_of(redis), redis.exists(HANDOFF))


def test_while_a_drain_waits_for_a_token_one_worker_waits_for_it(redis: Redis, marks: str) -> None:
    """A hundred idle workers do not all come for each token; whoever gets it calls the next."""
    shed = Shedder(redis)
    for key in "ab":
        StockQueue("mail", connection=redis).enqueue(jobs.mark, marks, key)
    shed.divert("mail.normal", reason="test")
    shed.drain("mail.normal", rate=Rate(1, 3600.0), reason="test")
    (divert,) = shed.status("mail.normal").lanes[0].diverts
    redis.hset(KEYS.drain(divert.order, "mail"), "tokens", 1)
    assert isinstance(claim(redis, "a"), Claimed)
    assert 1 == redis.llen(HANDOFF)
    answers = [claim(redis, worker) for worker in "bc"]
    assert ["poll", "rest"] == [each.meanwhile for each in answers]
    assert all(each.wait_ms > 0 for each in answers)


@pytest.mark.parametrize(
    ("nothing", "shortest", "longest"),
    [
        (NothingClaimed(), 0.9, 0.9),
        (NothingClaimed(meanwhile="poll"), 0.45, 0.45),
        (NothingClaimed(meanwhile="poll", wait_ms=20), 0.02, 0.02),
        (NothingClaimed(meanwhile="rest"), 2.0, 4.0),
        (NothingClaimed(meanwhile="rest", wait_ms=20), 0.5, 1.0),
    ],
    ids=["alone", "poller", "poller for a token", "rest", "rest while a drain goes on"],
)
def test_how_long_an_idle_worker_waits(nothing: NothingClaimed, shortest: float, longest: float) -> None:
    """The poller comes for the next token; the others ask for it less the calmer it is."""
    assert shortest <= _seconds_of_wait(nothing) <= longest


def test_only_the_poller_hands_over(redis: Redis) -> None:
    """Whoever leaves in somebody else's place changes nothing."""
    claim(redis, "a")
    store = Store(redis, rq_keys())
    assert not store.run(hand_over_polling(KEYS, LANES, worker="b"))
    assert "a" == poller_of(redis)
    assert store.run(hand_over_polling(KEYS, LANES, worker="a"))
    assert (None, 1) == (poller_of(redis), redis.llen(HANDOFF))


def test_a_damaged_key_of_the_poller_stops_nobody(redis: Redis, marks: str) -> None:
    """Jobs are found whatever somebody made of its keys, and idle workers then all look."""
    redis.rpush(POLLER, "what")
    redis.set(HANDOFF, "what")
    assert "wait" == claim(redis, "a").meanwhile
    StockQueue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert ["a"] == jobs.started(marks)


# real workers


@pytest.fixture
def idle(redis: Redis, yard: Yard) -> list[WorkerProcess]:
    """Two idle workers; the first of the list is the poller."""
    workers = [yard.start("mail", worker_class=SimpleWorker) for _ in range(2)]
    wait_until(lambda: name_of_poller(redis) in [each.name for each in workers])
    return sorted(workers, key=lambda each: each.name != name_of_poller(redis))


def name_of_poller(redis: Redis) -> str | None:
    for key in redis.scan_iter(match=KEYS.poller("*")):
        return poller_of(redis, text_of(key))
    return None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_poller_that_is_gone_is_missed(redis: Redis, idle: list[WorkerProcess], marks: str, number: int) -> None:
    """When the poller is killed or frozen, another finds the jobs of stock producers."""
    os.kill(idle[0].pid, number)
    StockQueue("mail", connection=redis).enqueue(jobs.mark, marks, "a")
    wait_until(lambda: ["a"] == jobs.started(marks))
    wait_until(lambda: idle[1].name == name_of_poller(redis))


def test_a_poller_that_ends_leaves(redis: Redis, idle: list[WorkerProcess]) -> None:
    """A worker that is told to stop is not the poller when it has ended."""
    os.kill(idle[0].pid, signal.SIGTERM)
    assert 0 == idle[0].wait()
    assert idle[0].name != name_of_poller(redis)


class CutStore(Store):
    """Is cut off by the end of its worker when the server has carried out a claim."""

    def execute(self, command: Command[Any]) -> Any:
        value = super().execute(command)
        if command.script == "claim_job":
            raise StopRequested
        return value


class SeesNoEndOfItsClaim(SimpleWorker):
    """Is told to stop when a claim has made it the poller, and before it has learned of that."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.store = CutStore(self.connection, self.keys)


def test_a_poller_that_ends_before_it_knows_leaves(redis: Redis, yard: Yard) -> None:
    """A worker that is told to stop before it has read that it is the poller hands over too."""
    assert 0 == yard.start("mail", worker_class=SeesNoEndOfItsClaim).wait()
    assert (None, True) == (name_of_poller(redis), any(redis.scan_iter("*:relief:*")))


def test_a_busy_poller_is_replaced(redis: Redis, idle: list[WorkerProcess], marks: str, tmp_path: Path) -> None:
    """While the worker that was the poller runs a job, another one polls."""
    hold = tmp_path / "go"
    job = StockQueue("mail", connection=redis).enqueue(jobs.hold, marks, "a", str(hold))
    wait_until(lambda: ["a"] == jobs.started(marks))
    job.refresh()
    (other,) = {each.name for each in idle} - {job.worker_name}
    wait_until(lambda: other == name_of_poller(redis))
    StockQueue("mail", connection=redis).enqueue(jobs.mark, marks, "b")
    wait_until(lambda: ["a", "b"] == jobs.started(marks))
    hold.touch()
