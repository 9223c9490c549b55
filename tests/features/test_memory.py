"""Everything that an operator needs works when Redis is full."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis.exceptions
from rq.defaults import RQ_KEY_PREFIX

from shedder.errors import RedisUnreachable, ServerTooOld, ShedderError
from shedder.selection import Selection
from shedder.store.store import raise_translated
from shedder.units import Rate
from tests.features.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import ServerFactory

FAST = Rate(1e9)
MAIL = Selection.parse(functions=["app.mail.*"])


@pytest.fixture
def scene(server_factory: ServerFactory) -> Iterator[Scene]:
    """A server of its own with twelve jobs, which is then full."""
    with server_factory().client() as client:
        scene = Scene(client)
        for number in range(4):
            scene.fill("mail", f"m{number}")
            scene.fill("mail", f"s{number}", how="stock")
            scene.fill("mail", f"r{number}", function="app.report.build")
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.set("x", 1)
        yield scene


def let_run(scene: Scene) -> list[str]:
    """What a worker takes; RQ's own bookkeeping needs memory, so no job is run."""
    taken = []
    while token := getattr(scene.claim("mail"), "token", b""):
        taken.append(scene.hands.job_of(token))
    return taken


def test_pause_and_resume_work(scene: Scene) -> None:
    """A paused queue hands out nothing, a resumed one all."""
    paused = scene.shedder.pause("mail", reason="r")
    assert [] == let_run(scene)
    assert ["pause"] == scene.verbs()
    scene.shedder.undo(paused.event, reason="r")
    scene.shedder.pause("mail", reason="r")
    scene.shedder.resume("mail", reason="r")
    assert 12 == len(let_run(scene))


def test_a_lane_is_parked_and_joined(scene: Scene) -> None:
    """Stock workers lose sight of the jobs and get them back."""
    scene.redis.config_set("maxmemory", 0)
    scene.add_stock_worker("mail")
    scene.redis.config_set("maxmemory", 1)
    before = scene.listed("mail")
    scene.shedder.pause("mail", reason="r")
    assert [] == scene.listed("mail")
    scene.shedder.resume("mail", reason="r")
    assert before == scene.listed("mail")


@pytest.mark.parametrize(("selection", "moved"), [(Selection(), 12), (MAIL, 8)])
def test_divert_and_undo_work(scene: Scene, selection: Selection, moved: int) -> None:
    """A whole lane or a subset goes, and comes back to where it was."""
    before = scene.listed("mail")
    diverted = scene.shedder.divert("mail.normal", selection=selection, reason="r")
    assert moved == diverted.moved == len(scene.backlog("mail"))
    scene.shedder.undo(diverted.event, reason="r")
    assert before == scene.listed("mail")


def test_a_drain_works_and_ends(scene: Scene) -> None:
    """Rate and tokens are kept, jobs are handed out, and the divert ends."""
    before = scene.listed("mail")
    scene.shedder.divert("mail.normal", reason="r")
    scene.shedder.drain("mail.normal", rate=Rate(1, 86400.0), reason="r")
    assert [] == let_run(scene)
    scene.shedder.drain("mail.normal", rate=FAST, reason="r")
    assert before == let_run(scene)
    assert {} == scene.redis.hgetall(scene.keys.diverts)


def test_a_claim_can_be_given_back_and_started(scene: Scene) -> None:
    """Neither the gate nor a release needs memory that is not there."""
    token = scene.take("mail")
    assert scene.hands.release(token)
    token = scene.take("mail")
    assert "started" == scene.hands.start_again(token).verdict


def test_a_producer_is_told_that_memory_is_full(scene: Scene) -> None:
    """As with RQ, an enqueue is refused whole."""
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        scene.ours("mail").enqueue("app.mail.send", job_id="new")
    assert 12 == len(scene.waiting("mail"))
    assert not scene.redis.exists(f"{RQ_KEY_PREFIX}:job:new")


@pytest.mark.parametrize(
    "refusal",
    [
        "Error compiling script (new function): user_script:1: unexpected symbol near '#'",
        "ERR Unexpected flag in script shebang: allow-oom",
    ],
)
def test_a_server_without_script_flags_gets_one_sentence(scene: Scene, refusal: str) -> None:
    """It names the version that was found and the one that is needed."""
    with pytest.raises(ServerTooOld) as caught:
        raise_translated(redis.exceptions.ResponseError(refusal), scene.redis)
    info = scene.redis.info("server")
    found = info.get("valkey_version") or info["redis_version"]
    expected = f"the server is too old ({found}); shedder needs at least Redis 7.0 or Valkey 7.2"
    assert expected == str(caught.value)
    assert isinstance(caught.value.__cause__, redis.exceptions.ResponseError)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (redis.exceptions.ConnectionError("gone"), RedisUnreachable),
        (redis.exceptions.TimeoutError("late"), RedisUnreachable),
        (redis.exceptions.ResponseError("ERR whatever"), ShedderError),
    ],
)
def test_other_errors_are_told_as_what_they_are(
    scene: Scene, error: redis.exceptions.RedisError, expected: type[ShedderError]
) -> None:
    """Each keeps its cause."""
    with pytest.raises(expected) as caught:
        raise_translated(error, scene.redis)
    assert error is caught.value.__cause__
