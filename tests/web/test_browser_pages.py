"""Every page in a real browser: for all eyes, on all screens; and the pages in each host."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flask
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from starlette.applications import Starlette

import shedder.web
from shedder.policy.model import Policy, Rule, WebPolicy
from shedder.selection import Selection
from shedder.units import Rate
from shedder.web.app import routes
from tests.cli.programs import environment
from tests.features.scene import numbered
from tests.servers import patient
from tests.web.asking import TOKEN
from tests.web.beating import uvicorn_of, werkzeug_of
from tests.web.people import DESK, PHONE, People, act_on, named, needs_chromium, overhang
from tests.web.test_web import running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page
    from redis import Redis

    from shedder.embedded import EmbeddedServer
    from tests.features.scene import Scene

pytestmark = needs_chromium

PAGES = (
    "/", "/lane/mail", "/lane/orders?span=1h", "/drains", "/journal", "/settings", "/work", "/work?of=orders",
    "/breakdown/mail?by=function", "/incident", "/plan?pause=orders.normal&explain=yes", "/act/divert?target=mail",
    "/act/incident-update", "/nothing",
)  # fmt: skip
"""All pages that one can go to."""

AXE_OPTIONS = {"resultTypes": ["violations"], "preload": False}
AXE = Axe().axe_script


def play(scene: Scene) -> None:
    """Let there be something of everything that pages show."""
    shed = scene.shedder
    shed.policies.apply(policy(), reason="as it is")
    scene.fill("mail", *numbered("letter", 20), tenant="acme")
    scene.fill("orders", *numbered("order", 5))
    scene.fill("reports", *numbered("report", 5))
    scene.fill("quiet", "job")
    scene.run_all("quiet")
    scene.run_one("orders")
    shed.divert("mail", selection=Selection(meta=(("tenant", "acme"),)), reason="acme floods")
    shed.pause("orders", reason="database at 99 %", by="bob@desk", expires_in=timedelta(hours=5))
    shed.divert("reports", reason="later")
    shed.drain("reports", rate=Rate.parse("1/minute"), reason="it is fine again")
    shed.incidents.open("orders are late", severity=2)


def policy() -> Policy:
    return Policy(
        rules=(Rule(queue="orders", label="orders of customers", tolerance=timedelta(hours=1), shed=1),),
        web=WebPolicy(name="production", colour="red"),
    )


def faults(page: Page) -> list[str]:
    """What axe finds that keeps somebody from using a page, or makes it hard."""
    if page.evaluate("!window.axe"):
        page.evaluate(AXE)
    found = page.evaluate("options => axe.run(options)", AXE_OPTIONS)["violations"]
    return [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary']}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def faults_everywhere(page: Page) -> list[str]:
    """What is wrong with a page by day on a desk, and by night on a phone."""
    found = []
    for size, scheme in ((DESK, "light"), (PHONE, "dark")):
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        found += [f"{page.url} {size['width']} {scheme}: {each}" for each in faults(page)]
        if wide := overhang(page):
            found.append(f"{page.url} {size['width']}: {wide} pixels too wide")
    return found


def test_pages_are_for_everybody(people: People, scene: Scene) -> None:
    """No page has a serious fault for eyes, ears or hands, by day and night, nor is wider than a phone."""
    play(scene)
    page = people.open(reduced_motion="reduce")
    found = []
    for path in PAGES:
        page.goto(people.url + path)
        found += faults_everywhere(page)
    assert [] == found
    people.forgive("status of 404")


def test_acts_are_for_everybody(people: People, scene: Scene) -> None:
    """Neither has a preview with all that it can hold, nor a receipt."""
    play(scene)
    scene.shedder.pause("reports", reason="in between", by="bob@desk")
    page = people.open(path="/act/divert?target=orders&target=reports", reduced_motion="reduce")
    page.get_by_label("Why").fill("database at 99 %")
    page.get_by_role("button", name="Show what it would do").click()
    found = faults_everywhere(page)
    page.set_viewport_size(DESK)
    page.locator("form.confirm button").click()
    expect(page.get_by_role("region", name="The way back")).to_be_visible()
    assert [] == found + faults_everywhere(page)


def test_all_pages_are_tried() -> None:
    """A new page stands in `PAGES`."""
    tried = {page.partition("?")[0] for page in PAGES}
    others = ("/static/(?P<file>[\\w.-]+)", "/login", "/live")
    shown = [route.pattern for route in routes() if route.method == "GET" and route.pattern not in others]
    assert [] == [pattern for pattern in shown if not any(re.fullmatch(pattern, path) for path in tried)]


def test_strangers_are_let_in_by_a_token(chromium: Browser, scene: Scene, server: EmbeddedServer) -> None:
    """With `shedder web` one logs in with a token, comes to the page that was asked for, acts, and logs out."""
    scene.fill("mail", "job")
    with running(server, "--allow-actions", SHEDDER_WEB_TOKEN=TOKEN) as (url, _):
        people = People(chromium, url)
        page = people.open("", "/lane/mail")
        page.get_by_label("Your name").fill("ana@desk")
        page.get_by_label("Token").fill("a wrong one, long enough")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_have_text("This is not the token.")
        assert [] == faults_everywhere(page)
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Log in").click()
        expect(page).to_have_url(f"{url}/lane/mail")
        page.get_by_role("link", name="Pause").click()
        act_on(page, reason="full")
        assert ("pause", "ana@desk") == (scene.shedder.events()[-1].verb, scene.shedder.events()[-1].by)
        page.get_by_role("button", name="Log out").click()
        page.goto(url)
        expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
        people.forgive("status of 403")
        people.leave()
        assert [] == people.complaints


@contextmanager
def starlette_host(redis: Redis, _server: EmbeddedServer) -> Iterator[tuple[str, dict[str, Any]]]:
    application = Starlette()
    application.mount("/shedder", shedder.web.asgi(redis, user=named, allow_actions=True))
    with uvicorn_of(application) as url:
        yield url, {}


@contextmanager
def flask_host(redis: Redis, _server: EmbeddedServer) -> Iterator[tuple[str, dict[str, Any]]]:
    application = flask.Flask(__name__)
    pages = shedder.web.blueprint(redis, user=named, allow_actions=True)
    application.register_blueprint(pages, url_prefix="/shedder")
    with werkzeug_of(application) as url:
        yield url, {}


@contextmanager
def django_host(_redis: Redis, server: EmbeddedServer) -> Iterator[tuple[str, dict[str, Any]]]:
    program = [sys.executable, Path(__file__).parent / "django_site.py", patient(server.url), "serve"]
    with subprocess.Popen(program, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url, session = process.stdout.readline().split()
            yield url, {"name": "sessionid", "value": session, "url": url}
        finally:
            process.kill()


@pytest.mark.parametrize("host", [starlette_host, flask_host, django_host], ids=["starlette", "flask", "django"])
def test_each_host_shows_and_acts(chromium: Browser, scene: Scene, server: EmbeddedServer, host: Any) -> None:
    """In each host the lanes are shown, move, and one of them is paused."""
    scene.fill("mail", "job")
    with host(scene.redis, server) as (url, cookie):
        people = People(chromium, url)
        context = people.browser_of("ana@desk")
        if cookie:
            context.add_cookies([cookie])
        page = context.new_page()
        page.goto(f"{url}/shedder/")
        expect(page.locator("tbody.lane[data-name=mail] [data-label=waiting]")).to_have_text("1")
        scene.fill("mail", "another")
        expect(page.locator("tbody.lane[data-name=mail] [data-label=waiting]")).to_have_text("2")
        page.locator("tbody.lane[data-name=mail]").get_by_role("link", name="Pause").click()
        act_on(page, reason="full")
        assert ("pause", "ana@desk") == (scene.shedder.events()[-1].verb, scene.shedder.events()[-1].by)
        people.leave()
        assert [] == people.complaints
