"""What is left of queues that were deleted goes within the hour; what is still wanted stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shedder.queues.claims import Claimed
from shedder.queues.controls import all_lanes
from shedder.queues.maintenance import Upkeep
from shedder.queues.outcomes import count_failed
from shedder.queues.samples import INTERVAL_SECONDS
from shedder.queues.sweep import REST_SECONDS, remains, sweep
from shedder.rq import Queue, SimpleWorker
from shedder.store.codec import text_of
from shedder.units import Rate
from tests.features.scene import Scene
from tests.workers import run_burst

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MOST_ROUNDS = (3600 - REST_SECONDS) / INTERVAL_SECONDS
"""Rounds of the upkeep that there are in an hour, of which the search rests for a part."""


def work_off(scene: Scene, names: Iterable[str]) -> None:
    """A queue for each of `names`: a job of ours, real workers, and deleted."""
    queues = [scene.ours(name) for name in names]
    for queue in queues:
        queue.enqueue("time.sleep", 0)
        queue.low.enqueue("no.such.function")
    run_burst(SimpleWorker(queues, connection=scene.redis))
    sample(scene)
    for queue in queues:
        queue.delete()
        queue.low.delete()


def multiply(scene: Scene, name: str, copies: Iterable[str]) -> None:
    """The same remains that the queue `name` has left, for many others."""
    redis, keys = scene.redis, scene.keys
    own = [key for key in kept(scene) if name in key]
    fields = {part: redis.hgetall(part) for part in (keys.meters, keys.outcomes)}
    dumps = {key: redis.dump(key) for key in own}
    with redis.pipeline(transaction=False) as many:
        for copy in copies:
            for key, dump in dumps.items():
                many.restore(key.replace(name, copy), 0, dump)
            for part, found in fields.items():
                for field, value in ((field, value) for field, value in found.items() if name in text_of(field)):
                    many.hset(part, text_of(field).replace(name, copy), value)
        many.execute()


def kept(scene: Scene) -> list[str]:
    return sorted(map(text_of, scene.redis.scan_iter(f"{scene.keys.root}*", count=10_000)))


def sample(scene: Scene) -> None:
    upkeep(scene, ["none"])
    upkeep(scene, [*all_lanes(scene.shedder.store)])


def upkeep(scene: Scene, lanes: list[str]) -> None:
    """What a worker does once a second, a second later."""
    scene.redis.delete(scene.keys.sampled)
    assert Upkeep(scene.shedder.store, lanes).do()


def an_hour(scene: Scene) -> int:
    """The rounds of the upkeep of a whole search, which begins as after a rest."""
    scene.redis.delete(scene.keys.sweep)
    rounds = 0
    while rounds <= MOST_ROUNDS and b"resting" != scene.redis.get(scene.keys.sweep):
        upkeep(scene, ["none"])
        rounds += 1
    return rounds


def test_a_thousand_short_lived_queues_leave_nothing(scene: Scene) -> None:
    """After the hour no key and no counter of them is there, and those of other queues are."""
    scene.fill("mail", "stays")
    scene.redis.hset(scene.keys.meters, mapping={"mail:started": 7, "claims:taken_back": 1})
    work_off(scene, ["job-x0"])
    multiply(scene, "job-x0", (f"job-{number}" for number in range(999)))
    left = remains(scene.shedder.store)
    assert (1000, True, True) == (len(left.queues), left.keys >= 3000, left.fields >= 4000)
    assert an_hour(scene) <= MOST_ROUNDS
    assert [] == [key for key in kept(scene) if ":job-" in key]
    fields = {text_of(each) for part in ("meters", "outcomes") for each in scene.redis.hkeys(getattr(scene.keys, part))}
    assert [] == [field for field in fields if "job-" in field]
    assert {"mail:started", "claims", "claims:taken_back"} <= fields
    assert () == remains(scene.shedder.store).queues
    assert ["stays"] == scene.run_all("mail")


def test_one_queue_after_the_other_does_not_make_it_grow(scene: Scene) -> None:
    """The keys and counters after some queues are as many as after one."""
    sizes = []
    for number in range(3):
        work_off(scene, [f"job-{number}"])
        an_hour(scene)
        stays = [key for key in kept(scene) if not 0 < scene.redis.ttl(key) <= 3600]  # others go by themselves
        sizes.append((len(stays), scene.redis.hlen(scene.keys.meters), scene.redis.hlen(scene.keys.outcomes)))
    assert 1 == len(set(sizes))


WANTED: dict[str, Callable[[Scene], object]] = {
    "a pause that was set before the queue exists": lambda scene: scene.shedder.pause("mail.high", reason="r"),
    "a divert": lambda scene: scene.shedder.divert("mail", reason="r"),
    "a limit on starts": lambda scene: scene.shedder.limit_starts("mail", rate=Rate(1.0), reason="r"),
    "a backlog": lambda scene: (scene.fill("mail", "a"), scene.shedder.divert("mail", reason="r")),
    "jobs that were set aside": lambda scene: scene.redis.rpush(scene.keys.stale("mail.low"), "a"),
    "jobs that a stock worker shall not reach": lambda scene: scene.redis.rpush(scene.keys.parked("mail"), "a"),
    "a claim": lambda scene: (scene.fill("mail", "a"), scene.take("mail")),
    "a job that runs": lambda scene: (scene.fill("mail", "a"), scene.hands.start(scene.take("mail"))),
    "jobs, though RQ has lost its set": lambda scene: scene.fill("mail", "a"),
}


@pytest.mark.parametrize("why", WANTED)
def test_a_queue_that_something_waits_in_keeps_all(scene: Scene, why: str) -> None:
    """A queue that RQ does not know now, and that has an order, a backlog or a job, loses nothing."""
    WANTED[why](scene)
    scene.redis.delete(scene.keys.engine.queues)
    scene.redis.rpush(scene.keys.bell("mail"), "1")
    scene.redis.hset(scene.keys.meters, "mail.low:ended", 5)
    before = [key for key in kept(scene) if not key.endswith((":sweep", ":sampled"))]
    while sweep(scene.shedder.store):
        pass
    assert before == [key for key in kept(scene) if not key.endswith((":sweep", ":sampled"))]
    assert b"5" == scene.redis.hget(scene.keys.meters, "mail.low:ended")
    assert () == remains(scene.shedder.store).queues


def test_a_lane_that_rq_knows_keeps_its_queue(scene: Scene) -> None:
    """Counters of all four lanes stay while RQ knows one of them."""
    Queue("mail.low", connection=scene.redis).enqueue("time.sleep", 0)
    count_failed(scene.redis, scene.keys, "mail.high", "", at_ms=1, function="f", exception="ValueError")
    while sweep(scene.shedder.store):
        pass
    assert {b"mail.high:ended"} <= set(scene.redis.hkeys(scene.keys.meters))


def test_a_search_that_was_lost_half_way_is_taken_up(scene: Scene) -> None:
    """Another worker goes on where one was, also where what it noted is damaged; then it rests for its time."""
    for noted in ("keys 0", "outcomes 0", "nonsense", "meters x"):
        work_off(scene, ["job-1"])
        scene.redis.set(scene.keys.sweep, noted)
        while sweep(scene.shedder.store):
            pass
        assert 0 < scene.redis.ttl(scene.keys.sweep) <= REST_SECONDS
        assert not scene.redis.exists(scene.keys.bell("job-1"))
        scene.redis.delete(scene.keys.sweep)
        while sweep(scene.shedder.store):
            pass
        assert () == remains(scene.shedder.store).queues


def test_doctor_says_how_much_is_left(scene: Scene) -> None:
    """`doctor` counts the queues that were deleted, and the keys and counters that they left."""
    says = {each.check: each.says for each in scene.shedder.check_up().findings}
    assert "Nothing is left of queues that RQ does not know any more." == says["deleted queues"]
    work_off(scene, ["job-1", "job-2"])
    (found,) = (each for each in scene.shedder.check_up().findings if each.check == "deleted queues")
    assert "of 2 queues that RQ does not know any more" in found.says
    assert found.numbers["keys"] >= 2
    assert found.numbers["counters"] >= 4


def test_a_claim_is_still_a_job_in_hand(scene: Scene) -> None:
    """What a worker holds of a deleted queue goes on, and is counted anew."""
    scene.fill("mail", "a")
    claimed = scene.claim("mail")
    assert isinstance(claimed, Claimed)
    Queue("mail", connection=scene.redis).delete(delete_jobs=False)
    while sweep(scene.shedder.store):
        pass
    assert "started" == scene.hands.start(claimed.token).verdict
