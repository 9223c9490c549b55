"""The pages in their real hosts: Starlette, Flask and Django."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flask
import httpx
import pytest
from starlette.applications import Starlette

import shedder.web
from shedder.errors import InvalidInput
from shedder.web.http import WebRequest
from shedder.web.reading import read_all
from tests.cli.programs import environment
from tests.servers import patient
from tests.waiting import PATIENCE_SECONDS
from tests.web.beating import add_beat, uvicorn_of, werkzeug_of

if TYPE_CHECKING:
    from redis import Redis

    from shedder.embedded import EmbeddedServer
    from tests.features.scene import Scene

HERE = Path(__file__).parent

ANA = {"x-user": "ana@desk"}
OURS = {**ANA, "sec-fetch-site": "same-origin"}


def named(request: Any) -> str | None:
    """Who a request says it is: an application has its own way."""
    return request.headers.get("x-user")


@pytest.fixture(params=["starlette", "flask", "alone"])
def host(request: pytest.FixtureRequest, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """A client of an application that has the pages at `/shedder`, or of the pages alone."""
    add_beat(monkeypatch)
    path = "" if request.param == "alone" else "/shedder"
    with served(request.param, redis) as url, httpx.Client(base_url=url + path, timeout=PATIENCE_SECONDS) as client:
        yield client


def served(kind: str, redis: Redis) -> Any:
    if kind == "flask":
        application = flask.Flask(__name__)
        application.register_blueprint(shedder.web.blueprint(redis, user=named, **ACTS), url_prefix="/shedder")
        return werkzeug_of(application)
    pages = shedder.web.asgi(redis, user=named, **ACTS)
    if kind == "alone":
        return uvicorn_of(pages)
    application = Starlette()
    application.mount("/shedder", pages)
    return uvicorn_of(application)


ACTS = {"allow_actions": True}


def place(client: httpx.Client) -> str:
    return client.base_url.path.rstrip("/")


def test_a_page_is_the_same_in_each_host(host: httpx.Client) -> None:
    """A page knows who is logged in, what was asked, and where it is mounted."""
    answer = host.get("/beat", params={"q": "ü &<"}, headers=ANA)
    assert 200 == answer.status_code
    assert "<h1>ana@desk</h1>" in answer.text
    assert f"<p>ü &amp;&lt; {place(host)}/login</p>" in answer.text
    assert f'href="{place(host)}/static/page.css"' in answer.text
    assert 200 == host.get("/static/page.css").status_code


def test_each_answer_binds_the_browser(host: httpx.Client) -> None:
    """Every answer of every host, refusals too, has the headers that keep other pages out."""
    answers = [
        host.get("/beat", headers=ANA), host.get("/beat"), host.get("/nothing", headers=ANA),
        host.get("/static/page.js"), host.get("/static/nothing"), host.post("/beat"), host.delete("/beat"),
        host.post("/beat", headers=OURS, content=b"x" * 70_000), host.get("/live?page=/beat&once=1", headers=ANA),
        host.post("/beat", headers=OURS, files={"a": b"b"}),
    ]  # fmt: skip
    assert [200, 401, 404, 200, 404, 403, 405, 413, 200, 415] == [each.status_code for each in answers]
    for each in answers:
        assert "default-src 'none'" in each.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in each.headers["content-security-policy"]
        assert "unsafe" not in each.headers["content-security-policy"]
        assert ("nosniff", "DENY") == (each.headers["x-content-type-options"], each.headers["x-frame-options"])
        assert each.headers["cache-control"] in ("no-store", "no-cache")


def test_strangers_learn_nothing(host: httpx.Client) -> None:
    """Whoever is not logged in is told so, and nothing of what is run here."""
    answer = host.get("/beat")
    assert 401 == answer.status_code
    assert "Log in at the application" in answer.text
    assert "beat" not in answer.text.replace("/static/", "")


def test_forms_arrive(host: httpx.Client) -> None:
    """A form of one of our pages arrives, whatever it holds; another page's does not."""
    said = {"text": "naïve <b>\u202e" + "x" * 5000}
    answer = host.post("/beat", data=said, headers=OURS)
    assert 200 == answer.status_code
    assert "naïve &lt;b&gt;" in answer.text
    assert 403 == host.post("/beat", data=said, headers=ANA).status_code
    assert 403 == host.post("/beat", data=said, headers={**ANA, "sec-fetch-site": "cross-site"}).status_code


def test_forms_are_bounded(host: httpx.Client) -> None:
    """A form that is too long, or that does not say its length, is not read to its end."""
    headers = {**OURS, "content-type": "application/x-www-form-urlencoded"}
    assert 413 == host.post("/beat", headers=headers, content=b"text=" + b"x" * 70_000).status_code
    chunked = host.post("/beat", headers=headers, content=iter([b"text=" + b"x" * 1000] * 100))
    assert chunked.status_code in (411, 413)


def test_head_has_no_body(host: httpx.Client) -> None:
    """HEAD says what GET would, without the page."""
    answer = host.head("/beat", headers=ANA)
    assert (200, b"") == (answer.status_code, answer.content)
    assert 0 < int(answer.headers["content-length"])


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
@pytest.mark.parametrize("path", ["/", "/drains", "/lane/mail"])
def test_the_head_of_a_page_waits_for_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, path: str, encoding: str
) -> None:
    """A host that streams sends where one is before Redis has answered, and then the same page as all others."""
    scene.shedder.pause("mail", reason="full")
    pages, may_read = shedder.web.asgi(scene.redis, user=named, name="production", **ACTS), threading.Event()
    pages.site.read()
    pages.site.forget_reading()
    monkeypatch.setattr(
        "shedder.web.reading.read_all", lambda *given: may_read.wait(PATIENCE_SECONDS) and read_all(*given)
    )
    headers = {**ANA, "accept-encoding": encoding}
    with (
        uvicorn_of(pages) as url,
        httpx.stream("GET", url + path, headers=headers, timeout=PATIENCE_SECONDS) as answer,
    ):
        assert (200, "DENY") == (answer.status_code, answer.headers["x-frame-options"])
        texts = answer.iter_text()
        head = next(each for each in texts if each)
        assert ["production", "ana@desk"] == [each for each in ("production", "ana@desk", "<main") if each in head]
        may_read.set()
        whole = head + "".join(texts)
    asked = WebRequest("GET", path, headers={"host": "x"}, user="ana@desk", streams=True)
    assert pages.site.handle(asked).body.decode() == whole


def test_a_page_that_fails_after_its_head_says_so(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is left with a head and nothing below it, which could be taken for a quiet day."""
    pages = shedder.web.asgi(scene.redis, user=named, **ACTS)
    pages.site.read()
    monkeypatch.setattr("shedder.web.pages.board_of", None)
    with uvicorn_of(pages) as url:
        assert "This page failed" in httpx.get(url + "/", headers=ANA, timeout=PATIENCE_SECONDS).text


def test_the_status_of_a_page_is_waited_for(scene: Scene) -> None:
    """What may be refused is answered as a whole: a lane that nobody knows, and all to strangers."""
    pages = shedder.web.asgi(scene.redis, user=named, **ACTS)
    pages.site.read()
    with uvicorn_of(pages) as url:
        for path, headers, status in (("/lane/nowhere", ANA, 404), ("/", {}, 401), ("/lane/mail", {}, 401)):
            assert status == httpx.get(url + path, headers=headers, timeout=PATIENCE_SECONDS).status_code


def test_parts_that_move_are_polled(host: httpx.Client) -> None:
    """Every host answers with the parts of a page that move, as they are now."""
    answer = host.get("/live", params={"page": f"{place(host)}/beat", "once": "1"}, headers=ANA)
    assert "application/json" == answer.headers["content-type"]
    found = answer.json()
    assert {"at", "trouble", "since", "parts"} == found.keys()
    assert "" == found["trouble"]
    assert found["parts"]["beat"].startswith("reading ")
    assert "<b>still</b>" == found["parts"]["still"]


@pytest.mark.parametrize(
    "page", ["/nothing", "/live?page=/beat", "/login", "/static/page.css", "http://x/", "/beat?" + "&".join("a" * 60)]
)
def test_what_does_not_move_is_not_polled(host: httpx.Client, page: str) -> None:
    """A page that does not exist, or of which nothing moves, is refused."""
    assert host.get("/live", params={"page": page, "once": "1"}, headers=ANA).status_code in (400, 404)


def test_hosts_want_to_know_who_may(redis: Redis) -> None:
    """An application that says nothing of who may see the pages does not get them."""
    for make in (shedder.web.asgi, shedder.web.blueprint, lambda each: shedder.web.urls(each, user=None)):
        with pytest.raises(InvalidInput, match="say who may see the pages"):
            make(redis)


def test_flask_does_not_stream(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that keeps a thread for each open page is polled, also by who asks for a stream."""
    add_beat(monkeypatch)
    with served("flask", redis) as url:
        answer = httpx.get(f"{url}/shedder/live?page=/beat", headers=ANA, timeout=PATIENCE_SECONDS)
    assert "application/json" == answer.headers["content-type"]


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def test_a_websocket_is_no_page(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no page of HTTP is answered and ended, and the server goes on."""
    add_beat(monkeypatch)
    with served("alone", redis) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as raw:
            raw.sendall(UPGRADE)
            assert b"HTTP/1.1 " == raw.recv(9)
        assert 200 == httpx.get(f"{url}/beat", headers=ANA, timeout=PATIENCE_SECONDS).status_code


def test_django_has_the_pages(server: EmbeddedServer, redis: Redis) -> None:
    """In Django members of the staff see the pages and act by their names, beside its own protection."""
    done = subprocess.run(
        [sys.executable, HERE / "django_site.py", patient(server.url)],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (0, "") == (done.returncode, done.stderr)
    found = json.loads(done.stdout)
    assert [401, 401, 200] == [found["nobody"], found["customer"], found["staff"]["status"]]
    assert "<h1>desk</h1>" in found["staff"]["text"]
    assert 'href="/shedder/static/page.css"' in found["staff"]["text"]
    assert "default-src 'none'" in found["staff"]["policy"]
    assert [200, True] == [found["form"]["status"], "naïve" in found["form"]["text"]]
    assert [403, 403, 413, 405] == [found["other page"], found["unknown page"], found["long form"], found["delete"]]
    assert "<b>still</b>" == found["live"]["parts"]["still"]
