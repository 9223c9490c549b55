"""What moves: one reading a second for all open pages, parts that changed, and a Redis that is away."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import shedder.web
from shedder import Policy
from shedder.web.app import ControlRoom
from shedder.web.hosts import AsgiApp
from shedder.web.http import WebRequest
from shedder.web.reading import SharedReading
from shedder.web.stream import Moving, moving
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
    assert (2, 2) == (site.read().number, readings(redis))


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
    """A message has only the parts that are not as they were sent before."""
    site_reading = _reading()
    now = Moving(site_reading, {"a": "1", "b": "2"})
    assert {"a": "1", "b": "2"} == json.loads(now.message({}))["parts"]
    assert {"b": "2"} == json.loads(now.message({"a": "1", "b": "1"}))["parts"]


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
