"""Claims of workers that serve many lanes: empty ones cost next to nothing, and none is passed over."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from rq import RateLimit

from benchmarks.gauges import watched
from shedder.lanes import PRIORITIES, Lane
from shedder.policy.model import Policy
from shedder.queues.claims import Claimed, NothingClaimed, claim_from, claim_job
from shedder.rq import SimpleWorker
from shedder.units import Rate
from tests.features.scene import Scene
from tests.features.test_stale import make_old
from tests.workers import run_burst

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from shedder.embedded import EmbeddedServer

FAST = Rate(1e9)
MOST_COMMANDS = 24
"""Inside the script of a claim of 200 lanes that holds nothing; with 4 lanes they are 6 to 12."""


def lanes(queues: int) -> list[str]:
    """The lanes of so many queues, by priority."""
    return [Lane(f"tenant-{number:03}", each).name for each in PRIORITIES for number in range(queues)]


def claim(scene: Scene, names: Sequence[str]) -> Claimed | NothingClaimed:
    def ask(first: int) -> Claimed | NothingClaimed:
        return scene.shedder.store.run(claim_job(scene.keys, names, worker="w", first=first))

    return claim_from(ask)


def job_of(scene: Scene, names: Sequence[str]) -> str:
    """The id of the job that was claimed, which is given back; empty for none."""
    answer = claim(scene, names)
    if isinstance(answer, NothingClaimed):
        return ""
    scene.redis.zrem(scene.keys.claims, answer.token)
    return answer.job_id


@pytest.fixture
def scene(redis: Redis) -> Scene:
    return Scene(redis)


@pytest.mark.parametrize("control", ["none", "a pause elsewhere", "all are paused", "all are diverted"])
def test_what_an_idle_claim_asks_does_not_grow_with_the_lanes(
    scene: Scene, redis: Redis, server: EmbeddedServer, control: str
) -> None:
    """Of two hundred empty lanes, with whatever stands on them, it asks in a few commands."""
    queues = [f"tenant-{number:03}" for number in range(50)]
    if control == "a pause elsewhere":
        scene.shedder.pause("mail", reason="r")
    elif control == "all are paused":
        scene.shedder.pause(*queues, reason="r")
    elif control == "all are diverted":
        scene.shedder.divert(*queues, reason="r")
    claim(scene, lanes(50))
    with server.client() as looker, watched(looker, server.pid) as served:
        assert isinstance(claim(scene, lanes(50)), NothingClaimed)
    assert MOST_COMMANDS >= served.total


@pytest.mark.parametrize("at", [0, 7, 63, 64, 199])
@pytest.mark.parametrize("is_paused_elsewhere", [False, True])
def test_a_job_is_found_wherever_it_is(scene: Scene, at: int, *, is_paused_elsewhere: bool) -> None:
    """In the first lane, in the last, and in one of those that are asked about together."""
    names = lanes(50)
    if is_paused_elsewhere:
        scene.shedder.pause("mail", reason="r")
    scene.fill(names[at], "a", how="stock")
    assert ("a", "") == (job_of(scene, names), job_of(scene, names))


def test_the_first_lane_with_a_job_is_served_first(scene: Scene) -> None:
    """However many lanes there are, priority decides, also where something is paused."""
    names = lanes(50)
    for number in (150, 60, 61, 3):
        scene.fill(names[number], str(number), how="stock")
    assert "3" == job_of(scene, names)
    scene.shedder.pause("mail", reason="r")
    assert ["60", "61", "150", ""] == [job_of(scene, names) for _ in range(4)]


def test_a_worker_of_more_lanes_than_one_claim_takes_serves_all(
    scene: Scene, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks for the next ones at once, in their order."""
    monkeypatch.setattr("shedder.queues.claims.LANES_PER_CLAIM", 3)
    scene.fill("reports.low", "last")
    scene.fill("mail", "first")
    worker = SimpleWorker(["mail", "reports"], connection=redis)
    assert ["first", "last", ""] == [job_of(scene, [lane.name for lane in worker._ordered_queues]) for _ in range(3)]
    scene.ours("reports").low.enqueue("benchmarks.work.nothing")
    run_burst(worker)
    assert 0 == redis.llen(scene.keys.engine.lists + "reports.low")


def test_a_worker_of_two_thousand_lanes_is_served(scene: Scene) -> None:
    """More than a script could take as arguments of one command."""
    names = lanes(500)
    scene.fill(names[-1], "a", how="stock")
    assert ("a", "") == (job_of(scene, names), job_of(scene, names))


def test_one_claim_looks_into_few_lanes_that_drain(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on with the next in another step, and then knows the soonest token of all."""
    monkeypatch.setattr("shedder.queues.claims.ORDERS_PER_CLAIM", 1)
    for queue, rate in (("a", 0.1), ("b", 0.5), ("c", 0.2)):
        scene.fill(queue, f"of_{queue}")
        scene.shedder.divert(f"{queue}.normal", reason="r")
        scene.shedder.drain(f"{queue}.normal", rate=Rate(rate), reason="r")
    answer = claim(scene, ["a", "b", "c"])
    assert isinstance(answer, NothingClaimed)
    assert (True, 0) == (1000 < answer.wait_ms <= 2000, answer.next_lane)
    scene.shedder.drain("c.normal", rate=FAST, reason="r")
    assert "of_c" == job_of(scene, ["a", "b", "c"])


def test_a_job_that_comes_into_an_empty_lane_during_the_claim_is_found(scene: Scene) -> None:
    """A lane's old job gives back its slot of RQ's rate limit to one of a lane that was asked about before."""
    limit = RateLimit("partner", 1)
    scene.shedder.policies.apply(Policy(stale_after=timedelta(days=1)), reason="r")
    scene.ours("old").enqueue("app.mail.send", job_id="old", rate_limit=limit)
    scene.shedder.divert("old.normal", reason="r")
    scene.redis.zadd("rq:rl:partner:allowed", {"old": 1})
    make_old(scene, "old")
    scene.ours("new").enqueue("app.mail.send", job_id="new", rate_limit=limit)
    scene.shedder.drain("old.normal", rate=FAST, reason="r")
    assert [] == scene.listed("new")
    # the fourth, fifth and sixth are asked about together
    assert "new" == job_of(scene, ["1", "2", "3", "4", "old", "new"])


def test_bells_that_ring_for_nothing_are_stilled(scene: Scene) -> None:
    """What an order for many queues left ringing wakes nobody again when a claim has found all of them empty."""
    queues = [f"tenant-{number:03}" for number in range(50)]
    bells = [scene.keys.bell(queue) for queue in queues]
    for bell in bells:
        scene.redis.rpush(bell, *"1" * 64)
    assert "" == job_of(scene, lanes(50))
    assert 0 == scene.redis.exists(*bells)


def test_a_bell_for_lanes_of_others_rings_on(scene: Scene) -> None:
    """One who serves a single lane of a queue does not know what waits in the others."""
    scene.fill("mail.low", "a")
    assert "" == job_of(scene, ["mail.high"])
    assert 1 == scene.redis.llen(scene.keys.bell("mail"))


def test_a_bell_rings_on_while_there_is_a_job(scene: Scene) -> None:
    """A claim that takes one of two leaves the call for the other."""
    names = [lane.name for lane in scene.lanes("mail")]
    scene.fill("mail", "a", "b")
    assert "a" == job_of(scene, names)
    assert 0 < scene.redis.llen(scene.keys.bell("mail"))
