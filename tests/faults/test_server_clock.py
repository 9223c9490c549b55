"""The server's clock is set back by an hour: what is left of the hour to come holds nothing up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from shedder import Rate
from shedder.events import Cause
from shedder.health.leftovers import orders_left
from shedder.queues.claims import Claimed, claim_job
from shedder.queues.divert import divert_lanes
from shedder.queues.maintenance import forget_running, forget_starts
from shedder.queues.samples import sample_lanes
from shedder.selection import Selection
from shedder.settings.windows import SharedWindows, StableItem
from shedder.updates.watcher import hold_lease
from tests.features.scene import Scene
from tests.stepped import SteppedServer, stepped_server, why_not
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR = 3600

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


@pytest.fixture(scope="module")
def clock() -> Iterator[SteppedServer]:
    """A server whose clock can be set."""
    with stepped_server() as server:
        yield server


@pytest.fixture
def here(clock: SteppedServer) -> Iterator[Scene]:
    """Queues, an operator and workers on it; its clock is right at first."""
    clock.step(0)
    with clock.client() as client:
        client.flushall()
        yield Scene(client)


def test_the_server_has_the_time_that_it_is_told(clock: SteppedServer, here: Scene) -> None:
    """Set forth and back, its clock tells it at once, and its expiries go by it."""
    before: Any = here.redis.time()
    here.redis.set("a", 1, px=1000)
    clock.step(-HOUR)
    assert HOUR * 1000 < here.redis.pttl("a")
    clock.step(HOUR)
    after: Any = here.redis.time()
    assert 0 <= after[0] - before[0] - HOUR < 60
    assert None is here.redis.get("a")


def test_the_upkeep_goes_on(clock: SteppedServer, here: Scene) -> None:
    """What says that somebody has just done it says so no longer than a minute."""
    sample = sample_lanes(here.keys, ["mail"])
    assert here.shedder.store.run(sample)
    clock.step(-HOUR)
    claim: Any = here.claim("mail")
    assert claim.is_upkeep_due
    assert here.shedder.store.run(sample)


def test_the_claim_of_a_dead_worker_comes_back(clock: SteppedServer, here: Scene) -> None:
    """Its lease begins anew when the upkeep sees a sign of life that is yet to come."""
    here.fill("mail", "a")
    here.take("mail")
    clock.step(-HOUR)
    here.shedder.store.run(forget_starts(here.keys))
    with mock.patch("shedder.queues.claims.LEASE_MS", 0):
        back = here.shedder.store.run(claim_job(here.keys, ["mail"], worker="another"))
    assert isinstance(back, Claimed)
    assert "a" == back.job_id


def test_a_claim_of_this_moment_is_left_alone(here: Scene) -> None:
    """A lease whose worker has just given a sign of life is as it was."""
    here.fill("mail", "a")
    here.take("mail")
    before = here.redis.zrange(here.keys.claims, 0, -1, withscores=True)
    here.shedder.store.run(forget_starts(here.keys))
    assert before == here.redis.zrange(here.keys.claims, 0, -1, withscores=True)


def test_a_start_of_a_dead_worker_is_forgotten(clock: SteppedServer, here: Scene) -> None:
    """A pause waits no hour for somebody who passed the gate and is gone."""
    here.fill("mail", "a")
    here.hands.start(here.take("mail"))
    here.hands.finish("a")
    clock.step(-HOUR)
    assert 1 == here.shedder.store.run(forget_starts(here.keys))


def test_a_place_of_a_dead_worker_is_free(clock: SteppedServer, here: Scene) -> None:
    """A limit of what runs at once goes on without a job that nobody runs any more."""
    here.fill("mail", "a")
    here.shedder.limit_starts("mail", most=1, reason="r")
    (limit,) = here.shedder.status("mail.normal").lanes[0].diverts
    here.hands.start(here.take("mail"))
    here.redis.hset(here.keys.engine.jobs + "a", "worker_name", "gone")
    forget = forget_running(here.keys, limit.order)
    assert 0 == here.shedder.store.run(forget)
    clock.step(-HOUR)
    assert 1 == here.shedder.store.run(forget)


def test_a_poller_that_died_is_missed(clock: SteppedServer, here: Scene) -> None:
    """Another worker that is idle takes over."""
    idle = [claim_job(here.keys, ["mail"], worker=worker, is_staying=True) for worker in ("a", "b")]
    deeds: list[Any] = [here.shedder.store.run(each) for each in idle]
    assert ["poll", "rest"] == [each.meanwhile for each in deeds]
    clock.step(-HOUR)
    after: Any = here.shedder.store.run(idle[1])
    assert "poll" == after.meanwhile


def test_what_an_operator_began_is_finished(clock: SteppedServer, here: Scene) -> None:
    """Nobody is taken to be at work on a lane for an hour."""
    here.fill("mail", "a", "b")
    some = Selection.parse(functions=["app.mail.*"])
    lanes = here.lanes("mail.normal")
    here.shedder.store.run(divert_lanes(here.keys, lanes, some, Cause("x", "r"), order="o"))
    here.redis.set(here.keys.lane_lease("mail"), 1, px=3000)  # as each step of the scan does
    assert [] == orders_left(here.shedder.store)
    clock.step(-HOUR)
    assert ["mail"] == [each.lane for each in orders_left(here.shedder.store)]


def test_another_watcher_takes_over(clock: SteppedServer, here: Scene) -> None:
    """The lead of one that died lasts no hour."""
    lead = {who: hold_lease(here.keys, who) for who in ("a", "b")}
    assert [True, False] == [here.shedder.store.run(lead[who]) for who in ("a", "b")]
    clock.step(-HOUR)
    assert here.shedder.store.run(lead["b"])


def test_a_limit_shuts_nobody_out(clock: SteppedServer, here: Scene) -> None:
    """Hits of the hour to come count no more; the rate holds from then on."""
    windows, rate = SharedWindows(here.redis, here.keys, patience=10.0), StableItem(5, 60)
    assert [True] * 5 + [False] == [windows.hit("reports", "", rate, 1) for _ in range(6)]
    clock.step(-HOUR)
    assert 0 < windows.retry_after("reports", "", rate) <= 60
    assert [True] * 5 + [False] == [windows.hit("reports", "", rate, 1) for _ in range(6)]
    windows.close()


def test_a_drain_goes_on(clock: SteppedServer, here: Scene) -> None:
    """Its tokens begin anew: none are missing for an hour."""
    here.fill("mail", "a", "b")
    here.shedder.divert("mail.normal", reason="r")
    here.shedder.drain("mail.normal", rate=Rate(1000), reason="r")
    for seconds in (0, -HOUR):
        clock.step(seconds)
        wait_until(lambda: isinstance(here.claim("mail"), Claimed), what="a token")
