"""A scan by meta judges jobs while the server carries out the step before, and stays exact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from redis import Redis, exceptions

from shedder.api.shedder import Shedder
from shedder.queues import divert as module
from shedder.queues.divert import JOBS_PER_STEP
from shedder.queues.windows import judge
from shedder.selection import Selection
from shedder.store.ahead import Ahead, Question
from shedder.store.store import Command
from tests.features.scene import Scene, numbered

if TYPE_CHECKING:
    from collections.abc import Callable

    from shedder.embedded import EmbeddedServer
    from shedder.queues.windows import Undecided

ACME = Selection(meta=(("tenant", "acme"),))


def filled(scene: Scene, count: int = 5 * JOBS_PER_STEP) -> tuple[list[str], list[str]]:
    """Jobs of two tenants in turn: those of acme, and those of the other."""
    jobs = numbered("j", count)
    for number, job in enumerate(jobs):
        scene.fill("mail", job, tenant="globex" if number % 3 else "acme")
    return [job for at, job in enumerate(jobs) if at % 3 == 0], [job for at, job in enumerate(jobs) if at % 3]


def meanwhile(act: Callable[[], object], *, at: int) -> Any:
    """Does `act` when the job with this number is judged."""
    seen = 0

    def judged(job: Undecided, selection: Selection) -> bool | None:
        nonlocal seen
        seen += 1
        if seen == at:
            act()
        return judge(job, selection)

    return mock.patch.object(module, "judge", judged)


def test_a_scan_by_meta_keeps_both_orders(scene: Scene) -> None:
    """Over several windows what goes and what stays is in order, and each job is read about once."""
    acme, others = filled(scene)
    scene.redis.config_resetstat()
    assert len(acme) == scene.shedder.divert("mail", selection=ACME, reason="r").moved
    assert (others, acme) == (scene.waiting("mail"), scene.backlog("mail"))
    read = scene.redis.info("commandstats")["cmdstat_hget"]["calls"]
    assert read < 1.6 * len(acme + others)


@pytest.mark.parametrize("at", [1, JOBS_PER_STEP + 1, 3 * JOBS_PER_STEP + 50])
@pytest.mark.parametrize("what", ["taken", "put in front", "both"])
def test_others_take_and_put_jobs_meanwhile(scene: Scene, what: str, at: int) -> None:
    """Workers that claim from the lane and producers that put jobs in front change nothing for the others."""
    acme, others = filled(scene)
    source = scene.keys.lane("mail")[0]
    scene.fill("reports", "n1", "n2", tenant="acme")
    gone: list[str] = []

    def act() -> None:
        if what != "put in front":
            gone.extend(job.decode() for job in scene.redis.lpop(source, 7) or ())  # type: ignore[union-attr]
        if what != "taken":
            scene.redis.lpush(source, "n1", "n2")

    with meanwhile(act, at=at):
        scene.shedder.divert("mail.normal", selection=ACME, reason="r")
    came = [] if what == "taken" else ["n2", "n1"]
    assert sorted([job for job in acme if job not in gone] + came) == sorted(scene.backlog("mail"))
    assert [job for job in others if job not in gone] == scene.waiting("mail")


def test_a_scan_whose_connection_is_lost_goes_on(scene: Scene) -> None:
    """What was not answered is sent again, and a step that was carried out is not carried out twice."""
    acme, others = filled(scene)
    with meanwhile(lambda: scene.redis.client_kill_filter(_type="normal", skipme=True), at=2 * JOBS_PER_STEP + 5):
        assert len(acme) == scene.shedder.divert("mail", selection=ACME, reason="r").moved
    assert (others, acme) == (scene.waiting("mail"), scene.backlog("mail"))


def test_a_scan_outlives_the_loss_of_all_scripts(scene: Scene) -> None:
    """A server that has forgotten the scripts is told them again, in the middle of a scan."""
    acme, others = filled(scene)
    with meanwhile(scene.redis.script_flush, at=2 * JOBS_PER_STEP + 5):
        scene.shedder.divert("mail", selection=ACME, reason="r")
    assert (others, acme) == (scene.waiting("mail"), scene.backlog("mail"))


def test_a_pool_of_one_connection_is_enough(scene: Scene, server: EmbeddedServer) -> None:
    """A client that may have one connection diverts too, without reading ahead."""
    acme, _ = filled(scene, 120)
    with server.client(max_connections=1) as client:
        assert len(acme) == Shedder(client, by="tester").divert("mail", selection=ACME, reason="r").moved


def test_a_reply_that_nobody_read_is_no_answer_to_another_question(scene: Scene) -> None:
    """Who stops between a question and its answer leaves no connection behind that would give it."""
    ask = Command("read_window", (), (), str)

    def interrupted() -> None:
        with Ahead(scene.shedder.store) as ahead:
            ahead.send(ask)
            raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert scene.redis.ping()
        assert scene.redis.echo("this") == b"this"


def test_an_answer_that_is_still_to_come_is_none_to_another_question(scene: Scene) -> None:
    """Who does not wait for what was asked leaves no connection on which it would come first."""
    scene.redis.set("own", "reply")
    with Ahead(scene.shedder.store) as ahead:
        ahead.ask([Question("BLPOP", "list:", ("1",))], [b"nobody-pushes"])
    assert b"reply" == scene.shedder.store.connection.get("own")


def test_an_error_of_the_server_is_told_as_by_any_command(scene: Scene) -> None:
    """A refusal of what was sent ahead raises what it would have raised otherwise."""
    scene.redis.set(scene.keys.lane("mail")[0], "no list")
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever it is, it is none of redis-py's
        scene.shedder.preview_divert("mail", selection=ACME)
    assert not isinstance(raised.value, exceptions.RedisError)
    assert isinstance(scene.redis, Redis)
