"""What the matrix found of damaged records, counts and ids, each as small as it can be told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shedder import Shedder
from shedder.engine.names import rq_keys
from shedder.errors import InvalidInput, RecordUnreadable
from shedder.queues.claims import CRASHES_FIELD
from shedder.queues.maintenance import Upkeep
from shedder.rq import SimpleWorker
from shedder.selection import Selection
from shedder.store.store import Store
from shedder.units import Rate
from tests import jobs
from tests.faults.lanes import KEYS, MAIL, REPORTS, claim, enqueue
from tests.waiting import wait_until
from tests.workers import run_burst

if TYPE_CHECKING:
    from redis import Redis


@pytest.mark.parametrize("field", ["tokens", "at", "released", ""])
def test_a_damaged_bucket_begins_anew(redis: Redis, marks: str, field: str) -> None:
    """Where the tokens of a drain were deleted or damaged, it goes on at its pace."""
    enqueue(redis, marks, "a", "b", "c")
    operator = Shedder(redis)
    order = operator.divert("mail.normal", reason="x").lanes[0].order
    operator.drain("mail.normal", rate=Rate(100.0), reason="x")
    bucket = KEYS.drain(order, "mail")
    redis.hset(bucket, field, "x") if field else redis.delete(bucket)
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert ["a", "b", "c"] == jobs.ended(marks)


def test_damaged_counts_stop_nobody(redis: Redis, marks: str) -> None:
    """A counter that is no number any more begins anew, and its job runs."""
    enqueue(redis, marks, "a")
    redis.hset(KEYS.meters, mapping={"claims": "x", "mail:started": "y", "mail:ended": "z"})
    redis.rpush(KEYS.series("mail"), "[" * 5000)
    assert 1 == sum(lane.waiting for lane in Shedder(redis).status("mail").lanes)
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert ["a"] == jobs.ended(marks)
    assert b"1" == redis.hget(KEYS.meters, "mail:started")


def test_a_drain_whose_counts_are_damaged_comes_to_its_end(redis: Redis, marks: str) -> None:
    """Its progress can be asked for, and its last event tells what is known."""
    enqueue(redis, marks, "a")
    operator = Shedder(redis)
    order = operator.divert("mail.normal", reason="x").lanes[0].order
    receipt = operator.drain("mail.normal", rate=Rate(100.0), reason="x")
    redis.hset(KEYS.drain(order, "mail"), mapping={"released": "x", "skipped:gone": "y"})
    assert [0] == [lane.released for lane in operator.drain_progress(receipt)]
    run_burst(SimpleWorker(["mail"], connection=redis))
    wait_until(lambda: not redis.exists(KEYS.diverts), what="the end of the drain")
    assert (["a"], "drained") == (jobs.ended(marks), operator.events(limit=1)[0].verb)


@pytest.mark.parametrize("record", ['[{"v": 1, "id": "x"}]', '{"v": 1}', '[{"v": 1, "id": "x", "drain": {}}]', "[7]"])
def test_a_damaged_divert_holds_its_lane(redis: Redis, record: str) -> None:
    """An order with parts missing holds its lane, and workers go on with other lanes."""
    enqueue(redis, "nowhere", "a")
    enqueue(redis, "nowhere", "b", lane="reports")
    redis.hset(KEYS.diverts, "mail", record)
    assert "b" == claim(redis, "mail", "reports").job_id
    assert [b"a"] == redis.lrange(MAIL, 0, -1)
    with pytest.raises(RecordUnreadable):
        Shedder(redis).divert("mail", reason="x")


def test_a_damaged_divert_is_named_with_its_whole_lane(redis: Redis) -> None:
    """An error says of which lane a record cannot be read, also where its name holds blanks."""
    redis.hset(KEYS.diverts, "all my mail", "[7]")
    with pytest.raises(RecordUnreadable, match="of lane all my mail "):
        Shedder(redis).divert("all my mail", reason="x")


def test_a_damaged_claim_stops_nobody(redis: Redis) -> None:
    """What somebody wrote among the claims is left alone, and workers go on."""
    enqueue(redis, "nowhere", "a")
    redis.zadd(KEYS.claims, {b"garbage": 1, b"": 1})
    assert "a" == claim(redis).job_id


def test_upkeep_goes_on_after_a_damaged_record(redis: Redis) -> None:
    """The upkeep finishes what was begun in one lane though the record of another is damaged."""
    enqueue(redis, "nowhere", "a", "b", lane="reports")
    redis.hset(KEYS.diverts, "mail", "garbage")
    redis.lmove(REPORTS, KEYS.kept("reports"))
    Upkeep(Store(redis, rq_keys()), ["mail", "reports"]).do()
    assert [b"a", b"b"] == redis.lrange(REPORTS, 0, -1)


@pytest.mark.parametrize("job", [b"a b", b"\xff\xfe", b"x:y"])
def test_an_id_that_rq_refuses(redis: Redis, marks: str, job: bytes) -> None:
    """A worker survives an id that RQ's Job class refuses, and the jobs behind it run."""
    enqueue(redis, marks, "good")
    redis.rename(f"{KEYS.engine.jobs}good", KEYS.engine.jobs.encode() + job)
    redis.delete(MAIL)
    redis.rpush(MAIL, job)
    enqueue(redis, marks, "behind")
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert (["behind"], 0) == (jobs.ended(marks), redis.zcard(KEYS.claims))


def test_a_count_of_crashes_that_is_none(redis: Redis, marks: str) -> None:
    """A damaged count stops no worker."""
    enqueue(redis, marks, "a")
    redis.hset(f"{KEYS.engine.jobs}a", CRASHES_FIELD, "many")
    run_burst(SimpleWorker(["mail"], connection=redis))
    assert ["a"] == jobs.ended(marks)


def test_a_scan_over_an_id_that_is_no_text(redis: Redis) -> None:
    """The scan of a divert comes to an end at an id of bytes that are no text."""
    redis.rpush(MAIL, b"\xff\xfe")
    redis.hset(KEYS.engine.jobs.encode() + b"\xff\xfe", mapping={"created_at": "x", "data": "y"})
    receipt = Shedder(redis).divert("mail", selection=Selection(functions=("f",)), reason="x")
    assert 0 == receipt.moved


def test_a_dry_run_over_a_time_that_is_none(redis: Redis) -> None:
    """A job whose times are garbage is counted in a dry run."""
    redis.rpush(MAIL, "a")
    redis.hset(f"{KEYS.engine.jobs}a", mapping={"created_at": "x", "enqueued_at": "y"})
    assert 1 == Shedder(redis).preview_divert("mail").taken


@pytest.mark.parametrize("where", ["pauses", "diverts"])
def test_a_record_of_endless_depth(redis: Redis, where: str) -> None:
    """Ten megabytes of brackets hold their lane, are told as unreadable, and stop nobody else."""
    enqueue(redis, "nowhere", "a")
    enqueue(redis, "nowhere", "b", lane="reports")
    redis.hset(getattr(KEYS, where), "mail", "[" * 10_000_000)
    assert "b" == claim(redis, "mail", "reports").job_id
    operator = Shedder(redis)
    assert operator.status("mail.normal").lanes[0].warnings
    said = {each.check: each.level for each in operator.check_up().findings}
    assert "problem" == said["records"]


def test_half_a_character_is_no_queue(redis: Redis) -> None:
    """A name that cannot be sent to Redis is refused in a sentence."""
    with pytest.raises(InvalidInput):
        Shedder(redis).status("\ud800")


def test_a_backlog_whose_record_somebody_deleted(redis: Redis) -> None:
    """The doctor puts its jobs back, and leaves nothing of its drain behind."""
    enqueue(redis, "nowhere", "a")
    operator = Shedder(redis)
    order = operator.divert("mail.normal", reason="x").lanes[0].order
    operator.drain("mail.normal", rate=Rate(1.0), reason="x")
    redis.rpush(KEYS.skipped(order, "mail"), "b cancelled")
    redis.delete(KEYS.diverts)
    operator.repair(operator.check_up(), reason="x")
    left = redis.exists(KEYS.drain(order, "mail"), KEYS.skipped(order, "mail"))
    assert ([b"a"], 0) == (redis.lrange(MAIL, 0, -1), left)
