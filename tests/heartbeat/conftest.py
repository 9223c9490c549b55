"""What the tests of updates share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shedder import Shedder
from tests.heartbeat.desk import POSTING, Desk
from tests.heartbeat.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis


@pytest.fixture
def shed(redis: Redis) -> Shedder:
    return Shedder(redis, by="oncall@ops")


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as taking:
        yield taking


@pytest.fixture
def desk(shed: Shedder, sink: Sink) -> Desk:
    return Desk(shed, POSTING, sink)
