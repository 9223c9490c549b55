"""A real Prometheus scrapes the exporter while real workers run."""

from __future__ import annotations

import shutil
import socket
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from benchmarks.work import nothing
from shedder import Shedder
from shedder.rq import Queue, Worker
from shedder.units import Rate
from tests.metrics.prometheus import Prometheus
from tests.metrics.test_serving import Exporter
from tests.waiting import wait_until
from tests.workers import WorkerProcess

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from shedder import AuditReport
    from shedder.embedded import EmbeddedServer

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is missing: apt-get install prometheus"
)


def test_prometheus_and_the_audit_agree(server: EmbeddedServer, redis: Redis, tmp_path: Path) -> None:
    """After a divert, a drain and a pause under real workers, Prometheus knows where the audit finds each job."""
    shed = Shedder(redis, by="oncall@desk")
    exporter = Exporter(server)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    worker = WorkerProcess(server, ["mail"], worker_class=Worker, log=tmp_path / "worker.log")
    queue = Queue("mail", connection=redis)
    try:
        with Prometheus(tmp_path, exporter.url.removeprefix("http://"), port=port) as prometheus:
            shed.divert("mail", reason="flood")
            for _ in range(400):
                queue.enqueue(nothing)
            shed.drain("mail", rate=Rate.parse("1/s"), reason="slowly")
            drained = 'shedder_drained_jobs_total{lane="mail"}'
            wait_until(lambda: prometheus.query(drained).get((), 0) >= 2, what="a drain under way")
            shed.pause("mail", reason="enough", expires_in=timedelta(hours=1))
            wait_until(lambda: agrees(prometheus, shed.audit()), what="a Prometheus that agrees with the audit")
            assert 0 < shed.audit().places["backlog"] < 400
    finally:
        worker.kill(and_children=True)
        exporter.end()


def agrees(prometheus: Prometheus, audit: AuditReport) -> bool:
    """Whether each job is where Prometheus says that it is."""
    places = Counter(audit.places)
    told = {
        "backlog": prometheus.query("sum(shedder_lane_backlog_jobs)").get(()),
        "finished": prometheus.query('sum(shedder_jobs_ended_total{outcome="well"})').get(()),
    }
    started = prometheus.query("sum(shedder_jobs_started_total)").get(())
    is_paused = prometheus.query('shedder_paused{lane="mail"}').get(()) == 1
    known = {name: places[name] for name in told}
    return audit.is_clean and is_paused and told == known and started == places["finished"]
