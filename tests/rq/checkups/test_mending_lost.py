"""Does a repair mend what a check-up found, and lose and double nothing while others work on?"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from rq.defaults import RQ_KEY_PREFIX

from shedder import Selection, Shedder, repairs
from shedder.records import Cause
from shedder.rq import mending
from shedder.rq.upkeep import Upkeep
from tests.features.scene import Scene, numbered

if TYPE_CHECKING:
    from collections.abc import Callable

    from shedder.checkup import Checkup, Repair
    from shedder.embedded import EmbeddedServer

MAIL = f"{RQ_KEY_PREFIX}:queue:mail"


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shedder.rq.audit.SECONDS_BETWEEN_LOOKS", 0.01)


def mend(scene: Scene, checkup: Checkup | None = None) -> dict[str, int]:
    """Repair what a check-up finds now, or found before; how much of each."""
    done = scene.shedder.repair(checkup or scene.shedder.check_up(), reason="fail-over")
    return {each.check: each.count for each in done}


def is_clean(scene: Scene) -> bool:
    return not scene.shedder.check_up().repairable and scene.shedder.audit().is_clean


def lose(scene: Scene, *jobs: str) -> None:
    for job in jobs:
        assert 1 == scene.redis.lrem(MAIL, 1, job)


def test_a_lost_job_is_put_at_the_end_of_its_lane(scene: Scene) -> None:
    """A job in no list is in its lane again, with its age, and the journal names it."""
    scene.fill("mail", "a", "b")
    at = scene.job("a").enqueued_at
    lose(scene, "a")
    assert {"jobs in no place": 1} == mend(scene)
    assert (["b", "a"], at) == (scene.waiting("mail"), scene.job("a").enqueued_at)
    event = scene.shedder.events()[-1]
    assert ("repair", "oncall@desk", "fail-over") == (event.verb, event.by, event.why)
    assert {"mail": {"waiting": 2, "jobs": 1, "names": ["a"]}} == event.after
    assert is_clean(scene)


@pytest.mark.parametrize("selection", [Selection(), Selection(functions=("app.mail.*",))])
def test_a_lost_job_of_a_diverted_lane_goes_to_the_backlog(
    scene: Scene, selection: Selection
) -> None:
    """What a divert takes is put back where the divert wants it."""
    scene.fill("mail", "a", "b")
    lose(scene, "a")
    scene.shedder.divert("mail.normal", selection=selection, reason="r")
    mend(scene)
    assert (["b", "a"], []) == (scene.backlog("mail"), scene.waiting("mail"))


def test_a_lost_job_of_a_parked_lane_stays_out_of_reach(scene: Scene) -> None:
    """A job that is put back into a paused lane is not where stock workers can take it."""
    scene.fill("mail", "a", "b")
    lose(scene, "a")
    scene.add_stock_worker("mail")
    scene.shedder.pause("mail", reason="r")
    mend(scene)
    assert ([], ["b", "a"]) == (scene.listed("mail"), scene.waiting("mail"))


def requeue(scene: Scene) -> None:
    job = scene.job("a")
    scene.stock("mail").enqueue_job(job)
    scene.redis.rpop(MAIL)  # a stock worker has it in hand


def claim(scene: Scene) -> None:
    scene.redis.lpush(MAIL, "a")
    scene.take("mail")


def put_into_backlog(scene: Scene) -> None:
    scene.redis.rpush(MAIL, "a")
    scene.shedder.divert("mail.normal", reason="r")


def put_into_intermediate(scene: Scene) -> None:
    scene.redis.rpush(f"{MAIL}:intermediate", "a")


MEANWHILE: dict[str, Callable[[Scene], Any]] = {
    "somebody has enqueued it again": requeue,
    "a worker has claimed it": claim,
    "it is in the backlog": put_into_backlog,
    "it is at the front of its lane": lambda it: it.redis.lpush(MAIL, "a"),
    "it is at the end of its lane": lambda it: it.redis.rpush(MAIL, "a"),
    "it is kept": lambda it: it.redis.rpush(it.keys.kept("mail"), "a"),
    "it is parked": lambda it: it.redis.rpush(it.keys.parked("mail"), "a"),
    "a stock worker has it in hand": put_into_intermediate,
    "it was cancelled": lambda it: it.job("a").cancel(),
    "it is gone": lambda it: it.redis.delete(f"{RQ_KEY_PREFIX}:job:a"),
    "its divert cannot be read": lambda it: it.redis.hset(it.keys.diverts, "mail", "garbage"),
}


@pytest.mark.parametrize("meanwhile", MEANWHILE.values(), ids=MEANWHILE.keys())
def test_a_job_that_came_back_in_the_last_moment_is_left_alone(
    scene: Scene, meanwhile: Callable[[Scene], Any]
) -> None:
    """What happens between the last look and the repair is seen by the repair."""
    scene.fill("mail", "a", "b")
    lose(scene, "a")
    checkup = scene.shedder.check_up()

    def after_the_last_look(*args: Any, **options: Any) -> Any:
        meanwhile(scene)
        return repairs.return_jobs(*args, **options)

    with mock.patch.object(mending, "return_jobs", after_the_last_look):
        assert {} == mend(scene, checkup)


def test_a_job_that_another_repair_put_back_is_left_alone(scene: Scene) -> None:
    """Even when a stock worker has taken it since, so that it stands nowhere again."""
    scene.fill("mail", "a")
    lose(scene, "a")
    checkup = scene.shedder.check_up()

    rivals = [True]

    def after_the_last_look(*args: Any, **options: Any) -> Any:
        if rivals.pop():
            rivals.append(False)
            assert {"jobs in no place": 1} == mend(scene, checkup)
            scene.redis.rpop(MAIL)
        return repairs.return_jobs(*args, **options)

    with mock.patch.object(mending, "return_jobs", after_the_last_look):
        assert {} == mend(scene, checkup)
    assert [] == scene.waiting("mail")


def test_more_lost_jobs_than_one_step_takes(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many are put back in several steps, oldest first."""
    monkeypatch.setattr(repairs, "JOBS_PER_STEP", 2)
    monkeypatch.setattr(mending, "JOBS_PER_STEP", 2)
    jobs = scene.fill("mail", *numbered("a", 5))
    scene.redis.delete(MAIL)
    assert {"jobs in no place": 5} == mend(scene)
    assert (jobs, 3) == (scene.waiting("mail"), len(scene.shedder.events()))


TWINS: dict[str, tuple[Callable[[Scene], Any], list[str], list[str]]] = {
    "in one list": (lambda it: it.redis.rpush(MAIL, "a"), ["a", "b", "c"], []),
    "at the front": (lambda it: it.redis.lpush(MAIL, "c"), ["c", "a", "b"], []),
    "in kept": (lambda it: it.redis.rpush(it.keys.kept("mail"), "b"), ["b", "a", "c"], []),
    "in two lanes": (
        lambda it: it.redis.rpush(f"{RQ_KEY_PREFIX}:queue:mail.low", "b"),
        ["a", "b", "c"],
        [],
    ),
    "in a backlog": (
        lambda it: (it.shedder.divert("mail.normal", reason="r"), it.redis.rpush(MAIL, "b")),
        [],
        ["a", "b", "c"],
    ),
}


@pytest.mark.parametrize(("double", "waiting", "backlog"), TWINS.values(), ids=TWINS.keys())
def test_the_entry_that_would_be_read_later_goes(
    scene: Scene, double: Callable[[Scene], Any], waiting: list[str], backlog: list[str]
) -> None:
    """Of a job that waits twice, the entry stays that is read first; what is put aside stays so."""
    scene.fill("mail", "a", "b", "c")
    double(scene)
    assert 1 == mend(scene)["jobs in two places"]
    assert (waiting, backlog, []) == (
        scene.waiting("mail"), scene.backlog("mail"), scene.waiting("mail.low")
    )  # fmt: skip
    assert is_clean(scene)


def test_a_job_that_waits_and_is_claimed_leaves_the_list(scene: Scene) -> None:
    """Whoever has a job in hand keeps it, and its other entry goes."""
    scene.fill("mail", "a", "b")
    token = scene.take("mail")
    scene.redis.rpush(MAIL, "a")
    assert {"jobs in two places": 1} == mend(scene)
    assert (["b"], "started") == (scene.waiting("mail"), scene.hands.start(token).verdict)


def test_a_job_that_waits_three_times_waits_once(scene: Scene) -> None:
    """All entries go but one."""
    scene.fill("mail", "a", "b")
    scene.redis.rpush(MAIL, "a", "a")
    mend(scene)
    assert ["a", "b"] == scene.waiting("mail")


def test_the_last_entry_never_goes(scene: Scene) -> None:
    """When the first entry was taken meanwhile, the other one is left alone."""
    scene.fill("mail", "a", "b")
    scene.redis.rpush(f"{RQ_KEY_PREFIX}:queue:mail.low", "a")
    checkup = scene.shedder.check_up()

    def after_the_last_look(*args: Any, **options: Any) -> Any:
        scene.redis.lpop(MAIL)
        return repairs.remove_twin(*args, **options)

    with mock.patch.object(mending, "remove_twin", after_the_last_look):
        assert {} == mend(scene, checkup)
    assert ["a"] == scene.waiting("mail.low")


def test_an_entry_deep_in_a_long_list_is_left(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be looked for without holding the server stays, and a check-up says so again."""
    monkeypatch.setattr(repairs, "TWIN_DEPTH", 1)
    scene.fill("mail", "x", "a", "b", "y")
    scene.redis.linsert(MAIL, "AFTER", "b", "a")
    assert {} == mend(scene)
    assert not is_clean(scene)


def test_the_jobs_of_dead_workers_come_back(scene: Scene) -> None:
    """A stale claim is taken back to the front of its lane, its holder is fenced off."""
    scene.fill("mail", "a", "b")
    token = scene.take("mail")
    scene.redis.zadd(scene.keys.claims, {token: 1, b"garbage": 1})
    assert {"claims": 1} == mend(scene)
    assert (["a", "b"], "lost") == (scene.waiting("mail"), scene.hands.start(token).verdict)
    assert ["mail"] == list(scene.shedder.events()[-1].lanes)


def test_a_worker_that_is_heard_of_again_keeps_its_job(scene: Scene) -> None:
    """A claim that was renewed after the check-up stays."""
    scene.fill("mail", "a")
    token = scene.take("mail")
    scene.redis.zadd(scene.keys.claims, {token: 1})
    checkup = scene.shedder.check_up()
    scene.redis.zadd(scene.keys.claims, {token: scene.server_ms()})
    assert {} == mend(scene, checkup)
    assert "started" == scene.hands.start(token).verdict


def test_the_entry_stays_when_the_claim_has_gone(scene: Scene) -> None:
    """When nobody has the job in hand any more, its entry in the list is its only one."""
    scene.fill("mail", "a", "b")
    token = scene.take("mail")
    scene.redis.rpush(MAIL, "a")
    checkup = scene.shedder.check_up()

    def after_the_last_look(*args: Any, **options: Any) -> Any:
        scene.redis.zrem(scene.keys.claims, token)
        return repairs.remove_twin(*args, **options)

    with mock.patch.object(mending, "remove_twin", after_the_last_look):
        assert {} == mend(scene, checkup)
    assert ["b", "a"] == scene.waiting("mail")


def test_an_orphan_waits_while_the_front_of_its_lane_is_taken(scene: Scene) -> None:
    """A repair never renames a backlog onto jobs that are kept in front of the lane."""
    orphan = scene.keys.backlog("gone", "mail")[1]
    scene.fill("mail", "a", "b")
    scene.redis.lmove(MAIL, orphan)
    scene.redis.rename(MAIL, scene.keys.kept("mail"))
    errand = repairs.Errand(Cause("o", "r"), "op", 1)
    assert 0 == scene.shedder.store.run(repairs.adopt_backlog(scene.keys, "mail", orphan, errand))
    assert (["a"], ["b"]) == (scene.ids(orphan), scene.waiting("mail"))


def test_a_lane_that_is_scanned_is_not_folded(scene: Scene) -> None:
    """What a scan keeps in front of a lane stays there until the scan is through."""
    scene.fill("mail", "a")
    scene.shedder.divert("mail.normal", selection=Selection(functions=("x",)), reason="r")
    record = scene.redis.hget(scene.keys.diverts, "mail")
    scanning = record.replace(b'"v":1', b'"v":1,"scanning":true')
    scene.redis.hset(scene.keys.diverts, "mail", scanning)
    scene.redis.rename(MAIL, scene.keys.kept("mail"))
    errand = repairs.Errand(Cause("o", "r"), "op", 1)
    assert "none" == scene.shedder.store.run(repairs.refold_lane(scene.keys, "mail", errand))
    assert ([], ["a"]) == (scene.listed("mail"), scene.waiting("mail"))


@pytest.mark.parametrize("held", ["", "pause", "divert"])
def test_an_orphaned_backlog_is_read_first(scene: Scene, held: str) -> None:
    """The parts of a backlog that no record knows are in front of their lane again, in order."""
    front, rest, slot = scene.keys.backlog("gone", "mail")
    scene.fill("mail", "a", "b", "c", "d")
    for part in (front, rest, slot):
        scene.redis.lmove(MAIL, part, "LEFT", "RIGHT")
    if held:
        getattr(scene.shedder, held)("mail", reason="r")
    assert 3 == mend(scene)["orphaned backlogs"]
    assert ["a", "b", "c", "d"] == [*scene.waiting("mail"), *scene.backlog("mail")]


def test_a_backlog_in_force_is_no_orphan(scene: Scene) -> None:
    """A divert that was set after the check-up keeps its backlog."""
    scene.fill("mail", "a")
    order = scene.shedder.divert("mail.normal", reason="r").lanes[0].order
    record = scene.redis.hget(scene.keys.diverts, "mail")
    scene.redis.delete(scene.keys.diverts)
    checkup = scene.shedder.check_up()
    scene.redis.hset(scene.keys.diverts, "mail", record)
    mend(scene, checkup)
    assert ["a"] == scene.ids(scene.keys.backlog(order, "mail")[1])


def test_left_over_lists_are_folded(scene: Scene) -> None:
    """What stands in front of a lane for no reason is in its list again, in order."""
    scene.fill("mail", "a", "b", "c")
    scene.redis.lmove(MAIL, scene.keys.kept("mail"), "LEFT", "RIGHT")
    scene.redis.lmove(MAIL, scene.keys.parked("mail"), "LEFT", "RIGHT")
    assert {"left-over lists": 1} == mend(scene)
    assert ["a", "b", "c"] == scene.listed("mail")


def test_a_damaged_pause_keeps_its_jobs_out_of_reach(scene: Scene) -> None:
    """Neither a repair nor the upkeep gives stock workers what an unreadable pause parked."""
    scene.fill("mail", "a")
    scene.add_stock_worker("mail")
    scene.shedder.pause("mail", reason="r")
    scene.redis.hset(scene.keys.pauses, "mail", "garbage")
    upkeep = Upkeep(scene.shedder.store, scene.keys, ["mail"])
    for _ in "ab":
        mend(scene)
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
    scene.redis.hset(
        scene.keys.diverts, "mail", record.replace(b'"v":1', b'"v":1,"' + field + b'":true')
    )
    scene.redis.delete(scene.keys.at_work("mail"))
    assert {"unfinished orders": 1} == mend(scene)
    everywhere = [*scene.backlog("mail"), *scene.waiting("mail")]
    assert (["a", "b"], True) == (everywhere, is_clean(scene))


def test_a_repair_that_is_repeated_returns_its_first_result(scene: Scene) -> None:
    """A lost reply is no second order: the same step gives the same answer."""
    scene.fill("mail", "a")
    orphan = scene.keys.backlog("gone", "mail")[1]
    scene.redis.rename(MAIL, orphan)
    errand = repairs.Errand(Cause("o", "r"), "op", 1)
    command = repairs.adopt_backlog(scene.keys, "mail", orphan, errand)
    assert [1, 1] == [scene.shedder.store.run(command) for _ in "ab"]
    assert 1 == len(scene.shedder.events())


def break_everything(scene: Scene, jobs: list[str]) -> None:
    """Lost jobs, twins, dead workers, an orphan, and a left-over list, of 60 jobs."""
    lost, doubled, orphaned, kept = jobs[:15], jobs[15:30], jobs[30:40], jobs[40:50]
    for job in (*lost, *orphaned, *kept):
        scene.redis.lrem(MAIL, 1, job)
    scene.redis.rpush(f"{RQ_KEY_PREFIX}:queue:mail.low", *doubled[:7])
    scene.redis.rpush(MAIL, *doubled[7:])
    scene.redis.rpush(scene.keys.backlog("gone", "mail")[1], *orphaned)
    scene.redis.rpush(scene.keys.kept("mail"), *kept)
    scene.redis.zadd(scene.keys.claims, {scene.take("mail"): 1 for _ in range(5)})


@pytest.mark.parametrize("number", range(6))
def test_repairs_at_once_lose_and_double_nothing(
    server: EmbeddedServer, scene: Scene, number: int
) -> None:
    """Several operators mend the same at once: each job is in exactly one place in the end."""
    jobs = scene.fill("mail", *numbered("a", 60))
    break_everything(scene, jobs)
    checkup = scene.shedder.check_up()
    start = threading.Barrier(3)
    done: list[tuple[Repair, ...]] = []

    def act() -> None:
        with server.client() as client:
            operator = Shedder(client, by="oncall@ops")
            seen = checkup if number % 2 else operator.check_up()
            start.wait(30)
            done.append(operator.repair(seen, reason="r"))

    threads = [threading.Thread(target=act) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (3, sorted(jobs)) == (len(done), sorted(scene.waiting("mail")))
    counts = {each.check: 0 for some in done for each in some}
    for each in (each for some in done for each in some):
        counts[each.check] += each.count
    assert (15, 5) == (counts["jobs in no place"], counts["claims"])
    assert is_clean(scene)
