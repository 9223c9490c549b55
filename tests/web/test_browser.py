"""Stories in a real browser: what people do with the pages, and what they see meanwhile."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from shedder.rq import SimpleWorker
from tests.features.scene import Scene, numbered
from tests.jobs import ended
from tests.waiting import wait_until
from tests.web.people import THUMB, People, act_on, confirm, needs_chromium, out_of_sight, overhang, thumbs
from tests.workers import Yard

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Locator, Page

    from shedder.embedded import EmbeddedServer
    from tests.conftest import ServerFactory
    from tests.web.people import Room

pytestmark = needs_chromium

SLOW, FAST = "1/minute", "1000/second"
JOBS = 20


def lane(page: Page, name: str) -> Locator:
    """The lane as the first page shows it."""
    return page.locator(f'tbody.lane[data-name="{name}"]')


def paused(scene: Scene) -> dict[str, str]:
    """By lane, who paused it."""
    return {each.lane: each.pause.by for each in scene.shedder.status().lanes if each.pause}


def would(page: Page) -> Locator:
    """What a preview says."""
    return page.get_by_role("region", name="What it would do")


def is_same_page(page: Page) -> bool:
    """Whether the page was not loaded anew since `window.mine` was set."""
    return bool(page.evaluate("window.mine === 1"))


def test_pause_and_undo_from_a_phone(people: People, scene: Scene) -> None:
    """With one thumb a lane is paused for a reason and, from the receipt, the pause is undone; without scrolling."""
    scene.fill("mail", *numbered("job", 3))
    for name in numbered("other", 6):  # so that the verdict is long
        scene.fill(name, f"of-{name}")
    scene.shedder.pause("orders", reason="database at 99 %", by="bob@desk")
    scene.shedder.resume("orders", reason="it is fine again", by="bob@desk")
    scene.shedder.incidents.open("Mails are late, and all customers call about it", severity=2)
    page = people.open(is_phone=True)
    at_hand = page.locator(".at-hand")
    pause, undo = (at_hand.get_by_role("link", name=name) for name in ("Pause mail", "Undo"))
    note = page.get_by_role("form", name="Note")
    verdict = page.locator(".verdict .sentence")
    assert ([], []) == (out_of_sight(page, verdict, pause, undo, note.get_by_role("button")), too_small(page))
    assert [THUMB + 1] == thumbs(page, ".incident")
    pause.tap()
    assert [] == out_of_sight(page, page.get_by_role("button", name="Show what it would do"))
    page.get_by_label("Why").fill("database at 99 %")
    page.get_by_role("button", name="Show what it would do").tap()
    expect(would(page)).to_contain_text("3 jobs wait and stay")
    assert ({}, 0, []) == (paused(scene), overhang(page), too_small(page))
    confirming, leaving = page.locator("form.confirm button"), page.get_by_role("link", name="Leave it")
    assert ([], []) == (out_of_sight(page, confirming, leaving), hidden_when_focused(page))
    confirming.tap()
    expect(page.get_by_role("heading", level=1)).to_contain_text("mail.normal is paused")
    assert ({"mail": "ana@desk"}, 0, []) == (paused(scene), overhang(page), too_small(page))
    assert [] == out_of_sight(page, page.get_by_role("link", name="Undo"))
    assert "database at 99 %" == scene.shedder.events()[-1].why
    page.get_by_role("link", name="Undo").tap()
    act_on(page, reason="the wrong lane")
    assert {} == paused(scene)


def hidden_when_focused(page: Page) -> list[str]:
    """What the keyboard comes to, forth and back, and what stands at the foot of the screen then hides."""
    found = []
    for key in ("Tab", "Shift+Tab"):
        for _ in range(page.locator("a[href], button, input:not([type=hidden])").count()):
            page.keyboard.press(key)
            if page.evaluate("document.activeElement !== document.body"):
                found += out_of_sight(page, page.locator(":focus"))
    return found


def too_small(page: Page) -> list[float]:
    """The heights of what a thumb would miss."""
    return [each for each in thumbs(page, "main button, main a.button") if each < THUMB]


def test_divert_a_tenant_while_somebody_else_acts(people: People, scene: Scene) -> None:
    """A divert by tenant shows its count; after somebody else's change it is refused, and previewed anew."""
    scene.fill("mail", "a-1", "a-2", tenant="acme")
    scene.fill("mail", "b-1", tenant="other")
    page = people.open(path="/act/divert?target=mail")
    page.get_by_label("meta", exact=False).fill("tenant=acme")
    page.get_by_label("Why").fill("acme floods")
    page.get_by_role("button", name="Show what it would do").click()
    expect(would(page)).to_contain_text("2 ")
    scene.shedder.pause("mail", reason="in between", by="bob@desk")
    page.locator("form.confirm button").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_role("note", name="Changes by others")).to_contain_text("bob@desk")
    assert ([], ["pause"]) == (scene.backlog("mail"), scene.verbs())
    confirm(page)
    assert (["a-1", "a-2"], ["b-1"]) == (scene.backlog("mail"), scene.waiting("mail"))
    people.forgive("status of 409")


def test_a_drain_is_watched_to_its_end(people: People, scene: Scene, server: EmbeddedServer, tmp_path: Path) -> None:
    """A drain that is too slow gets another rate, and the page shows its end without being loaded anew."""
    marks = tmp_path / "marks"
    jobs = [scene.ours("mail").enqueue("tests.jobs.mark_own", str(marks)).id for _ in range(JOBS)]
    scene.shedder.divert("mail", reason="full")
    page = people.open(path="/drains")
    page.get_by_label("Rate").fill(SLOW)
    page.get_by_role("button", name="Drain").click()
    act_on(page, reason="it is fine again")
    page.goto(f"{people.url}/drains")
    page.evaluate("window.mine = 1")
    with Yard(server, tmp_path) as yard:
        yard.start("mail", worker_class=SimpleWorker)
        expect(page.get_by_role("article", name="mail")).not_to_contain_text("No worker serves")
        other = people.open("bob@desk", "/drains")
        type_while_it_moves(other, FAST)
        other.get_by_role("button", name="Change").press("Enter")
        act_on(other, reason="faster")
        expect(page.get_by_text("Nothing is diverted, drains or comes back.")).to_be_visible()
        wait_until(lambda: sorted(jobs) == sorted(ended(marks)))
    assert is_same_page(page)


def type_while_it_moves(page: Page, rate: str) -> None:
    """Type a rate; while one types the drain stands still, then it moves on, and what was typed stays."""
    box, article = page.get_by_label("New rate"), page.get_by_role("article", name="mail")
    box.fill(rate)
    article.evaluate("each => { each.title = 'before'; }")
    box.press("Tab")
    expect(article).not_to_have_attribute("title", "before")
    expect(box).to_have_value(rate)
    expect(page.get_by_role("button", name="Change")).to_be_focused()


def test_two_operators_are_told_of_each_other(people: People, scene: Scene) -> None:
    """Each sees the other's pause at once, is told of it before an act, and can undo it from the journal."""
    scene.fill("mail", "job")
    ana, bob = people.open("ana@desk"), people.open("bob@desk")
    lane(bob, "mail").get_by_role("link", name="Pause").click()
    act_on(bob, reason="full")
    expect(lane(ana, "mail")).to_contain_text("by bob@desk")
    lane(ana, "mail").get_by_role("link", name="Resume").click()
    ana.get_by_role("button", name="Show what it would do").click()
    expect(ana.get_by_role("note", name="Changes by others")).to_contain_text("bob@desk")
    ana.goto(f"{people.url}/journal")
    ana.get_by_role("link", name="Undo").click()
    act_on(ana, reason="it was the wrong lane")
    assert {} == paused(scene)
    bob.goto(people.url)
    expect(bob.get_by_role("list").filter(has_text="it was the wrong lane")).to_contain_text("ana@desk")


def test_redis_goes_away_and_comes_back(
    people: People, room: tuple[Room, str], server_factory: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An open page says in words since when it is not fresh, keeps what it shows, and goes on by itself."""
    monkeypatch.setattr("shedder.web.reading.PATIENCE_SECONDS", 1.5)
    own = server_factory()
    with own.client() as client:
        scene = Scene(client)
        scene.fill("mail", "job")
        room[0].show(client)
        page = people.open()
        page.evaluate("window.mine = 1")
        fresh = page.locator("#fresh")
        expect(fresh).to_be_empty()
        own.kill()
        expect(fresh).to_contain_text(re.compile(r"Not fresh since \d\d:\d\d:\d\d UTC: last answer \d\d:\d\d:\d\d UTC"))
        expect(fresh).to_contain_text("cannot be reached")
        expect(lane(page, "mail")).to_be_visible()
        own.restart()
        expect(fresh).to_be_empty()
        scene.fill("orders", "job")
        expect(lane(page, "orders")).to_be_attached()
        assert is_same_page(page)


def test_a_page_whose_host_ends_says_so(people: People, scene: Scene) -> None:
    """When nothing answers any more, the page says so within seconds, and when it heard last."""
    page = people.open()
    expect(page.locator("#fresh")).to_be_empty()
    page.route("**/live**", lambda route: route.abort())
    page.reload()  # else what flows already goes on to flow
    page.evaluate("heard => { const real = Date.now; Date.now = () => real() + heard; }", 60_000)
    expect(page.locator("#fresh")).to_contain_text(re.compile(r"Not fresh: last answer \d\d:\d\d:\d\d UTC"))
    people.forgive("ERR_|Failed to load")


def test_acts_without_a_script(people: People, scene: Scene) -> None:
    """Without JavaScript a lane is paused and the pause undone; the page says nothing of a script."""
    scene.fill("mail", "job")
    page = people.open(java_script_enabled=False)
    lane(page, "mail").get_by_role("link", name="Pause").click()
    act_on(page, reason="full")
    assert {"mail": "ana@desk"} == paused(scene)
    page.get_by_role("link", name="Undo").click()
    act_on(page, reason="the wrong lane")
    assert {} == paused(scene)


def test_a_viewer_is_told_what_is_missing(people: People, room: tuple[Room, str], scene: Scene) -> None:
    """Who may only look sees no buttons, and a form that is sent all the same says what is missing."""
    room[0].show(scene.redis, operators=("ana@desk",))
    scene.fill("mail", "job")
    page = people.open("eve@desk")
    expect(page.get_by_text("(looks only)")).to_be_visible()
    assert 0 == page.locator("a[href*='/act/']").count()
    page.goto(f"{people.url}/act/pause?target=mail")
    page.get_by_role("button", name="Show what it would do").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("eve@desk may look and not act (role viewer).")
    expect(page.get_by_text("Ask an operator to do it.")).to_be_visible()
    people.forgive("status of 403")


def test_keys(people: People, scene: Scene) -> None:
    """`/` finds a lane, `j` and `p` pause it, `?` shows the keys; what is typed into a box is text."""
    scene.fill("mail", "job")
    scene.fill("orders", "job")
    page = people.open()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Find a lane")).to_be_focused()
    page.keyboard.type("?p")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("ord")
    expect(lane(page, "mail")).to_be_hidden()
    expect(lane(page, "orders")).to_be_visible()
    page.get_by_role("searchbox", name="Find a lane").blur()
    page.keyboard.press("j")
    page.keyboard.press("p")
    expect(page).to_have_url(re.compile(r"/act/pause\?target=orders"))


@pytest.mark.parametrize("way", ["stream", "poll", "old"])
def test_a_page_is_live(people: People, scene: Scene, way: str) -> None:
    """An open page shows what happens without being loaded anew: by a stream, and by asking where none passes."""
    context = people.browser_of("ana@desk")
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    if way == "poll":
        context.route(re.compile(r"/live\?(?!.*once=1)"), lambda route: route.abort())
    if way == "old":
        context.add_init_script("delete window.EventSource")
    page = context.new_page()
    page.goto(people.url)
    page.evaluate("window.mine = 1")
    scene.fill("mail", "job")
    expect(lane(page, "mail")).to_be_attached()
    scene.shedder.pause("mail", reason="full", by="bob@desk")
    expect(lane(page, "mail")).to_contain_text("bob@desk")
    assert is_same_page(page)
    assert (way != "stream") == any("once=1" in each for each in asked)
    people.forgive("ERR_FAILED")


def test_the_tab_says_where_trouble_is(people: People, scene: Scene) -> None:
    """In a row of tabs the sign of the verdict stands before the name, and changes with it."""
    page = people.open()
    expect(page).to_have_title(re.compile(r"^\? Lanes · "))
    scene.fill("mail", "job")
    expect(page).to_have_title(re.compile(r"^!! Lanes · "))


def test_what_is_folded_stays_so(people: People, scene: Scene) -> None:
    """A part that is replaced keeps what was folded, and the focus."""
    scene.fill("mail", "job")
    scene.run_all("mail")
    page = people.open()
    quiet = page.locator("#quiet")
    was_open = quiet.evaluate("each => each.open")
    quiet.locator("summary").press("Enter")
    quiet.evaluate("each => { each.title = 'before'; }")
    scene.fill("mail", "another")
    scene.run_all("mail")
    scene.redis.sadd("rq:queues", "rq:queue:orders")
    expect(quiet).not_to_have_attribute("title", "before")
    assert was_open != quiet.evaluate("each => each.open")
    expect(quiet.locator("summary")).to_be_focused()
