"""Everything that a page tells the reader to run does run, and prints what the page shows."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

import pytest
import redis
import redis.asyncio

from shedder.embedded import EmbeddedServer
from tests.docs.pages import ROOT, examples_of, pages
from tests.docs.stage import Stage
from tests.servers import PatientServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server_of_pages() -> Iterator[EmbeddedServer]:
    """A server on a port, because a page shows an address and no path."""
    with PatientServer(port=0) as server:
        yield server


@pytest.fixture
def stage(server_of_pages: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A fresh world for one page; `Redis()`, of either kind, is its server."""

    class RedisOfPage(redis.Redis):
        def __init__(self, **settings: object) -> None:
            super().__init__(**(settings or {"port": server_of_pages.port}))

    class AsyncRedisOfPage(redis.asyncio.Redis):
        def __init__(self, **settings: object) -> None:
            super().__init__(**(settings or {"port": server_of_pages.port}))

    page = Stage(server_of_pages, tmp_path)
    page.redis.flushall()
    monkeypatch.setattr(redis, "Redis", RedisOfPage)
    monkeypatch.setattr(redis.asyncio, "Redis", AsyncRedisOfPage)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    known = set(sys.modules)
    yield page
    page.close()
    for name in set(sys.modules) - known:
        if name.partition(".")[0] in ("app", "jobs"):
            del sys.modules[name]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_of_a_page_work(page: Path, stage: Stage) -> None:
    """A reader can copy every example of the page."""
    for example in examples_of(page):
        example.namespace["stage"] = stage
        example.evaluate()
    # asyncio loses the socket of a connection that is given up in the moment in which it is made, as in front of
    # a server that stands still; it is found here, and not in the test that comes next
    gc.collect()
