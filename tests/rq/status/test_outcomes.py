"""`status` tells how jobs end, as workers counted them and as RQ keeps them."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import rq

from shedder.engine.names import FAILED, registry_key, rq_keys
from shedder.policy.model import Policy, Rule
from shedder.queues.outcomes import (
    ABANDONED,
    KILLED,
    OUTCOMES_KEPT,
    Outcomes,
    ask_counts,
    counts_between,
    counts_since,
    exception_in,
)
from shedder.queues.samples import sample_lanes
from shedder.selection import Selection
from shedder.store.codec import count_of
from shedder.store.keys import OUTCOME_STEPS
from shedder.store.store import Store
from tests.jobs import ended
from tests.rq.documented.functions import HERE, add, begun, break_down
from tests.waiting import wait_until
from tests.workers import run_burst

if TYPE_CHECKING:
    from redis import Redis

    from shedder.api.shedder import Shedder
    from shedder.rq import Queue
    from tests.workers import Yard

KEYS = rq_keys()
LABELS = Policy(
    rules=(Rule(selection=Selection(functions=("*.break_down",)), label="card charges"), Rule(label="sums"))
)


def outcomes(operator: Shedder, lane: str = "mail") -> Outcomes:
    return next(each for each in operator.status().lanes if each.lane == lane).outcomes


def sample(redis: Redis) -> None:
    """Keep what the counts are now, which a worker may have done in the midst of its jobs."""
    wait_until(lambda: are_kept(redis), what="a moment with these counts")


def are_kept(redis: Redis) -> bool:
    """Whether the counts are in the newest moment, after an attempt to keep them."""
    redis.delete(KEYS.sampled)
    Store(redis, KEYS).run(sample_lanes(KEYS, ["mail"]))
    [newest] = redis.zrange(KEYS.outcome_samples[0], -1, -1)
    ended, failed = redis.hget(KEYS.meters, "mail:ended"), redis.hget(KEYS.outcomes, "lane:mail:failed")
    return json.loads(newest)[1]["mail"] == [count_of(ended), count_of(failed)]


def move_back(redis: Redis, seconds: int) -> None:
    """Make all that is kept of the counts, and of the failed jobs, older."""
    failed = registry_key(FAILED, "mail")
    for job in redis.zrange(failed, 0, -1):
        redis.zincrby(failed, -seconds, job)
    for key in KEYS.outcome_samples:
        kept = redis.zrange(key, 0, -1, withscores=True)
        redis.delete(key)
        for text, score in kept:
            _, *counts = json.loads(text)
            redis.zadd(key, {json.dumps([score - seconds, *counts]): score - seconds})


def test_jobs_that_fail_are_told_apart(redis: Redis, mail: Queue, operator: Shedder, work: Callable[..., bool]) -> None:
    """Those that ended well and those that failed, with the exception of most of them."""
    for _ in range(3):
        mail.enqueue(break_down)
    mail.enqueue(add, 1, 1)
    work()
    found = outcomes(operator)
    assert (4, 3, 3, 3, 3) == (
        found.ended_lately, found.failed_lately, found.failed_in_minute, found.failed_in_hour, found.failed_kept
    )  # fmt: skip
    assert ("LookupError", 0.75, True) == (found.exception, found.share_failed, found.is_counted)
    assert (0.3, 0.1) == (found.failing, pytest.approx(found.well))


@pytest.mark.parametrize(
    ("ago", "want"),
    [
        (5, (0.3, 3, 3, 3)),
        (30, (0, 3, 3, 3)),
        (200, (0, 3, 0, 3)),
        (900, (0, 0, 0, 3)),
        (7200, (0, 0, 0, 0)),
    ],
)
def test_what_is_long_ago_does_not_count(
    redis: Redis, mail: Queue, operator: Shedder, work: Callable[..., bool], ago: int, want: tuple[float, ...]
) -> None:
    """Rates tell of ten seconds, a finding of five minutes, and sums of a minute and an hour."""
    mail.enqueue(add, 1, 1)
    work()
    sample(redis)
    move_back(redis, 100_000)
    for _ in range(3):
        mail.enqueue(break_down)
    work()
    sample(redis)
    move_back(redis, ago)
    found = outcomes(operator)
    assert want == (found.failing, found.failed_lately, found.failed_in_minute, found.failed_in_hour)


def test_each_label_has_its_own_outcomes(
    redis: Redis, mail: Queue, operator: Shedder, work: Callable[..., bool]
) -> None:
    """What the business calls card charges fails, and what shares the lane with it does not."""
    operator.policies.apply(LABELS, reason="why")
    for _ in range(2):
        mail.enqueue(break_down)
        mail.high.enqueue(add, 1, 1)
    mail.enqueue(add, 1, 1)
    work()
    found = {each.label: each.outcomes for each in operator.status().labels}
    assert {"card charges": (2, 2, "LookupError"), "sums": (3, 0, "")} == {
        label: (each.ended_lately, each.failed_lately, each.exception) for label, each in found.items()
    }


def test_a_job_that_takes_too_long_has_failed(mail: Queue, operator: Shedder, work: Callable[..., bool]) -> None:
    """By RQ's own exception."""
    mail.enqueue(f"{HERE}.idle", job_timeout=1)
    work()
    assert (1, "rq.timeouts.JobTimeoutException") == (outcomes(operator).failed_lately, outcomes(operator).exception)


def test_a_job_whose_process_was_killed_has_failed(yard: Yard, mail: Queue, operator: Shedder, marks: str) -> None:
    """Its worker counts it, which lives on."""
    worker = yard.start("mail")
    begun(mail, marks)
    for child in worker.children():
        os.kill(child, signal.SIGKILL)
    wait_until(lambda: outcomes(operator).failed_lately == 1, what="the failure")
    assert KILLED == outcomes(operator).exception


def test_a_job_whose_worker_was_killed_has_failed(
    yard: Yard, redis: Redis, mail: Queue, operator: Shedder, marks: str
) -> None:
    """Another worker's maintenance finds it, and counts it."""
    from shedder.rq import SimpleWorker

    worker = yard.start("mail")
    begun(mail, marks)
    worker.kill(and_children=True)
    registry = mail.started_job_registry
    for member in redis.zrange(registry.key, 0, -1):
        redis.zadd(registry.key, {member: 1}, xx=True)  # as when its heartbeats are old
    SimpleWorker(["mail"], connection=redis).clean_registries()
    assert (1, ABANDONED) == (outcomes(operator).failed_lately, outcomes(operator).exception)


def test_a_job_that_a_person_stopped_has_not_failed(
    yard: Yard, redis: Redis, mail: Queue, operator: Shedder, marks: str
) -> None:
    """It has ended, by somebody's order."""
    from rq.command import send_stop_job_command

    yard.start("mail")
    job = begun(mail, marks)
    send_stop_job_command(redis, job.id)
    wait_until(lambda: outcomes(operator).ended_lately == 1, what="the end")
    assert 0 == outcomes(operator).failed_lately


def test_stock_workers_are_told_from_the_registries(redis: Redis, mail: Queue, operator: Shedder) -> None:
    """RQ keeps failed jobs for a year, and those that ended well for minutes."""
    for function in (break_down, break_down, print):
        mail.enqueue(function)
    worker = rq.SimpleWorker(["mail"], connection=redis)
    run_burst(worker)
    worker.register_birth()
    found = outcomes(operator)
    assert (3, 2, 2, 2, False) == (
        found.ended_lately, found.failed_lately, found.failed_in_hour, found.failed_kept, found.is_counted
    )  # fmt: skip


def test_what_is_kept_is_bounded(redis: Redis, mail: Queue, work: Callable[..., bool]) -> None:
    """However long it goes on, and only where something has changed."""
    for _ in range(60):
        redis.hincrby(KEYS.meters, "mail:ended", 1)
        sample(redis)
        sample(redis)
        move_back(redis, 2)
    kept = [redis.zcard(key) for key in KEYS.outcome_samples]
    assert OUTCOMES_KEPT[0] == kept[0]
    # two minutes, and those that the machine has let pass
    bounds = zip((12, 2, 1), kept[1:], OUTCOMES_KEPT[1:], strict=True)
    assert all(least <= found <= most for least, found, most in bounds)


@pytest.mark.parametrize(
    ("report", "want"),
    [
        ("Traceback (most recent call last):\n  File x\nValueError: of a@b.example\n", "ValueError"),
        ("Traceback\napp.db.Down\n", "app.db.Down"),
        ("Traceback\napp.db.Down: first line\nsecond line, with: a colon\n", "app.db.Down"),
        ("", "no exception"),
        ("???", "no exception"),
    ],
)
def test_of_an_exception_only_its_class_is_kept(report: str, want: str) -> None:
    """Its message may hold what is personal."""
    assert want == exception_in(report)


def test_what_failed_in_a_time_is_a_difference(
    redis: Redis, mail: Queue, operator: Shedder, work: Callable[..., bool]
) -> None:
    """Between two moments."""
    for ago in (3000, 40, 0):
        mail.enqueue(break_down)
        mail.enqueue(add, 1, 1)
        work()
        sample(redis)
        move_back(redis, ago)
    at = operator.incidents.now()
    before, now = counts_since(operator.store, at - timedelta(minutes=30), at)
    assert ((2, 1), (6, 3)) == (before.lanes["mail"], now.lanes["mail"])


def test_samples_of_a_lane_have_its_failed_jobs(
    redis: Redis, mail: Queue, operator: Shedder, work: Callable[..., bool]
) -> None:
    """So that paces and effects tell what ended well."""
    for _ in range(2):
        mail.enqueue(break_down)
    mail.enqueue(add, 1, 1)
    work()
    redis.delete(*KEYS.samples("mail"), *KEYS.outcome_samples)
    sample(redis)
    (found,) = operator.samples("mail", since=operator.incidents.now() - timedelta(minutes=1))["mail"]
    assert (3, 2) == (found.ended, found.failed)


def test_the_finest_counts_of_a_time_are_read(redis: Redis, operator: Shedder) -> None:
    """And the last ones before it, as of its beginning; however many there are."""
    at = operator.incidents.now().replace(microsecond=0)
    for step, key, most in zip(OUTCOME_STEPS, KEYS.outcome_samples, (3, 40, 450, 450), strict=True):
        for number in range(most):
            ago = number * step
            score = int(at.timestamp()) - ago
            redis.zadd(key, {json.dumps([score, {"mail": [90_000 - ago, 0]}, {}]): score})
    since = at - timedelta(minutes=400, seconds=30)
    replies = iter(operator.store.read(lambda ask: ask_counts(ask, operator.keys, since, None)))
    found = counts_between(replies, since)
    assert (since, 90_000 - 401 * 60) == (found[0].at, found[0].lanes["mail"][0])
    ages = [int((at - each.at).total_seconds()) for each in found[1:]]
    assert (24_000, [20, 10, 4, 2, 0]) == (ages[0], ages[-5:])
    assert ages == sorted(set(ages), reverse=True)


def test_damaged_counts_stop_nothing(
    redis: Redis, mail: Queue, operator: Shedder, work: Callable[..., Any], marks: str
) -> None:
    """A person wrote into what is kept: it is left out."""
    redis.lpush(KEYS.failures("mail"), "[", "7", "[" * 5000)
    redis.hset(KEYS.outcomes, "lane:mail:failed", "many")
    for key in KEYS.outcome_samples:
        redis.zadd(key, {"[": 1, '[1, {"mail": 3}, {}]': 2})
    mail.enqueue("tests.jobs.mark", marks, "a")
    work()
    sample(redis)
    assert (["a"], 0) == (ended(marks), outcomes(operator).failed_lately)


def test_counts_of_many_lanes_are_read_a_few_at_a_time(
    redis: Redis, operator: Shedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A moment of a thousand counters takes several samples, and has all lanes and labels."""
    monkeypatch.setattr("shedder.queues.outcomes.COUNTS_PER_SAMPLE", 100)
    lanes = {f"tenant-{number}": [number + 1, number % 3] for number in range(400)}
    redis.hset(KEYS.meters, mapping={f"{lane}:{what}": ended for lane, (ended, _) in lanes.items()
                                     for what in ("started", "ended")})  # fmt: skip
    redis.hset(KEYS.outcomes, mapping={f"lane:{lane}:failed": failed for lane, (_, failed) in lanes.items()})
    redis.hset(KEYS.outcomes, mapping={"label:sums:ended": 7, "label:sums:failed": 2})
    samples = 0
    while not redis.exists(KEYS.outcome_samples[0]):
        samples += 1
        redis.delete(KEYS.sampled)
        Store(redis, KEYS).run(sample_lanes(KEYS, ["tenant-1"]))
        assert redis.exists(KEYS.outcome_draft) != redis.exists(KEYS.outcome_samples[0])
    [newest] = redis.zrange(KEYS.outcome_samples[0], -1, -1)
    assert (lanes, {"sums": [7, 2]}) == tuple(json.loads(newest)[1:])
    assert 5 <= samples <= 13
    assert 7 == outcomes_of_all(operator, samples)


def outcomes_of_all(operator: Shedder, samples: int) -> int:
    """How many jobs of the labels ended, by the counts that were kept before the last minute."""
    at = operator.incidents.now() + timedelta(minutes=1, seconds=samples)
    return counts_since(operator.store, at, at)[0].labels["sums"][0]


def test_a_moment_that_nobody_went_on_with_is_begun_anew(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first lanes would be of long ago."""
    monkeypatch.setattr("shedder.queues.outcomes.COUNTS_PER_SAMPLE", 100)
    redis.hset(KEYS.meters, mapping={f"tenant-{number}:ended": 5 for number in range(700)})
    drafts = ({"began": 1, "part": "labels", "cursor": 0, "lanes": '"mail":[1,1]'}, {"began": 10**10, "cursor": "x"})
    for text in drafts:
        redis.delete(KEYS.sampled, *KEYS.outcome_samples)
        redis.hset(KEYS.outcome_draft, mapping=text)
        Store(redis, KEYS).run(sample_lanes(KEYS, ["tenant-1"]))
        assert b"lanes" == redis.hget(KEYS.outcome_draft, "part")
        assert b"mail" not in redis.hget(KEYS.outcome_draft, "lanes")
        assert 0 < redis.ttl(KEYS.outcome_draft) <= 60
