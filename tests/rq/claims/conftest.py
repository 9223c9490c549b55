"""What the tests of claims share."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from shedder.engine.names import rq_keys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis import Redis

KEYS = rq_keys()


@pytest.fixture(autouse=True)
def nothing_stays_in_hand(redis: Redis) -> Iterator[None]:
    """Whatever a test does, no claim and no start is left when its workers are done."""
    yield
    assert (0, {}) == (redis.zcard(KEYS.claims), redis.hgetall(KEYS.starting))


@pytest.fixture
def imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Counts the imports of `tests.rq.deadly`, one line each."""
    path = tmp_path / "imports"
    path.touch()
    monkeypatch.setenv("SHEDDER_TEST_IMPORTS", str(path))
    monkeypatch.delitem(sys.modules, "tests.rq.deadly", raising=False)
    return path


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shedder.queues.claims.LEASE_MS", 100)
