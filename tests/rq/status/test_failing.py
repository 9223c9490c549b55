"""`status` and its rules say what fails, of which kind of work, and what is not known."""

from __future__ import annotations

import base64
import json
import re
import time
import zlib
from typing import TYPE_CHECKING

import pytest
import rq
from rq.job import Job

from shedder.policy.model import Defaults, Policy, Rule
from shedder.queues.outcomes import LARGEST_REPORT, exception_of
from shedder.rq import Queue, SimpleWorker
from shedder.selection import Selection
from shedder.status.findings import check_status, unknown_ends
from shedder.units import Rate
from tests.rq.documented.functions import add, begun, break_down
from tests.rq.status.test_outcomes import KEYS, move_back, outcomes, sample
from tests.waiting import wait_until
from tests.workers import run_burst

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from shedder.api.shedder import Shedder
    from tests.workers import Yard

    Work = Callable[..., bool]


def give(queue: Queue | rq.Queue, *, failing: int = 0, well: int = 0) -> None:
    """Enqueue jobs that will end so."""
    for _ in range(failing):
        queue.enqueue(break_down)
    for _ in range(well):
        queue.enqueue(add, 1, 1)


def warned(operator: Shedder, lane: str = "mail") -> list[str]:
    return list(next(each for each in operator.status().lanes if each.lane == lane).warnings)


FAILING = "({0}|{1}): {2} of {2} jobs in 5m(, none of them in the last 10 s)?, most often LookupError"
"""Where the machine has let ten seconds pass since, no rate is told."""


def work_as_stock(redis: Redis, *, is_there: bool = True) -> None:
    """Let a stock worker do what there is; RQ knows it afterwards when it `is_there`."""
    worker = rq.SimpleWorker(["mail"], connection=redis)
    run_burst(worker)
    if is_there:
        worker.register_birth()


def test_a_lane_whose_jobs_fail_is_warned_of(mail: Queue, operator: Shedder, work: Work) -> None:
    """With the rate, the numbers, the exception, what RQ keeps, and the command that stops it."""
    give(mail, failing=30)
    work()
    [said] = warned(operator)
    expected = (
        f"{FAILING.format('3/s of mail fail', 'mail failed', 30)}; RQ keeps 30 failed jobs\\. "
        "Pause it until the cause is gone: run `shedder pause mail\\.normal`\\."
    )
    assert re.fullmatch(expected, said)


@pytest.mark.parametrize(
    ("failing", "well", "fails_at", "is_warned"),
    [
        (19, 0, None, False),
        (20, 0, None, True),
        (4, 16, None, True),
        (4, 17, None, False),
        (4, 17, 0.1, True),
        (12, 12, 0.6, False),
        (30, 0, 0.0, False),
    ],
)
def test_the_policy_says_when_work_fails(
    mail: Queue, operator: Shedder, work: Work, failing: int, well: int, fails_at: float | None, is_warned: bool
) -> None:
    """A fifth of at least twenty jobs, unless `fails_at` says something else."""
    operator.policies.apply(Policy(defaults=Defaults(fails_at=fails_at)), reason="why")
    give(mail, failing=failing, well=well)
    work()
    assert is_warned == bool(warned(operator))
    assert is_warned == ("fails" in {each.kind for each in check_status(operator.status()).problems})


def test_each_label_is_warned_of_in_its_own_words(mail: Queue, operator: Shedder, work: Work) -> None:
    """What shares the lane with it and ends well is not."""
    rule = Rule(selection=Selection(functions=("*.break_down",)), label="card charges")
    operator.policies.apply(Policy(rules=(rule, Rule(label="sums"))), reason="why")
    give(mail, failing=20, well=90)
    work()
    (said,) = operator.status().warnings
    expected = FAILING.format("2/s of card charges fail", "card charges failed", 20)
    assert re.fullmatch(f"{expected}\\. Run `shedder triage` for what to do\\.", said)
    assert [] == warned(operator)
    (problem,) = check_status(operator.status()).problems
    assert ("fails", "card charges", said) == (problem.kind, problem.target, problem.text)


def test_what_failed_a_while_ago_is_not_told_as_failing(
    redis: Redis, mail: Queue, operator: Shedder, work: Work
) -> None:
    """It is told as failed, until twenty have ended well."""
    give(mail, well=1)
    work()
    sample(redis)
    move_back(redis, 100_000)
    give(mail, failing=20)
    work()
    sample(redis)
    move_back(redis, 60)
    (said,) = warned(operator)
    assert said.startswith("mail failed: 20 of 20 jobs in 5m, none of them in the last 10 s, most often LookupError")
    give(mail, well=20)
    work()
    assert [] == warned(operator)


def test_a_paused_lane_has_no_command_and_a_draining_one_another(mail: Queue, operator: Shedder, work: Work) -> None:
    """What stops the failing depends on what stands there."""
    give(mail, failing=40)
    work()
    operator.divert("mail.normal", reason="r")
    give(mail, failing=1)
    operator.drain("mail.normal", rate=Rate(1e-3), reason="r")
    assert warned(operator)[0].endswith(" Stop its drain: run `shedder drain mail.normal --stop`.")
    operator.pause("mail.normal", reason="r")
    assert warned(operator)[0].endswith("; RQ keeps 40 failed jobs.")


def test_what_ends_a_second_ended_well(redis: Redis, mail: Queue, operator: Shedder, work: Work) -> None:
    """Jobs that failed are no output of a lane."""
    then_ms = int(time.time() * 1000) - 20_000
    redis.rpush(KEYS.series("mail"), json.dumps([then_ms, 0, 0, 0, 0]))
    give(mail, failing=30, well=10)
    work()
    found = next(each for each in operator.status().lanes if each.lane == "mail")
    assert found.completions == pytest.approx(0.5, rel=0.3)
    assert found.outcomes.failing == pytest.approx(3.0, rel=0.1)


def test_a_lane_that_holds_only_failed_jobs_is_there(redis: Redis, mail: Queue, operator: Shedder) -> None:
    """Nobody serves its priority any more, and still it is told."""
    give(mail.low, failing=20)
    run_burst(SimpleWorker(["mail.low"], connection=redis))
    assert "of mail.low fail: 20 of 20 jobs" in warned(operator, "mail.low")[0]


# stock workers


@pytest.mark.parametrize("is_there", [True, False])
def test_stock_workers_are_told_from_the_registries_and_the_sentence_says_so(
    redis: Redis, mail: Queue, operator: Shedder, is_there: bool
) -> None:
    """With the exception from RQ's results, also when the worker that failed them has gone."""
    give(mail, failing=25, well=5)
    work_as_stock(redis, is_there=is_there)
    said = warned(operator)[0]
    assert said.startswith("2/s of mail fail: 25 of 30 jobs in 5m, most often LookupError, as RQ's registries tell, ")
    assert "since stock workers count no end; RQ keeps 25 failed jobs." in said
    assert not outcomes(operator).is_counted


def test_the_most_frequent_exception_of_stock_workers_is_told(redis: Redis, mail: Queue, operator: Shedder) -> None:
    """Of the last twenty, by their class."""
    give(mail, failing=3)
    work_as_stock(redis)
    for _ in range(15):
        mail.enqueue(add, "one", 2)
    work_as_stock(redis)
    assert "TypeError" == outcomes(operator).exception


def test_a_job_with_another_time_to_live_is_not_taken_for_a_late_one(
    redis: Redis, mail: Queue, operator: Shedder
) -> None:
    """RQ's registry has when a job goes, from which the usual time to live tells when it ended."""
    mail.enqueue(break_down, failure_ttl=-1)
    mail.enqueue(add, 1, 1, result_ttl=86_400)
    work_as_stock(redis)
    found = outcomes(operator)
    assert (0, 0, 1) == (found.ended_lately, found.failed_lately, found.failed_kept)


def packed(report: str) -> bytes:
    return base64.b64encode(zlib.compress(report.encode()))


@pytest.mark.parametrize(
    ("result", "want"),
    [
        ({b"exc_string": packed("Traceback\napp.db.Down: text\n")}, "app.db.Down"),
        ({b"exc_string": packed("Job stopped by user, work-horse terminated.")}, ""),
        ({b"exc_string": packed("x" * LARGEST_REPORT + "\nValueError: text\n")}, ""),
        ({b"exc_string": b"?"}, ""),
        ({b"exc_string": base64.b64encode(b"x")}, ""),
        ({b"return_value": b"x"}, ""),
    ],
)
def test_what_cannot_be_read_of_a_result_is_left_out(result: dict[bytes, bytes], want: str) -> None:
    """Whatever a person or a later RQ has made of it."""
    assert want == exception_of([(b"1-0", result)])
    assert "" == exception_of([])


def test_a_result_is_read_where_rq_keeps_it(redis: Redis, mail: Queue) -> None:
    """The same class as RQ itself tells."""
    job = mail.enqueue(break_down)
    work_as_stock(redis)
    key = f"{KEYS.engine.prefix}:results:{job.id}"
    assert "LookupError" == exception_of(redis.xrevrange(key, count=1))
    result = Job.fetch(job.id, connection=redis).latest_result()
    assert result is not None
    assert "LookupError" in (result.exc_string or "")


# halted drains


def test_a_drain_that_halted_is_warned_of_with_the_command_that_goes_on(
    mail: Queue, operator: Shedder, work: Work
) -> None:
    """Real jobs fail; what is left waits, and the command that is told goes on."""
    give(mail, failing=30)
    operator.divert("mail.normal", reason="r")
    operator.drain("mail.normal", rate=Rate(50.0), reason="r")
    wait_until(lambda: work() and "drain halted" in {each.verb for each in operator.events()}, what="the halt")
    (said,) = [each for each in operator.status().warnings if each.startswith("The drain")]
    expected = (
        r"The drain of mail halted \d+s ago, because 20 of its last 20 jobs failed; 10 jobs wait in the backlog, "
    )
    assert re.match(expected + "in order. ", said)
    assert said.endswith("Run `shedder drain mail.normal --rate 50/second` to go on when the cause is gone.")
    assert "drain halted" in {each.kind for each in check_status(operator.status()).problems}
    operator.drain("mail.normal", rate=Rate(50.0), reason="r")
    assert not [each for each in operator.status().warnings if each.startswith("The drain")]


# what is not known


def test_jobs_that_run_and_none_that_ended_are_not_known(
    yard: Yard, mail: Queue, operator: Shedder, marks: str
) -> None:
    """Nobody knows how they will end."""
    yard.start("mail")
    begun(mail, marks)
    found = check_status(operator.status())
    assert (True, True) == (found.is_good, found.is_blind)
    assert (
        "whether the 1 job of mail that runs ends well, since none is known to have ended there for 5m",
    ) == found.unknown


def test_stock_workers_are_not_known(redis: Redis, mail: Queue, operator: Shedder) -> None:
    """Of what they do only RQ's registries tell."""
    give(mail, well=1)
    work_as_stock(redis)
    (said,) = unknown_ends(operator.status())
    expected = "how many jobs of mail fail, beyond what RQ's registries tell, since stock workers count no end"
    assert expected == said


def test_what_is_known_is_no_doubt(mail: Queue, operator: Shedder, work: Work) -> None:
    """Jobs of workers of ours that have ended are counted."""
    give(mail, failing=1, well=2)
    work()
    found = check_status(operator.status())
    assert ((), False, 3, 1) == (found.unknown, found.is_blind, found.ended, found.failed)


def test_counts_that_nobody_kept_are_no_proof(
    redis: Redis, yard: Yard, mail: Queue, operator: Shedder, marks: str, work: Work
) -> None:
    """Where a worker has kept none for five minutes, what it counted ended before."""
    give(mail, well=1)
    work()
    worker = yard.start("mail")
    begun(mail, marks)
    redis.delete(KEYS.series("mail"))
    redis.rpush(KEYS.series("mail"), json.dumps([int(time.time() * 1000) - 400_000, 0, 0, 1, 0]))
    assert check_status(operator.status()).is_blind
    worker.kill(and_children=True)


def test_failures_of_long_ago_that_nobody_kept_are_told_as_old(
    redis: Redis, mail: Queue, operator: Shedder, work: Work
) -> None:
    """The last worker went before it kept its counts; the time of each failure is noted."""
    operator.policies.apply(Policy(rules=(Rule(label="sums"),)), reason="why")
    give(mail, failing=30)
    work()
    redis.delete(*KEYS.outcome_samples)
    noted = [json.loads(text) for text in redis.lrange(KEYS.failures("mail"), 0, -1)]
    redis.delete(KEYS.failures("mail"))
    redis.rpush(KEYS.failures("mail"), *(json.dumps([at - 900_000, *rest]) for at, *rest in noted))
    move_back(redis, 900)
    status = operator.status()
    found = [outcomes(operator), *(each.outcomes for each in status.labels)]
    assert [(0.0, 0, 0, 30)] * 2 == [
        (each.failing, each.failed_lately, each.failed_in_minute, each.failed_in_hour) for each in found
    ]
    assert check_status(status).is_good
