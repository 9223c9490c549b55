"""What the metrics say, and that their counters only grow."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import rq
from prometheus_client.parser import text_string_to_metric_families
from rq import RateLimit

from benchmarks.work import nothing
from shedder import Selection
from shedder.metrics import Collector, exporter
from shedder.metrics.exporter import rendered
from shedder.metrics.families import COUNTER, FAMILIES, SEVERITIES
from shedder.policy.model import Policy, Rule
from shedder.queues import samples
from shedder.queues.samples import sample_lanes
from shedder.rq import SimpleWorker, Worker
from shedder.units import Rate
from tests.features.failures import fail
from tests.features.scene import numbered
from tests.metrics.scraped import read, scrape, value
from tests.waiting import wait_until
from tests.workers import run_burst

if TYPE_CHECKING:
    from redis import Redis

    from tests.features.scene import Scene
    from tests.metrics.scraped import Scrape

TOLERANCE = timedelta(minutes=5)
RECEIPTS = Rule(queue="mail", selection=Selection(functions=("benchmarks.*",)), label="receipts",
                tolerance=TOLERANCE)  # fmt: skip


def explode() -> None:
    raise ValueError


@pytest.mark.parametrize("kind", [SimpleWorker, Worker])
def test_jobs_are_counted_where_they_start_and_end(scene: Scene, kind: type[SimpleWorker | Worker]) -> None:
    """What a worker, and the forks of one, did stands in counters of lane, outcome and kind of work."""
    scene.shedder.policies.apply(Policy(rules=(RECEIPTS,)), reason="labels")
    queue = scene.ours("mail")
    for _ in range(3):
        queue.enqueue(nothing)
    queue.enqueue(explode)
    run_burst(kind([queue], connection=scene.redis))
    scene.shedder.store.run(sample_lanes(scene.keys, ["mail"], is_upkeep=False))
    found = scrape(scene.redis)
    lane = {"queue": "mail", "lane": "mail"}
    assert 4 == value(found, "shedder_jobs_enqueued_total", **lane)
    assert 4 == value(found, "shedder_jobs_started_total", **lane)
    assert 3 == value(found, "shedder_jobs_ended_total", outcome="well", **lane)
    assert 1 == value(found, "shedder_jobs_ended_total", outcome="failed", **lane)
    assert 3 == value(found, "shedder_work_started_total", work="receipts")
    assert 3 == value(found, "shedder_work_in_tolerance_total", work="receipts")
    assert 3 == value(found, "shedder_work_ended_total", work="receipts", outcome="well")
    assert 3 == value(found, "rq_jobs", queue="mail", status="finished")
    assert 1 == value(found, "rq_jobs", queue="mail", status="failed")


def test_late_work_starts_out_of_tolerance(scene: Scene) -> None:
    """A job that waited for longer than the policy tolerates is started, and not in tolerance."""
    scene.shedder.policies.apply(Policy(rules=(RECEIPTS,)), reason="labels")
    late, _ = (scene.ours("mail").enqueue(nothing) for _ in "12")
    scene.redis.hset(late.key, "enqueued_at", "2026-01-01T00:00:00.000000Z")
    found = scrape(scene.redis)
    assert 1 == value(found, "shedder_work_late_jobs", work="receipts")
    run_burst(SimpleWorker([scene.ours("mail")], connection=scene.redis))
    found = scrape(scene.redis)
    assert 2 == value(found, "shedder_work_started_total", work="receipts")
    assert 1 == value(found, "shedder_work_in_tolerance_total", work="receipts")
    assert 0 == value(found, "shedder_work_late_jobs", work="receipts")


def test_rules_of_one_label_are_late_together(scene: Scene) -> None:
    """Where two rules of a queue give one label, the late jobs of both count."""
    rules = (Rule(queue="mail", selection=Selection(functions=(function,)), label="receipts", tolerance=TOLERANCE)
             for function in ("app.bill", "app.refund"))  # fmt: skip
    scene.shedder.policies.apply(Policy(rules=tuple(rules)), reason="labels")
    jobs = scene.fill("mail", *numbered("a", 3), function="app.bill") + scene.fill("mail", "r", function="app.refund")
    for job in jobs:
        scene.redis.hset(scene.keys.engine.jobs + job, "enqueued_at", "2026-01-01T00:00:00.000000Z")
    assert 4 == value(scrape(scene.redis), "shedder_work_late_jobs", work="receipts")


def test_a_server_with_stock_rq_alone_tells_what_there_is(redis: Redis) -> None:
    """Lanes, their oldest job, registries and workers are told where nothing of ours has run."""
    queue = rq.Queue("reports", connection=redis)
    queue.enqueue(nothing)
    queue.enqueue_in(timedelta(hours=1), nothing)
    worker = rq.Worker([queue], connection=redis)
    worker.register_birth()
    found = scrape(redis)
    worker.register_death()
    assert 1 == value(found, "shedder_up")
    assert 1 == value(found, "rq_jobs", queue="reports", status="queued")
    assert 1 == value(found, "rq_jobs", queue="reports", status="scheduled")
    assert 1 == value(found, "rq_workers_serving", queue="reports")
    assert 1 == value(found, "shedder_lane_waiting_jobs", queue="reports", lane="reports")
    assert 0 < (value(found, "shedder_lane_oldest_age_seconds", queue="reports", lane="reports") or 0) < 600
    assert value(found, "shedder_jobs_started_total", queue="reports", lane="reports") is None


def test_controls_and_what_they_hold_are_told(scene: Scene) -> None:
    """A pause with an end, a divert, a drain with its rate and what is left, a flag, a limit, an incident."""
    shed = scene.shedder
    scene.fill("mail", *numbered("a", 5))
    scene.fill("bulk", *numbered("b", 5))
    shed.divert("mail", reason="flood")
    shed.pause("bulk", reason="database", expires_in=timedelta(hours=1))
    shed.drain("mail", rate=Rate.parse("1/minute"), reason="slowly")
    shed.degrade_flag("avatars", reason="r", force=True)
    shed.set_limit("search", Rate.parse("30/minute"), reason="r", force=True)
    shed.incidents.open("late", severity=2)
    found = scrape(scene.redis)
    mail = {"queue": "mail", "lane": "mail"}
    assert (1, 0) == (value(found, "shedder_diverted", **mail), value(found, "shedder_paused", **mail))
    assert 5 == value(found, "shedder_lane_backlog_jobs", **mail) == value(found, "shedder_drain_left_jobs", **mail)
    assert 5 == value(found, "rq_jobs", queue="mail", status="queued")
    assert value(found, "shedder_drain_rate_limit", **mail) == pytest.approx(1 / 60)
    assert 1 == value(found, "shedder_paused", queue="bulk", lane="bulk")
    since = value(found, "shedder_control_since_timestamp_seconds", kind="pause", queue="bulk") or 0
    assert value(found, "shedder_control_until_timestamp_seconds", kind="pause", queue="bulk") == pytest.approx(
        since + 3600
    )
    assert value(found, "shedder_control_until_timestamp_seconds", kind="divert", queue="mail") is None
    assert 1 == value(found, "shedder_flag_degraded_ratio", flag="avatars")
    assert 0.5 == value(found, "shedder_limit_rate", limit="search")
    assert [0, 1, 0, 0, 0] == [value(found, "shedder_incident_open", severity=each) for each in SEVERITIES]
    assert (value(found, "shedder_incident_next_update_timestamp_seconds") or 0) > since
    assert 1 == value(found, "shedder_events_total", verb="pause", actor="person")


def test_counters_only_grow(scene: Scene) -> None:
    """No counter falls through pause, divert, drain, undo, deleted jobs, doctor, or its upkeep."""
    shed, redis = scene.shedder, scene.redis
    counters = {each.name for each in FAMILIES if each.kind == COUNTER}
    before: Scrape = {}

    def look() -> None:
        nonlocal before
        shed.store.run(sample_lanes(scene.keys, ["mail", "mail.low"], is_upkeep=False))
        found = {key: number for key, number in scrape(redis).items() if key[0] in counters}
        assert [] == [key for key, number in before.items() if found.get(key, 0) < number]
        before = found

    jobs = scene.fill("mail", *numbered("a", 20))
    look()
    event = shed.divert("mail", reason="r").event
    look()
    shed.undo(event, reason="r")
    look()
    scene.run_all("mail")
    look()
    scene.fill("mail", *numbered("c", 10))
    look()
    shed.divert("mail", reason="r")
    shed.drain("mail", rate=Rate.parse("1000/s"), reason="r")
    wait_until(lambda: scene.run_one("mail"), what="a drained job")
    look()
    shed.stop_drain("mail", reason="r")
    look()
    shed.drain("mail", rate=Rate.parse("1000/s"), reason="r")
    wait_until(lambda: not scene.run_all("mail") and not scene.backlog("mail"), what="the rest of the backlog")
    look()
    assert value(before, "shedder_drained_jobs_total", queue="mail", lane="mail") == 10
    scene.fill("mail", *numbered("d", 10))
    look()
    for job in numbered("d", 10):
        scene.job(job).delete()
    look()
    scene.fill("mail", *numbered("e", 10))
    look()
    assert value(before, "shedder_jobs_enqueued_total", queue="mail", lane="mail") == len(jobs) + 30
    shed.repair(shed.check_up(), reason="r")
    look()


def test_jobs_that_a_worker_holds_are_no_new_arrivals(scene: Scene) -> None:
    """A job that is claimed while the upkeep counts, and goes back or starts, has arrived once."""
    scene.fill("mail", "a", "b")
    for token in (scene.take("mail"), scene.take("mail")):
        scene.shedder.store.run(sample_lanes(scene.keys, ["mail"], is_upkeep=False))
        scene.hands.release(token)
        scene.shedder.store.run(sample_lanes(scene.keys, ["mail"], is_upkeep=False))
    scene.run_all("mail")
    scene.shedder.store.run(sample_lanes(scene.keys, ["mail"], is_upkeep=False))
    assert 2 == value(scrape(scene.redis), "shedder_jobs_enqueued_total", queue="mail", lane="mail")


def arrived_in(scene: Scene, lane: str) -> float | None:
    """What is told of arrivals once the upkeep has counted."""
    scene.shedder.store.run(sample_lanes(scene.keys, [lane], is_upkeep=False))
    return value(scrape(scene.redis), "shedder_jobs_enqueued_total", queue=lane, lane=lane)


@pytest.mark.parametrize("held", ["", "mail", "bulk"])
def test_what_arrives_after_jobs_were_deleted_counts(scene: Scene, held: str) -> None:
    """Whether or not workers hold other jobs, of this lane or of another, new jobs stand for no deleted ones."""
    jobs = scene.fill("mail", *numbered("a", 10))
    scene.fill("bulk", *numbered("x", 3))
    assert 10 == arrived_in(scene, "mail")
    for _ in range(3 if held else 0):
        scene.take(held)
    for job in jobs[4:7]:
        scene.job(job).delete()
    assert 10 == arrived_in(scene, "mail")
    scene.fill("mail", *numbered("b", 3))
    assert 13 == arrived_in(scene, "mail")


def test_what_arrives_in_a_lane_that_was_emptied_counts(scene: Scene) -> None:
    """Also where no job has ever started, deleted jobs make room for no uncounted ones."""
    for job in scene.fill("mail", *numbered("a", 10)):
        assert arrived_in(scene, "mail")
        scene.job(job).delete()
    assert 10 == arrived_in(scene, "mail")
    scene.fill("mail", *numbered("b", 5))
    assert 15 == arrived_in(scene, "mail")


def test_what_is_scheduled_arrives_when_it_is_due_and_what_is_replayed_arrives_again(scene: Scene) -> None:
    """A scheduled job has not arrived yet; a job that was set aside as stale has, and does so again with its replay."""
    scene.shedder.policies.apply(Policy(stale_after=timedelta(days=1)), reason="stale")
    scene.stock("mail").enqueue_in(timedelta(hours=1), nothing)
    old, _ = scene.fill("mail", "old", "new")
    scene.redis.hset(scene.keys.engine.jobs + old, "enqueued_at", "2026-01-01T00:00:00.000000Z")
    assert 2 == arrived_in(scene, "mail")
    scene.shedder.divert("mail", reason="r")
    scene.shedder.drain("mail", rate=Rate.parse("1000/s"), reason="r")
    wait_until(lambda: scene.run_one("mail"), what="the job that is not stale")
    assert 2 == arrived_in(scene, "mail")
    scene.shedder.replay_stale("mail", reason="r")
    assert 3 == arrived_in(scene, "mail")


def test_what_waits_for_the_rate_limit_of_rq_arrives_when_it_gets_its_slot(scene: Scene) -> None:
    """A job that RQ itself holds back arrives once, when RQ pushes it."""
    queue = scene.ours("mail")
    for _ in range(3):
        queue.enqueue(nothing, rate_limit=RateLimit("one", concurrency=1))
    assert 1 == arrived_in(scene, "mail")
    run_burst(SimpleWorker([queue], connection=scene.redis))
    assert 3 == arrived_in(scene, "mail")


def test_claims_that_no_sample_looks_at_count_nothing_as_gone(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where workers hold more jobs than a sample looks at, those that go back are no new arrivals."""
    monkeypatch.setattr(samples, "MOST_CLAIMS", 1)
    scene.fill("mail", *numbered("a", 5))
    assert 5 == arrived_in(scene, "mail")
    held = [scene.take("mail") for _ in range(3)]
    assert 5 == arrived_in(scene, "mail")
    for token in held:
        scene.hands.release(token)
    assert 5 == arrived_in(scene, "mail")


def test_a_drain_of_which_nothing_was_released_yet_is_told_with_a_zero(scene: Scene) -> None:
    """So that a drain that never begins is slower than its rate, and not unknown."""
    scene.fill("mail", "a")
    scene.shedder.divert("mail", reason="r")
    scene.shedder.drain("mail", rate=Rate.parse("5/s"), reason="r")
    assert 0 == value(scrape(scene.redis), "shedder_drained_jobs_total", queue="mail", lane="mail")


def let_be_late(scene: Scene, *queues: str) -> None:
    """Each queue has a kind of work of its own name that shares the lane, and a late job of it."""
    rules = (Rule(queue=queue, selection=Selection(functions=("app.*",)), label=queue, tolerance=TOLERANCE)
             for queue in queues)  # fmt: skip
    scene.shedder.policies.apply(Policy(rules=tuple(rules)), reason="labels")
    for queue in queues:
        scene.fill(queue, f"{queue}-old", f"{queue}-new")
        scene.redis.hset(scene.keys.engine.jobs + f"{queue}-old", "enqueued_at", "2026-01-01T00:00:00.000000Z")


def test_late_work_that_was_done_is_soon_not_late_any_more(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes that stay late do not keep a reading from looking again at one that is not late any more."""
    monkeypatch.setattr(exporter, "JUDGED_AT_A_TIME", 1)
    monkeypatch.setattr(exporter, "GOOD_FOR_SECONDS", 0.0)
    let_be_late(scene, "bulk", "mail", "news")
    collector = Collector(scene.redis)
    for _ in range(3):
        found = read(rendered(collector)[1].decode())
    assert [1, 1, 1] == [value(found, "shedder_work_late_jobs", work=each) for each in ("bulk", "mail", "news")]
    assert "mail-old" == scene.run_one("mail")
    for _ in range(3):
        found = read(rendered(collector)[1].decode())
    assert [1, 0, 1] == [value(found, "shedder_work_late_jobs", work=each) for each in ("bulk", "mail", "news")]


def test_counters_of_a_lane_that_has_become_empty_stay(scene: Scene) -> None:
    """A lane without jobs and workers keeps its counters; of what it holds a zero is told of the queue's own only."""
    scene.fill("mail.low", "a", "b")
    scene.run_all("mail.low")
    found, low = scrape(scene.redis), {"queue": "mail", "lane": "mail.low"}
    assert 2 == value(found, "shedder_jobs_started_total", **low)
    assert value(found, "shedder_lane_waiting_jobs", **low) is value(found, "shedder_lane_running_jobs", **low) is None
    assert 0 == value(found, "shedder_lane_waiting_jobs", queue="mail", lane="mail")


def jobs_read(scene: Scene) -> int:
    """How many jobs' hashes the server has read in all."""
    calls: int = scene.redis.info("commandstats")["cmdstat_hmget"]["calls"]
    return calls


def test_a_reading_of_many_lanes_looks_at_fewer_jobs(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The more lanes are read, the fewer jobs are looked at, and what is late is told to be late still."""
    let_be_late(scene, "mail")
    scene.redis.lpush(scene.keys.engine.lists + "mail", *["mail-old"] * 2_999)
    before = jobs_read(scene)
    assert 3_000 == value(scrape(scene.redis), "shedder_work_late_jobs", work="mail")
    between = jobs_read(scene)
    assert between - before > 3_000
    monkeypatch.setattr(exporter, "WORK_OF_LANE", 1_000)
    found = scrape(scene.redis)
    assert jobs_read(scene) - between < 1_000
    assert value(found, "shedder_work_late_jobs", work="mail") == pytest.approx(3_000, rel=0.1)


def test_one_reading_alone_looks_at_all_lanes(scene: Scene) -> None:
    """A collector of which there is one reading only, as of `--once`, leaves no lane for the next."""
    queues = [f"queue-{number}" for number in range(5)]
    let_be_late(scene, *queues)
    found = read(rendered(Collector(scene.redis, is_alone=True))[1].decode())
    assert [1] * 5 == [value(found, "shedder_work_late_jobs", work=each) for each in queues]
    assert [0] * 5 == [value(found, "shedder_work_may_be_late", work=each) for each in queues]


def test_what_cannot_be_read_is_no_calm(scene: Scene) -> None:
    """Of a control, an incident or a policy that is unreadable nothing is told, but that it is, and all the rest."""
    scene.fill("mail", "a")
    scene.shedder.pause("bulk", reason="r")
    scene.shedder.policies.apply(Policy(rules=(RECEIPTS,)), reason="labels")
    scene.shedder.incidents.open("late", severity=2)
    found = scrape(scene.redis)
    assert 0 == value(found, "shedder_unreadable_records")
    keys, incident = scene.keys, scene.shedder.incidents.list()[0].id
    scene.redis.hset(keys.diverts, "mail", b"\xff{")
    scene.redis.hset(keys.policy, "current", b"\xff{")
    scene.redis.set(keys.incident(incident), b"\xff{")
    found = scrape(scene.redis)
    mail = {"queue": "mail", "lane": "mail"}
    assert 3 == value(found, "shedder_unreadable_records")
    assert (1, 1) == (value(found, "shedder_up"), value(found, "shedder_lane_waiting_jobs", **mail))
    assert 1 == value(found, "shedder_paused", queue="bulk", lane="bulk")
    assert value(found, "shedder_diverted", **mail) is value(found, "shedder_paused", **mail) is None
    assert value(found, "shedder_incident_open", severity="2") is None


def test_no_label_tells_of_a_job_a_worker_a_person_or_a_tenant(scene: Scene) -> None:
    """Names of jobs, functions, tenants, people and workers, reasons and keys of limits are in no series."""
    shed = scene.shedder
    scene.fill("mail", "secret-job", function="secret.function", tenant="secret-tenant")
    worker = scene.add_stock_worker("mail")
    shed.set_limit(
        "search", Rate.parse("5/m"), key="secret-key", reason="secret-reason", by="secret@person", force=True
    )
    shed.divert("mail", selection=Selection(functions=("secret.*",)), reason="secret-reason", by="secret@person")
    shed.incidents.open("secret-title", severity=1)
    text = "\n".join(str(key) for key in scrape(scene.redis))
    worker.register_death()
    assert "secret" not in text
    assert worker.name not in text


def test_the_number_of_series_is_bounded_by_lanes(scene: Scene) -> None:
    """Ten times the jobs, functions, tenants, failures, workers, events and keys of limits add no series."""

    def grow(times: int) -> int:
        for number in range(times):
            scene.fill("mail", f"{times}-{number}", function=f"app.f{number}", tenant=f"tenant-{number}")
            scene.stock("mail").enqueue(explode)
            workers.append(scene.add_stock_worker("mail"))
            key = f"key-{number}"
            scene.shedder.set_limit("search", Rate.parse("5/m"), key=key, reason="r", force=True)
        run_burst(SimpleWorker([scene.ours("mail")], connection=scene.redis), max_jobs=times)
        scene.shedder.pause("mail", reason="r")
        scene.shedder.resume("mail", reason="r")
        return len(scrape(scene.redis))

    workers: list[rq.Worker] = []
    scene.shedder.set_limit("search", Rate.parse("5/m"), reason="r", force=True)
    grow(2)
    assert grow(2) == grow(20)
    for worker in workers:
        worker.register_death()


def test_a_queue_that_is_gone_loses_its_series(redis: Redis) -> None:
    """After RQ's own `delete` of a queue no series names it."""
    queue = rq.Queue("for-a-day", connection=redis)
    queue.enqueue(nothing)
    assert any("for-a-day" in str(key) for key in scrape(redis))
    queue.delete()
    assert not any("for-a-day" in str(key) for key in scrape(redis))


def test_a_kind_of_work_that_may_be_late_is_not_told_to_be_in_time(scene: Scene) -> None:
    """Where jobs are old and unknown, the metrics say that the work may be late."""
    scene.shedder.policies.apply(
        Policy(rules=(Rule(queue="mail", selection=Selection(functions=("app.receipts.*",)), label="receipts",
                           tolerance=timedelta(minutes=5)),)), reason="labels",
    )  # fmt: skip
    scene.fill("mail", *numbered("x", 3), how="stock")
    for job in numbered("x", 3):
        scene.redis.hset(scene.keys.engine.jobs + job, "enqueued_at", "2026-01-01T00:00:00.000000Z")
        scene.redis.hset(scene.keys.engine.jobs + job, "data", b"\x00")
    found = scrape(scene.redis)
    late = value(found, "shedder_work_late_jobs", work="receipts")
    assert late or value(found, "shedder_work_may_be_late", work="receipts")


def test_the_text_is_what_prometheus_reads(scene: Scene) -> None:
    """Each family stands there once, with its help and its type, and names that Prometheus takes."""
    scene.fill('odd "name"\\', "a")
    text = rendered(Collector(scene.redis))[1].decode()
    names = [family.name for family in text_string_to_metric_families(text)]
    assert len(names) == len(set(names)) == len(FAMILIES) + 3
    assert 1 == value(read(text), "shedder_lane_waiting_jobs", queue='odd "name"\\', lane='odd "name"\\')
    assert text.count("# HELP") == len(names)


def test_a_retry_is_told_apart_from_a_divert(scene: Scene) -> None:
    """What is left of it, what failed again, and since when it stands; it is no divert."""
    fail(scene, "mail", "a", "b")
    scene.shedder.retry("mail", rate=Rate(1.0, 3600.0), reason="r")
    found = scrape(scene.redis)
    lane = {"queue": "mail", "lane": "mail"}
    assert (2, 0, 0) == tuple(
        value(found, name, **lane)
        for name in ("shedder_retry_left_jobs", "shedder_retry_failed_jobs", "shedder_diverted")
    )
    assert value(found, "shedder_control_since_timestamp_seconds", kind="retry", queue="mail") > 0
