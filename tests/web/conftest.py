"""Pages that wait for Redis as long as a busy machine needs, and people who look at them in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from redis import Redis

    from tests.web.people import People, Room

OFTEN_SECONDS = 0.25
"""Between two looks at Redis for open pages; else a second."""


@pytest.fixture(autouse=True)
def _redis_is_not_away_because_the_machine_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test for which a server hangs sets the patience itself."""
    monkeypatch.setattr("shedder.web.reading.PATIENCE_SECONDS", PATIENCE_SECONDS)


# not of the session: as long as the browser is driven, its event loop stands in the way of others
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for the tests of a file."""
    from tests.web.people import chromium_driven

    with chromium_driven() as browser:
        yield browser


@pytest.fixture(scope="module")
def room() -> Iterator[tuple[Room, str]]:
    """A control room, which shows nothing yet, and its URL."""
    from tests.web.beating import uvicorn_of
    from tests.web.people import Room

    shown = Room()
    with uvicorn_of(shown) as url:
        yield shown, url


@pytest.fixture
def people(
    chromium: Browser, room: tuple[Room, str], redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> Iterator[People]:
    """Whoever looks at a control room of the shared server, on which all may act; their browsers find no fault."""
    from tests.web.people import People

    for name in ("hosts.TICK_SECONDS", "reading.GOOD_FOR_SECONDS"):
        monkeypatch.setattr(f"shedder.web.{name}", OFTEN_SECONDS)
    shown, url = room
    shown.show(redis)
    visitors = People(chromium, url)
    yield visitors
    visitors.leave()
    assert [] == visitors.complaints
