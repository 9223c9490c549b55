"""The server that the tests of patience have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from redis import Redis

    from shedder.embedded import EmbeddedServer
    from tests.conftest import ServerFactory


@pytest.fixture
def server(server_factory: ServerFactory) -> EmbeddedServer:
    """A server of the test's own, which forgets nothing."""
    return server_factory(appendonly=True)


@pytest.fixture
def redis_of_ours(server: EmbeddedServer) -> Iterator[Redis]:
    with server.client() as client:
        yield client
