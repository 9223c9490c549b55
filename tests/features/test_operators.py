"""Two operators do not get in each other's way, and a lost reply is no second order."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from shedder.api.shedder import Shedder
from shedder.queues.divert import scan_lane
from shedder.queues.maintenance import Upkeep
from shedder.queues.restore import restore_lane
from shedder.selection import Selection
from shedder.units import Rate
from tests.features.scene import Scene, numbered

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from shedder.embedded import EmbeddedServer

FAST = Rate(1e9)
MAIL = Selection.parse(functions=["app.mail.*"])


def at_once(server: EmbeddedServer, times: int, act: Callable[[Shedder], Any]) -> list[Any]:
    """What each of so many operators got who did the same at the same moment."""
    results: list[Any] = []
    barrier = threading.Barrier(times)

    def work() -> None:
        with server.client() as client:
            shedder = Shedder(client, by="somebody")
            barrier.wait()
            results.append(act(shedder))

    threads = [threading.Thread(target=work) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert times == len(results)
    return results


def test_two_pauses_at_once_are_both_told_and_one_resume_ends_them(scene: Scene, server: EmbeddedServer) -> None:
    """Exactly one of them was the first, and the others know that they replaced one."""
    receipts = at_once(server, 4, lambda shedder: shedder.pause("mail", reason="r"))
    assert 1 == sum(receipt.lanes[0].replaced is None for receipt in receipts)
    scene.fill("mail", "a")
    scene.shedder.resume("mail", reason="r")
    assert ["a"] == scene.run_all("mail")
    assert ["pause"] * 4 + ["resume"] == scene.verbs()


@pytest.mark.parametrize("selection", [Selection(), MAIL])
def test_two_diverts_of_the_same_at_once_are_one_order(
    scene: Scene, server: EmbeddedServer, selection: Selection
) -> None:
    """Together they move every job once, in order."""
    scene.fill("mail", *numbered("a", 900))
    scene.fill("mail", *numbered("b", 900), how="stock")
    before = scene.listed("mail")
    receipts = at_once(server, 3, lambda shedder: shedder.divert("mail.normal", selection=selection, reason="r"))
    assert 1 == len({receipt.lanes[0].order for receipt in receipts})
    assert 1800 == max(receipt.moved for receipt in receipts)
    assert before == scene.backlog("mail")


def test_two_restores_at_once_bring_every_job_back_once(scene: Scene, server: EmbeddedServer) -> None:
    """Two operators, who both drain at once, together put the lane back as it was."""
    for number in range(400):
        scene.fill("mail", f"m{number}")
        scene.fill("mail", f"r{number}", function="app.report.build")
    before = scene.listed("mail")
    scene.shedder.divert("mail.normal", selection=MAIL, reason="r")
    at_once(server, 3, lambda shedder: shedder.drain_at_once("mail", reason="r"))
    assert ["divert", "scan", "restore"] == scene.verbs()
    assert before == scene.waiting("mail")
    assert {} == scene.redis.hgetall(scene.keys.diverts)


def test_opposite_orders_at_once_lose_no_job(scene: Scene, server: EmbeddedServer) -> None:
    """Diverts, restores, pauses and resumes in any order: every job is in one place."""
    jobs = scene.fill("mail", *numbered("a", 300))
    turns = iter(range(1000))
    verbs = ("divert", "drain_at_once", "pause", "resume")

    def act(shedder: Shedder) -> None:
        for _ in range(10):
            verb = verbs[next(turns) % 4]
            target = "mail" if verb in ("pause", "resume") else "mail.normal"
            getattr(shedder, verb)(target, reason="r")

    at_once(server, 4, act)
    scene.shedder.resume("mail", reason="r")
    scene.shedder.drain_at_once("mail", reason="r")
    assert jobs == scene.run_all("mail")


class LosesReplies:
    """Makes a client carry out each script twice, as one does that lost the first reply."""

    def __init__(self, redis: Redis) -> None:
        self._send: Callable[..., Any] = redis.execute_command
        redis.execute_command = self  # type: ignore[method-assign]

    def __call__(self, *args: Any, **options: Any) -> Any:
        reply = self._send(*args, **options)
        if args[0] not in ("EVALSHA", "EVAL"):
            return reply
        again = self._send(*args, **options)
        # asked again, a step of a scan leaves out the jobs that it could not decide: the next one tells them
        is_scan = isinstance(again, list) and again[:1] == [b"more"]
        assert again == (reply[: len(again)] if is_scan else reply)
        return reply


@pytest.mark.parametrize(
    ("act", "verbs"),
    [
        (lambda it: it.pause("mail", reason="r"), ["pause"]),
        (lambda it: it.resume("reports", reason="r"), ["resume"]),
        (lambda it: it.divert("mail.normal", reason="r"), ["divert"]),
        (lambda it: it.divert("mail.normal", selection=MAIL, reason="r"), ["divert", "scan"]),
        (lambda it: it.drain("tasks.normal", rate=FAST, reason="r"), ["drain"]),
        (lambda it: it.stop_drain("tasks.normal", reason="r"), ["drain stopped"]),
        (lambda it: it.drain_at_once("tasks.normal", reason="r"), ["restore"]),
        (lambda it: it.undo(reason="r"), ["resume"]),
    ],
)
def test_a_reply_that_was_lost_is_no_second_order(
    scene: Scene, act: Callable[[Shedder], Any], verbs: list[str]
) -> None:
    """The client asks again, gets the first answer, and nothing has happened twice."""
    scene.fill("mail", "a", "b", "c")
    scene.fill("mail", "d", "e", how="stock")
    scene.fill("tasks", "f", "g")
    scene.shedder.divert("tasks.normal", reason="r")
    scene.fill("tasks", "h")
    scene.shedder.pause("reports", reason="r")
    before = scene.verbs()
    LosesReplies(scene.redis)
    act(scene.shedder)
    assert before + verbs == scene.verbs()
    jobs = [job for lane in ("mail", "tasks") for job in scene.waiting(lane) + scene.backlog(lane)]
    assert list("abcdefgh") == jobs


def test_a_lost_reply_of_an_enqueue_is_no_second_job(scene: Scene) -> None:
    """The client of a producer asks again, and the id is pushed once."""
    LosesReplies(scene.redis)
    scene.fill("mail", "a", "b")
    assert ["a", "b"] == scene.waiting("mail")


def test_a_lost_reply_of_the_gate_does_not_lose_the_job(scene: Scene) -> None:
    """Who asks again with the same claim learns that its job has started."""
    scene.fill("mail", "a")
    token = scene.take("mail")
    assert "started" == scene.hands.start(token).verdict
    assert "started" == scene.hands.start_again(token).verdict
    scene.hands.report(token)
    assert "lost" == scene.hands.start_again(token).verdict


def test_what_an_operator_began_and_did_not_live_to_finish_is_finished(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan and a restore of which only the first step was made are completed by the upkeep."""
    monkeypatch.setattr("shedder.queues.divert.JOBS_PER_STEP", 1)
    monkeypatch.setattr("shedder.queues.restore.RESTORED_PER_STEP", 1)
    for lane in ("mail", "tasks"):
        scene.fill(lane, f"{lane}-a", f"{lane}-b")
        scene.fill(lane, f"{lane}-c", function="app.report.build")
        scene.fill(lane, f"{lane}-d")
    scene.shedder.divert("tasks.normal", selection=MAIL, reason="r")
    monkeypatch.setattr("shedder.queues.divert.scan_lane", dies_after(scan_lane, steps=2))
    monkeypatch.setattr("shedder.queues.restore.restore_lane", dies_after(restore_lane, steps=2))
    with pytest.raises(KeyboardInterrupt):
        scene.shedder.divert("mail.normal", selection=MAIL, reason="r")
    with pytest.raises(KeyboardInterrupt):
        scene.shedder.drain_at_once("tasks.normal", reason="r")
    monkeypatch.undo()
    scene.fill("mail", "mail-e")
    for lane in ("mail", "tasks"):
        assert 0 < scene.redis.pttl(scene.keys.lane_lease(lane))
        scene.redis.delete(scene.keys.lane_lease(lane))
    worker = Upkeep(scene.shedder.store, ["mail", "tasks"])
    assert worker.do()
    assert ["mail-a", "mail-b", "mail-d", "mail-e"] == scene.backlog("mail")
    assert ["mail-c"] == scene.listed("mail")
    assert [f"tasks-{each}" for each in "abcd"] == scene.listed("tasks")


def dies_after(command: Callable[..., Any], *, steps: int) -> Callable[..., Any]:
    """The same command, in a process that is killed before a later step."""

    def step(*args: Any, **options: Any) -> Any:
        if options["step"] > steps:
            raise KeyboardInterrupt
        return command(*args, **options)

    return step
