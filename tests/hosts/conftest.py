"""What do the tests of hosts share?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.features.scene import Scene

if TYPE_CHECKING:
    from redis import Redis


@pytest.fixture
def scene(redis: Redis) -> Scene:
    """Queues, an operator and workers on the shared server."""
    return Scene(redis)
