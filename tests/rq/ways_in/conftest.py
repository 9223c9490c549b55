"""The controls under which each way into a lane is tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.rq.ways_in.scene import Scene

if TYPE_CHECKING:
    from redis import Redis

    from shedder.api.shedder import Shedder


@pytest.fixture(params=["open", "paused", "diverted"])
def scene(request: pytest.FixtureRequest, redis: Redis, operator: Shedder, marks: str) -> Scene:
    """A lane, which is put under its control by `apply`."""
    return Scene(redis, operator, marks, request.param)
