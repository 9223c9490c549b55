"""Does the status tell what is there, what is wrong, and at a cost that does not grow?"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from rq import Queue as StockQueue
from rq.defaults import RQ_KEY_PREFIX
from rq.worker import SimpleWorker as StockWorker

from shedder.backlog import divert_lanes
from shedder.controls import park_lane, pause_lanes
from shedder.drain import order_drain
from shedder.lanes import Lane, lane_of, lanes_of_target
from shedder.rates import Rate
from shedder.records import Cause, LaneStatus, Status
from shedder.rq import Queue, SimpleWorker
from shedder.rq.claims import Claimed, claim_job
from shedder.rq.layout import rq_keys
from shedder.rq.status import read_status
from shedder.selection import Selection
from shedder.store import Store

if TYPE_CHECKING:
    from redis import Redis
    from rq.job import Job

    from tests.conftest import ServerFactory

KEYS = rq_keys()
CAUSE = Cause(by="oncall", why="db at 99 %")


def status(redis: Redis, *targets: str) -> Status:
    lanes = [lane for target in targets for lane in lanes_of_target(target)]
    return read_status(Store(redis), KEYS, lanes if targets else None)


def lane(redis: Redis, name: str) -> LaneStatus:
    (found,) = read_status(Store(redis), KEYS, [lane_of(name)]).lanes
    return found


def pause(redis: Redis, name: str, **options: Any) -> None:
    Store(redis).run(pause_lanes(KEYS, [lane_of(name)], CAUSE, operation="op " + name, **options))


def divert(redis: Redis, name: str, *, order: str = "o1", selection: Any = None) -> None:
    Store(redis).run(
        divert_lanes(KEYS, [lane_of(name)], selection or Selection(), CAUSE, order=order)
    )


def drain(redis: Redis, name: str, rate: str) -> None:
    Store(redis).run(order_drain(KEYS, [lane_of(name)], Rate.parse(rate), CAUSE, operation="d"))


def enqueue(redis: Redis, name: str, count: int = 1) -> list[Job]:
    return [Queue(name, connection=redis).enqueue("app.send") for _ in range(count)]


def serve(redis: Redis, *queues: str, is_stock: bool = False, name: str = "w") -> None:
    kind = StockWorker if is_stock else SimpleWorker
    kind(list(queues), name=name, connection=redis).register_birth()


def age(redis: Redis, record: str, key: str, hours: int) -> None:
    """Make a control so many hours older."""
    stored = json.loads(redis.hget(key, record) or "")
    for each in stored if isinstance(stored, list) else [stored]:
        each["since"] -= hours * 3_600_000
    redis.hset(key, record, json.dumps(stored))


def sample(redis: Redis, name: str, age_ms: int, counts: list[int]) -> None:
    now = int(time.time() * 1000)
    redis.rpush(KEYS.series(name), json.dumps([now - age_ms, *counts]))


def test_nothing_is_there(redis: Redis) -> None:
    """An empty server has no lanes, no warnings, and a clock."""
    found = status(redis)
    assert ((), (), None, False) == (
        found.lanes,
        found.warnings,
        found.memory_used,
        found.is_suspended,
    )
    assert abs(found.at - datetime.now(UTC)) < timedelta(seconds=10)


def test_a_queue_is_shown_without_its_empty_lanes(redis: Redis) -> None:
    """Of a queue's lanes the normal one is always shown, the others when they have something."""
    enqueue(redis, "mail.low", 3)
    StockQueue("reports", connection=redis).enqueue("app.report")
    redis.lpop(f"{RQ_KEY_PREFIX}:queue:reports")
    shown = [(each.lane, each.queue, each.priority, each.waiting) for each in status(redis).lanes]
    expected = [
        ("mail", "mail", "normal", 0),
        ("mail.low", "mail", "low", 3),
        ("reports", "reports", "normal", 0),
    ]
    assert expected == shown


def test_lanes_that_are_asked_for_are_shown_empty_too(redis: Redis) -> None:
    """Who names a queue sees all its lanes, most important first, even unknown ones."""
    names = [each.lane for each in status(redis, "mail").lanes]
    assert ["mail.critical", "mail.high", "mail", "mail.low"] == names


def test_a_control_on_an_unknown_queue_is_shown(redis: Redis) -> None:
    """A queue that RQ has not seen yet can be paused, and that is not hidden."""
    pause(redis, "tomorrow.high")
    assert ["tomorrow.high", "tomorrow"] == [each.lane for each in status(redis).lanes]


def test_jobs_are_counted_where_they_are(redis: Redis) -> None:
    """Waiting, backlog, running and claimed add up, whatever list they stand in."""
    jobs = enqueue(redis, "mail", 9)
    assert isinstance(Store(redis).run(claim_job(KEYS, ["mail"], worker="w")), Claimed)
    redis.zadd(
        f"{RQ_KEY_PREFIX}:wip:mail",
        {f"{jobs[0].id}:e": time.time() + 60, "other:e": time.time() + 60},
    )
    redis.lmove(f"{RQ_KEY_PREFIX}:queue:mail", KEYS.kept("mail"))
    redis.lmove(f"{RQ_KEY_PREFIX}:queue:mail", KEYS.parked("mail"))
    found = lane(redis, "mail")
    assert (8, 0, 1, 1) == (found.waiting, found.backlog, found.running, found.claimed)
    divert(redis, "mail")  # which leaves to the claim what it cannot rename
    found = lane(redis, "mail")
    assert (6, 2, 1, 1) == (found.waiting, found.backlog, found.running, found.claimed)


def test_controls_are_shown(redis: Redis) -> None:
    """Pause, diverts and drain are told with who, why and how far."""
    enqueue(redis, "mail", 2)
    pause(redis, "mail")
    divert(redis, "mail", order="o1", selection=Selection.parse(functions="app.x"))
    divert(redis, "mail", order="o2")
    drain(redis, "mail", "200/second")
    redis.hset(KEYS.drain("o2", "mail"), mapping={"released": 5, "skipped:gone": 1})
    found = lane(redis, "mail")
    assert found.pause is not None
    assert ("oncall", "db at 99 %") == (found.pause.by, found.pause.why)
    some, whole = found.diverts
    assert ("function app.x", 0, True) == (
        some.selection.describe(),
        some.backlog,
        some.is_scanning,
    )
    assert ("every job", 2, False) == (whole.selection.describe(), whole.backlog, whole.is_scanning)
    assert whole.drain is not None
    assert ("200/second", 5, {"gone": 1}) == (
        str(whole.drain.rate),
        whole.drain.released,
        whole.drain.skipped,
    )


def test_a_pause_that_has_run_out_is_not_shown(redis: Redis) -> None:
    """A pause whose time is over does not hold, so it is not told as if it did."""
    pause(redis, "mail", expires_in=timedelta(hours=1))
    assert lane(redis, "mail").pause is not None
    stored = json.loads(redis.hget(KEYS.pauses, "mail") or "")
    redis.hset(KEYS.pauses, "mail", json.dumps({**stored, "until": time.time() * 1000 - 1}))
    assert lane(redis, "mail").pause is None


def test_the_oldest_jobs_are_told(redis: Redis) -> None:
    """The age of lane and backlog is that of their first jobs, in whichever list those stand."""
    first, second, third = enqueue(redis, "mail", 3)
    assert first.enqueued_at == lane(redis, "mail").oldest
    redis.lmove(f"{RQ_KEY_PREFIX}:queue:mail", KEYS.kept("mail"))
    assert first.enqueued_at == lane(redis, "mail").oldest
    redis.delete(KEYS.kept("mail"))
    divert(redis, "mail")
    enqueue(redis, "mail.low")
    assert (None, second.enqueued_at) == (
        lane(redis, "mail").oldest,
        lane(redis, "mail").oldest_in_backlog,
    )
    redis.delete(second.key)
    assert lane(redis, "mail").oldest_in_backlog is None
    assert third.enqueued_at is not None


def test_rates_are_told_from_the_oldest_sample_of_a_minute(redis: Redis) -> None:
    """What is there or has started since must have arrived; what ended is counted."""
    enqueue(redis, "mail", 30)
    sample(redis, "mail", 90_000, [0, 0, 0, 0])
    redis.rpush(KEYS.series("mail"), "damaged", "[1]", '["a", 1, 1, 1, 1]')
    sample(redis, "mail", 20_000, [5, 0, 100, 90])
    sample(redis, "mail", 2_000, [30, 0, 155, 140])
    redis.hset(KEYS.meters, mapping={"mail:started": 155, "mail:ended": 140})
    found = lane(redis, "mail")
    assert found.arrivals == pytest.approx(4.0, rel=0.05)
    assert found.completions == pytest.approx(2.5, rel=0.05)


@pytest.mark.parametrize("age_ms", [100, 200_000])
def test_no_rate_is_told_from_a_sample_that_is_too_young_or_too_old(
    redis: Redis, age_ms: int
) -> None:
    """Where nothing is known yet, nothing is told."""
    enqueue(redis, "mail", 3)
    sample(redis, "mail", age_ms, [0, 0, 0, 0])
    found = lane(redis, "mail")
    assert (None, None) == (found.arrivals, found.completions)


def test_no_rate_is_negative_and_none_is_told_of_stock_workers(redis: Redis) -> None:
    """Cancelled jobs are no arrivals; what stock workers do is counted by nobody."""
    enqueue(redis, "mail")
    sample(redis, "mail", 5_000, [50, 0, 0, 0])
    found = lane(redis, "mail")
    assert (0.0, 0.0) == (found.arrivals, found.completions)
    serve(redis, "mail", is_stock=True)
    found = lane(redis, "mail")
    assert (None, None) == (found.arrivals, found.completions)


def test_workers_are_counted_by_what_they_obey(redis: Redis) -> None:
    """Workers of ours and stock ones are told apart."""
    serve(redis, "mail", name="a")
    serve(redis, "mail", name="b")
    serve(redis, "mail", "mail.low", name="c", is_stock=True)
    enqueue(redis, "mail")
    counts = {each.lane: (each.workers, each.stock_workers) for each in status(redis).lanes}
    expected = {"mail.critical": (2, 0), "mail.high": (2, 0), "mail": (2, 1), "mail.low": (2, 1)}
    assert expected == counts


def warned(redis: Redis, name: str = "mail") -> list[str]:
    return list(lane(redis, name).warnings)


def test_jobs_without_a_worker_are_warned_of(redis: Redis) -> None:
    """Somebody must start a worker, or nothing happens."""
    enqueue(redis, "mail.low")
    expected = (
        "mail.low has 1 job and no worker: start one that serves mail, or a stock one for it."
    )
    assert [expected] == warned(redis, "mail.low")
    serve(redis, "mail")
    assert [] == warned(redis, "mail.low")


@pytest.mark.parametrize("control", [pause, divert])
def test_stock_workers_on_a_held_lane_are_warned_of(redis: Redis, control: Any) -> None:
    """A pause that a stock worker does not obey is never told without saying so."""
    serve(redis, "mail", is_stock=True)
    assert [] == warned(redis)
    control(redis, "mail")
    (warning,) = warned(redis)
    assert warning.startswith("1 stock worker serves mail and obeys neither pause nor divert: ")


@pytest.mark.parametrize("kind", ["pauses", "diverts"])
@pytest.mark.parametrize("record", ["nonsense", '{"v": 2}', '[{"v": 2}]', b"\xff"])
def test_a_record_that_cannot_be_read_is_a_warning(
    redis: Redis, kind: str, record: str | bytes
) -> None:
    """Status never fails over one damaged record; it says what to do about it."""
    enqueue(redis, "reports")
    redis.hset(getattr(KEYS, kind), "mail", record)
    found = {each.lane: each.warnings for each in status(redis).lanes}
    (warning,) = found["mail"]
    assert warning.startswith(f"the record of the {kind.rstrip('s')}")
    assert "reports" in found


def test_unfinished_steps_are_warned_of(redis: Redis) -> None:
    """A scan or a restore that nobody finished is told."""
    serve(redis, "mail")
    enqueue(redis, "mail")
    divert(redis, "mail", selection=Selection.parse(functions="app.x"))
    (scan,) = warned(redis)
    assert "The divert of mail by oncall has not looked at all waiting jobs: " in scan
    stored = json.loads(redis.hget(KEYS.diverts, "mail") or "")
    stored[0] |= {"scanning": None, "restoring": True}
    redis.hset(KEYS.diverts, "mail", json.dumps(stored))
    (restore,) = warned(redis)
    assert restore.startswith("The backlog of mail is only partly back in its lane: ")


def test_parked_jobs_without_a_pause_are_warned_of(redis: Redis) -> None:
    """Jobs that stock workers cannot reach for no reason are told."""
    serve(redis, "mail")
    enqueue(redis, "mail", 2)
    pause(redis, "mail")
    Store(redis).run(park_lane(KEYS, "mail"))
    assert [] == warned(redis)
    redis.hdel(KEYS.pauses, "mail")
    (warning,) = warned(redis)
    assert warning.startswith("2 jobs of mail are out of the reach of stock workers though ")
    assert warning.endswith("run `shedder resume mail`.")


def test_old_controls_are_warned_of(redis: Redis) -> None:
    """A pause or divert that stands for more than a day may have been forgotten."""
    pause(redis, "mail")
    divert(redis, "mail")
    age(redis, "mail", KEYS.pauses, 23)
    age(redis, "mail", KEYS.diverts, 23)
    assert [] == warned(redis)
    age(redis, "mail", KEYS.pauses, 3)
    age(redis, "mail", KEYS.diverts, 28)
    assert [
        "mail has been paused for 1d 2h by oncall: run `shedder resume mail` if that is over.",
        "mail has been diverted for 2d 3h by oncall: run `shedder drain mail` if that is over.",
    ] == warned(redis)


def test_a_suspended_server_is_warned_of(redis: Redis) -> None:
    """RQ's own suspend stops everything, so it stands at the top."""
    redis.set(KEYS.engine.suspended, 1)
    found = status(redis)
    assert found.is_suspended
    expected = "RQ's own suspend is on, so no worker takes a job: end it with `rq resume`."
    assert (expected,) == found.warnings


def test_memory_and_eviction_are_warned_of(server_factory: ServerFactory) -> None:
    """A server that is nearly full, or that may throw jobs away, is told."""
    server = server_factory(config={"maxmemory": "20mb", "maxmemory-policy": "noeviction"})
    with server.client() as client:
        found = status(client)
        assert found.memory_used is not None
        assert (True, ()) == (0 < found.memory_used < 0.9, found.warnings)
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 100_000)
        client.config_set("maxmemory-policy", "allkeys-lru")
        full, eviction = status(client).warnings
    assert full.startswith("The server's memory is ")
    assert eviction.startswith("The server's maxmemory-policy is allkeys-lru, so it may throw ")


def test_queues_in_trouble_come_first_and_stay_together(redis: Redis) -> None:
    """Warnings, then controls, then age decide; within a queue priority does."""
    serve(redis, "young", "old", "held", "calm", name="ours")
    enqueue(redis, "calm")
    redis.delete(f"{RQ_KEY_PREFIX}:queue:calm")
    enqueue(redis, "old")
    enqueue(redis, "young")
    enqueue(redis, "young.critical")
    pause(redis, "held.low")
    enqueue(redis, "alone.low")
    shown = [each.lane for each in status(redis).lanes if "." not in each.lane or each.waiting]
    expected = ["alone", "alone.low", "held", "old", "young.critical", "young", "calm"]
    assert expected == shown


def fill(redis: Redis, count: int) -> None:
    redis.flushall()
    for name in ("mail", "mail.low", "reports"):
        serve(redis, name, name=f"w-{name}", is_stock=name == "reports")
        enqueue(redis, name)
        first = redis.lindex(f"{RQ_KEY_PREFIX}:queue:{name}", 0)
        redis.rpush(f"{RQ_KEY_PREFIX}:queue:{name}", *[first] * (count - 1))
    divert(redis, "mail")
    enqueue(redis, "mail.low")
    pause(redis, "reports")


def commands_of_status(redis: Redis) -> dict[str, int]:
    status(redis)  # so that the server knows the script
    redis.config_resetstat()
    status(redis)
    stats = redis.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}
    return {name: number for name, number in calls.items() if name != "config|resetstat"}


def test_the_cost_does_not_depend_on_how_many_jobs_wait(redis: Redis) -> None:
    """Ten jobs and ten thousand are told with the very same commands."""
    fill(redis, 10)
    few = commands_of_status(redis)
    fill(redis, 10_000)
    assert few == commands_of_status(redis)
    assert (10_000, 10_000) == (lane(redis, "reports").waiting, lane(redis, "mail").backlog)


def test_status_takes_four_round_trips(redis: Redis) -> None:
    """Many queues cost no more round trips than one."""
    asked = []

    class CountingStore(Store):
        def read(self, ask: Any) -> list[Any]:
            asked.append("read")
            return super().read(ask)

        def run(self, command: Any) -> Any:
            asked.append("run")
            return super().run(command)

    for number in range(20):
        enqueue(redis, f"queue{number}")
    assert 20 == len(read_status(CountingStore(redis), KEYS).lanes)
    assert ["read", "read", "run", "read"] == asked


def test_a_lane_named_twice_is_told_once(redis: Redis) -> None:
    """The same lane under two targets is one lane."""
    assert 1 == len(read_status(Store(redis), KEYS, [Lane("mail"), Lane("mail")]).lanes)
