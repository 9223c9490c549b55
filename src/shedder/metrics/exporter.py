"""Serves the metrics: a collector for one's own process, WSGI and ASGI apps, a server of its own.

Counters are kept in Redis, where jobs start and end, so that forks and restarts lose nothing and two
exporters say the same. A reading is good for a second: two hundred scrapes at once cost Redis one.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder

from shedder.engine.names import CANCELED, DEFERRED, FAILED, FINISHED, QUEUES, SCHEDULED, STARTED, registry_key, rq_keys
from shedder.engine.workers import all_workers, queue_names
from shedder.errors import RecordUnreadable, ShedderError
from shedder.incident.records import Incident
from shedder.incident.store import open_incidents
from shedder.lanes import PRIORITIES, lane_of, why_refused
from shedder.metrics.families import COUNTER, FAMILIES, Family, Scraped
from shedder.policy.applied import applied_from
from shedder.policy.lateness import Late, tolerances_of
from shedder.policy.model import Policy
from shedder.settings.flags import ask_flags, flags_from
from shedder.settings.limits import ask_limits, limits_from
from shedder.status.readings import LaneStatus, Status
from shedder.status.status import read_late, read_status
from shedder.store.clients import Deadline, deadline_client
from shedder.store.codec import count_of, ms_from_time, text_of
from shedder.store.store import Store

if TYPE_CHECKING:
    import redis
    from prometheus_client import Metric
    from prometheus_client.registry import Collector as AnyCollector

logger = logging.getLogger("shedder.metrics")

GOOD_FOR_SECONDS = 1.0
"""A scrape that comes sooner after a reading is answered from it."""

PATIENCE_SECONDS = 1.5
"""After so long Redis counts as away, so that a scrape says so within two seconds."""

JUDGED_AT_A_TIME = 8
"""Lanes whose kinds of work a reading tells apart, at most."""

MOST_WORK, LEAST_WORK, WORK_OF_LANE = 4_000, 800, 16
"""What the looks of one reading may cost: less by so much for each lane that is read besides; see `status.looks`."""

JOBS_AT_A_TIME = 5_000
"""With so many jobs in them fewer lanes are enough for a reading; one lane always is looked at."""

STATES = {"started": STARTED, "finished": FINISHED, "failed": FAILED, "deferred": DEFERRED,
          "scheduled": SCHEDULED, "canceled": CANCELED}  # fmt: skip
"""By what a metric calls a state of jobs, the registry in which RQ has them."""

Headers = list[tuple[str, str]]


class Collector:
    """A collector for a registry of `prometheus_client`; each collection is what Redis says now.

    ```python
    REGISTRY.register(shedder.metrics.Collector(connection))
    ```

    It raises nothing when Redis is away: `shedder_up` is then 0, and the metrics of Redis are absent.

    Args:
        connection: The client that the application uses; the collector has connections of its own.
        is_alone: There is one reading only, which looks at all lanes where the kinds of work have to be
            told apart; else each looks at a few of them.
    """

    def __init__(self, connection: redis.Redis, *, is_alone: bool = False) -> None:
        self._deadline = Deadline(PATIENCE_SECONDS)
        self._store = Store(deadline_client(connection, self._deadline, patience=PATIENCE_SECONDS), rq_keys())
        self._lock, self._process = threading.Lock(), os.getpid()
        self._metrics: tuple[Metric, ...] = ()
        self._read_at = 0.0
        self._trouble: ShedderError | None = None
        self._judge = Judge(self._deadline.begin if is_alone else None)

    @property
    def is_up(self) -> bool:
        """Whether Redis answered the last reading."""
        return self._trouble is None

    @property
    def trouble(self) -> ShedderError | None:
        """Why the last reading failed; None when it did not."""
        return self._trouble

    @property
    def lock(self) -> threading.Lock:
        """What lets one thread of this process read; a child may have been forked while another held it."""
        if self._process != os.getpid():
            self._lock, self._process = threading.Lock(), os.getpid()
        return self._lock

    def describe(self) -> Iterable[Metric]:
        """The metrics without what Redis says, so that a registry need not ask it."""
        return [*self._own(time.perf_counter(), server=""), *map(_empty, FAMILIES)]

    def collect(self) -> Iterable[Metric]:
        """The metrics of a reading that is at most a second old."""
        with self.lock:
            if not self._metrics or time.monotonic() - self._read_at >= GOOD_FOR_SECONDS:
                self._metrics = tuple(self._collect())
                self._read_at = time.monotonic()
            return self._metrics

    def _collect(self) -> Iterator[Metric]:
        began = time.perf_counter()
        try:
            self._deadline.begin()
            found = read(self._store, self._judge)
        except ShedderError as error:
            self._note(error)
            yield from self._own(began, server="")
            return
        self._note(None)
        yield from self._own(began, found.server)
        yield from map(_filled, FAMILIES, (found for _ in FAMILIES))

    def _own(self, began: float, server: str) -> Iterator[Metric]:
        up = GaugeMetricFamily("shedder_up", "1 when Redis answered, else 0.")
        up.add_metric([], float(self.is_up))
        yield up
        seconds = GaugeMetricFamily("shedder_scrape_duration_seconds", "How long it took to read all this from Redis.")
        seconds.add_metric([], time.perf_counter() - began)
        yield seconds
        labels = {"version": version("shedder"), "rq": version("rq"), "server": server}
        info = GaugeMetricFamily("shedder_info", "1; what runs here, and the server.", labels=list(labels))
        info.add_metric(list(labels.values()), 1)
        yield info

    def _note(self, trouble: ShedderError | None) -> None:
        """Log a change, and nothing while it stays so."""
        if trouble is not None and self._trouble is None:
            # by its kind a wrong password is told from a server that is away; its text may hold a URL
            kind = f" ({type(trouble.__cause__).__name__})" if trouble.__cause__ else ""
            logger.warning("no metrics of Redis: %s%s", trouble, kind)
        if trouble is None and self._trouble is not None:
            logger.warning("Redis answers again")
        self._trouble = trouble


def read(store: Store, judge: Judge) -> Scraped:
    """All that the metrics need, at a cost that does not depend on how many jobs there are.

    Raises:
        RedisUnreachable: no answer from the server.
        ShedderError: any refusal by the server.
    """
    keys = store.keys

    def ask_counters(ask: Any) -> None:
        ask.smembers(QUEUES)
        for key in (keys.meters, keys.outcomes, keys.event_counts):
            ask.hgetall(key)
        ask.hget(keys.policy, "current")
        ask.info("server")
        ask_flags(ask, keys)
        ask_limits(ask, keys)

    status = read_status(store, policy=Policy(), is_brief=True)
    queues, counts, outcomes, events, policy, server, *more = store.read(ask_counters)
    now_ms = ms_from_time(status.at)
    settings, in_force = iter(more), _policy(policy)
    return Scraped(
        status=status,
        policy=in_force,
        late=judge.late(store, in_force, status),
        jobs=_jobs_of(store, [name for name in queue_names(keys, queues) if not why_refused(name)], status),
        workers=all_workers(store),
        counts=_numbers(counts),
        outcomes=_numbers(outcomes),
        events=_numbers(events),
        flags=tuple(flags_from(settings, now_ms)),
        limits=tuple(limits_from(settings, now_ms)),
        incidents=_incidents(store),
        server=_server(server),
    )


class Judge:
    """Knows who is late, lane by lane; a reading looks at some lanes only, so that it stays cheap.

    To tell the kinds of work in one long lane takes the server some milliseconds. Lanes with jobs
    older than a tolerance, and those of which it is known that they had some, come first, among them
    those that were looked at longest ago.

    Args:
        begin_look: Looks at all lanes in one reading, and calls this before each few of them.
    """

    def __init__(self, begin_look: Callable[[], None] | None = None) -> None:
        self._known: dict[str, tuple[Late, ...]] = {}
        self._begin_look = begin_look

    def late(self, store: Store, policy: Policy, status: Status) -> dict[str, tuple[Late, ...]]:
        """By lane, who waits for too long, as far as it was looked at; who may, of the others."""
        judged = {each.lane: each for each in status.lanes if _has_jobs(each) and tolerances_of(policy, each.queue)}
        order = {lane: turn for turn, lane in enumerate(self._known)}  # what was looked at last stands last

        def turn_of(lane: LaneStatus) -> tuple[bool, int]:
            is_urgent = _is_suspect(lane, policy, status.at) or bool(self._known.get(lane.lane))
            return not is_urgent, order.get(lane.lane, -1)

        turns = sorted(judged.values(), key=turn_of)
        portions = _portions(turns)
        for lanes in portions if self._begin_look is not None else islice(portions, 1):
            self._look(store, policy, lanes, status)
        self._known = {lane: late for lane, late in self._known.items() if lane in judged}
        unknown = [each for each in judged.values() if each.lane not in self._known]
        return {**self._known, **{each.lane: _doubt(each, policy, status.at) for each in unknown}}

    def _look(self, store: Store, policy: Policy, lanes: Sequence[LaneStatus], status: Status) -> None:
        if self._begin_look is not None:
            self._begin_look()
        names = [each.lane for each in lanes]
        work = MOST_WORK if self._begin_look is not None else _work_beside(status)
        for lane, late in read_late(store, names, policy=policy, at=status.at, work=work).items():
            self._known.pop(lane, None)
            self._known[lane] = late


def _work_beside(status: Status) -> int:
    """What looks may cost in the reading that found `status`, so that a reading of many lanes is no dearer."""
    lanes = len(PRIORITIES) * len({each.queue for each in status.lanes})
    return max(MOST_WORK - WORK_OF_LANE * lanes, LEAST_WORK)


def _portions(lanes: Sequence[LaneStatus]) -> Iterator[Sequence[LaneStatus]]:
    """The lanes, in their order, a few at a time: what one reading looks at."""
    several: list[LaneStatus] = []
    jobs = 0
    for each in lanes:
        if several and (jobs + each.waiting + each.backlog > JOBS_AT_A_TIME or len(several) == JUDGED_AT_A_TIME):
            yield several
            several, jobs = [], 0
        several.append(each)
        jobs += each.waiting + each.backlog
    if several:
        yield several


def _has_jobs(lane: LaneStatus) -> bool:
    return bool(lane.waiting or lane.backlog)


def _is_suspect(lane: LaneStatus, policy: Policy, at: datetime) -> bool:
    """Whether the first job of the lane, or of a backlog, has waited longer than some work of it may."""
    since = min((each for each in (lane.oldest, lane.oldest_in_backlog) if each is not None), default=at)
    return at - since > min(tolerances_of(policy, lane.queue))


def _doubt(lane: LaneStatus, policy: Policy, at: datetime) -> tuple[Late, ...]:
    """What is said of a lane with old jobs at which no reading has looked yet."""
    if not _is_suspect(lane, policy, at):
        return ()
    since = min(each for each in (lane.oldest, lane.oldest_in_backlog) if each is not None)
    return tuple(
        Late(lane.lane, rule.label, number, rule.tolerance, since, count=0, least=0, is_certain=False)
        for number, rule in enumerate(policy.rules, start=1)
        if rule.label and rule.tolerance is not None and rule.is_for_queue(lane.queue)
    )


def _jobs_of(store: Store, names: Sequence[str], status: Status) -> dict[str, dict[str, int]]:
    """By queue, how many jobs of all its lanes are in each state; a job of a backlog has the status `queued`."""

    def ask_registries(ask: Any) -> None:
        for name in names:
            for registry in STATES.values():
                ask.zcard(registry_key(registry, name))

    replies = iter(store.read(ask_registries)) if names else iter(())
    found: dict[str, Counter[str]] = {lane_of(name).queue: Counter() for name in names}
    for name in names:
        found[lane_of(name).queue].update(dict(zip(STATES, islice(replies, len(STATES)), strict=True)))
    for lane in status.lanes:
        if lane.queue in found:
            found[lane.queue]["queued"] += lane.waiting + lane.backlog
    return {queue: {state: states[state] for state in ("queued", *STATES)} for queue, states in found.items()}


def _policy(text: bytes | None) -> Policy:
    try:
        return applied_from(text).policy
    except RecordUnreadable:  # `status` says so
        return Policy()


def _incidents(store: Store) -> tuple[Incident, ...] | None:
    try:
        return open_incidents(store)
    except RecordUnreadable as error:
        logger.debug("incidents: %s", error)
        return None


def _numbers(found: Mapping[bytes, bytes]) -> dict[str, int]:
    return {text_of(name): count_of(number) for name, number in found.items()}


def _server(info: Mapping[str, Any]) -> str:
    if "valkey_version" in info:
        return f"valkey {info['valkey_version']}"
    return f"redis {info.get('redis_version', 'unknown')}"


def _empty(family: Family) -> Metric:
    kind = CounterMetricFamily if family.kind == COUNTER else GaugeMetricFamily
    made: Metric = kind(family.name, family.says, labels=family.labels)
    return made


def _filled(family: Family, found: Scraped) -> Metric:
    made: Any = _empty(family)
    for labels, value in family.rows(found):
        made.add_metric(labels, value)
    return made  # type: ignore[no-any-return]


# Serving


_GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))")
"""In a request's Accept-Encoding: gzip is taken, and not refused by a weight of zero."""


def rendered(collector: AnyCollector, accept: str = "", encoding: str = "") -> tuple[Headers, bytes]:
    """The metrics as text, compressed where `encoding` (the request's Accept-Encoding) takes gzip."""
    encode, kind = choose_encoder(accept)
    body = encode(collector)
    headers = [("Content-Type", kind), ("Vary", "Accept-Encoding")]
    if _GZIP.search(encoding):
        body = gzip.compress(body, compresslevel=5)
        headers.append(("Content-Encoding", "gzip"))
    return [*headers, ("Content-Length", str(len(body)))], body


_TEXT = ("Content-Type", "text/plain; charset=utf-8")


def respond(collector: Collector, method: str, path: str, accept: str, encoding: str) -> tuple[int, Headers, bytes]:
    """Status, headers and body of the answer to a request: `/metrics`, and `/health` for probes."""
    if method not in ("GET", "HEAD"):
        return _said(405, "use GET", ("Allow", "GET, HEAD"))
    if path.rstrip("/") in ("", "/metrics"):
        return 200, *rendered(collector, accept, encoding)
    if path.rstrip("/") == "/health":
        list(collector.collect())
        return _said(200, "ok") if collector.is_up else _said(503, "Redis does not answer")
    return _said(404, "there are /metrics and /health")


def _said(status: int, text: str, *headers: tuple[str, str]) -> tuple[int, Headers, bytes]:
    body = f"{text}\n".encode()
    return status, [_TEXT, ("Content-Length", str(len(body))), *headers], body


_PHRASES = {200: "200 OK", 404: "404 Not Found", 405: "405 Method Not Allowed", 503: "503 Service Unavailable"}


def wsgi_app(collector: Collector) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    """A WSGI app that serves the metrics at its root and at `/metrics`."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method = environ.get("REQUEST_METHOD", "GET")
        status, headers, body = respond(
            collector, method, environ.get("PATH_INFO", ""), environ.get("HTTP_ACCEPT", ""),
            environ.get("HTTP_ACCEPT_ENCODING", ""),
        )  # fmt: skip
        start_response(_PHRASES[status], headers)
        return [b"" if method == "HEAD" else body]

    return app


Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def asgi_app(collector: Collector) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """An ASGI app that serves the same; Redis is read in a thread, and the event loop goes on."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})  # before it is accepted: the server answers with 403
            return
        asked = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope.get("headers", ())}
        # behind a mount the path still begins with where the app is mounted
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        status, headers, body = await asyncio.to_thread(
            respond, collector, scope["method"], path, asked.get("accept", ""), asked.get("accept-encoding", "")
        )
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return app


async def _live(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
