"""What every answer of a site has, what a GET must not do, and what goes wrong."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from shedder.engine.names import rq_keys
from shedder.web import app
from shedder.web.app import ControlRoom, routes
from shedder.web.http import Response, Route, WebRequest
from shedder.web.site import SiteSettings
from tests.web.asking import TOKEN, cookies_of, get, header, log_in, post, text

if TYPE_CHECKING:
    import pytest
    from redis import Redis

    from shedder.web.site import Visitor
    from tests.conftest import ServerFactory
    from tests.features.scene import Scene

EXAMPLES = {"file": "page.css", "name": "mail", "act": "pause", "lane": "mail", "event": "1-1"}
"""What stands for a part of a path that a route names."""

PROTECTING = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""What keeps a page from what is not ours; word for word, so that none is lost by a change of the constant."""


def paths_of(route: Route) -> list[str]:
    """Addresses that a route answers."""
    import re

    path = re.sub(r"\(\?P<(\w+)>[^)]*\)", lambda found: EXAMPLES.get(found[1], "mail"), route.pattern)
    return [path.replace("\\", "")]


def dump(redis: Redis) -> dict[bytes, Any]:
    """All that Redis has, but for the times at which keys expire."""
    return {key: redis.dump(key) for key in redis.scan_iter()}


def test_a_get_changes_nothing(scene: Scene) -> None:
    """Each page of GET, asked for by an operator, leaves all of Redis as it was."""
    scene.fill("mail", "job-1", "job-2")
    scene.shedder.pause("mail", reason="full")
    site = ControlRoom(scene.redis, SiteSettings(allow_actions=True, is_hosted=True, secret=b"x" * 32))
    before = dump(scene.redis)
    for route in routes():
        for path in paths_of(route) if route.method == "GET" else ():
            for method in ("GET", "HEAD"):
                answer = site.handle(WebRequest(method, path, user="ana@desk", query={"target": ("mail",)}))
                assert answer.status < 500, path
    assert before == dump(scene.redis)


def test_all_that_changes_something_is_a_post(redis: Redis) -> None:
    """There is no other method than GET and POST, and a route of the one does not answer the other."""
    assert {"GET", "POST"} == {each.method for each in routes()}
    site = ControlRoom(redis, SiteSettings(tokens={TOKEN: "operator"}))
    assert 405 == get(site, "/logout").status
    assert 405 == post(site, "/live", {}).status


def test_every_route_but_the_login_asks_who_it_is(redis: Redis) -> None:
    """A stranger gets the login from each page, and nothing from what is no page."""
    site = ControlRoom(redis, SiteSettings(allow_actions=True, tokens={TOKEN: "operator"}))
    assert {"/login", "/logout"} == {each.pattern for each in routes() if each.is_open and "static" not in each.pattern}
    for route in routes():
        if not route.is_open:
            (path,) = paths_of(route)
            answer = get(site, path) if route.method == "GET" else post(site, path, {})
            assert answer.status in (303, 401), path
            assert answer.status == 401 or header(answer, "Location").startswith("/login?next=%2F"), path


def test_every_route_binds_the_browser(redis: Redis) -> None:
    """Each route answers, whoever asks, with all headers that keep other pages out."""
    for settings in (SiteSettings(), SiteSettings(tokens={TOKEN: "viewer"})):
        site = ControlRoom(redis, settings)
        for route in routes():
            for path in paths_of(route):
                answer = get(site, path) if route.method == "GET" else post(site, path, {})
                assert PROTECTING.items() <= dict(answer.headers).items(), path
                assert header(answer, "Cache-Control"), path


def test_nothing_on_a_page_needs_what_the_browser_refuses(scene: Scene) -> None:
    """No page has a script or a style of its own, which the browser would not run."""
    scene.fill("mail", "job-1")
    site = ControlRoom(scene.redis)
    for route in routes():
        for path in paths_of(route) if route.method == "GET" and "static" not in route.pattern else ():
            page = text(get(site, path))
            assert " style=" not in page, path
            assert "<style" not in page, path
            assert page.count("<script") == page.count("<script src=") + page.count("<script defer src="), path
            assert not [each for each in (" onclick=", " onload=", " onchange=", "javascript:") if each in page], path


def test_a_file_is_sent_once(redis: Redis) -> None:
    """A file that the browser has is not sent again, and is compressed where it may be."""
    first = get(ControlRoom(redis), "/static/page.css", headers={"accept-encoding": "gzip"})
    again = get(ControlRoom(redis), "/static/page.css", headers={"if-none-match": header(first, "ETag")})
    assert (200, 304, b"") == (first.status, again.status, again.body)
    for other in ("/static/../app.py", "/static/%2e%2e", "/static/app.py", "/static/"):
        assert 404 == get(ControlRoom(redis), other).status


def test_what_fails_says_nothing_but_that(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A page that fails says so without its cause, which the log has."""

    def fails(_site: ControlRoom, _request: WebRequest, _visitor: Visitor) -> Response:
        raise ValueError("the cause")

    monkeypatch.setattr(app, "routes", lambda: (Route("GET", "/fails", fails),))
    with caplog.at_level(logging.ERROR, logger="shedder.web"):
        answer = get(ControlRoom(redis), "/fails")
    assert (500, False) == (answer.status, "the cause" in text(answer))
    assert "the cause" in caplog.text


def test_what_redis_cannot_say_is_said(server_factory: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that needs a Redis that is away says so, without user or password."""

    def asks(site: ControlRoom, _request: WebRequest, _visitor: Visitor) -> Response:
        site.shedder.status()
        return Response()

    monkeypatch.setattr(app, "routes", lambda: (Route("GET", "/asks", asks),))
    server = server_factory()
    with server.client(password="hunter2-of-the-tests") as client:
        server.kill()
        answer = get(ControlRoom(client), "/asks")
    assert 503 == answer.status
    assert "cannot be reached." in text(answer)
    assert "hunter2" not in text(answer)


def test_all_processes_sign_alike(redis: Redis) -> None:
    """Two processes have the same secret, which Redis keeps; one that was given is not written down."""
    first, second = ControlRoom(redis), ControlRoom(redis)
    assert first.secret == second.secret
    assert 64 == len(first.secret)
    assert b"own" * 16 == ControlRoom(redis, SiteSettings(secret=b"own" * 16)).secret
    assert first.secret == redis.get(first.shedder.keys.web_secret)


def test_people_can_act_while_redis_is_full(redis: Redis) -> None:
    """The secret that signs what is confirmed is made also when Redis takes nothing else."""
    redis.config_set("maxmemory", "1")
    try:
        assert 64 == len(ControlRoom(redis).secret)
    finally:
        redis.config_set("maxmemory", "0")
    assert ControlRoom(redis).secret == redis.get(rq_keys().web_secret)


def test_the_name_is_in_sight(scene: Scene) -> None:
    """Name and colour are what was said at the start, else what the policy in force says."""
    from shedder.policy.document import checked_policy, document_of

    document = {"version": 1, "web": {"name": "production", "colour": "red"}}
    policy = checked_policy(document, source="test")
    assert document == document_of(policy)
    scene.shedder.policies.apply(policy, reason="p")
    site = ControlRoom(scene.redis)
    assert ("production", "red") == (site.title, site.colour)
    other = ControlRoom(scene.redis, SiteSettings(name="staging", colour="green"))
    assert ("staging", "green") == (other.title, other.colour)


def test_a_session_opens_the_pages(redis: Redis) -> None:
    """With the cookie of a login the pages answer, and without it they do not."""
    site = ControlRoom(redis, SiteSettings(tokens={TOKEN: "viewer"}))
    cookies = cookies_of(log_in(site))
    assert 401 == get(site, "/live").status
    assert 401 != get(site, "/live", cookies=cookies).status
