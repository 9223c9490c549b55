"""How the metrics are served: by a process, by WSGI and ASGI apps, at what cost, and without Redis."""

from __future__ import annotations

import asyncio
import gzip
import multiprocessing
import os
import re
import signal
import socket
import sys
import threading
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from redis import ConnectionPool, Redis
from starlette.applications import Starlette

from benchmarks.gauges import sent_by_us
from shedder import Selection
from shedder.lanes import PRIORITIES, Lane
from shedder.metrics import Collector, asgi_app, exporter, wsgi_app
from shedder.metrics.exporter import rendered
from shedder.policy.model import Policy, Rule
from tests.cli.programs import environment, run_program
from tests.docs.pages import DOCS
from tests.features.scene import Scene
from tests.forked import Forked
from tests.metrics.scraped import read, value
from tests.servers import patient
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shedder.embedded import EmbeddedServer
    from tests.conftest import ServerFactory


class Exporter:
    """`shedder metrics` in a process of its own, on a port that the system gave."""

    def __init__(self, server: EmbeddedServer, listen: str = "127.0.0.1:0") -> None:
        reader, writer = os.pipe()
        words = ("shedder", "metrics", "--listen", listen, "-u", patient(server.url))
        with os.fdopen(writer, "wb") as said, Path(os.devnull).open("r+b") as nothing:
            files = (nothing.fileno(), nothing.fileno(), said.fileno())
            self.process = Forked(words, env=environment(), files=files, not_for_it=(reader,))
        self.stderr = os.fdopen(reader)
        self.said = self.stderr.readline()
        self.url = self.said.split(" on ")[1].strip().removesuffix("/metrics")

    def get(self, path: str = "/metrics", **headers: str) -> tuple[int, bytes, dict[str, str]]:
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request) as reply:
                return reply.status, reply.read(), {name.lower(): text for name, text in reply.headers.items()}
        except urllib.error.HTTPError as error:
            return error.code, error.read(), dict(error.headers)

    def up(self) -> float | None:
        return value(read(self.get()[1].decode()), "shedder_up")

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait()
        self.stderr.close()
        return code


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.fixture
def exporter_process(server: EmbeddedServer, redis: Redis) -> Iterator[Exporter]:
    """The exporter before the shared server, which is empty."""
    started = Exporter(server)
    yield started
    started.end()


def test_the_verb_serves_metrics_and_health(exporter_process: Exporter, scene: Scene) -> None:
    """One line says where; /metrics answers with text, compressed on request, /health with ok, others with 404."""
    scene.fill("mail", "a")
    status, body, headers = exporter_process.get()
    assert (200, 1) == (status, value(read(body.decode()), "shedder_lane_waiting_jobs", queue="mail", lane="mail"))
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    _, packed, headers = exporter_process.get(**{"Accept-Encoding": "gzip"})
    assert ("gzip", 1) == (headers["content-encoding"], value(read(gzip.decompress(packed).decode()), "shedder_up"))
    assert (200, b"ok\n") == exporter_process.get("/health")[:2]
    assert 404 == exporter_process.get("/jobs")[0]
    assert exporter_process.said.startswith("Metrics of Redis at ")


def test_an_exporter_outlives_redis(server_factory: ServerFactory) -> None:
    """While Redis is away the exporter says so and lives on; when Redis is back, so are the metrics."""
    server = server_factory()
    started = Exporter(server)
    try:
        assert 1 == started.up()
        server.kill()
        wait_until(lambda: started.up() == 0, what="shedder_up 0")
        assert 503 == started.get("/health")[0]
        server.restart()
        wait_until(lambda: started.up() == 1, what="shedder_up 1")
    finally:
        started.end()


def test_a_server_that_hangs_costs_one_patience(
    server_factory: ServerFactory,
) -> None:
    """Of a server that answers nothing a scrape asks one thing, gives up, and says that it is away."""
    server = server_factory()
    collector = Collector(server.client())
    server.freeze()
    try:
        with sent_by_us() as sent:
            list(collector.collect())
    finally:
        server.thaw()
    assert not collector.is_up
    assert sent.round_trips <= 1


def test_two_hundred_scrapes_at_once_are_one_reading(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many scrape at once, Redis is read once."""
    readings = []
    real = exporter.read

    def counted(*args: Any) -> Any:
        readings.append(1)
        return real(*args)

    monkeypatch.setattr(exporter, "read", counted)
    monkeypatch.setattr(exporter, "GOOD_FOR_SECONDS", 3600.0)
    collector = Collector(redis)
    threads = [threading.Thread(target=lambda: rendered(collector)) for _ in range(200)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert [1] == readings


def test_a_scrape_costs_the_same_at_every_length(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of a scrape do not depend on how many jobs wait."""
    monkeypatch.setattr(exporter, "GOOD_FOR_SECONDS", 0.0)
    scene.fill("mail", "first")
    collector = Collector(scene.redis)
    rendered(collector)
    with sent_by_us() as one:
        rendered(collector)
    scene.redis.lpush(scene.keys.engine.lists + "mail", *["first"] * 3000)
    with sent_by_us() as many:
        rendered(collector)
    assert one.commands == many.commands


def test_a_lane_adds_few_commands_to_a_scrape(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane with a job is asked for 15 things: what a scrape does not tell it does not read."""
    monkeypatch.setattr(exporter, "GOOD_FOR_SECONDS", 0.0)
    collector = Collector(scene.redis)
    scene.fill("mail", "first")
    rendered(collector)
    with sent_by_us() as one:
        rendered(collector)
    for lane in ("bulk.critical", "bulk.high", "bulk", "bulk.low"):
        scene.fill(lane, lane.replace(".", "-"))
    with sent_by_us() as two:
        rendered(collector)
    assert 4 * 15 == two.total - one.total


def test_an_asgi_app_serves_them_where_it_is_mounted(scene: Scene) -> None:
    """Mounted in Starlette it answers under its path, gzip and health included, and takes no other method."""
    scene.fill("mail", "a")
    app = Starlette()
    app.mount("/shedder", asgi_app(Collector(scene.redis)))

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://host/shedder") as client:
            methods = (("GET", "/metrics"), ("GET", "/health"), ("POST", "/metrics"), ("HEAD", "/metrics"))
            return [await client.request(method, path) for method, path in methods]

    metrics, health, posted, head = asyncio.run(ask())
    assert 1 == value(read(metrics.text), "shedder_lane_waiting_jobs", queue="mail", lane="mail")
    assert ("ok\n", 405, b"") == (health.text, posted.status_code, head.content)


def test_an_asgi_app_refuses_websockets(redis: Redis) -> None:
    """A connection by WebSocket is closed before it is accepted, which servers answer with 403."""
    app, sent = Starlette(), []
    app.mount("/shedder", asgi_app(Collector(redis)))

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app({"type": "websocket", "path": "/shedder/metrics", "headers": []}, receive, send))
    assert [("websocket.close", 1000)] == [(each["type"], each["code"]) for each in sent]


def test_two_hundred_busy_lanes_are_a_hundred_kilobytes(scene: Scene) -> None:
    """The text of 50 queues of 4 lanes in which jobs wait and are counted, with a tolerance for each."""
    queues = [f"queue-{number:02}" for number in range(50)]
    rules = (Rule(queue=queue, selection=Selection(functions=("app.*",)), label=f"work of {queue}",
                  tolerance=timedelta(minutes=5)) for queue in queues)  # fmt: skip
    scene.shedder.policies.apply(Policy(rules=tuple(rules)), reason="labels")
    (job,) = scene.fill("first", "a")
    lanes = [Lane(queue, priority).name for queue in queues for priority in PRIORITIES]
    with scene.redis.pipeline(transaction=False) as ask:
        for lane in lanes:
            ask.sadd(scene.keys.engine.queues, scene.keys.engine.lists + lane)
            ask.rpush(scene.keys.engine.lists + lane, *[job] * 50)
            ask.hset(scene.keys.meters, mapping={f"{lane}:{name}": 10 for name in ("started", "ended", "arrived")})
        ask.execute()
    body = rendered(Collector(scene.redis))[1]
    assert 200 == body.count(b"50.0\n") == body.count(b"\nshedder_jobs_started_total{")
    assert len(body) <= 100_000


def test_a_wsgi_app_serves_them(scene: Scene) -> None:
    """Called as a WSGI server calls it, it answers with the metrics."""
    scene.fill("mail", "a")
    with httpx.Client(transport=httpx.WSGITransport(app=wsgi_app(Collector(scene.redis)))) as client:
        found = read(client.get("http://host/metrics").text)
    assert 1 == value(found, "shedder_lane_waiting_jobs", queue="mail", lane="mail")


def test_once_prints_the_metrics(server: EmbeddedServer, redis: Redis) -> None:
    """`--once` prints the text and exits with 0."""
    done = run_program("metrics", "--once", "-u", patient(server.url), env=environment())
    assert (0, "") == (done.code, done.err)
    assert 1 == value(read(done.out), "shedder_up")


def test_once_without_redis_says_so_twice(tmp_path: Path) -> None:
    """Without Redis `--once` prints shedder_up 0 for a textfile collector, and exits with 4 and a line."""
    done = run_program("metrics", "--once", "-u", f"unix://{tmp_path}/none", env=environment())
    assert 4 == done.code
    assert 0 == value(read(done.out), "shedder_up")
    assert "cannot be reached" in done.err.splitlines()[-1]


def test_a_port_that_is_taken_is_refused_in_a_line(server: EmbeddedServer) -> None:
    """Where something else listens, the verb says so and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_program("metrics", "--listen", str(port), "-u", patient(server.url), env=environment())
    assert 1 == done.code
    assert "name another place with --listen" in done.err
    assert 2 == run_program("metrics", "--listen", "nowhere", "-u", patient(server.url), env=environment()).code


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_an_exporter_ends_when_it_is_told_to(exporter_process: Exporter, number: signal.Signals, code: int) -> None:
    """SIGTERM is its ordinary end, also as the first process of a container; neither leaves a traceback."""
    exporter_process.get()
    exporter_process.process.send_signal(number)
    assert code == exporter_process.process.wait()
    assert "Traceback" not in exporter_process.stderr.read()


def test_once_tells_why_redis_refuses(server_factory: ServerFactory) -> None:
    """A wrong password, and an account that may not ask, are said and not taken for a server that is away."""
    server = server_factory()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "watcher", "on", ">right", "~*", "+@read")
    address = server.url.removeprefix("unix://")
    for password, said in (("wrong", "refuses the user or the password"), ("right", "no permissions to run")):
        done = run_program("metrics", "--once", "-u", f"unix://watcher:{password}@{address}", env=environment())
        assert 0 != done.code
        assert said in done.err.splitlines()[-1]
        assert "cannot be reached" not in done.err.splitlines()[-1]


def test_an_account_that_may_only_read_is_enough(server_factory: ServerFactory) -> None:
    """A scrape writes nothing: the account that the docs name, which may not, gets everything."""
    scene = Scene(server_factory().client())
    rule = Rule(
        queue="mail", selection=Selection(functions=("app.bill",)), label="bills", tolerance=timedelta(minutes=1)
    )
    scene.shedder.policies.apply(Policy(rules=(rule,)), reason="labels")
    scene.redis.hset(scene.keys.engine.jobs + scene.fill("mail", "a", "b", function="app.bill")[0],
                     "enqueued_at", "2026-01-01T00:00:00.000000Z")  # fmt: skip
    scene.fill("bulk", "c")
    scene.shedder.divert("bulk", reason="r")
    scene.shedder.incidents.open("late", severity=2)
    page = (DOCS / "how-to" / "watch-it.md").read_text()
    account = re.search(r"ACL SETUSER (.*)", page)
    assert account is not None
    scene.redis.execute_command("ACL", "SETUSER", *account[1].split())
    pool = scene.redis.connection_pool
    settings = {**pool.connection_kwargs, "username": account[1].split()[0], "password": "secret"}
    with Redis(connection_pool=ConnectionPool(pool.connection_class, **settings)) as client:
        found = read(rendered(Collector(client))[1].decode())
    assert [] == scene.redis.execute_command("ACL", "LOG")
    assert 1 == value(found, "shedder_up") == value(found, "shedder_work_late_jobs", work="bills")
    assert 1 == value(found, "shedder_lane_backlog_jobs", queue="bulk", lane="bulk")


def test_a_fork_while_another_thread_reads_waits_for_nobody(redis: Redis) -> None:
    """A child that was forked from a process in the middle of a reading reads at once, as workers of gunicorn do."""
    collector = Collector(redis)
    with collector.lock:
        reader = multiprocessing.get_context("fork").Process(target=_read_in_child, args=(collector,))
        reader.start()
        reader.join()
    assert 0 == reader.exitcode


def _read_in_child(collector: Collector) -> None:
    sys.exit(0 if collector.lock.acquire(blocking=False) and collector.is_up else 1)


def test_a_registry_knows_all_names(redis: Redis) -> None:
    """`describe` names what `collect` tells, so that a request for `name[]=shedder_up` is answered."""
    collector = Collector(redis)
    assert [each.name for each in collector.describe()] == [each.name for each in collector.collect()]


@pytest.mark.parametrize(
    ("accepts", "is_packed"), [("gzip, deflate", True), ("gzip;q=0, identity", False), ("br", False)]
)
def test_gzip_is_sent_to_those_that_take_it(redis: Redis, accepts: str, is_packed: bool) -> None:
    """A client that refuses gzip, by its name and a weight of zero, gets plain text."""
    headers, _ = rendered(Collector(redis), encoding=accepts)
    assert is_packed == (("Content-Encoding", "gzip") in headers)


@pytest.mark.skipif(not _has_ipv6(), reason="no ::1 on this machine")
def test_an_address_of_ipv6_is_told_as_a_url_has_it(server: EmbeddedServer) -> None:
    """The line that says where names an address that a browser takes."""
    started = Exporter(server, "[::1]:0")
    try:
        assert started.url.startswith("http://[::1]:")
        assert 200 == started.get()[0]
    finally:
        started.end()


def test_two_exporters_agree(scene: Scene) -> None:
    """Counters stand in Redis: a second exporter, started later, says what the first one says."""
    scene.fill("mail", "a", "b")
    scene.run_all("mail")
    one, other = (read(rendered(Collector(scene.redis))[1].decode()) for _ in "12")
    differing = {key[0] for key in one if one[key] != other.get(key)}
    # what grows with the time between the two is the age of jobs
    assert differing <= {"shedder_scrape_duration_seconds"}
    assert one.keys() == other.keys()
