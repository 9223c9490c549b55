"""Is leaving as safe as coming?"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import re
import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import rq

from shedder import backlog, controls
from shedder.errors import ConditionNotMet, NothingMatched, RecordUnreadable
from shedder.facade import Shedder
from shedder.heartbeat.delivering import deliver
from shedder.heartbeat.messages import Message
from shedder.heartbeat.watching import hold_lease
from shedder.incident.begun import begin_mitigation
from shedder.journal import event_head
from shedder.keys import Keys
from shedder.policy import Mitigation, Policy
from shedder.rates import Rate
from shedder.records import Cause
from shedder.rq import SimpleWorker
from shedder.rq import own_keys as own_keys_module
from shedder.rq.own_keys import OwnKeys
from shedder.rq.upkeep import sample_lanes
from shedder.selection import Selection
from tests.docs.pages import DOCS
from tests.features.scene import Scene, numbered
from tests.jobs import ended
from tests.waiting import wait_until
from tests.workers import run_burst

if TYPE_CHECKING:
    from redis import Redis

    from shedder.embedded import EmbeddedServer
    from tests.conftest import ServerFactory

MAIL = Selection.parse(functions=["app.mail.*"])
RUNS = "tests.jobs.decorated"


def everything(scene: Scene) -> dict[str, list[str]]:
    """Jobs in all places where shedder keeps some; where each must be when it has gone."""
    expected = {
        "mail": scene.fill("mail", *numbered("m", 6)),
        "mail.low": scene.fill("mail.low", *numbered("l", 4)),
        "team:web": scene.fill("team:web", *numbered("t", 3)),
        "reports": scene.fill("reports", *numbered("r", 4)),
    }
    for _ in range(3):
        scene.take("mail.normal")  # workers that died with a job in hand
    scene.shedder.divert("mail", reason="divert")
    expected["mail"] += scene.fill("mail", "m-7", "m-8")
    scene.add_stock_worker("team:web")
    scene.shedder.pause("team:web", reason="parked, as a stock worker serves it")
    expected["team:web"] += scene.fill("team:web", "t-4")
    scene.shedder.limit_starts("reports", most=1, reason="limit")
    scene.take("reports")
    some(scene, expected)
    return expected


def some(scene: Scene, expected: dict[str, list[str]]) -> None:
    """A part of a lane in a backlog, that drains, and settings of flags and limits."""
    mixed = []
    for number in range(4):
        mixed += scene.fill("mixed", f"x-{number}")
        mixed += scene.fill("mixed", f"y-{number}", function="app.report.build")
    scene.shedder.divert("mixed", selection=MAIL, reason="part")
    scene.shedder.drain("mixed", rate=Rate(1, 3600.0), reason="slowly")
    expected["mixed"] = mixed
    scene.shedder.degrade_flag("hints", reason="flag", force=True)
    scene.shedder.set_limit("search", Rate(5), reason="limit in code", force=True)


def own_keys(scene: Scene) -> list[str]:
    return sorted(key.decode() for key in scene.redis.scan_iter("*shedder*"))


def listed(scene: Scene, lanes: dict[str, list[str]]) -> dict[str, list[str]]:
    return {lane: scene.listed(lane) for lane in lanes}


def test_every_job_is_in_its_list_and_no_key_is_left(scene: Scene) -> None:
    """Backlogs, parked jobs and claims go back in order, and stock workers need nothing else."""
    expected = everything(scene)
    receipt = scene.shedder.uninstall(reason="plain RQ again")
    assert expected == listed(scene, expected)
    assert ([], ()) == (own_keys(scene), receipt.left)
    assert (4, ("hints",), ("search",)) == (receipt.claims, receipt.flags, receipt.limits)
    assert {"team:web", "team:web.low"} <= set(receipt.resumed)
    assert {lane: len(jobs) for lane, jobs in expected.items()} == {
        queue.lane: queue.jobs for queue in receipt.queues
    }


def test_nothing_is_left_of_a_whole_incident(scene: Scene) -> None:
    """Of each kind of key that there is one was there, and none is left."""
    everything(scene)
    a_whole_incident(scene)
    what_lives_for_seconds(scene)
    kinds = {kind_of(scene, key) for key in own_keys(scene)}
    assert all_kinds(scene) == kinds
    scene.shedder.uninstall(reason="plain RQ again", force=True)
    assert [] == own_keys(scene)


def a_whole_incident(scene: Scene) -> None:
    """Its record and a copy of another, what was sent, a mitigation, limits in code, a policy."""
    shedder = scene.shedder
    incidents = shedder.incidents
    shedder.policies.apply(Policy(stale_after=timedelta(hours=1)), reason="policy")
    incidents.open("first", severity=2)
    copy = json.loads(json.dumps(incidents.export()))
    scene.redis.delete(scene.keys.incident(copy["incident"]["id"]))
    incidents.bring_back(copy)
    incidents.roles.take("operations")
    incidents.note("replica lags")
    mitigation = Mitigation("rollback", ("true",))
    shedder.mitigate(mitigation, ("true",), reason="r")
    head = event_head("mitigate started", Cause("bob@desk", "r"), ())
    shedder.store.run(begin_mitigation(scene.keys, head, head))  # and never ended
    message = Message("update-1", "main", "title", "text", datetime.now(UTC))
    deliver(shedder.store, scene.keys, incidents.read().id, [message], lambda *_: True, who="x")
    shedder.store.run(hold_lease(scene.keys, "watcher"))
    shedder.store.run(sample_lanes(scene.keys, ["mail"]))
    shedder.flags.declare("hints.more")
    shedder.limits.declare("search.more", default="5/minute")
    shedder.limits.hit("search.more")
    try:
        wait_until(lambda: scene.redis.exists(scene.keys.flag_declarations), what="a declaration")
    finally:
        shedder.limits.close()


def what_lives_for_seconds(scene: Scene) -> None:
    """Keys that are there while something goes on, and lists that a command was killed beside."""
    redis, keys = scene.redis, scene.keys
    scene.fill("torn", "k-1", "p-1", "s-1")
    for job, key in (("k-1", keys.kept("torn")), ("p-1", keys.parked("torn")),
                     ("s-1", keys.stale("torn"))):  # fmt: skip
        redis.lrem(keys.engine.lists + "torn", 0, job)
        redis.rpush(key, job)
    redis.rpush(keys.skipped("order", "torn"), "job gone")
    redis.zadd(keys.running("order"), {"claim": 1})
    redis.set(keys.at_work("mail"), "somebody")
    redis.set(keys.lookout("mail"), "somebody")
    redis.rpush(keys.bell("mail"), "ring")
    redis.hset(keys.starting, "claim", "1")


def kind_of(scene: Scene, key: str) -> str:
    return key.removeprefix(scene.keys.root).partition(":")[0]


def all_kinds(scene: Scene) -> set[str]:
    """The kinds of all keys; a channel is none."""
    found = set()
    for name, member in vars(Keys).items():
        if name.startswith("_") or name in {"engine", "lane", "lanes", "root", "settings_channel"}:
            continue
        made = getattr(scene.keys, name)
        if not isinstance(member, property):
            made = made(*("x" for _ in inspect.signature(made).parameters))
        keys = (made,) if isinstance(made, str) else made
        found |= {kind_of(scene, each) for each in keys}
    return found


def test_a_preview_tells_the_same_and_changes_nothing(scene: Scene) -> None:
    """A dry run reads only."""
    everything(scene)
    before = {key: scene.redis.dump(key) for key in scene.redis.scan_iter()}
    receipt = scene.shedder.preview_uninstall()
    assert before == {key: scene.redis.dump(key) for key in scene.redis.scan_iter()}
    assert (True, 4, ("hints",)) == (receipt.is_preview, receipt.claims, receipt.flags)
    assert len(own_keys(scene)) == receipt.keys


def test_stock_workers_run_every_job_afterwards(scene: Scene, tmp_path: Any) -> None:
    """RQ's own worker finds each job once, in order, lanes of priority as queues of their own."""
    marks = str(tmp_path / "marks")
    for lane in ("mail", "mail.low"):
        queue = scene.ours(lane)
        queue.enqueue_many(queue.prepare_data(RUNS, (marks, f"{lane}-{n}")) for n in range(4))
    scene.take("mail.normal")
    scene.shedder.divert("mail", reason="r")
    scene.shedder.pause("mail.low", reason="r")
    scene.shedder.uninstall(reason="plain RQ again")
    worker = rq.SimpleWorker(["mail", "mail.low"], connection=scene.redis)
    run_burst(worker)
    assert [f"mail-{n}" for n in range(4)] + [f"mail.low-{n}" for n in range(4)] == ended(marks)
    assert [] == own_keys(scene)


def test_each_line_of_the_journal_is_handed_over_first(scene: Scene) -> None:
    """The journal goes with the rest, and ends with what the removal itself did."""
    everything(scene)
    before = [event.id for event in scene.shedder.events()]
    kept: list[Any] = []
    receipt = scene.shedder.uninstall(reason="bye", by="ana@desk", on_event=kept.append)
    assert before == [event.id for event in kept[: len(before)]]
    ours = {event.verb for event in kept[len(before) :]}
    assert {"uninstall", "resume", "restore"} == ours
    assert {"ana@desk"} == {event.by for event in kept[len(before) :]}
    assert len(kept) == receipt.events


def test_it_is_refused_while_a_worker_of_ours_is_alive(scene: Scene) -> None:
    """Nothing is changed, the worker is named, and `force` is for one that is dead."""
    scene.fill("mail", "a")
    worker = SimpleWorker(["mail"], connection=scene.redis, name="mail-1")
    worker.register_birth()
    with pytest.raises(ConditionNotMet, match="mail-1"):
        scene.shedder.uninstall(reason="too early")
    scene.shedder.pause("mail", reason="r")
    receipt = scene.shedder.uninstall(reason="it is dead", force=True)
    assert ["mail-1"] == [each.name for each in receipt.workers]
    worker.register_death()


def test_a_server_without_shedder_is_told_as_that(scene: Scene) -> None:
    """Who names the wrong server learns it."""
    scene.fill("mail", "a", how="stock")
    with pytest.raises(NothingMatched):
        scene.shedder.uninstall(reason="r")
    assert ["a"] == scene.listed("mail")


def test_a_damaged_divert_stops_it_and_force_saves_its_backlog(scene: Scene) -> None:
    """What cannot be read is left as it is; by force its jobs go to the front, in order."""
    scene.fill("mail", *numbered("a", 5))
    scene.shedder.divert("mail.normal", reason="r")
    scene.redis.rpush("rq:queue:mail", "b")
    scene.redis.hset(scene.keys.diverts, "mail", "{broken")
    with pytest.raises(RecordUnreadable):
        scene.shedder.uninstall(reason="r")
    receipt = scene.shedder.uninstall(reason="r", force=True)
    assert [*numbered("a", 5), "b"] == scene.listed("mail")
    assert (5, []) == (receipt.found, own_keys(scene))


def test_a_backlog_whose_order_is_gone_goes_to_the_front_of_its_lane(scene: Scene) -> None:
    """In reading order of its parts, also where names hold colons."""
    scene.fill("a:b.low", "z")
    for part, job in (("rest", "c"), ("front", "b"), ("slot", "a")):
        scene.redis.rpush(f"rq:shedder:backlog:gone:a:b.low:{part}", job)
    receipt = scene.shedder.uninstall(reason="r")
    assert (["a", "b", "c", "z"], 3) == (scene.listed("a:b.low"), receipt.found)


def test_what_is_written_afterwards_is_named(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A producer of ours that lives on rings its bell; the receipt says so, and the next run."""
    scene.fill("mail", "a")
    scene.shedder.divert("mail", reason="r")
    unlink = OwnKeys.unlink

    def unlink_and_ring(own: OwnKeys, names: Any) -> int:
        removed = unlink(own, names)
        scene.redis.rpush(scene.keys.bell("mail"), "1")
        return removed

    monkeypatch.setattr(OwnKeys, "unlink", unlink_and_ring)
    assert ("rq:shedder:bell:mail",) == scene.shedder.uninstall(reason="r").left
    monkeypatch.undo()
    assert ((), []) == (scene.shedder.uninstall(reason="r").left, own_keys(scene))


def test_it_works_when_redis_is_full(server_factory: ServerFactory) -> None:
    """No step needs memory that the server has not got."""
    server = server_factory()
    with server.client() as client:
        scene = Scene(client)
        expected = everything(scene)
        client.config_set("maxmemory", 1)
        scene.shedder.uninstall(reason="r")
        assert expected == listed(scene, expected)
        assert [] == own_keys(scene)


def test_it_goes_on_after_a_kill_at_any_step(
    server: EmbeddedServer, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at its first, second, ... command, and run again: every job is there, in order."""
    monkeypatch.setattr(backlog, "JOBS_PER_STEP", 2)
    monkeypatch.setattr(controls, "IDS_PER_STEP", 2)
    number, is_killed = 0, True
    while is_killed:
        redis.flushall()
        scene = Scene(redis)
        expected = everything(scene)
        is_killed = _uninstall_and_die(server, number)
        with contextlib.suppress(NothingMatched):
            scene.shedder.uninstall(reason="again")
        assert expected == listed(scene, expected), f"after a kill at command {number}"
        assert [] == own_keys(scene)
        number += 3
    assert number > 60


def _uninstall_and_die(server: EmbeddedServer, number: int) -> bool:
    """Whether a process was killed at its command of this number, and had not done all."""
    pid = os.fork()
    if pid == 0:
        try:
            with server.client() as client:
                _kill_at(client, number)
                Shedder(client).uninstall(reason="first")
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def _kill_at(client: Redis, number: int) -> None:
    done = 0
    pool = client.connection_pool
    get = pool.get_connection

    def counted(*args: Any, **more: Any) -> Any:
        nonlocal done
        done += 1
        if done > number:
            os.kill(os.getpid(), signal.SIGKILL)
        return get(*args, **more)

    pool.get_connection = counted  # type: ignore[method-assign]


def test_a_pause_with_a_time_limit_ends_too(scene: Scene) -> None:
    """A pause that has run out, and one that would end by itself, leave nothing."""
    scene.fill("mail", "a")
    scene.shedder.pause("mail", reason="r", expires_in=timedelta(milliseconds=1))
    scene.shedder.pause("reports", reason="r", expires_in=timedelta(hours=1))
    scene.let_pass(2)
    scene.shedder.uninstall(reason="r")
    assert (["a"], []) == (scene.listed("mail"), own_keys(scene))


def test_every_kind_of_list_in_which_jobs_stand_is_known() -> None:
    """A new kind that `uninstall` does not bring back would be removed with its jobs."""
    page = (DOCS / "reference" / "keys.md").read_text(encoding="utf-8")
    jobs = page.partition("## Jobs")[2].partition("\n## ")[0]
    kinds = set(re.findall(r"^\| `rq:shedder:([\w-]+)", jobs, re.MULTILINE))
    assert set(own_keys_module._LISTS) == kinds
