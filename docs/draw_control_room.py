"""Draws the control room in an incident: the real pages on an embedded server, in Debian's chromium.

Real workers do receipts on an embedded server while a flood of newsletters comes; somebody diverts them, pauses
one lane, and drains another. Needs Debian's `chromium`; Pillow, which matplotlib brings, makes the pictures small.
`python -m docs.draw_control_room`
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from playwright.sync_api import expect

from shedder import Selection, Shedder
from shedder.embedded import EmbeddedServer
from shedder.policy.model import Policy, Rule, WebPolicy
from shedder.rq import Queue, SimpleWorker
from shedder.units import Rate
from tests.web.beating import uvicorn_of
from tests.web.people import DESK, PHONE, Room, chromium_driven
from tests.workers import Yard

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page
    from redis import Redis

PICTURES = Path(__file__).parent / "pictures"
RECEIPTS, NEWSLETTERS, REPORTS = "benchmarks.work.nothing", "time.sleep", "time.time"
FLOOD = 3_000
SECONDS = 60
COLOURS = 128
OPERATOR = "ana@desk"


def main() -> None:
    """Play, look, draw."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(EmbeddedServer())
        redis = stack.enter_context(server.client())
        yard = stack.enter_context(Yard(server, folder))
        _play(redis, yard)
        room = Room()
        room.show(redis, address="redis.example:6379")
        url = stack.enter_context(uvicorn_of(room))
        _draw(stack.enter_context(chromium_driven()), url)


def _policy() -> Policy:
    letters = Selection(functions=(NEWSLETTERS,))
    return Policy(
        rules=(
            Rule(queue="mail", selection=letters, label="newsletters", tolerance=timedelta(hours=4), shed=1),
            Rule(queue="mail", label="receipts", tolerance=timedelta(seconds=10)),
            Rule(queue="reports", label="reports", tolerance=timedelta(hours=1), shed=2),
        ),
        web=WebPolicy(name="production", colour="red"),
    )


def _play(redis: Redis, yard: Yard) -> None:
    shed = Shedder(redis, by=OPERATOR)
    shed.policies.apply(_policy(), reason="labels")
    mail, reports = Queue("mail", connection=redis), Queue("reports", connection=redis)
    reports.enqueue_many([reports.prepare_data(REPORTS) for _ in range(400)])
    shed.divert("reports", reason="the database needs air")
    for queues in (("mail", "orders"), ("mail", "orders"), ("reports",)):
        yard.start(*queues, worker_class=SimpleWorker)
    began, has_flooded = time.monotonic(), False
    while (passed := time.monotonic() - began) < SECONDS:
        mail.enqueue(RECEIPTS)
        Queue("orders", connection=redis).enqueue(RECEIPTS)
        if passed > SECONDS / 2 and not has_flooded:
            has_flooded = True
            mail.enqueue_many([mail.prepare_data(NEWSLETTERS, (0.2,)) for _ in range(FLOOD)])
            shed.incidents.open("receipts are late", severity=2)
            shed.drain("reports", rate=Rate.parse("2/second"), reason="the database is fine again")
        time.sleep(0.1)
    shed.pause("orders", reason="database at 99 %", by="bob@desk", expires_in=timedelta(minutes=10))


def _draw(browser: Browser, url: str) -> None:
    for scheme in ("light", "dark"):
        desk = _look(browser, url, scheme, is_phone=False)
        expect(desk.locator("tbody.lane").first).to_be_visible()
        _save(desk, f"control-room-{scheme}")
        phone = _look(browser, url, scheme, is_phone=True)
        _save(phone, f"control-room-phone-{scheme}")
    page = _look(browser, url, "light", is_phone=False, path="/lane/mail")
    _save(page, "control-room-lane")
    page.goto(f"{url}/drains")
    _save(page, "control-room-drains")
    _save(_preview(_look(browser, url, "light", is_phone=True, path="/act/pause?target=mail")), "control-room-preview")


def _look(browser: Browser, url: str, scheme: str, *, is_phone: bool, path: str = "/") -> Page:
    options = {"is_mobile": True, "has_touch": True, "device_scale_factor": 2} if is_phone else {}
    context = browser.new_context(
        viewport=PHONE if is_phone else DESK,
        color_scheme=scheme,  # type: ignore[arg-type]
        extra_http_headers={"x-user": OPERATOR},
        **options,  # type: ignore[arg-type]
    )
    page = context.new_page()
    page.goto(url + path)
    return page


def _preview(page: Page) -> Page:
    page.get_by_label("Why").fill("receipts are late")
    page.get_by_role("button", name="Show what it would do").click()
    expect(page.locator("form.confirm")).to_be_visible()
    return page


def _save(page: Page, name: str) -> None:
    """Keep what is on the screen, in few colours."""
    with Image.open(BytesIO(page.screenshot(animations="disabled"))) as picture:
        few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        few.save(PICTURES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
