"""People before a real browser: pages that they open, and what their browser complains of."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from playwright.sync_api import expect, sync_playwright

import shedder.web
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Request
    from redis import Redis

    from shedder.web.hosts import AsgiApp

CHROMIUM = shutil.which("chromium")

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is missing: apt-get install chromium")

DESK = {"width": 1280, "height": 800}
PHONE = {"width": 375, "height": 667}

THUMB = 44
"""Pixels that a thumb needs."""

PATIENCE_MS = PATIENCE_SECONDS * 1000

expect.set_options(timeout=PATIENCE_MS)

LOOSE_ENDS = """
window.broken = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.broken.push(`${event.violatedDirective}: ${event.blockedURI}`);
});
"""
"""Notes what the policy of the page's content has kept from it."""


@contextmanager
def chromium_driven() -> Iterator[Browser]:
    """Debian's browser, without a window."""
    # a browser that root has started cannot build its sandbox; without a window nothing is to be drawn by a GPU
    args = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    # it has a socket in its temporary folder, whose path must be short
    with TemporaryDirectory(prefix="browser-", dir="/tmp") as folder:
        with mock.patch.dict(os.environ, {"TMPDIR": folder}):
            driver = sync_playwright().start()
        try:
            browser = driver.chromium.launch(
                executable_path=CHROMIUM, args=args, timeout=PATIENCE_MS, env={**os.environ, "TMPDIR": folder}
            )
            yield browser
            browser.close()
        finally:
            driver.stop()


class People:
    """Whoever looks at the pages at `url`, each with a browser of their own.

    Attributes:
        complaints: What browsers said of the pages: errors, and requests to elsewhere.
    """

    def __init__(self, browser: Browser, url: str) -> None:
        self.url = url
        self.complaints: list[str] = []
        self._browser = browser
        self._contexts: list[BrowserContext] = []

    def open(self, name: str = "ana@desk", path: str = "/", *, is_phone: bool = False, **options: Any) -> Page:
        """The page at `path` in the browser of `name`; the options are those of a context."""
        page = self.browser_of(name, is_phone=is_phone, **options).new_page()
        page.goto(self.url + path)
        return page

    def browser_of(self, name: str, *, is_phone: bool = False, **options: Any) -> BrowserContext:
        """A browser in which nothing is known, and that says who sits before it."""
        hands = {"viewport": PHONE, "has_touch": True, "is_mobile": True} if is_phone else {"viewport": DESK}
        said = {"extra_http_headers": {"x-user": name}} if name else {}
        context = self._browser.new_context(**{**hands, **said, **options})
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(LOOSE_ENDS)
        context.on("console", self._hear)
        context.on("weberror", lambda error: self.complaints.append(f"error: {error.error}"))
        context.on("request", self._see)
        self._contexts.append(context)
        return context

    def leave(self) -> None:
        """All close their browsers."""
        for context in self._contexts:
            for page in context.pages:
                self.complaints += _broken(page)
            context.close()
        self._contexts.clear()

    def forgive(self, pattern: str) -> None:
        """Drop the complaints that a story expects."""
        self.complaints[:] = [each for each in self.complaints if not re.search(pattern, each)]

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def _see(self, request: Request) -> None:
        if not request.url.startswith(f"{self.url}/"):
            self.complaints.append(f"request to elsewhere: {request.url}")


def _broken(page: Page) -> list[str]:
    return [f"policy: {each}" for each in page.evaluate("window.broken || []")]


class Room:
    """The control room that all stories visit, on a server that each story begins empty."""

    def __init__(self) -> None:
        self._pages: AsgiApp | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert self._pages is not None
        await self._pages(scope, receive, send)

    def show(self, redis: Redis, **decided: Any) -> None:
        """Show this Redis from now on."""
        self._pages = shedder.web.asgi(redis, user=named, **{"allow_actions": True, **decided})


def named(request: Any) -> str | None:
    """Who a request says it is: an application has its own way."""
    return request.headers.get("x-user")


def act_on(page: Page, *, reason: str = "") -> None:
    """On the form of an act: see what it would do, and do it."""
    if reason:
        page.get_by_label("Why").fill(reason)
    page.get_by_role("button", name="Show what it would do").click()
    confirm(page)


def confirm(page: Page) -> None:
    """On the preview of an act: do it, and see the receipt."""
    page.locator("form.confirm button").click()
    expect(page.get_by_role("region", name="Journal")).to_contain_text("The journal says")


def thumbs(page: Page, selector: str) -> list[float]:
    """The heights of what one presses on a phone."""
    found: list[float] = page.locator(selector).evaluate_all(
        "all => all.filter(e => e.checkVisibility()).map(e => e.getBoundingClientRect().height)"
    )
    return found


def out_of_sight(page: Page, *wanted: Locator) -> list[str]:
    """Those that lie, wholly or in part, outside of the screen, or under something that stands on it."""
    found: list[str] = []
    for each in wanted:
        # a part that is replaced meanwhile is asked for anew
        while (is_in_sight := each.evaluate(IS_IN_SIGHT)) is None:
            pass
        found += [] if is_in_sight else [str(each)]
    return found


IS_IN_SIGHT = """each => {
  if (!each.isConnected) return null;
  const box = each.getBoundingClientRect();
  const isInside = box.top >= 0 && box.left >= 0 && box.bottom <= innerHeight && box.right <= innerWidth;
  const points = [[box.left + 4, box.top + 4], [box.right - 4, box.bottom - 4]];
  return isInside && points.every(([x, y]) => each.contains(document.elementFromPoint(x, y)));
}"""


def overhang(page: Page) -> int:
    """By how many pixels a page is wider than the screen."""
    found: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return found
