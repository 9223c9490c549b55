"""Failed jobs come back: chosen, counted first, each in one place, and taken back as they were."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import rq
from rq.defaults import RQ_KEY_PREFIX
from rq.exceptions import InvalidJobOperation
from rq.job import Job, JobStatus

from shedder import FailedSelection, RetryReceipt, RetryTakenBack, Shedder
from shedder.errors import CannotUndo, InvalidInput, ShedderError
from shedder.policy.model import Defaults, Policy, Rule
from shedder.queues import failed as reading
from shedder.queues import retry as retrying
from shedder.queues.drain import end_drained
from shedder.queues.retry import retry_jobs
from shedder.selection import Selection
from shedder.status.findings import HALTED, check_status
from shedder.store.store import new_id
from shedder.units import Rate
from shedder.updates.commands import commands_of
from shedder.updates.situation import read_situation
from tests.features.failures import fail, fail_job, failed, let_have_failed
from tests.features.scene import Scene, numbered

if TYPE_CHECKING:
    from redis import Redis

    from shedder.embedded import EmbeddedServer

FAST = Rate(1e9)
SLOW = Rate(1.0, 3600.0)


@pytest.fixture
def scene(redis: Redis) -> Scene:
    return Scene(redis)


def retry(scene: Scene, *targets: str, rate: Rate = FAST, **more: object) -> RetryReceipt:
    return scene.shedder.retry(*(targets or ("mail",)), rate=rate, reason="it is back", **more)  # type: ignore[arg-type]


def previewed(scene: Scene, **criteria: object) -> dict[str, int]:
    """By lane what a preview would bring back."""
    preview = scene.shedder.preview_retry("mail", selection=FailedSelection(**criteria))  # type: ignore[arg-type]
    return {lane.lane: lane.jobs for lane in preview.lanes}


def test_failed_jobs_come_back_in_the_order_of_their_failure(scene: Scene) -> None:
    """They leave RQ's registry, wait in a backlog, and run as any other job."""
    jobs = fail(scene, "mail", *numbered("mail", 3))
    for number, job in enumerate(jobs):
        let_have_failed(scene, job, 1_790_000_000_000 + number * 5000)
    receipt = retry(scene, rate=SLOW)
    assert ([], jobs, ["queued"] * 3) == (
        failed(scene),
        scene.backlog("mail"),
        [scene.job(job).get_status() for job in jobs],
    )
    assert (3, 3, [("mail", 3)]) == (receipt.jobs, receipt.failed, [(each.lane, each.jobs) for each in receipt.lanes])
    scene.shedder.drain("mail", rate=FAST, reason="faster")
    assert scene.shedder.audit().is_clean
    assert jobs == scene.run_all("mail")


def test_a_preview_counts_and_changes_nothing(scene: Scene) -> None:
    """By function and exception, with the first and the last failure of each."""
    fail(scene, "mail", "a", "b", line="redis.exceptions.TimeoutError: slow")
    fail(scene, "mail", "c", function="app.news.send", line="ValueError: x: y")
    let_have_failed(scene, "a", 1_790_000_000_000, "redis.exceptions.TimeoutError: slow")
    let_have_failed(scene, "b", 1_790_000_060_000, "redis.exceptions.TimeoutError: slow")
    preview = scene.shedder.preview_retry("mail")
    assert [("app.mail.send", "redis.exceptions.TimeoutError", 2), ("app.news.send", "ValueError", 1)] == [
        (each.function, each.exception, each.jobs) for each in preview.groups
    ]
    first = preview.groups[0]
    assert (timedelta(minutes=1), 1_790_000_000) == (first.newest - first.oldest, first.oldest.timestamp())  # type: ignore[operator, union-attr]
    assert ({"a", "b", "c"}, []) == (set(failed(scene)), scene.verbs())


@pytest.mark.parametrize(
    ("criteria", "jobs"),
    [
        ({"exceptions": ("TimeoutError",)}, 2),
        ({"exceptions": ("redis.*",)}, 2),
        ({"exceptions": ("Timeout",)}, 0),
        ({"errors": ("TimeoutError: slow*",)}, 1),
        ({"errors": ("*disk*", "Value*")}, 1),
        ({"exceptions": ("*Timeout*",), "errors": ("*full",)}, 1),
        ({"selection": Selection(functions=("app.news.*",))}, 1),
        ({"selection": Selection(meta=(("tenant", "acme"),))}, 1),
        ({"selection": Selection(older_than=timedelta(hours=1))}, 1),
        ({"attempts_below": 3}, 3),
        ({"attempts_below": 4}, 4),
        ({"exceptions": ("*Timeout*",), "selection": Selection(functions=("app.news.*",))}, 0),
    ],
)  # fmt: skip
def test_criteria_choose_and_all_must_hold(scene: Scene, criteria: dict[str, object], jobs: int) -> None:
    """A class is met with its module or without, and the text from its class on."""
    fail(scene, "mail", "a", line="redis.exceptions.TimeoutError: slow answer")
    fail(scene, "mail", "b", line="redis.exceptions.TimeoutError: queue full")
    fail(scene, "mail", "c", function="app.news.send", line="OSError: disk", tenant="acme")
    fail(scene, "mail", "d", line="KeyError: 1")
    scene.hands.age("d")
    for _ in range(2):
        scene.job("d").requeue()
        fail_job(scene, scene.job("d"), "KeyError: 1")
    scene.hands.age("d")
    assert jobs == sum(previewed(scene, **criteria).values())


def test_jobs_are_chosen_by_when_they_failed(scene: Scene) -> None:
    """From the first moment on, and before the last."""
    fail(scene, "mail", "a", "b", "c")
    for number, job in enumerate("abc"):
        let_have_failed(scene, job, 1_790_000_000_000 + number * 60_000)
    then = [datetime.fromtimestamp(1_790_000_000 + number * 60, UTC) for number in range(3)]
    assert [{"mail": 2}, {"mail": 1}, {"mail": 1}] == [
        previewed(scene, since=then[1]),
        previewed(scene, until=then[1]),
        previewed(scene, since=then[1], until=then[2]),
    ]  # fmt: skip


def test_a_report_in_the_hash_of_an_older_job_is_read(scene: Scene) -> None:
    """RQ kept it there before it had results; the time is that of its end."""
    [job] = fail(scene, "mail", "a")
    scene.redis.delete(f"{RQ_KEY_PREFIX}:results:a")
    kept = {"exc_info": zlib.compress(b"Traceback:\nold.Error: x\n"), "ended_at": "2026-01-02T03:04:05.000000Z"}
    scene.redis.hset(Job.key_for(job), mapping=kept)
    [group] = scene.shedder.preview_retry("mail").groups
    assert ("old.Error", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == (group.exception, group.oldest)


def test_when_nothing_is_chosen_the_most_common_errors_are_told(scene: Scene) -> None:
    """They are what people choose from."""
    fail(scene, "mail", "a", "b", line="x.Timeout: 1")
    fail(scene, "mail", "c", line="KeyError: 1")
    preview = scene.shedder.preview_retry("mail", selection=FailedSelection(exceptions=("Nope",)))
    receipt = retry(scene, selection=FailedSelection(exceptions=("Nope",)))
    assert (("x.Timeout", 2), ("KeyError", 1)) == preview.errors == receipt.errors
    assert ("", 0, None, []) == (receipt.event, receipt.jobs, receipt.drain, scene.verbs())


def test_what_cannot_come_back_is_skipped_counted_and_named(scene: Scene) -> None:
    """Of an expired job, one that was enqueued anew, and one that a person stopped."""
    fail(scene, "mail", "gone", "again", "stopped", "well")
    scene.redis.delete(Job.key_for("gone"))
    scene.fill("mail", "again")
    scene.job("stopped").set_status(JobStatus.STOPPED)
    for said in (scene.shedder.preview_retry("mail"), retry(scene, rate=SLOW)):
        assert ({"gone": 1, "queued": 1, "stopped": 1}, {"gone gone", "again queued", "stopped stopped"}, 1) == (
            said.skipped, set(said.skipped_names), said.jobs)  # fmt: skip
    assert (["well"], ["again"], {"gone", "again", "stopped"}) == (
        scene.backlog("mail"), scene.listed("mail"), set(failed(scene)))  # fmt: skip


def test_what_expired_with_its_report_is_told_whatever_was_asked_for(scene: Scene) -> None:
    """Nobody can know whether it was meant; it is no error to choose from."""
    fail(scene, "mail", "gone", "other", line="KeyError: 1")
    scene.redis.delete(Job.key_for("gone"), f"{RQ_KEY_PREFIX}:results:gone")
    preview = scene.shedder.preview_retry("mail", selection=FailedSelection(exceptions=("OSError",)))
    assert ({"gone": 1}, (("KeyError", 1),)) == (preview.skipped, preview.errors)


def test_of_a_job_with_another_error_only_its_report_is_read(scene: Scene) -> None:
    """So that a few of many failed jobs are found in half the time of the server."""
    fail(scene, "mail", *numbered("mail", 30), line="KeyError: 1")
    fail(scene, "mail", "a", line="OSError: 1")
    before = scene.redis.info("commandstats")
    scene.shedder.preview_retry("mail", selection=FailedSelection(exceptions=("OSError",)))
    after = scene.redis.info("commandstats")
    asked = {name: after[f"cmdstat_{name}"]["calls"] - before.get(f"cmdstat_{name}", {"calls": 0})["calls"]
             for name in ("xrevrange", "hmget")}  # fmt: skip
    assert {"xrevrange": 31, "hmget": 1} == asked


def test_a_job_keeps_what_is_its_own_and_loses_what_a_requeue_resets(scene: Scene) -> None:
    """Its enqueue time stays; it expires no more while it waits, and its dependents wait on."""
    scene.ours("mail").enqueue("app.mail.send", 1, job_id="a", meta={"tenant": "x"}, failure_ttl=60, timeout=7,
                               on_failure=rq.Callback(print))  # fmt: skip
    scene.ours("mail").enqueue("app.mail.after", job_id="after", depends_on="a")
    fail_job(scene, scene.job("a"))
    before = scene.job("a")
    retry(scene, rate=SLOW)
    after = scene.job("a")
    for name in ("id", "data", "meta", "timeout", "failure_ttl", "enqueued_at", "created_at", "_failure_callback_name"):
        assert getattr(before, name) == getattr(after, name)
    assert ("queued", None, None, -1, {b"after"}) == (
        after.get_status(), after.started_at, after.ended_at, scene.redis.ttl(after.key),
        scene.redis.smembers(after.dependents_key))  # fmt: skip
    assert 1 == len(after.results())


def test_a_job_that_rq_keeps_for_long_is_kept_as_long_while_it_waits(scene: Scene) -> None:
    """Nothing of its time is changed, by the retry or by its undo; it runs as others do."""
    fail(scene, "mail", "a")
    before = scene.redis.expiretime(Job.key_for("a"))
    receipt = retry(scene, rate=SLOW)
    waits = scene.redis.expiretime(Job.key_for("a"))
    scene.shedder.undo(receipt.event, reason="r")
    assert before == waits == scene.redis.expiretime(Job.key_for("a")) > 0
    retry(scene)
    assert (["a"], -1) == (scene.run_all("mail"), scene.redis.expiretime(Job.key_for("a")))


def test_a_job_comes_into_the_lane_that_the_policy_names(scene: Scene) -> None:
    """As it would if it were enqueued now; what no rule names stays in its lane."""
    fail(scene, "mail", "a", function="app.news.send")
    fail(scene, "mail", "b")
    rule = Rule(selection=Selection(functions=("app.news.*",)), priority="low")
    scene.shedder.policies.apply(Policy((rule,), Defaults(drain_rate=FAST)), reason="r")
    receipt = scene.shedder.retry("mail", reason="r")
    assert [("mail", 1), ("mail.low", 1)] == [(each.lane, each.jobs) for each in receipt.lanes]
    assert (FAST, "mail.low", ["b", "a"]) == (
        receipt.drain and receipt.drain.rate, scene.job("a").origin, scene.run_all("mail", "mail.low"))  # fmt: skip


def test_without_a_rate_it_is_refused(scene: Scene) -> None:
    """Neither the call nor the policy has one."""
    with pytest.raises(InvalidInput, match="rate"):
        scene.shedder.retry("mail", reason="r")


def test_only_the_first_failures_come_back(scene: Scene) -> None:
    """A canary takes the oldest ones, of each lane its share."""
    for lane in ("mail", "news"):
        for number, job in enumerate(fail(scene, lane, *numbered(lane, 5))):
            let_have_failed(scene, job, 1_790_000_000_000 + number * 5000)
    receipt = retry(scene, "mail", "news", first=3, rate=SLOW)
    assert (["mail-1", "mail-2"], ["news-1"], 3, 10) == (
        scene.backlog("mail"), scene.backlog("news"), receipt.jobs, receipt.failed)  # fmt: skip


def test_two_operators_bring_each_job_back_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another one has moved between the look and the step is skipped, and said."""
    fail(scene, "mail", "a", "b")
    other = Shedder(scene.redis, by="other@desk")
    look = reading.failed_windows

    def meanwhile(*args: object, **more: object) -> object:
        for window in look(*args, **more):  # type: ignore[arg-type]
            monkeypatch.setattr(retrying, "failed_windows", look)
            other.retry("mail", rate=SLOW, reason="mine", first=1)
            yield window

    monkeypatch.setattr(retrying, "failed_windows", meanwhile)
    receipt = retry(scene, rate=SLOW)
    assert (1, {"queued": 1}, ["a", "b"]) == (receipt.jobs, receipt.skipped, sorted(scene.backlog("mail")))


def test_what_rq_requeues_meanwhile_is_not_moved_again(scene: Scene) -> None:
    """And what has been moved RQ refuses to requeue."""
    fail(scene, "mail", "a", "b")
    scene.job("a").requeue()
    command = retry_jobs(
        scene.keys, "mail", "mail", ["b", "a"], scene.shedder._cause("r", None), order=new_id(), selection="s",
        rate="1/second", operation=new_id(), step=1,
    )  # fmt: skip
    first, again = (scene.shedder.store.run(command) for _ in range(2))
    assert (first, 1, {"a": "queued"}) == (again, first.moved, first.skipped)
    with pytest.raises(InvalidJobOperation):
        scene.job("b").requeue()
    assert (["a"], ["b"]) == (scene.listed("mail"), scene.backlog("mail"))


def test_a_registry_longer_than_a_step_is_moved_whole(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """In steps of a few jobs, in order, with one event for its order."""
    monkeypatch.setattr(reading, "FAILED_PER_STEP", 4)
    monkeypatch.setattr(reading, "IDS_PER_STEP", 5)
    monkeypatch.setattr(retrying, "RETRIED_PER_STEP", 3)
    jobs = fail(scene, "mail", *numbered("mail", 11))
    for number, job in enumerate(jobs):
        let_have_failed(scene, job, 1_790_000_000_000 + number * 5000)
    seen: list[int] = []
    receipt = retry(scene, rate=SLOW, on_progress=lambda looked_at, _of: seen.append(looked_at))
    assert (jobs, [4, 8, 11], ["retry", "drain"]) == (scene.backlog("mail"), seen, scene.verbs())
    assert receipt.event == scene.shedder.events()[0].id


def test_long_reports_are_read_in_small_steps(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too much in one step makes the next ones small."""
    monkeypatch.setattr(reading, "FAILED_PER_STEP", 16)
    monkeypatch.setattr(reading, "BYTES_PER_STEP", 700)
    monkeypatch.setattr(reading, "STEPS_AHEAD", 1)
    fail(scene, "mail", *numbered("mail", 20))
    seen: list[int] = []
    preview = scene.shedder.preview_retry("mail", on_progress=lambda looked_at, _of: seen.append(looked_at))
    assert (20, [16, 18, 20]) == (preview.jobs, seen)


def test_no_job_is_seen_twice_while_somebody_takes_older_ones_away(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `rq requeue --all` does, from the other end of the registry."""
    for name, value in {"FAILED_PER_STEP": 2, "IDS_PER_STEP": 4, "STEPS_AHEAD": 1}.items():
        monkeypatch.setattr(reading, name, value)
    jobs = fail(scene, "mail", *numbered("mail", 12))
    for number, job in enumerate(jobs):
        let_have_failed(scene, job, 1_790_000_000_000 + number * 5000)
    taken = iter(jobs)
    preview = scene.shedder.preview_retry(
        "mail", on_progress=lambda looked_at, _of: looked_at <= 4 and scene.job(next(taken)).requeue()
    )
    assert (10, {}) == (preview.jobs, preview.skipped)


@pytest.mark.parametrize("pool", [1, 100])
def test_a_connection_that_is_lost_while_failed_jobs_are_read_costs_none(
    scene: Scene, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, pool: int
) -> None:
    """It is asked again, and each job comes back once; a client with one connection reads nothing ahead."""
    monkeypatch.setattr(reading, "FAILED_PER_STEP", 3)
    monkeypatch.setattr(retrying, "RETRIED_PER_STEP", 2)
    jobs = fail(scene, "mail", *numbered("mail", 11))
    for number, job in enumerate(jobs):
        let_have_failed(scene, job, 1_790_000_000_000 + number * 5000)
    with server.client(max_connections=pool) as client:
        receipt = Shedder(client, by="tester").retry(
            "mail", rate=SLOW, reason="r", on_progress=lambda *_: scene.redis.client_kill_filter(skipme=True)
        )
    assert (11, {}, jobs) == (receipt.jobs, receipt.skipped, scene.backlog("mail"))


def test_what_is_of_another_type_than_rq_made_it_comes_not_back_or_is_not_read(scene: Scene) -> None:
    """A job whose hash was replaced is gone; where its results were, its report is not known."""
    fail(scene, "mail", "a", "b", "c")
    for key in (Job.key_for("a"), f"{RQ_KEY_PREFIX}:results:b"):
        scene.redis.delete(key)
        scene.redis.set(key, "x")
    preview = scene.shedder.preview_retry("mail")
    assert ({"gone": 1}, {"shedder could not read it": 1, "app.errors.Down": 1}) == (
        preview.skipped, {each.exception: each.jobs for each in preview.groups})  # fmt: skip


@pytest.mark.parametrize("pool", [1, 100])
def test_a_refusal_while_failed_jobs_are_read_is_told_as_by_any_command(
    scene: Scene, server: EmbeddedServer, pool: int
) -> None:
    """It is none of redis-py's errors, and the connections are good for the next question."""
    fail(scene, "mail", "a")
    scene.redis.execute_command("ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@all", "-xrevrange")
    try:
        with server.client(max_connections=pool, username="reader", password="secret") as client:
            with pytest.raises(ShedderError, match="xrevrange"):
                Shedder(client, by="tester").preview_retry("mail")
            assert b"this" == client.echo("this")
    finally:
        scene.redis.acl_deluser("reader")


def test_what_failed_again_is_counted_when_it_comes_back_once_more(scene: Scene) -> None:
    """It failed after it had been brought back."""
    fail(scene, "mail", "a", "b")
    retry(scene, first=1)
    [job] = scene.run_all("mail")
    fail_job(scene, scene.job(job))
    assert 1 == scene.shedder.preview_retry("mail").came_back


def test_a_retry_of_jobs_that_fail_again_halts(scene: Scene) -> None:
    """What is left stays in the backlog, in order, and the order says why."""
    fail(scene, "mail", *numbered("mail", 30))
    receipt = retry(scene)
    [*map(scene.shedder.store.run, [end_drained(scene.keys, "mail", receipt.order, "f")] * 20)]
    [divert] = scene.shedder.status("mail.normal").lanes[0].diverts
    assert (True, None, 30) == (divert.is_retry, divert.drain, divert.backlog)
    assert divert.halted is not None
    assert (20, "drain halted", []) == (divert.halted.failed, scene.verbs()[-1], scene.run_all("mail"))


def test_stop_keeps_what_has_not_started_in_the_backlog(scene: Scene) -> None:
    """It stops retries alone, not the drain of a divert."""
    fail(scene, "mail", "a")
    scene.fill("mail", "waiting")
    scene.shedder.divert("mail.normal", reason="r")
    scene.shedder.drain("mail.normal", rate=SLOW, reason="r", stays=True)
    retry(scene, rate=SLOW)
    receipt = scene.shedder.stop_retry("mail", reason="not yet")
    assert ["mail"] == [each.lane for each in receipt.lanes]
    drains = {each.is_retry: each.drain is not None for each in scene.shedder.status("mail.normal").lanes[0].diverts}
    assert ({True: False, False: True}, ["waiting", "a"]) == (drains, scene.backlog("mail"))
    assert () == scene.shedder.stop_retry("news", reason="r").lanes


def test_arrivals_and_other_diverts_are_not_touched_by_a_retry(scene: Scene) -> None:
    """Its order takes nothing that waits or arrives."""
    fail(scene, "mail", "a")
    retry(scene, rate=SLOW)
    scene.fill("mail", "ours")
    scene.fill("mail", "stock", how="stock")
    assert (["ours", "stock"], ["a"]) == (scene.run_all("mail"), scene.backlog("mail"))


def snapshot(scene: Scene, *jobs: str) -> list[object]:
    redis = scene.redis
    keys = [key for job in jobs for key in (Job.key_for(job), Job.dependents_key_for(job))]
    hashes = [redis.hgetall(Job.key_for(job)) for job in jobs]
    for each in hashes:
        each.pop(b"shedder_retries", None)
    return [
        hashes,
        [redis.expiretime(key) for key in keys],
        redis.zrange(f"{RQ_KEY_PREFIX}:failed:mail", 0, -1, withscores=True),
    ]


def test_undo_puts_back_what_has_not_started_as_it_was(scene: Scene) -> None:
    """With its failure time, its exception, its lane, and until when RQ keeps it."""
    scene.shedder.policies.apply(Policy((Rule(selection=Selection(functions=("*",)), priority="low"),)), reason="r")
    scene.stock("mail").enqueue("app.mail.send", job_id="a", failure_ttl=6000)
    scene.stock("mail").enqueue("app.mail.after", job_id="after", depends_on="a")
    fail_job(scene, scene.job("a"))
    fail(scene, "mail", "b", how="stock")
    scene.redis.hset(Job.key_for("b"), mapping={"exc_info": b"old", "ended_at": "2026-01-02T03:04:05.000000Z"})
    before = snapshot(scene, "a", "b")
    receipt = retry(scene, rate=SLOW)
    assert before != snapshot(scene, "a", "b")
    undone = scene.shedder.undo(receipt.event, reason="too early")
    assert isinstance(undone, RetryTakenBack)
    assert (before, [], ["policy apply", "retry", "drain", "retry undone"]) == (
        snapshot(scene, "a", "b"), scene.backlog("mail.low"), scene.verbs())  # fmt: skip
    assert (2, 0) == (undone.lanes[0].failed, undone.lanes[0].lost)
    with pytest.raises(CannotUndo, match="has started, or was taken back"):
        scene.shedder.undo(receipt.event, reason="again")


def test_undo_of_ones_last_change_takes_the_whole_retry_back(scene: Scene) -> None:
    """All its lanes, with its drain, and what has started is not touched."""
    for lane in ("mail", "news"):
        fail(scene, lane, *numbered(lane, 3))
    receipt = retry(scene, "mail", "news")
    drained = scene.shedder.events()[-1]
    with pytest.raises(CannotUndo, match=f"part of a retry; try shedder undo {receipt.event[:5]}"):
        scene.shedder.undo(drained.id, reason="r")
    assert "mail-1" == scene.run_one("mail")
    undone = scene.shedder.undo(reason="r")
    assert isinstance(undone, RetryTakenBack)
    assert ({"mail": 2, "news": 3}, ["mail-2", "mail-3"]) == (
        {each.lane: each.failed for each in undone.lanes}, failed(scene))  # fmt: skip
    with pytest.raises(CannotUndo):
        scene.shedder.undo(reason="r")


def test_undo_leaves_a_new_job_alone_that_has_the_id_of_an_old_one(scene: Scene) -> None:
    """RQ writes its fields over those of the former job."""
    fail(scene, "mail", "a")
    receipt = retry(scene, rate=SLOW)
    scene.stock("mail").enqueue("app.mail.send", job_id="a")
    undone = scene.shedder.undo(receipt.event, reason="r")
    assert isinstance(undone, RetryTakenBack)
    assert ((0, 1), [], ["a"]) == ((undone.lanes[0].failed, undone.lanes[0].lost), failed(scene), scene.run_all("mail"))


def test_undo_leaves_out_what_was_cancelled_or_enqueued_anew(scene: Scene) -> None:
    """It is where somebody has put it."""
    fail(scene, "mail", "a", "b", "c")
    receipt = retry(scene, rate=SLOW)
    scene.job("a").cancel()
    scene.job("b").delete()
    scene.stock("mail").enqueue("app.mail.send", job_id="b")
    undone = scene.shedder.undo(receipt.event, reason="r")
    assert isinstance(undone, RetryTakenBack)
    assert ([(1, 2)], ["c"], ["b"]) == (
        [(each.failed, each.lost) for each in undone.lanes], failed(scene), scene.listed("mail"))  # fmt: skip


@pytest.mark.parametrize(
    ("criteria", "match"),
    [
        ({"exceptions": ("a[",)}, "brackets"),
        ({"errors": ("",)}, "error"),
        ({"attempts_below": 1}, "attempts_below"),
        ({"since": datetime(2026, 1, 2, tzinfo=UTC), "until": datetime(2026, 1, 1, tzinfo=UTC)}, "until"),
    ],
)  # fmt: skip
def test_criteria_that_make_no_sense_are_refused(criteria: dict[str, object], match: str) -> None:
    """Before anything is asked of Redis."""
    with pytest.raises(InvalidInput, match=match):
        FailedSelection(**criteria)  # type: ignore[arg-type]


CHARGES = Rule(selection=Selection(functions=("app.charge.*",)), retry=False)


def test_what_the_policy_does_not_let_come_back_is_left_out(scene: Scene) -> None:
    """It is counted and named; only force takes it along."""
    fail(scene, "mail", "charge", function="app.charge.card")
    fail(scene, "mail", "letter")
    scene.shedder.policies.apply(Policy((CHARGES,)), reason="r")
    for said in (scene.shedder.preview_retry("mail"), retry(scene, rate=SLOW)):
        assert (1, {"policy": 1}, ("charge policy",)) == (said.jobs, said.skipped, said.skipped_names)
    assert (["charge"], ["letter"]) == (failed(scene), scene.backlog("mail"))
    assert 1 == retry(scene, rate=SLOW, force=True).jobs


def test_workers_of_before_read_a_rule_that_refuses_retries_as_they_did(scene: Scene) -> None:
    """Its jobs keep their priority with them: they leave out a rule with a key that they do not know."""
    rule = Rule(selection=Selection(functions=("app.charge.*",)), priority="high", label="charges", retry=False)
    scene.shedder.policies.apply(Policy((rule,)), reason="r")
    stored = b" ".join(scene.redis.hvals(scene.keys.policy))
    assert b'retry\\": ' not in stored
    assert rule == scene.shedder.policies.applied().policy.rules[0]


def test_status_and_check_tell_of_a_retry_that_halted(scene: Scene) -> None:
    """It is called what it is, and how it goes on is told."""
    fail(scene, "mail", *numbered("mail", 30))
    receipt = retry(scene, rate=Rate(5.0))
    [*map(scene.shedder.store.run, [end_drained(scene.keys, "mail", receipt.order, "f")] * 20)]
    [problem] = [each for each in check_status(scene.shedder.status()).problems if each.kind == HALTED]
    assert "The retry of mail halted " in problem.text
    assert "30 jobs wait in the backlog, in order. Run `shedder drain mail.normal --rate 5/second`" in problem.text


def test_an_uninstall_puts_what_has_not_started_back_among_the_failed(scene: Scene) -> None:
    """RQ alone would start it all at once."""
    fail(scene, "mail", "a", "b")
    scene.fill("mail", "waits")
    retry(scene, rate=SLOW)
    scene.shedder.uninstall(reason="bye")
    assert (["a", "b"], ["waits"]) == (failed(scene), scene.listed("mail"))


def test_an_update_and_the_main_channel_tell_of_a_retry_as_one_thing(scene: Scene) -> None:
    """How far it is, with what failed again; its drain is no second message."""
    fail(scene, "mail", *numbered("mail", 4))
    receipt = retry(scene, rate=FAST)
    scene.run_one("mail")
    scene.shedder.store.run(end_drained(scene.keys, "mail", receipt.order, "f"))
    [measure] = read_situation(scene.shedder, Policy(), None).measures
    said = "failed jobs of mail are brought back at up to 1000000000/second"
    assert f"{said}: 1 of 4 have started, and 1 of them failed again" == measure.what
    [told] = commands_of(scene.shedder.events())
    assert (
        "let failed jobs of mail come back (every failed job, 1000000000/second, 4 jobs in the backlog)"
        == told.sentence
    )


def test_stock_workers_get_a_few_at_a_time(scene: Scene) -> None:
    """What is released and not started is bounded; an undo puts the rest back."""
    scene.add_stock_worker("mail")
    fail(scene, "mail", *numbered("mail", 9))
    receipt = retry(scene, rate=SLOW)
    assert receipt.drain is not None
    scene.shedder.store.connection.hset(scene.keys.drain(receipt.order, "mail"), "tokens", "1")
    scene.shedder.release_for_stock_workers(receipt.drain)
    released = scene.listed("mail")
    assert ["mail-1"] == released
    undone = scene.shedder.undo(receipt.event, reason="r")
    assert isinstance(undone, RetryTakenBack)
    assert 9 == len(released) + undone.lanes[0].failed
    assert set(released).isdisjoint(failed(scene))
