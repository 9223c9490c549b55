"""What the tests with real workers share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shedder.api.shedder import Shedder
from shedder.rq import Queue, SimpleWorker
from tests import jobs
from tests.workers import Yard, run_burst

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from redis import Redis

    from shedder.embedded import EmbeddedServer


@pytest.fixture
def operator(redis: Redis) -> Shedder:
    """Pauses and diverts on the shared server."""
    return Shedder(redis, by="tester")


@pytest.fixture
def mail(redis: Redis) -> Queue:
    """The queue with which most begin."""
    return Queue("mail", connection=redis)


@pytest.fixture
def work(redis: Redis) -> Callable[..., bool]:
    """Lets a worker of ours do what there is; takes more arguments of its class."""
    return lambda **options: run_burst(SimpleWorker(["mail"], connection=redis, **options))


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
