"""What moves: one reading a second for all open pages, parts that changed, and a Redis that is away."""

from __future__ import annotations

import asyncio
import json
import struct
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import shedder.web
from benchmarks.gauges import sent_by_us
from shedder import Policy
from shedder.engine.names import rq_keys
from shedder.queues.samples import SAMPLES_KEPT, Sample, read_samples
from shedder.store.store import Store
from shedder.web import app
from shedder.web.app import ControlRoom
from shedder.web.hosts import AsgiApp, moments, until_next
from shedder.web.http import Route, WebRequest
from shedder.web.reading import FINE_FOR, SAMPLED, THINNED_TO, SeenSamples, SharedReading, read_all
from shedder.web.site import SiteSettings, Visitor
from shedder.web.stream import SOMEBODY, Moving, moving
from tests.features.scene import numbered
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.web.asking import get, text
from tests.web.beating import Beats, add_beat, uvicorn_of

if TYPE_CHECKING:
    from redis import Redis

    from tests.conftest import ServerFactory
    from tests.features.scene import Scene

PAGES = 100
MESSAGES = 4


@pytest.fixture
def beats(monkeypatch: pytest.MonkeyPatch) -> type[Beats]:
    """The page `/beat`, and how often it was made."""
    return add_beat(monkeypatch)


@pytest.fixture
def pages(redis: Redis, beats: type[Beats]) -> Iterator[str]:
    """The URL of the pages of a user, served by uvicorn."""
    application = shedder.web.asgi(redis, user=lambda request: request.headers.get("x-user", "ana@desk"))
    with uvicorn_of(application) as url:
        yield url


def test_a_reading_has_what_pages_show(scene: Scene) -> None:
    """A reading has lanes, samples, events, the policy and the incident that is open."""
    scene.fill("mail", *numbered("job", 3))
    scene.shedder.policies.apply(Policy(), reason="p")
    scene.shedder.pause("mail", reason="full")
    scene.shedder.incidents.open("late", severity=3)
    scene.shedder.incidents.open("very late", severity=1, also=True)
    found = ControlRoom(scene.redis).read()
    assert {"mail": 3} == {each.lane: each.waiting for each in found.status.lanes if each.waiting}
    assert found.events == scene.shedder.events()
    assert "very late" == (found.incident and found.incident.title)
    assert (True, "", None, 1) == (found.is_known, found.trouble, found.since, found.number)


def test_a_reading_is_good_for_a_second(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask within a second, Redis is asked once; then again."""
    redis.config_resetstat()
    site, now = ControlRoom(redis), [100.0]
    monkeypatch.setattr("shedder.web.reading.time.monotonic", lambda: now[0])
    threads = [threading.Thread(target=site.read) for _ in range(20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert 1 == readings(redis)
    now[0] += 0.99
    assert 1 == site.read().number
    now[0] += 0.01
    assert 1 == site.read().number
    wait_until(lambda: 2 == site.read().number, what="the new reading")
    assert 2 == readings(redis)


def test_a_reading_that_is_not_much_older_answers_at_once(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one thread reads anew, nobody waits; a reading that is older is waited for."""
    site, now, may_read = ControlRoom(redis), [100.0], threading.Event()
    monkeypatch.setattr("shedder.web.reading.time.monotonic", lambda: now[0])
    site.read()
    with monkeypatch.context() as patch:
        patch.setattr("shedder.web.reading.read_all", lambda *given: may_read.wait() and read_all(*given))
        now[0] += 2.99
        assert [1] * 20 == [site.read().number for _ in range(20)]
        assert 1 == sum(each.name == "shedder-web-reading" for each in threading.enumerate())
        may_read.set()
        wait_until(lambda: 2 == site.read().number, what="the new reading")
    now[0] += 3.0
    assert 3 == site.read().number


def test_what_was_read_before_a_change_is_not_shown_after_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change on the pages lets the next page wait for a reading that was begun after it."""
    scene.fill("mail", "a")
    site, is_reading, may_read = ControlRoom(scene.redis), threading.Event(), threading.Event()
    now = [100.0]
    monkeypatch.setattr("shedder.web.reading.time.monotonic", lambda: now[0])
    site.read()

    def read_slowly(*given: Any) -> SharedReading:
        found = read_all(*given)
        is_reading.set()
        may_read.wait()
        return found

    with monkeypatch.context() as patch:
        patch.setattr("shedder.web.reading.read_all", read_slowly)
        now[0] += 1.0
        site.read()
        is_reading.wait()
    scene.shedder.pause("mail", reason="full")
    may_read.set()
    site.forget_reading()
    assert ["full"] == [each.pause.why for each in site.read().status.lanes if each.pause and each.lane == "mail"]


def test_samples_are_kept_between_readings(redis: Redis) -> None:
    """Later readings fetch only new samples, and have what all samples of the last minute would tell."""
    store, lanes, seen = Store(redis, rq_keys()), ["mail", "mail.low", "web"], SeenSamples()
    began, fetched = datetime(2026, 11, 29, 12, tzinfo=UTC), []
    for second in range(0, 1300, 2):
        at = began + timedelta(seconds=second)
        put_sample(redis, store, "mail", at, waiting=second)
        if second % 200 == 0:
            put_sample(redis, store, "mail.low", at, waiting=0)
        if second % 50 == 0:
            with sent_by_us() as sent:
                found = seen.read(store, lanes, at)
            fetched.append(sent.commands["lrange"])
            want = read_samples(store, lanes, since=at - SAMPLED, now=at)
            assert uncounted(want, at - FINE_FOR) == uncounted(found, at - FINE_FOR)
            lately = [each for each in found["mail"] if each.at > at - SAMPLED + timedelta(seconds=5)]
            assert [each.waiting for each in lately] == [each.failed for each in lately]
            assert second == found["mail"][-1].waiting
    assert {len(lanes)} == {*fetched}


def uncounted(found: Mapping[str, Sequence[Sample]], since: datetime) -> dict[str, list[Sample]]:
    """Samples without what had failed: the older of these counts, and of the samples, are kept less finely."""
    return {lane: [replace(each, failed=0) for each in samples if each.at > since] for lane, samples in found.items()}


def put_sample(redis: Redis, store: Store, lane: str, at: datetime, *, waiting: int) -> None:
    """Write a sample as workers do, with what had failed by then."""
    second, keys = int(at.timestamp()), store.keys
    redis.rpush(keys.samples(lane)[0], struct.pack(">8I", second, waiting, 0, 1, 5, 0, 2 * waiting, 2 * waiting))
    redis.ltrim(keys.samples(lane)[0], -SAMPLES_KEPT[0], -1)
    if waiting:
        redis.zadd(keys.outcome_samples[0], {json.dumps([second, {lane: [2 * waiting, waiting]}, {}]): second})


def test_samples_are_read_anew_where_the_clock_went_back(redis: Redis) -> None:
    """Samples of a time that is yet to come are shown no more, and those of a new lane are all read."""
    store, seen, at = Store(redis, rq_keys()), SeenSamples(), datetime(2026, 11, 29, 12, tzinfo=UTC)
    put_sample(redis, store, "mail", at + timedelta(hours=1), waiting=1)
    assert 1 == len(seen.read(store, ["mail"], at + timedelta(hours=1))["mail"])
    redis.delete(store.keys.samples("mail")[0])
    for second in range(0, 60, 2):
        put_sample(redis, store, "mail", at + timedelta(seconds=second), waiting=2)
        put_sample(redis, store, "web", at + timedelta(seconds=second), waiting=3)
    now = at + timedelta(seconds=60)
    assert {2} == {each.waiting for each in seen.read(store, ["mail"], now)["mail"]}
    assert [30, 30] == [len(each) for each in seen.read(store, ["mail", "web"], now).values()]


def test_few_of_the_older_samples_are_kept(redis: Redis) -> None:
    """Of samples older than a minute one of ten seconds is kept, that with most jobs; so each peak is shown."""
    store, seen, began = Store(redis, rq_keys()), SeenSamples(), datetime(2026, 11, 29, 12, tzinfo=UTC)
    for second in range(0, 1300, 2):
        at = began + timedelta(seconds=second)
        put_sample(redis, store, "mail", at, waiting=1000 if second in (302, 308, 698) else second % 10)
        if second % 6 == 0:
            found = seen.read(store, ["mail"], at)["mail"]
            assert most_kept(SAMPLED) >= len(found)
            young = [each.at for each in found if each.at > at - FINE_FOR]
            assert [at - timedelta(seconds=each) for each in range(min(second, 68), -1, -2)] == young
        if second == 798:
            assert [302, 698] == [(each.at - began).total_seconds() for each in found if each.waiting == 1000]


def most_kept(span: timedelta) -> int:
    """Samples of a time: all of the last seventy seconds or a step more, of each ten seconds before one, the first."""
    fine = FINE_FOR + timedelta(seconds=THINNED_TO)
    return int(fine.total_seconds() / 2 + (span - fine).total_seconds() / THINNED_TO) + 2


def readings(redis: Redis) -> int:
    """How often Redis was read for the pages: each asks the journal once."""
    return int(redis.info("commandstats").get("cmdstat_xrevrange", {"calls": 0})["calls"])


def commands(redis: Redis) -> int:
    return sum(each["calls"] for name, each in redis.info("commandstats").items() if name != "cmdstat_info")


def test_a_reading_costs_the_same_for_any_number_of_jobs(scene: Scene) -> None:
    """The commands of a reading do not depend on how many jobs wait or events were written."""
    scene.fill("mail", *numbered("job", 10))
    scene.shedder.pause("mail", reason="r")
    few = cost_of_reading(scene.redis)
    scene.fill("mail", *numbered("more", 2000))
    for _ in range(100):
        scene.shedder.pause("mail", reason="r")
    assert few == cost_of_reading(scene.redis)


def cost_of_reading(redis: Redis) -> int:
    ControlRoom(redis).read()  # connects
    redis.config_resetstat()
    site = ControlRoom(redis)
    site.read()
    return commands(redis)


def test_a_hundred_open_pages_cost_what_one_costs(pages: str, redis: Redis, beats: type[Beats]) -> None:
    """A hundred open pages let Redis be read once a second, and a page be made once for each reading."""
    redis.config_resetstat()
    began, made = time.monotonic(), beats.count
    heard = asyncio.run(listen_all(pages))
    seconds = time.monotonic() - began
    assert PAGES == len(heard)
    assert all(MESSAGES == len(each) for each in heard)
    assert readings(redis) <= seconds + 1
    assert beats.count - made <= readings(redis)


async def listen_all(url: str) -> list[list[dict[str, Any]]]:
    limits = httpx.Limits(max_connections=PAGES, max_keepalive_connections=PAGES)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=PATIENCE_SECONDS) as client:
        return await asyncio.gather(*(listen(client, "/beat", MESSAGES) for _ in range(PAGES)))


async def listen(client: httpx.AsyncClient, page: str, count: int) -> list[dict[str, Any]]:
    found = []
    async with client.stream("GET", "/live", params={"page": page}) as answer:
        assert "text/event-stream" in answer.headers["content-type"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        async for message in messages(answer):
            found.append(message)
            if len(found) == count:
                break
    return found


async def messages(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in answer.aiter_lines():
        if line.startswith("data:"):
            yield json.loads(line.removeprefix("data:"))


def test_a_stream_tells_what_changed(pages: str) -> None:
    """The first message has all parts, the next ones those that changed, each the server's time."""

    async def two() -> list[dict[str, Any]]:
        async with httpx.AsyncClient(base_url=pages, timeout=PATIENCE_SECONDS) as client:
            return await listen(client, "/beat?q=1", 3)

    first, *more = asyncio.run(two())
    assert {"beat", "still"} <= first["parts"].keys()
    for each in more:
        assert "still" not in each["parts"]
    assert more[-1]["at"] >= first["at"] > "2020-01-01T00:00:00Z"


def test_a_stream_needs_what_its_page_needs(pages: str) -> None:
    """A stream of a page that does not exist is refused as the page is."""
    assert 404 == httpx.get(f"{pages}/live?page=/nothing", timeout=PATIENCE_SECONDS).status_code


def test_a_stream_ends_with_the_login(redis: Redis, beats: type[Beats]) -> None:
    """Who is not logged in any more hears nothing more."""
    people = {"ana@desk"}
    settings = shedder.web.SiteSettings(behind_proxy="X-User", trusted=("127.0.0.1",))
    application = AsgiApp(ControlRoom(redis, settings))
    admit = application.site.admit

    def admits(*args: Any) -> Any:
        if not people:
            object.__setattr__(settings, "trusted", ())
        return admit(*args)

    application.site.admit = admits  # type: ignore[method-assign]
    with uvicorn_of(application) as url:
        headers = {"x-user": "ana@desk"}
        with httpx.stream("GET", f"{url}/live?page=/beat", headers=headers, timeout=PATIENCE_SECONDS) as answer:
            lines = answer.iter_lines()
            assert next(lines).startswith("data:")
            people.clear()
            assert 0 <= len(list(lines))


def test_parts_are_told_once() -> None:
    """A message has only the parts that are not as the page shows them."""
    shown, now = Moving(_reading(), {"a": "1", "b": "1"}), Moving(_reading(), {"a": "1", "b": "2"})
    assert {"a": "1", "b": "2"} == json.loads(now.message(None))["parts"]
    assert {"b": "2"} == json.loads(now.message(shown))["parts"]


def test_a_message_is_made_once_for_all_that_show_the_same() -> None:
    """What a hundred open pages are sent is one piece of memory, made once."""
    shown, other, now = (Moving(_reading(), {"a": each}) for each in "123")
    assert 1 == len({id(now.message(shown)) for _ in range(PAGES)})
    assert now.message(shown) == now.message(other)
    assert now.message(shown) is not now.message(other)


def test_open_pages_are_told_in_turn() -> None:
    """However many pages are open, in no twentieth of a second is more than their share of them told."""
    for pages in (20, PAGES, 1000):
        told = Counter(int(each * 20) for each in islice(moments(), pages))
        assert pages / 20 + 2 >= max(told.values())


@pytest.mark.parametrize(("now", "seconds"), [(7.0, 0.25), (7.2, 0.05), (7.25, 1.0), (7.5, 0.75)])
def test_a_page_is_told_at_its_moment(now: float, seconds: float) -> None:
    """A page waits for its moment of the next tick, however long it took to tell it."""
    assert seconds == pytest.approx(until_next(0.25, now))


def _reading() -> SharedReading:
    from datetime import UTC, datetime

    from shedder.status.readings import Status

    at = datetime(2026, 11, 29, 14, 32, 10, tzinfo=UTC)
    return SharedReading(at, Status(at, ()))


def test_visitors_do_not_get_the_parts_of_others(redis: Redis, beats: type[Beats]) -> None:
    """What was made for one visitor is not shown to another."""
    site = ControlRoom(redis, shedder.web.SiteSettings(is_hosted=True))
    request = WebRequest("GET", "/live", query={"page": ("/beat",)})
    for name in ("ana@desk", "bob@desk", "ana@desk"):
        moving(site, request, shedder.web.app.Visitor(name))
    assert 2 <= beats.count <= 3


def test_people_who_may_do_the_same_share_what_moves(scene: Scene) -> None:
    """What moves is made once for all operators and once for all viewers, and names none of them."""
    scene.fill("mail", "a")
    scene.shedder.pause("mail", reason="full")
    site = ControlRoom(scene.redis, SiteSettings(is_hosted=True))
    request, reading = WebRequest("GET", "/live", query={"page": ("/journal",)}), site.read()
    site.read = lambda: reading  # type: ignore[method-assign]
    people = [Visitor(name, may_act=may_act) for may_act in (True, False) for name in ("ana@desk", "bob@desk", "")]
    made = [moving(site, request, each) for each in people]
    assert [0, 0, 2, 3, 3, 5] == [[id(each) for each in made].index(id(one)) for one in made]
    assert [False] * len(made) == [SOMEBODY in "".join(each.parts.values()) for each in made]


def test_an_operator_goes_on_seeing_the_undo_of_what_he_did(scene: Scene) -> None:
    """What moves of the first page is each operator's own: his last change, where he has made one."""
    for name, queue in (("ana@desk", "mail"), ("bob@desk", "news")):
        scene.fill(queue, queue)
        scene.shedder.pause(queue, reason="full", by=name)
    site = ControlRoom(scene.redis, SiteSettings(is_hosted=True, allow_actions=True))
    request = WebRequest("GET", "/live", query={"page": ("/",)})
    undone_by = {name: "".join(moving(site, request, Visitor(name, may_act=True)).parts.values())
                 for name in ("ana@desk", "bob@desk")}  # fmt: skip
    [bobs, anas] = scene.shedder.events()
    for name, event in (("ana@desk", anas), ("bob@desk", bobs)):
        assert f"event={event.id}" in undone_by[name]
        assert "by you" in undone_by[name]


ALIKE = [each for each in app.routes() if each.is_alike]


@pytest.mark.parametrize("route", ALIKE, ids=[each.pattern for each in ALIKE])
def test_what_moves_does_not_depend_on_who_asks(scene: Scene, route: Route) -> None:
    """A page that is shared would show each person the same."""
    scene.fill("mail", "a")
    scene.shedder.pause("mail", reason="full", by="ana@desk")
    scene.shedder.incidents.open("late", severity=1)
    site = ControlRoom(scene.redis, SiteSettings(is_hosted=True, allow_actions=True))
    request, reading = WebRequest("GET", "/", query={"name": ("mail",)}, is_live=True), site.read()
    site.read = lambda: reading  # type: ignore[method-assign]
    may_act = not route.is_own_to_act
    ana, somebody = (route.view(site, request, Visitor(name, may_act=may_act)).parts for name in ("ana@desk", SOMEBODY))
    assert ana
    assert ana == somebody


def test_redis_that_goes_away_and_comes_back(server_factory: ServerFactory, beats: type[Beats]) -> None:
    """While Redis is away the pages stand with what was read last, and say since when; then they go on."""
    server = server_factory()
    with server.client() as client:
        site = ControlRoom(client)
        before = site.read()
        server.kill()
        wait_until(lambda: site.read().trouble, interval=0.1, what="trouble")
        away = site.read()
        assert before.status == away.status
        assert before.at == away.at
        assert "cannot be reached." in away.trouble
        told = json.loads(text(get(site, "/live", query={"page": ("/beat",), "once": ("1",)})))
        assert (away.trouble, True) == (told["trouble"], told["since"] > told["at"] or told["since"] == told["at"])
        first = away.since
        wait_until(lambda: site.read().number > away.number, interval=0.1)
        assert first == site.read().since
        server.restart()
        wait_until(lambda: not site.read().trouble, interval=0.1, what="the end of the trouble")
        assert None is site.read().since


def test_redis_that_was_never_there(server_factory: ServerFactory, beats: type[Beats]) -> None:
    """Pages whose Redis has never answered say so, and show nothing as if it were known."""
    server = server_factory()
    with server.client() as client:
        server.kill()
        site = ControlRoom(client)
        found = site.read()
        assert (False, (), True) == (found.is_known, found.status.lanes, bool(found.trouble))
        told = json.loads(text(get(site, "/live", query={"page": ("/beat",), "once": ("1",)})))
        assert "" == told["at"]
