"""Old work of a backlog is set aside, where it can be replayed, and never lost."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from unittest import mock

import pytest
import redis as redis_py
from rq.defaults import RQ_KEY_PREFIX
from rq.utils import utcformat

from shedder import Shedder
from shedder.errors import CannotUndo
from shedder.policy.model import Policy
from shedder.queues.maintenance import Upkeep
from shedder.queues.stale import set_aside_all
from shedder.selection import Selection
from shedder.units import Rate
from tests.faults.snapshot import take_snapshot
from tests.features.scene import Scene
from tests.waiting import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

FAST = Rate(1e9)
DAY = Policy(stale_after=timedelta(days=1))


@pytest.fixture
def scene(redis: Redis) -> Scene:
    """A backlog with three jobs of the day before yesterday and two of today."""
    scene = Scene(redis)
    scene.fill("mail", "old1", "old2", "old3", "new1", "new2")
    for job in ("old1", "old2", "old3"):
        make_old(scene, job)
    return scene


def make_old(scene: Scene, job: str) -> None:
    then = datetime.now(UTC) - timedelta(days=2)
    scene.redis.hset(f"{RQ_KEY_PREFIX}:job:{job}", "enqueued_at", utcformat(then))


def stale(scene: Scene, lane: str = "mail") -> list[str]:
    return scene.ids(scene.keys.stale(lane))


def order(scene: Scene) -> str:
    return scene.shedder.divert("mail.normal", reason="r").lanes[0].order


def keep_up(scene: Scene) -> None:
    scene.redis.delete(scene.keys.sampled)
    assert Upkeep(scene.shedder.store, ["mail"]).do()


def test_nothing_is_set_aside_without_a_policy(scene: Scene) -> None:
    """It is off by default: old jobs wait in the backlog like any other, and run."""
    order(scene)
    keep_up(scene)
    assert [] == stale(scene)
    scene.shedder.drain("mail", rate=FAST, reason="r")
    assert 5 == len(scene.run_all("mail"))


def test_a_damaged_time_hides_no_jobs(scene: Scene) -> None:
    """Where somebody has damaged the time of the oldest job the list has no age."""
    scene.shedder.policies.apply(DAY, reason="r")
    order(scene)
    keep_up(scene)
    scene.redis.hset(f"{RQ_KEY_PREFIX}:job:old1", "enqueued_at", "long ago")
    (lane,) = scene.shedder.stale()
    assert (3, None) == (lane.jobs, lane.oldest)


def test_the_upkeep_loses_no_id_without_a_job(scene: Scene) -> None:
    """An id at the front of a backlog that has no job there may have one under another key."""
    scene.shedder.policies.apply(DAY, reason="r")
    order(scene)
    scene.redis.delete(f"{RQ_KEY_PREFIX}:job:old1")
    keep_up(scene)
    assert (["old2", "old3"], ["old1"]) == (stale(scene), scene.ids(scene.keys.unseen("mail")))


def test_the_upkeep_sets_old_jobs_aside(scene: Scene) -> None:
    """In their order, with one event that tells the numbers; the young ones stay."""
    scene.shedder.policies.apply(DAY, reason="r")
    identifier = order(scene)
    keep_up(scene)
    assert ["old1", "old2", "old3"] == stale(scene)
    assert ["new1", "new2"] == scene.backlog("mail")
    event = scene.shedder.events()[-1]
    assert ("set aside", ("mail",), identifier, "shedder") == (
        event.verb, event.lanes, event.order, event.by,
    )  # fmt: skip
    assert ({"mail": {"backlog": 5, "stale": 0}}, {"mail": {"backlog": 2, "stale": 3}}) == (
        event.before, event.after,
    )  # fmt: skip
    assert scene.shedder.audit().is_clean
    assert 3 == scene.shedder.audit().places["stale"]


def test_a_drain_runs_no_old_job(scene: Scene) -> None:
    """The claim sets aside what it meets, behind young jobs too, and runs the rest."""
    scene.shedder.policies.apply(DAY, reason="r")
    scene.fill("mail", "old4")
    make_old(scene, "old4")
    order(scene)
    scene.shedder.drain("mail", rate=FAST, reason="r")
    assert ["new1", "new2"] == scene.run_all("mail")
    assert ["old1", "old2", "old3", "old4"] == stale(scene)
    told = [each.after["mail"]["stale"] for each in scene.shedder.events()
            if each.verb == "set aside"]  # fmt: skip
    assert [3, 4] == told
    assert "drained" == scene.verbs()[-1]
    assert scene.shedder.audit().is_clean


def test_stock_workers_get_no_old_job(scene: Scene) -> None:
    """What is released into the list for them is young."""
    scene.shedder.policies.apply(DAY, reason="r")
    scene.add_stock_worker("mail")
    order(scene)
    receipt = scene.shedder.drain("mail.normal", rate=FAST, reason="r")
    scene.shedder.release_for_stock_workers(receipt)
    assert ["new1", "new2"] == scene.listed("mail")
    assert ["old1", "old2", "old3"] == stale(scene)


def test_a_limit_is_no_backlog(scene: Scene) -> None:
    """What waits under a limit on starts is not set aside."""
    scene.shedder.policies.apply(DAY, reason="r")
    scene.shedder.limit_starts("mail.normal", rate=FAST, reason="r")
    keep_up(scene)
    assert [] == stale(scene)
    assert 5 == len(scene.run_all("mail"))


def test_what_was_set_aside_is_replayed(scene: Scene) -> None:
    """It goes behind what waits, as if it were enqueued now, and is not stale again."""
    scene.shedder.policies.apply(DAY, reason="r")
    order(scene)
    keep_up(scene)
    scene.redis.delete(f"{RQ_KEY_PREFIX}:job:old2")
    (lane,) = scene.shedder.stale()
    assert ("mail", 3, ("old1", "old2", "old3")) == (lane.lane, lane.jobs, lane.first)
    assert lane.oldest is not None
    assert lane.oldest < datetime.now(UTC) - timedelta(days=1)
    receipt = scene.shedder.replay_stale("mail", reason="r")
    assert [("mail", 2, 1, 0)] == [(each.lane, each.replayed, each.skipped, each.left) for each in receipt.lanes]
    assert ["new1", "new2", "old1", "old3"] == scene.backlog("mail")
    keep_up(scene)
    assert [] == stale(scene)
    event = scene.shedder.events()[-1]
    assert ("replay", ["old2 gone"]) == (event.verb, event.after["skipped"])
    scene.shedder.drain("mail", rate=FAST, reason="r")
    assert ["new1", "new2", "old1", "old3"] == scene.run_all("mail")


@pytest.mark.parametrize("time", ["yesterday", "2026-13-45T00:00:00Z", b"\xff", ""])
def test_a_time_that_cannot_be_read_stops_nobody(scene: Scene, time: str | bytes) -> None:
    """What was set aside is listed and replayed, whatever its first job says of its age."""
    scene.shedder.policies.apply(DAY, reason="r")
    order(scene)
    keep_up(scene)
    scene.redis.hset(f"{RQ_KEY_PREFIX}:job:old1", "enqueued_at", time)
    assert [None] == [lane.oldest for lane in scene.shedder.stale()]
    assert 3 == scene.shedder.replay_stale("mail", reason="r").replayed


def test_a_cancelled_job_is_not_replayed(scene: Scene) -> None:
    """Whoever cancelled it while it was set aside has decided."""
    scene.shedder.policies.apply(DAY, reason="r")
    order(scene)
    keep_up(scene)
    scene.job("old1").cancel()
    receipt = scene.shedder.replay_stale("mail", reason="r")
    assert (2, 1) == (receipt.replayed, receipt.lanes[0].skipped)


def test_both_ways_go_in_bounded_steps(scene: Scene) -> None:
    """However many there are, one script looks at a few."""
    scene.shedder.policies.apply(DAY, reason="r")
    identifier = order(scene)
    with mock.patch("shedder.queues.stale.STALE_PER_STEP", 2):
        assert 3 == set_aside_all(scene.shedder.store, "mail", identifier)
        assert ["set aside", "set aside"] == scene.verbs()[-2:]
        progress: list[tuple[int, int]] = []
        scene.shedder.replay_stale("mail", reason="r", on_progress=lambda done, of: progress.append((done, of)))
    assert [(2, 3), (3, 3)] == progress


def test_a_lost_reply_replays_nothing_twice(scene: Scene) -> None:
    """The same step of the same operation returns what it did the first time."""
    from shedder.events import Cause
    from shedder.queues.stale import replay

    scene.shedder.policies.apply(DAY, reason="r")
    order(scene)
    keep_up(scene)
    command = replay(scene.keys, "mail", Cause("x", "y"), operation="o", step=0, most=1)
    assert scene.shedder.store.run(command) == scene.shedder.store.run(command)
    assert ["old2", "old3"] == stale(scene)


def test_an_undo_of_the_divert_leaves_them_aside(scene: Scene) -> None:
    """They wait for a word of their own; the status says so and names the command."""
    scene.shedder.policies.apply(DAY, reason="r")
    divert = scene.shedder.divert("mail.normal", reason="r")
    keep_up(scene)
    scene.shedder.undo(divert.event, reason="r")
    assert ["new1", "new2"] == scene.waiting("mail")
    lane = next(each for each in scene.shedder.status("mail").lanes if each.lane == "mail")
    assert 3 == lane.stale
    assert any("shedder stale replay mail" in each for each in lane.warnings)


def test_a_part_of_a_queue_too(scene: Scene) -> None:
    """A divert by function has a backlog as well."""
    scene.shedder.policies.apply(DAY, reason="r")
    scene.shedder.divert("mail", selection=Selection(functions=("app.mail.*",)), reason="r")
    keep_up(scene)
    assert ["old1", "old2", "old3"] == stale(scene)


def test_a_policy_without_it_stops_it(scene: Scene) -> None:
    """Taken out of the policy, nothing more is set aside, and what was stays where it is."""
    scene.shedder.policies.apply(DAY, reason="r")
    scene.shedder.policies.apply(Policy(), reason="r")
    order(scene)
    keep_up(scene)
    assert [] == stale(scene)


def test_who_leaves_takes_them_along(scene: Scene) -> None:
    """`shedder uninstall` puts what was set aside back into RQ's lists, too."""
    scene.shedder.policies.apply(DAY, reason="r")
    order(scene)
    keep_up(scene)
    assert 3 == scene.shedder.preview_uninstall().found
    scene.shedder.uninstall(reason="r")
    assert {"old1", "old2", "old3", "new1", "new2"} == set(scene.listed("mail"))
    assert [] == scene.redis.keys(f"{RQ_KEY_PREFIX}:shedder:*")


class Crowd:
    """Threads that each do one thing again and again, on a client of their own."""

    def __init__(self, redis: Redis) -> None:
        self._path = redis.connection_pool.connection_kwargs["path"]
        self._ended = threading.Event()
        self.troubles: list[Exception] = []

    def run(self, *steps: Callable[[Shedder], object], until: Callable[[], bool]) -> None:
        """Let all do their steps until `until` gives true, or one fails."""
        threads = [threading.Thread(target=self._keep_doing, args=(step,)) for step in steps]
        for thread in threads:
            thread.start()
        wait_until(lambda: bool(self.troubles) or until())
        self._ended.set()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)

    def _keep_doing(self, step: Callable[[Shedder], object]) -> None:
        with redis_py.Redis(unix_socket_path=self._path, socket_timeout=PATIENCE_SECONDS) as client:
            shedder = Shedder(client, by="oncall@ops")
            while not self._ended.is_set():
                try:
                    step(shedder)
                except CannotUndo:
                    continue
                except Exception as error:  # noqa: BLE001 - the thread's end would hide it
                    self.troubles.append(error)
                    return


def divert_and_back(shedder: Shedder) -> None:
    event = shedder.divert("mail.normal", reason="r").event
    Upkeep(shedder.store, ["mail"]).do()
    shedder.undo(event, reason="r")


def set_aside(shedder: Shedder) -> None:
    for divert in shedder.status("mail.normal").lanes[0].diverts:
        set_aside_all(shedder.store, "mail", divert.order)


def replay_all(shedder: Shedder) -> None:
    shedder.replay_stale("mail", reason="r")


def test_everybody_at_once_loses_no_job(redis: Redis) -> None:
    """Upkeep, replay, divert and undo at the same time: each job is in one place, and runs once."""
    scene = Scene(redis)
    scene.shedder.policies.apply(DAY, reason="r")
    jobs = scene.fill("mail", *(f"j{number}" for number in range(120)))
    for job in jobs[::2]:
        make_old(scene, job)
    crowd = Crowd(redis)
    crowd.run(divert_and_back, set_aside, replay_all, until=lambda: len(scene.verbs()) > 250)
    assert [] == crowd.troubles
    assert "set aside" in scene.verbs()
    found = take_snapshot(redis)
    assert set(jobs) == set(found.places)
    assert {1} == {len(places) for places in found.places.values()}
    assert scene.shedder.audit().is_clean
    scene.shedder.policies.apply(Policy(), reason="r")
    replay_all(scene.shedder)
    scene.shedder.drain_at_once("mail", reason="r")
    assert sorted(jobs) == sorted(scene.run_all("mail"))
