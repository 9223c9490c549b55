"""Uses of the public API that only mypy reads: each public name has a line here."""

from __future__ import annotations

from typing import assert_type

from redis import Redis

import shedder
from shedder.embedded import EmbeddedServer

assert_type(shedder.__version__, str)


def private_server() -> None:
    with EmbeddedServer(appendonly=True, config={"maxmemory": "50mb"}, port=0) as server:
        assert_type(server.url, str)
        assert_type(server.pid, int)
        assert_type(server.version, str)
        assert_type(server.port, int | None)
        assert_type(server.client(decode_responses=True), Redis)
