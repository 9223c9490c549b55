"""Workers write down how their lanes are, in a bounded space."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from shedder.engine.names import rq_keys
from shedder.queues.maintenance import Upkeep
from shedder.queues.samples import EXPIRY, SAMPLES_KEPT, Sample, read_samples, sample_after, sample_lanes
from shedder.selection import Selection
from shedder.store.keys import SAMPLE_STEPS
from shedder.store.store import Store
from shedder.units import Rate
from tests.busy import busy
from tests.features.scene import Scene

if TYPE_CHECKING:
    from redis import Redis

    from tests.conftest import ServerFactory

KEYS = rq_keys()
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def take(redis: Redis, *lanes: str) -> bool:
    """Take a sample now, whoever has just done it."""
    redis.delete(KEYS.sampled)
    return Store(redis, rq_keys()).run(sample_lanes(KEYS, lanes))


def taken(redis: Redis, lane: str) -> tuple[Sample, ...]:
    return read_samples(Store(redis, rq_keys()), [lane], since=LONG_AGO).get(lane, ())


def move_back(redis: Redis, lane: str, seconds: int) -> None:
    """Make the samples of a lane older."""
    for key in KEYS.samples(lane):
        for index, each in enumerate(redis.lrange(key, 0, -1)):
            older = int.from_bytes(each[:4], "big") - seconds
            redis.lset(key, index, older.to_bytes(4, "big") + each[4:])


def numbers(sample: Sample) -> dict[str, Any]:
    return {name: getattr(sample, name) for name in Sample.__slots__[1:]}


def test_a_sample_tells_all_of_a_lane(redis: Redis) -> None:
    """Jobs that wait, are put aside and run, the ages of the oldest, and what was started."""
    scene = Scene(redis)
    scene.fill("mail", "a", "b", "c", "d", "e")
    scene.fill("mail", "n-1", "n-2", function="app.mail.news")
    for job, hours in (("a", 3), ("b", 1), ("n-1", 2)):
        old = datetime.now(UTC) - timedelta(hours=hours)
        redis.hset(KEYS.engine.jobs + job, "enqueued_at", old.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    scene.shedder.divert("mail", selection=Selection(functions=("*.news",)), reason="r")
    scene.run_one("mail")
    redis.zadd(f"{KEYS.engine.prefix}:wip:mail", {"z:1": 9e12})
    redis.delete(*KEYS.samples("mail"))  # those of the divert
    take(redis, "mail")
    found = numbers(taken(redis, "mail")[-1])
    assert abs(3600 - found.pop("oldest")) < 60
    assert abs(7200 - found.pop("oldest_in_backlog")) < 60
    want = {"waiting": 4, "backlog": 2, "running": 1, "started": 1, "ended": 0, "failed": 0}
    assert want == found


def test_steps_are_thinned(redis: Redis) -> None:
    """Within two seconds there is one sample, and the coarse lists take fewer."""
    Scene(redis).fill("mail", "a")
    counts = []
    for _ in range(7):
        take(redis, "mail")
        take(redis, "mail")
        counts.append([redis.llen(key) for key in KEYS.samples("mail")])
        move_back(redis, "mail", 10)
    want = [[number, number, 1 + (number > 6), 1] for number in range(1, 8)]
    assert want == counts


@pytest.mark.parametrize("step", range(len(SAMPLE_STEPS)))
def test_lists_are_bounded(redis: Redis, step: int) -> None:
    """A list that is full loses its oldest sample for the next one, and expires in the end."""
    Scene(redis).fill("mail", "a")
    take(redis, "mail")
    key = KEYS.samples("mail")[step]
    oldest = redis.lindex(key, 0)
    redis.rpush(key, *[oldest] * (SAMPLES_KEPT[step] - 1))
    move_back(redis, "mail", SAMPLE_STEPS[step])
    take(redis, "mail")
    assert SAMPLES_KEPT[step] == redis.llen(key)
    assert 0 < redis.ttl(key) <= EXPIRY.total_seconds()


def test_an_empty_lane_writes_its_emptiness_once(redis: Redis) -> None:
    """A lane that is empty and stays so costs no further sample, at any step."""
    scene = Scene(redis)
    scene.fill("mail", "a")
    take(redis, "mail")
    scene.run_all("mail")
    for _ in range(70):
        move_back(redis, "mail", 10)
        take(redis, "mail")
    assert [2, 2, 2, 2] == [redis.llen(key) for key in KEYS.samples("mail")]
    assert 0 == taken(redis, "mail")[-1].waiting


def test_a_lane_that_never_had_a_job_writes_nothing(redis: Redis) -> None:
    """Lanes that nobody uses cost no memory."""
    take(redis, "mail", "mail.low")
    assert [] == redis.keys(KEYS.root + "samples*")


def test_upkeep_of_a_worker_writes_them(redis: Redis) -> None:
    """Whoever works writes samples between two jobs; nobody has to run a program for it."""
    Scene(redis).fill("mail", "a")
    Upkeep(Store(redis, rq_keys()), ["mail"]).do()
    assert [1] == [each.waiting for each in taken(redis, "mail")]


def test_a_job_that_is_no_hash_stops_no_sample(redis: Redis) -> None:
    """An id whose job somebody made something else has no age, and the others are counted."""
    Scene(redis).fill("mail", "a", "b")
    redis.delete(KEYS.engine.jobs + "a")
    redis.set(KEYS.engine.jobs + "a", "x")
    take(redis, "mail")
    assert [(2, 0)] == [(each.waiting, each.oldest) for each in taken(redis, "mail")]


# after changes of operators


def test_an_incident_without_workers_has_samples(redis: Redis) -> None:
    """Each change takes one, so that its post-mortem has a plot; the turn of the upkeep is not taken."""
    scene = Scene(redis)
    scene.fill("mail", "a", "b")
    scene.fill("mail", "n-1", function="app.mail.news")
    shed = scene.shedder
    shed.incidents.open("mails are late", severity=2)
    seen = [found_now(redis)]
    news = Selection(functions=("*.news",))
    for change in (
        lambda: shed.pause("mail", reason="r"),
        lambda: shed.resume("mail", reason="r"),
        lambda: shed.divert("mail", selection=news, reason="r"),
        lambda: shed.drain("mail", rate=Rate(1), reason="r"),
        lambda: shed.stop_drain("mail", reason="r"),
        lambda: shed.drain_at_once("mail", reason="r"),
        lambda: shed.limit_starts("mail", most=1, reason="r"),
        lambda: shed.undo(reason="r"),
        lambda: shed.limit_starts("mail", most=1, reason="r"),
        lambda: shed.lift_limit("mail", reason="r"),
        shed.incidents.mitigated,
        shed.incidents.resolve,
    ):
        redis.delete(*KEYS.samples("mail"))
        change()
        seen.append(found_now(redis))
    assert [(3, 0)] * 3 == seen[:3]
    assert [(2, 1)] * 3 == seen[3:6]
    assert [(3, 0)] == seen[-1:]
    assert None not in seen
    assert not redis.exists(KEYS.sampled)


def found_now(redis: Redis) -> tuple[int, int] | None:
    found = taken(redis, "mail")
    return (found[-1].waiting, found[-1].backlog) if found else None


def test_a_sample_that_cannot_be_taken_is_no_fault_of_the_change(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """A person has changed its keys by hand: the receipt comes, and a log record says what is missing."""
    scene = Scene(redis)
    scene.fill("mail", "a")
    redis.set(KEYS.series("mail"), "damaged")
    assert scene.shedder.pause("mail", reason="r").event
    assert scene.shedder.resume("mail", reason="r").event
    (said,) = [record.getMessage() for record in caplog.records if record.name == "shedder.samples"]
    assert said.startswith("no sample was taken after a change, so that what it did may stay unknown: ")


def test_a_busy_server_after_a_change_is_told(server_factory: ServerFactory, caplog: pytest.LogCaptureFixture) -> None:
    """The change is done and its receipt true; that its sample is missing is not hidden."""
    own = server_factory()
    with own.client() as client, busy(own):
        sample_after(Store(client, rq_keys()), ["mail"])
    (said,) = [record.getMessage() for record in caplog.records if record.name == "shedder.samples"]
    assert "runs a script that blocks everybody else" in said
