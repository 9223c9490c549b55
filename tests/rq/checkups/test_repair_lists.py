"""A repair brings back whole lists that are left over, and finishes what was begun."""

from __future__ import annotations

import pytest

from shedder import Selection
from shedder.events import Cause
from shedder.health.repair import RepairStep, adopt_backlog, refold_lane
from shedder.queues.maintenance import Upkeep
from tests.features.scene import Scene
from tests.rq.checkups.asked import MAIL, is_clean, repaired


def test_an_orphan_waits_while_the_front_of_its_lane_is_taken(scene: Scene) -> None:
    """A repair never renames a backlog onto jobs that are kept in front of the lane."""
    orphan = scene.keys.backlog("gone", "mail")[1]
    scene.fill("mail", "a", "b")
    scene.redis.lmove(MAIL, orphan)
    scene.redis.rename(MAIL, scene.keys.kept("mail"))
    step = RepairStep(Cause("o", "r"), "op", 1)
    assert 0 == scene.shedder.store.run(adopt_backlog(scene.keys, "mail", orphan, step))
    assert (["a"], ["b"]) == (scene.ids(orphan), scene.waiting("mail"))


def test_a_lane_that_is_scanned_is_not_folded(scene: Scene) -> None:
    """What a scan keeps in front of a lane stays there until the scan is through."""
    scene.fill("mail", "a")
    scene.shedder.divert("mail.normal", selection=Selection(functions=("x",)), reason="r")
    record = scene.redis.hget(scene.keys.diverts, "mail")
    scanning = record.replace(b'"v":1', b'"v":1,"scanning":true')
    scene.redis.hset(scene.keys.diverts, "mail", scanning)
    scene.redis.rename(MAIL, scene.keys.kept("mail"))
    step = RepairStep(Cause("o", "r"), "op", 1)
    assert "none" == scene.shedder.store.run(refold_lane(scene.keys, "mail", step))
    assert ([], ["a"]) == (scene.listed("mail"), scene.waiting("mail"))


@pytest.mark.parametrize("held", ["", "pause", "divert"])
def test_an_orphaned_backlog_is_read_first(scene: Scene, held: str) -> None:
    """The parts of a backlog that no record knows are in front of their lane again, in order."""
    front, rest, slot = scene.keys.backlog("gone", "mail")
    scene.fill("mail", "a", "b", "c", "d")
    for part in (slot, front, rest):  # as claims, a restore and `uninstall` read them
        scene.redis.lmove(MAIL, part, "LEFT", "RIGHT")
    if held:
        getattr(scene.shedder, held)("mail", reason="r")
    assert 3 == repaired(scene)["orphaned backlogs"]
    assert ["a", "b", "c", "d"] == [*scene.waiting("mail"), *scene.backlog("mail")]


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize(
    ("order", "lane"),
    [
        ("flag-search:hints/app.mail.send", "mail"),
        ("flag-a/b:c/app.mail.send", "team:web"),
        ("0a1b2c3d", "team:web"),
        ("0a1b2c3d", "team/a:web.low"),
    ],
)
def test_an_orphan_goes_to_its_own_lane(scene: Scene, order: str, lane: str, is_known: bool) -> None:
    """The lane of a backlog is told from its order, whatever colons their names hold."""
    scene.fill("web", "w")
    scene.fill(lane, "a", "b")
    rest = scene.keys.backlog(order, lane)[1]
    scene.redis.rename(scene.keys.engine.lists + lane, rest)
    scene.redis.hset(scene.keys.drain(order, lane), "tokens", 1)
    if not is_known:
        scene.redis.srem(scene.keys.engine.queues, scene.keys.engine.lists + lane)
    assert 2 == repaired(scene)["orphaned backlogs"]
    assert (["a", "b"], ["w"]) == (scene.waiting(lane), scene.waiting("web"))
    lists = {key.decode() for key in scene.redis.scan_iter(_type="LIST") if b":bell:" not in key}
    assert {scene.keys.engine.lists + each for each in ("web", lane)} == lists
    assert not scene.redis.exists(scene.keys.drain(order, lane))
    assert is_clean(scene)


def test_an_orphan_of_expired_jobs_is_told_by_its_key(scene: Scene) -> None:
    """Where no job says to which lane a backlog belongs, the lanes that RQ knows do."""
    scene.fill("team:web", "w")
    rest = scene.keys.backlog("flag-a:b/app.mail.send", "team:web")[1]
    scene.redis.rpush(rest, "expired")
    assert {"orphaned backlogs": 1} == repaired(scene)
    assert ["expired", "w"] == scene.waiting("team:web")


def test_a_backlog_in_force_is_no_orphan(scene: Scene) -> None:
    """A divert that was set after the check-up keeps its backlog."""
    scene.fill("mail", "a")
    order = scene.shedder.divert("mail.normal", reason="r").lanes[0].order
    record = scene.redis.hget(scene.keys.diverts, "mail")
    scene.redis.delete(scene.keys.diverts)
    checkup = scene.shedder.check_up()
    scene.redis.hset(scene.keys.diverts, "mail", record)
    repaired(scene, checkup)
    assert ["a"] == scene.ids(scene.keys.backlog(order, "mail")[1])


def test_left_over_lists_are_folded(scene: Scene) -> None:
    """What stands in front of a lane for no reason is in its list again, in order."""
    scene.fill("mail", "a", "b", "c")
    scene.redis.lmove(MAIL, scene.keys.kept("mail"), "LEFT", "RIGHT")
    scene.redis.lmove(MAIL, scene.keys.parked("mail"), "LEFT", "RIGHT")
    assert {"left-over lists": 1} == repaired(scene)
    assert ["a", "b", "c"] == scene.listed("mail")


def test_a_damaged_pause_keeps_its_jobs_out_of_reach(scene: Scene) -> None:
    """Neither a repair nor the upkeep gives stock workers what an unreadable pause parked."""
    scene.fill("mail", "a")
    scene.add_stock_worker("mail")
    scene.shedder.pause("mail", reason="r")
    scene.redis.hset(scene.keys.pauses, "mail", "garbage")
    upkeep = Upkeep(scene.shedder.store, ["mail"])
    for _ in "ab":
        repaired(scene)
        scene.redis.delete(scene.keys.sampled)
        upkeep.do()
    assert ([], ["a"]) == (scene.listed("mail"), scene.waiting("mail"))


@pytest.mark.parametrize("field", [b"scanning", b"restoring"])
def test_what_was_begun_is_finished(scene: Scene, field: bytes) -> None:
    """A scan or a restore whose operator died is brought to its end."""
    scene.fill("mail", "a", "b")
    function = Selection(functions=("app.mail.*",))
    scene.shedder.divert("mail.normal", selection=function, reason="r")
    record = scene.redis.hget(scene.keys.diverts, "mail")
    scene.redis.hset(scene.keys.diverts, "mail", record.replace(b'"v":1', b'"v":1,"' + field + b'":true'))
    scene.redis.delete(scene.keys.lane_lease("mail"))
    assert {"unfinished orders": 1} == repaired(scene)
    everywhere = [*scene.backlog("mail"), *scene.waiting("mail")]
    assert (["a", "b"], True) == (everywhere, is_clean(scene))


def test_a_repair_that_is_repeated_returns_its_first_result(scene: Scene) -> None:
    """A lost reply is no second order: the same step gives the same answer."""
    scene.fill("mail", "a")
    orphan = scene.keys.backlog("gone", "mail")[1]
    scene.redis.rename(MAIL, orphan)
    step = RepairStep(Cause("o", "r"), "op", 1)
    command = adopt_backlog(scene.keys, "mail", orphan, step)
    assert [1, 1] == [scene.shedder.store.run(command) for _ in "ab"]
    assert 1 == len(scene.shedder.events())
