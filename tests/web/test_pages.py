"""Each page through `ControlRoom.handle`: what it shows, what it costs, and that names are data in it."""

from __future__ import annotations

import gzip
import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from benchmarks.gauges import sent_by_us
from benchmarks.load import Load, fill
from shedder import Rate, Selection
from shedder.errors import RedisUnreachable
from shedder.web.app import ControlRoom
from shedder.web.http import WebRequest
from shedder.web.pages import STALE_LOOKED_AT
from shedder.web.site import SiteSettings
from shedder.web.words import LONGEST, plain_text, prose
from tests.features.scene import Scene

if TYPE_CHECKING:
    from redis import Redis

OPERATOR = SiteSettings(allow_actions=True, is_hosted=True)

PATHS = ("/", "/lane/mail", "/drains", "/work", "/work?of=mail", "/journal", "/settings", "/breakdown/mail?by=function")

MOST_BYTES = 50_000

WORK_LOOKS = 4 * STALE_LOOKED_AT
"""What the page of work asks about so many lanes at most: whether it is a queue, how much, what, how old."""

MEGABYTE = "m" * 1_000_000
BIDI = "abc\u202egnp.exe\u2066"
HTML = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>"
HALF = "half \ud800 of it"


def get(site: ControlRoom, address: str, *, is_live: bool = False, user: str | None = "ana@desk") -> str:
    path, _, query = address.partition("?")
    asked = {name: (value,) for name, _, value in (each.partition("=") for each in query.split("&")) if name}
    answer = site.handle(WebRequest("GET", path, query=asked, user=user, is_live=is_live))
    if is_live:
        return "\n".join(answer.parts.values())
    assert 200 == answer.status, answer.body
    return answer.body.decode()


@pytest.fixture
def site(redis: Redis) -> ControlRoom:
    return ControlRoom(redis, OPERATOR)


@pytest.mark.parametrize("address", PATHS)
def test_each_page_stands_on_a_server_with_work_and_decisions(scene: Scene, address: str) -> None:
    """With a title, the way to all other pages, and the place in sight."""
    scene.fill("mail", "a", "b", "c")
    scene.fill("reports", "r")
    scene.shedder.pause("mail", reason="database", expires_in=timedelta(hours=1))
    scene.shedder.divert("reports", reason="room")
    scene.shedder.drain("reports", rate=Rate.parse("5/second"), reason="calm")
    text = get(ControlRoom(scene.redis, OPERATOR), address)
    assert 1 == text.count("<h1")
    assert [] == [
        each for each in ("/drains", "/work", "/journal", "/settings", "/incident") if f'"{each}"' not in text
    ]


def test_pages_stand_on_an_empty_server(site: ControlRoom) -> None:
    """Nothing is known, and nothing is said to be fine."""
    for address in ("/", "/drains", "/work", "/journal", "/settings"):
        assert "<h1" in get(site, address)
    assert "nothing is known" in get(site, "/")


def test_who_held_a_lane_back_and_why_stands_at_it(scene: Scene) -> None:
    """With the button that ends it; a name is apart from the text around it."""
    scene.fill("mail", "a")
    scene.shedder.pause("mail", reason="database at 99 %", by="ben@desk")
    text = get(ControlRoom(scene.redis, OPERATOR), "/")
    assert "<bdi>ben@desk</bdi>" in text
    assert "database at 99 %" in text
    assert "/act/resume?target=mail.normal" in text


def test_who_may_only_look_sees_no_button(scene: Scene) -> None:
    """Also where the host says who is there, and in the bar of an incident."""
    scene.fill("mail", "a")
    scene.shedder.incidents.open("Mails late", severity=2)
    text = get(ControlRoom(scene.redis, SiteSettings(is_hosted=True)), "/")
    assert ("Mails late" in text, "/act/" in text) == (True, False)


def test_an_open_incident_stands_on_each_page(scene: Scene) -> None:
    """Severity, commander, the next update, and a box for a note."""
    scene.fill("mail", "a")
    scene.shedder.incidents.open("Mails late", severity=2, commander="ana@desk")
    site = ControlRoom(scene.redis, OPERATOR)
    for address in PATHS:
        text = get(site, address)
        assert [] == [
            each for each in ("SEV2", "Mails late", "next update in", 'action="/act/note"') if each not in text
        ]


def test_a_lane_that_nobody_knows_is_not_found(site: ControlRoom) -> None:
    """The name is shown as data."""
    answer = site.handle(WebRequest("GET", "/lane/<b>x</b>", user="ana@desk"))
    assert (404, False) == (answer.status, b"<b>x</b>" in answer.body)


@pytest.mark.parametrize("span", ["10m", "1h", "3d", "14d"])
def test_a_lane_is_drawn_over_each_time_with_what_was_done(scene: Scene, span: str) -> None:
    """From samples; a change takes one."""
    scene.fill("mail", "a")
    scene.shedder.pause("mail", reason="database")
    text = get(ControlRoom(scene.redis, OPERATOR), f"/lane/mail?span={span}")
    assert (3, True) == (text.count('class="chart"'), 'class="mark"' in text)


def test_a_drain_can_be_changed_and_stopped_where_its_progress_stands(scene: Scene) -> None:
    """Its rate is a field, and what is left is told."""
    scene.fill("mail", "a", "b")
    scene.shedder.divert("mail", reason="room")
    scene.shedder.drain("mail", rate=Rate.parse("5/second"), reason="calm")
    text = get(ControlRoom(scene.redis, OPERATOR), "/drains")
    assert [] == [each for each in ('value="5/second"', "/act/stop-drain", "expected end") if each not in text]


def test_an_event_has_its_way_back_until_it_is_undone(scene: Scene) -> None:
    """Then the line says so."""
    scene.fill("mail", "a")
    event = scene.shedder.pause("mail", reason="database").event
    before = get(ControlRoom(scene.redis, OPERATOR), "/journal")
    scene.shedder.undo(event, reason="wrong queue")
    after = get(ControlRoom(scene.redis, OPERATOR), "/journal")
    assert (True, False) == (f"/act/undo?event={event}" in before, f"/act/undo?event={event}" in after)
    assert "undone since" in after


def test_what_is_done_first_is_at_hand(scene: Scene) -> None:
    """The pause of the lane in trouble, of any once it is paused; and the way back, of one's own change if there is."""
    scene.fill("mail", "a")
    event = scene.shedder.divert("reports", reason="room", by="ana@desk").event
    before = at_hand(scene)
    last = scene.shedder.pause("mail", reason="database", by="bob@desk").event
    assert ["/act/pause?target=mail.normal", f"/act/undo?event={event}"] == before
    assert ["/act/pause", f"/act/undo?event={event}"] == at_hand(scene)
    assert ["/act/pause", f"/act/undo?event={last}"] == at_hand(scene, user="cho@desk")


def at_hand(scene: Scene, *, user: str = "ana@desk") -> list[str]:
    """Where the buttons lead that are at hand on the first page."""
    text = get(ControlRoom(scene.redis, OPERATOR), "/", user=user)
    return re.findall(r'href="([^"]+)"', text[text.index("at-hand") :].partition("</p>")[0])


def test_a_breakdown_is_made_on_request_alone(scene: Scene) -> None:
    """A share for each function; the page without a question looks at no job."""
    scene.fill("mail", "a", "b", function="app.mail.send")
    site = ControlRoom(scene.redis, OPERATOR)
    asked, idle = get(site, "/breakdown/mail?by=function"), get(site, "/breakdown/mail")
    assert ("app.mail.send" in asked, "app.mail.send" in idle) == (True, False)


def test_arguments_of_jobs_are_on_no_page(scene: Scene) -> None:
    """They may hold what no dashboard should show."""
    for number in range(3):
        scene.ours("mail").enqueue("app.mail.send", f"secret-{number}", card="4111-secret")
    site = ControlRoom(scene.redis, OPERATOR)
    assert [] == [address for address in PATHS if "secret" in get(site, address)]


@pytest.mark.parametrize("address", ["/", "/lane/mail", "/drains", "/work", "/journal", "/settings"])
def test_a_page_costs_the_same_at_every_length(redis: Redis, address: str) -> None:
    """The commands that it sends do not grow with the jobs."""
    assert commands_at(redis, address, jobs=1) == commands_at(redis, address, jobs=2000)


def test_a_page_costs_the_same_with_many_queues(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a page sends besides the reading that all share does not grow with the lanes, nor with those set aside."""
    monkeypatch.setattr("shedder.web.reading.GOOD_FOR_SECONDS", 3600.0)
    scene.fill("mail", "job")
    few = commands_beside(scene)
    for number in range(50):
        scene.redis.sadd("rq:queues", f"rq:queue:queue-{number}")
        scene.redis.rpush(scene.keys.stale(f"queue-{number}"), "old")
    many = commands_beside(scene)
    assert few | {"/work": few["/work"] + WORK_LOOKS} == many


def commands_beside(scene: Scene) -> dict[str, int]:
    """What each page sends once the reading that all share was taken."""
    site, sent = ControlRoom(scene.redis, OPERATOR), {}
    for address in ("/", "/lane/mail", "/drains", "/work", "/journal", "/settings", "/incident", "/plan"):
        get(site, address)  # scripts and the reading are known afterwards
        with sent_by_us() as counted:
            get(site, address)
        sent[address] = counted.total
    return sent


def commands_at(redis: Redis, address: str, *, jobs: int) -> int:
    """What a page sends where so many jobs wait."""
    fill(redis, Load(jobs))
    get(ControlRoom(redis, OPERATOR), address)  # scripts are known afterwards
    with sent_by_us() as counted:
        get(ControlRoom(redis, OPERATOR), address)
    return counted.total


@pytest.mark.parametrize("address", ["/breakdown/mail?by=function", "/work?of=mail"])
def test_an_open_page_looks_at_no_jobs_again(redis: Redis, address: str) -> None:
    """What a person asked for once is not read each second; what moves comes from the shared reading alone."""
    fill(redis, Load(10))
    site = ControlRoom(redis, OPERATOR)
    site.read()
    with sent_by_us() as counted:
        get(site, address, is_live=True)
    assert 0 == counted.total


def test_a_hundred_pages_cost_what_one_costs(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """What moves is of one reading, and one reading is good for all that ask meanwhile."""
    fill(redis, Load(10))
    monkeypatch.setattr("shedder.web.reading.GOOD_FOR_SECONDS", 3600.0)
    site = ControlRoom(redis, OPERATOR)
    for address in ("/", "/drains", "/lane/mail"):
        get(site, address, is_live=True)
    with sent_by_us() as counted:
        for _ in range(100):
            for address in ("/", "/drains", "/lane/mail"):
                get(site, address, is_live=True)
    assert 0 == counted.total


def test_a_page_of_fifty_queues_is_small(scene: Scene) -> None:
    """Within 50 kB, whatever waits: half of the queues are held back, and each stands with who and why."""
    for number in range(50):
        scene.fill(f"queue-{number}", f"job-{number}")
        scene.fill(f"queue-{number}.low", f"low-{number}")
    scene.shedder.pause(*(f"queue-{number}" for number in range(25)), reason="the database is at 99 %")
    text = get(ControlRoom(scene.redis, OPERATOR), "/")
    assert 50 == sum(f'data-name="queue-{number}"' in text for number in range(50))
    assert len(gzip.compress(text.encode())) <= MOST_BYTES


@pytest.mark.parametrize("name", [HTML, BIDI, HALF, MEGABYTE], ids=["html", "bidi", "half", "megabyte"])
def test_hostile_words_do_no_harm_on_any_page(scene: Scene, name: str) -> None:
    """As names of functions, tenants, flags and limits, as reasons, actors, titles and what is asked for."""
    short = "".join(each for each in name[:60] if each.isprintable())
    for job in ("a", "b"):
        scene.fill("mail", job, function=f"app.{short}", tenant=short)
    shedder = scene.shedder
    told = name if len(name) < 1000 else name[:60_000]
    shedder.pause("mail", reason=told, by=told[:200])
    shedder.divert("reports", reason=told, by=told[:200], selection=Selection())
    shedder.degrade_flag("flag", reason=told, force=True)
    shedder.set_limit("limit", Rate.parse("5/second"), reason=told, force=True)
    shedder.incidents.open(short, severity=2)
    site = ControlRoom(scene.redis, OPERATOR)
    asked = (f"/journal?lane={name}", f"/breakdown/mail?by=meta&meta={name[:2000]}", f"/lane/mail?span={name[:2000]}")
    for address in (*PATHS, *asked):
        text = get(site, address)
        assert [] == [each for each in ("<script>alert", "<img", "\u202e", "\u2066", "\ud800") if each in text]
        assert len(gzip.compress(text.encode())) <= MOST_BYTES


def test_names_are_bounded_and_spelled_out() -> None:
    """What cannot be seen is shown as its number; a long name says how long it is."""
    assert "abc\\u202egnp.exe\\u2066" == plain_text(BIDI)
    assert "half \\ud800 of it" == plain_text(HALF)
    assert plain_text(MEGABYTE).endswith("(1,000,000 characters)")
    assert len(plain_text(MEGABYTE)) < LONGEST + 40


def test_a_command_in_a_sentence_is_shown_as_what_one_types() -> None:
    """Names in it are escaped as everywhere."""
    assert "<bdi>run <code>shedder pause &lt;b&gt;</code>.</bdi>" == prose("run `shedder pause <b>`.")


def test_pages_have_neither_style_nor_script_of_their_own(scene: Scene) -> None:
    """The Content-Security-Policy allows none; nothing is loaded from elsewhere."""
    scene.fill("mail", "a")
    site = ControlRoom(scene.redis, OPERATOR)
    bad = re.compile(r"<style|style=|<script(?! src=\"/static/)|\son\w+=|(?:src|href)=\"(?:https?:)?//")
    assert [] == [(address, found) for address in PATHS if (found := bad.findall(get(site, address)))]


def test_what_moves_is_in_parts_that_the_page_names(scene: Scene) -> None:
    """Each part that is sent has its element."""
    scene.fill("mail", "a")
    site = ControlRoom(scene.redis, OPERATOR)
    for address in ("/", "/lane/mail", "/drains", "/journal", "/work"):
        answer = site.handle(WebRequest("GET", address, user="ana@desk", is_live=True))
        text = get(site, address)
        assert {"bar"} < answer.parts.keys()
        assert [] == [name for name in answer.parts if f'data-live="{name}"' not in text]


def test_pages_say_since_when_they_are_not_fresh(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read last is shown, with its time, and the verdict is as of then."""
    scene.fill("mail", "a")
    monkeypatch.setattr("shedder.web.reading.GOOD_FOR_SECONDS", 0.0)
    site = ControlRoom(scene.redis, OPERATOR)
    at = site.read().at.strftime("%H:%M:%S")
    monkeypatch.setattr("shedder.web.reading.read_all", _is_away)
    text = get(site, "/")
    assert f"Not fresh: last answer {at} UTC" in text
    assert f"as of {at}" in text


def _is_away(*_: object) -> None:
    raise RedisUnreachable("redis.internal:6379")
