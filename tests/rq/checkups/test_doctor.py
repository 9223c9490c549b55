"""A check-up finds what is wrong with an installation, and nothing on a sound one."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from rq.defaults import RQ_KEY_PREFIX

from shedder import Selection
from shedder.health.doctor import ServerReport, installation_findings, is_usable, read_server
from shedder.rq import Worker
from shedder.rq.queue import Queue
from shedder.status.findings import FINE, PROBLEM, WARNING
from shedder.store.keys import kind_of
from tests.features.scene import Scene

if TYPE_CHECKING:
    from shedder.health.doctor import Checkup
    from shedder.status.findings import Finding
    from tests.conftest import ServerFactory


def found(scene: Scene, check: str) -> Finding:
    """What a check-up says of `check`."""
    findings = [each for each in scene.shedder.check_up().findings if each.check == check]
    assert len(findings) == 1, findings
    return findings[0]


def levels(checkup: Checkup) -> set[str]:
    return {finding.level for finding in checkup.findings}


def test_a_sound_installation_has_no_problem(server_factory: ServerFactory) -> None:
    """With a durable server, our workers and our producers, everything is fine."""
    server = server_factory(appendonly=True, config={"maxmemory": "100mb", "appendfsync": "everysec"})
    with server.client() as client:
        Worker(["mail"], connection=client).register_birth()
        Queue("mail", connection=client).enqueue("app.mail.send")
        checkup = Scene(client).shedder.check_up()
        assert [] == [each for each in checkup.findings if each.level != FINE]
        assert ({FINE}, True) == (levels(checkup), checkup.is_healthy)
        assert not checkup.repairable


def test_nothing_is_changed_by_a_check_up(scene: Scene) -> None:
    """A check-up leaves every key as it is."""
    scene.fill("mail", "a", "b")
    scene.shedder.divert("mail", reason="r")
    scene.redis.hdel(scene.keys.diverts, "mail")
    before = {key: scene.redis.dump(key) for key in scene.redis.keys("*")}
    scene.shedder.check_up()
    assert before == {key: scene.redis.dump(key) for key in scene.redis.keys("*")}


REPORT = ServerReport(
    info={"redis_version": "7.2.4", "role": "master", "aof_enabled": 1, "maxmemory": 100},
    settings={"appendfsync": "everysec", "save": "", "min-replicas-to-write": "0"},
    is_suspended=False,
)


@pytest.mark.parametrize(
    ("change", "check", "level"),
    [
        ({"redis_version": "6.2.1"}, "server", PROBLEM),
        ({"redis_version": "7.0.0"}, "server", FINE),
        ({"valkey_version": "7.2.0"}, "server", FINE),
        ({"aof_enabled": 0}, "persistence", PROBLEM),
        ({"aof_last_write_status": "err"}, "persistence", PROBLEM),
        ({"aof_enabled": 0, "rdb_last_bgsave_status": "err"}, "persistence", PROBLEM),
        ({}, "persistence", FINE),
        ({"role": "slave"}, "replication", PROBLEM),
        ({"connected_slaves": 2}, "replication", WARNING),
        ({"used_memory": 50}, "memory", FINE),
        ({"used_memory": 80}, "memory", WARNING),
        ({"used_memory": 99}, "memory", PROBLEM),
        ({"maxmemory": 0}, "memory", WARNING),
        ({"maxmemory_policy": "allkeys-lru"}, "eviction", PROBLEM),
        ({"cluster_enabled": 1}, "cluster", PROBLEM),
    ],
)
def test_what_is_said_of_a_server(change: dict[str, Any], check: str, level: str) -> None:
    """Each thing that a server can have wrong is told, as bad as it is."""
    report = replace(REPORT, info={**REPORT.info, **change})
    said = {each.check: each.level for each in installation_findings(report, prefix="rq")}
    assert level == said[check]


@pytest.mark.parametrize(
    ("change", "info", "level"),
    [
        ({"appendfsync": "no"}, {}, WARNING),
        ({"appendfsync": "always"}, {}, FINE),
        ({"save": "3600 1"}, {"aof_enabled": 0}, WARNING),
    ],
)
def test_what_a_setting_means_for_a_crash(change: dict[str, str], info: dict[str, Any], level: str) -> None:
    """How much a crash loses is told by the server's settings."""
    settings = {**REPORT.settings, **change}
    report = replace(REPORT, settings=settings, info={**REPORT.info, **info})
    said = {each.check: each.level for each in installation_findings(report, prefix="rq")}
    assert level == said["persistence"]


def test_a_hash_tag_is_what_a_cluster_needs() -> None:
    """With a hash tag in RQ's prefix there is nothing to say of a cluster."""
    report = replace(REPORT, info={**REPORT.info, "cluster_enabled": 1})
    assert "cluster" not in {each.check for each in installation_findings(report, prefix="{rq}")}


def test_a_server_that_is_too_old_is_asked_no_more(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no script of ours runs, the check-up says so and ends."""
    old = replace(read_server(scene.shedder.store), info={"redis_version": "6.0.0"})
    assert not is_usable(old)
    monkeypatch.setattr("shedder.health.doctor.read_server", lambda *_: old)
    checkup = scene.shedder.check_up()
    assert (None, False) == (checkup.audit, checkup.is_healthy)


def test_a_server_that_hides_its_settings(scene: Scene, server_factory: ServerFactory) -> None:
    """Where CONFIG is forbidden, the rest is told all the same."""
    server = server_factory(appendonly=True)
    with server.client() as client:
        client.acl_setuser("default", commands=["-config"])
        said = {each.check: each.says for each in Scene(client).shedder.check_up().findings}
    assert "the server does not tell" in said["persistence"]


def test_stock_workers_are_named(scene: Scene) -> None:
    """A stock worker is a warning, with its name."""
    stock = scene.add_stock_worker("mail")
    finding = found(scene, "workers")
    assert (WARNING, (stock.name,)) == (finding.level, finding.subjects)


def test_stock_producers_are_told_by_their_newest_jobs(scene: Scene) -> None:
    """A lane in which a stock queue's job waits is named."""
    scene.fill("mail", "a")
    scene.fill("reports", "b", how="stock")
    finding = found(scene, "producers")
    assert (WARNING, ("reports",)) == (finding.level, finding.subjects)


def test_a_clock_that_is_ahead_is_named(scene: Scene) -> None:
    """A worker whose heartbeat comes from the future is a warning."""
    worker = scene.add_stock_worker("mail")
    scene.redis.hset(worker.key, "last_heartbeat", "2999-01-01T00:00:00.000000Z")
    finding = found(scene, "clocks")
    assert (WARNING, (worker.name,)) == (finding.level, finding.subjects)


def test_this_machines_clock_is_compared_with_the_servers(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks from a machine with a wrong clock is told."""
    real = time.time
    monkeypatch.setattr("shedder.health.doctor.time.time", lambda: real() + 60)
    assert "60 s ahead of" in found(scene, "clocks").says


def test_rqs_own_suspend_is_told(scene: Scene) -> None:
    """A forgotten `rq suspend` is a warning."""
    scene.redis.set(scene.keys.engine.suspended, 1)
    assert WARNING == found(scene, "suspend").level


def test_unreadable_records_are_named(scene: Scene) -> None:
    """A damaged divert is a problem, and the jobs, which it hides, are not judged."""
    scene.fill("mail", "a")
    scene.redis.hset(scene.keys.diverts, "mail", "garbage")
    finding = found(scene, "records")
    assert (PROBLEM, ("mail",)) == (finding.level, finding.subjects)
    assert WARNING == found(scene, "jobs").level


@pytest.mark.parametrize("key", ["meters", "policy", "events", "flags", "incidents", "claims"])
def test_a_key_of_another_type_is_named(scene: Scene, key: str) -> None:
    """What somebody made another type by hand is one finding, with what it is and should be."""
    name = getattr(scene.keys, key)
    scene.redis.set(name, "x")
    checkup = scene.shedder.check_up()
    found = [each for each in checkup.findings if each.check == "keys"]
    assert [(PROBLEM, (name,))] == [(each.level, each.subjects) for each in found]
    assert f"{name} is of type string, and shedder keeps a {kind_of(name)} there" in found[0].says


def test_an_unfinished_scan_is_found_when_nobody_is_at_work(scene: Scene) -> None:
    """A divert whose operator died is a problem, but not while somebody scans."""
    scene.fill("mail", "a")
    scene.shedder.divert("mail.normal", selection=Selection(functions=("x",)), reason="r")
    record = scene.redis.hget(scene.keys.diverts, "mail")
    scene.redis.hset(
        scene.keys.diverts, "mail", record.replace(b'"scanning":false', b"").replace(
            b'"v":1', b'"v":1,"scanning":true')
    )  # fmt: skip
    scene.redis.set(scene.keys.lane_lease("mail"), 1, px=3000)
    assert FINE == found(scene, "orders").level
    scene.redis.delete(scene.keys.lane_lease("mail"))
    assert "finish them" == found(scene, "unfinished orders").fix


def test_left_over_lists_are_found_where_no_order_wants_them(scene: Scene) -> None:
    """A kept list is left over, a parked one only when the lane is not paused."""
    scene.fill("mail", "a")
    scene.add_stock_worker("mail")
    scene.shedder.pause("mail", reason="r")
    assert FINE == found(scene, "orders").level
    scene.redis.delete(scene.keys.pauses)
    assert ("mail",) == found(scene, "left-over lists").subjects


def test_an_orphaned_backlog_is_found(scene: Scene) -> None:
    """A backlog whose record is gone is a problem, and each of its lists is named."""
    scene.fill("mail", "a")
    order = scene.shedder.divert("mail.normal", reason="r").lanes[0].order
    assert FINE == found(scene, "orders").level
    scene.redis.delete(scene.keys.diverts)
    assert (scene.keys.backlog(order, "mail")[1],) == found(scene, "orphaned backlogs").subjects


def test_the_claim_of_a_dead_worker_is_found(scene: Scene) -> None:
    """A job whose holder has been silent for two leases is a problem; a fresh claim is none."""
    scene.fill("mail", "a")
    token = scene.take("mail")
    assert FINE == found(scene, "claims").level
    scene.redis.zadd(scene.keys.claims, {token: 1})
    finding = found(scene, "claims")
    assert (PROBLEM, ("a",)) == (finding.level, finding.subjects)


def test_a_claim_that_cannot_be_read_is_told(scene: Scene) -> None:
    """What somebody wrote among the claims is a warning."""
    scene.redis.zadd(scene.keys.claims, {b"garbage": 1})
    assert WARNING == found(scene, "claims").level


def test_jobs_in_no_place_and_in_two_are_found(scene: Scene) -> None:
    """What a fail-over tears is found by the audit that is a part of the check-up."""
    scene.fill("mail", "a", "b", "c")
    scene.redis.lrem(f"{RQ_KEY_PREFIX}:queue:mail", 1, "a")
    scene.redis.rpush(f"{RQ_KEY_PREFIX}:queue:mail.low", "b")
    assert ("a",) == found(scene, "jobs in no place").subjects
    assert ("b (lane mail.low, lane mail)",) == found(scene, "jobs in two places").subjects


def test_what_cannot_be_put_back_is_said(scene: Scene) -> None:
    """A job in no place that is not queued is a problem without a repair."""
    scene.fill("mail", "a")
    scene.redis.delete(f"{RQ_KEY_PREFIX}:queue:mail")
    scene.redis.hset(f"{RQ_KEY_PREFIX}:job:a", "status", "scheduled")
    finding = found(scene, "jobs in no place")
    assert (PROBLEM, "") == (finding.level, finding.fix)


def test_expired_jobs_are_no_problem(scene: Scene) -> None:
    """An id whose job is gone is told, and is fine."""
    scene.fill("mail", "a")
    scene.redis.delete(f"{RQ_KEY_PREFIX}:job:a")
    assert FINE == found(scene, "ids without a job").level
