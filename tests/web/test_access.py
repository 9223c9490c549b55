"""Who may: logins, sessions, proxies, roles, and requests that another page sends."""

from __future__ import annotations

import base64
import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from shedder.errors import InvalidInput
from shedder.web.access import allow, check_origin, visitor_of
from shedder.web.app import ControlRoom, routes
from shedder.web.http import Refusal, WebRequest
from shedder.web.login import COOKIE, MOST_FAILURES, FailedLogins, Session, session_cookie, session_in
from shedder.web.site import STRANGER, SiteSettings, Visitor
from tests.web.asking import OURS, TOKEN, cookies_of, get, header, log_in, post, text

if TYPE_CHECKING:
    from redis import Redis

VIEWERS = "another token, for viewers"


@pytest.fixture
def site(redis: Redis) -> ControlRoom:
    """Pages with a login by token."""
    return ControlRoom(redis, SiteSettings(allow_actions=True, tokens={TOKEN: "operator", VIEWERS: "viewer"}))


def visitor(site: ControlRoom, **asked: Any) -> Visitor:
    return visitor_of(site, WebRequest("GET", "/", **asked))


@pytest.mark.parametrize(
    "decided",
    [
        {"allow_actions": True},
        {"tokens": {"short": "operator"}},
        {"tokens": {TOKEN: "admin"}},
        {"behind_proxy": "X-Forwarded-User"},
        {"trusted": ("127.0.0.1",)},
        {"behind_proxy": "X-Forwarded-User", "trusted": ("proxy.example",)},
    ],
)
def test_settings_that_leave_open_who_may_are_refused(decided: dict[str, Any]) -> None:
    """Settings with which nobody would know who acts are refused, in a sentence without the token."""
    with pytest.raises(InvalidInput) as refused:
        SiteSettings(**decided)
    assert "short" not in str(refused.value).replace("shorter", "")


def test_without_a_login_everybody_here_looks_and_nobody_acts(redis: Redis) -> None:
    """Pages without a login show themselves to this machine and change nothing."""
    site = ControlRoom(redis)
    found = visitor(site, headers={"host": "127.0.0.1:9728"})
    assert (True, False) == (found.may_look, found.may_act)
    with pytest.raises(Refusal, match="only show") as refused:
        allow(site, found, "pause", ["mail"])
    assert 403 == refused.value.status


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9728", "127.0.0.1.evil.example", "10.0.0.1:9728", ""])
def test_a_name_that_leads_here_reads_nothing(redis: Redis, host: str) -> None:
    """Without a login a page whose name was made to lead to this machine gets no answer."""
    assert 403 == get(ControlRoom(redis), "/live", headers={"host": host}).status


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1:9728", "[::1]:9728", "[::1]", "LOCALHOST"])
def test_names_of_this_machine_are_served(redis: Redis, host: str) -> None:
    """Without a login the names of this machine are served."""
    assert visitor(ControlRoom(redis), headers={"host": host}).may_look


def test_a_login_gives_a_session(site: ControlRoom) -> None:
    """Whoever has a token logs in, acts by the name that they said, and goes on where they wanted to."""
    answer = log_in(site)
    assert (303, "/journal?n=5") == (answer.status, header(answer, "Location"))
    found = visitor(site, cookies=cookies_of(answer))
    assert ("ana@desk", True, "operator") == (found.name, found.may_act, found.role)


def test_a_session_is_for_this_site_alone(site: ControlRoom) -> None:
    """Scripts cannot read a session, other pages cannot use it, and over TLS it never goes out in clear."""
    said = header(log_in(site, base="/shedder", is_secure=True), "Set-Cookie")
    for part in ("; HttpOnly", "; SameSite=Lax", "; Secure", "; Path=/shedder;", "; Max-Age=43200"):
        assert part in said
    assert "; Secure" not in header(log_in(site), "Set-Cookie")


def test_a_viewer_looks(site: ControlRoom) -> None:
    """A viewer's token lets look and not act, and the refusal says what is missing."""
    found = visitor(site, cookies=cookies_of(log_in(site, token=VIEWERS)))
    assert (True, False) == (found.may_look, found.may_act)
    with pytest.raises(Refusal, match=r"ana@desk may look and not act \(role viewer\)"):
        allow(site, found, "pause", ["mail"])


def test_sessions_that_were_changed_are_none(site: ControlRoom) -> None:
    """Each changed letter of a session, another role and another name included, ends it."""
    value = cookies_of(log_in(site, token=VIEWERS))[COOKIE]
    said, _, signature = value.partition(".")
    name, _, ends = json.loads(base64.urlsafe_b64decode(said))
    promoted = base64.urlsafe_b64encode(json.dumps([name, "operator", ends]).encode()).decode()
    changed = [f"{promoted}.{signature}", said, f"{said}.", f".{signature}", "", ".", "\udcff.é", f"{said}.{'0' * 64}"]
    changed += [value[:at] + chr(ord(value[at]) ^ 1) + value[at + 1 :] for at in range(0, len(value), 7)]
    for each in changed:
        assert STRANGER == visitor(site, cookies={COOKIE: each}), each


def test_a_token_of_viewers_signs_no_operator() -> None:
    """Where only viewers have a token, whoever has it can make a session; one of an operator is none."""
    tokens, request = {TOKEN: "viewer"}, WebRequest("GET", "/")
    ends = time.time() + 60
    made = {
        role: session_cookie(tokens, Session("ana@desk", role, ends), request)[1].partition(";")[0].split("=", 1)[1]
        for role in ("viewer", "operator")
    }
    seen = {role: session_in(tokens, WebRequest("GET", "/", cookies={COOKIE: made[role]})) for role in made}
    assert {"viewer": Session("ana@desk", "viewer", ends), "operator": None} == seen


def test_a_session_ends(site: ControlRoom) -> None:
    """A session that has ended is none, and one of other tokens neither."""
    tokens, request = site.settings.tokens, WebRequest("GET", "/")
    over = session_cookie(tokens, Session("ana@desk", "operator", 1.0), request)[1].partition(";")[0].split("=", 1)[1]
    assert None is session_in(tokens, WebRequest("GET", "/", cookies={COOKIE: over}))
    mine = cookies_of(log_in(site))
    assert None is not session_in(tokens, WebRequest("GET", "/", cookies=mine))
    assert None is session_in({TOKEN: "operator"}, WebRequest("GET", "/", cookies=mine))


def test_a_log_out_ends_it_in_the_browser(site: ControlRoom) -> None:
    """After a log-out the browser has no session."""
    answer = post(site, "/logout", {})
    assert (303, "/login") == (answer.status, header(answer, "Location"))
    assert header(answer, "Set-Cookie").startswith(f"{COOKIE}=; Path=/; Max-Age=0")


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nX: y", ""])
def test_a_login_leads_to_our_pages_only(site: ControlRoom, target: str) -> None:
    """After a login nobody lands on the page of another site."""
    answer = post(site, "/login", {"name": "ana@desk", "token": TOKEN, "next": target})
    assert (303, "/") == (answer.status, header(answer, "Location"))


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "ana\n", "an\u202ea", "a\x00"])
def test_a_name_is_one_that_can_be_read(site: ControlRoom, name: str) -> None:
    """Without a name that can be seen nobody is logged in."""
    answer = log_in(site, name=name.strip(" ") if name == " " else name)
    assert (name == "ana\n") == (answer.status == 303)


def test_wrong_tokens_are_limited(site: ControlRoom) -> None:
    """After some wrong tokens the right one is refused too, from this address and no other."""
    for _ in range(MOST_FAILURES):
        assert 403 == log_in(site, token="wrong token, long enough", client="203.0.113.9").status
    answer = log_in(site, client="203.0.113.9")
    assert 429 == answer.status
    assert "Too many wrong tokens" in text(answer)
    assert 303 == log_in(site, client="203.0.113.10").status


def test_failures_are_forgotten(site: ControlRoom) -> None:
    """The limit ends with time, counts a network of IPv6 as one address, and keeps no more than it must."""
    now = [0.0]
    failed = FailedLogins(lambda: now[0])
    for host in range(MOST_FAILURES):
        failed.note(f"2001:db8::{host:x}")
    assert 300.0 == failed.seconds_left("2001:db8::ffff")
    assert 0.0 == failed.seconds_left("2001:db8:0:1::1")
    now[0] = 299.0
    assert 1.0 == failed.seconds_left("2001:db8::ffff")
    now[0] = 300.0
    assert 0.0 == failed.seconds_left("2001:db8::ffff")
    for number in range(10_050):
        failed.note(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert 10_000 == len(failed._failures)


def test_strangers_are_sent_to_the_login(site: ControlRoom) -> None:
    """Whoever is not logged in gets the login and then the page that they wanted; what polls gets 401."""
    answer = get(site, "/live/", query={"a": ("1", "2")})
    assert 404 == answer.status
    page = next(each for each in routes() if not each.is_open and each.pattern == "/live")
    assert "GET" == page.method
    assert 401 == get(site, "/live", query={"page": ("/",)}).status


PROXY = SiteSettings(allow_actions=True, behind_proxy="X-Forwarded-User", trusted=("127.0.0.1", "10.0.0.0/8"))


def test_a_proxy_says_who_it_is(redis: Redis) -> None:
    """The header of a trusted proxy names who is logged in; without it nobody is."""
    site = ControlRoom(redis, PROXY)
    found = visitor(site, client="10.1.2.3", headers={"x-forwarded-user": "ana@desk"})
    assert ("ana@desk", True) == (found.name, found.may_act)
    assert STRANGER == visitor(site, client="127.0.0.1")


@pytest.mark.parametrize(
    ("client", "name"),
    [("203.0.113.9", "ana@desk"), ("", "ana@desk"), ("127.0.0.1", "ana@desk, mallory"), ("127.0.0.1", "a\u202eb")],
)
def test_others_do_not_say_who_it_is(redis: Redis, client: str, name: str) -> None:
    """The header of anybody else, and one that names two users, is refused."""
    with pytest.raises(Refusal) as refused:
        visitor(ControlRoom(redis, PROXY), client=client, headers={"x-forwarded-user": name})
    assert 403 == refused.value.status


def test_the_host_says_who_it_is(redis: Redis) -> None:
    """The application's user acts, if named among the operators; who is nobody there sees nothing."""
    site = ControlRoom(redis, SiteSettings(allow_actions=True, is_hosted=True, operators=("ana@desk",)))
    assert visitor(site, user="ana@desk").may_act
    assert (True, False) == (visitor(site, user="bob@desk").may_look, visitor(site, user="bob@desk").may_act)
    assert STRANGER == visitor(site)
    assert 401 == get(site, "/live").status


def test_may_decides_for_each_lane(redis: Redis) -> None:
    """`may` is asked for the user, the verb and each lane; one refusal refuses all."""
    asked = []

    def may(user: str, verb: str, lane: str) -> bool:
        asked.append((user, verb, lane))
        return lane != "pay"

    site = ControlRoom(redis, SiteSettings(allow_actions=True, is_hosted=True, may=may))
    ana = visitor(site, user="ana@desk")
    allow(site, ana, "pause", ["mail"])
    allow(site, ana, "flag degrade")
    with pytest.raises(Refusal, match="ana@desk may not do this: pause pay"):
        allow(site, ana, "pause", ["mail", "pay"])
    first = [("ana@desk", "pause", "mail"), ("ana@desk", "flag degrade", "")]
    assert [*first, ("ana@desk", "pause", "mail"), ("ana@desk", "pause", "pay")] == asked


HOST = {"host": "shop.example:9728"}


@pytest.mark.parametrize(
    ("headers", "is_ours"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "http://shop.example:9728"}, False),
        ({"sec-fetch-site": ""}, False),
        ({"origin": "http://shop.example:9728"}, True),
        ({"origin": "https://shop.example:9728"}, True),
        ({"origin": "http://shop.example"}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "http://shop.example:9728@evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({}, False),
    ],
)
def test_only_our_own_pages_send_forms(site: ControlRoom, headers: dict[str, str], is_ours: bool) -> None:
    """What another page sends is refused, and so is what does not say which page sent it."""
    request = WebRequest("POST", "/login", headers={**HOST, **headers})
    if is_ours:
        check_origin(request)
    else:
        with pytest.raises(Refusal, match="nothing was changed"):
            check_origin(request)
    assert is_ours == (303 == log_in(site, headers={**HOST, **headers}).status)


def test_each_route_that_changes_something_is_checked(site: ControlRoom) -> None:
    """Every route of POST refuses another page's form, before anything else."""
    for route in routes():
        if route.method == "POST":
            path = re.sub(r"\(\?P<act>.*?\)", "pause", route.pattern)
            refused = post(site, path, {}, headers={**HOST, "sec-fetch-site": "cross-site"})
            assert (403, True) == (refused.status, "Another page sent this" in text(refused)), path


def test_no_page_and_no_error_has_the_token(site: ControlRoom, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a page nor a log nor what the settings look like has a token."""
    answers = [log_in(site), log_in(site, token=TOKEN + "x"), get(site, "/login"), get(site, "/nothing")]
    answers.append(post(site, "/login", {"name": "", "token": TOKEN}))
    answers.append(post(site, "/login", {"name": "ana", "token": TOKEN}, headers={**OURS, "sec-fetch-site": "x"}))
    told = [text(each) + str(each.headers) for each in answers] + [repr(site.settings), caplog.text]
    assert not [each for each in told if TOKEN in each]
