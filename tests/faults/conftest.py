"""What the tests with real workers share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shedder.api.shedder import Shedder
from tests import jobs
from tests.workers import Yard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis import Redis

    from shedder.embedded import EmbeddedServer


@pytest.fixture
def operator(redis: Redis) -> Shedder:
    """Pauses and diverts on the shared server."""
    return Shedder(redis, by="tester")


@pytest.fixture
def yard(server: EmbeddedServer, tmp_path: Path) -> Iterator[Yard]:
    """Starts workers, and ends them with the test."""
    with Yard(server, tmp_path) as workers:
        yield workers


@pytest.fixture
def marks(tmp_path: Path) -> Iterator[str]:
    """The file in which the test's jobs leave their marks."""
    yield str(tmp_path / "marks")
    jobs.meanwhile.clear()
