"""A server that an endless script keeps busy, for a test."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import redis.exceptions

from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from shedder.embedded import EmbeddedServer

BUSY_AFTER_MS = 20
"""Instead of 5 s."""

ENDLESS = "while true do end"


@contextmanager
def busy(server: EmbeddedServer) -> Iterator[None]:
    """A time in which `server` says BUSY to everybody, until the script is killed."""
    with server.client() as operator, server.client(socket_timeout=None) as victim:
        operator.config_set("busy-reply-threshold", BUSY_AFTER_MS)

        def run_for_ever() -> None:
            with pytest.raises(redis.exceptions.ResponseError, match="killed"):
                victim.eval(ENDLESS, 0)

        thread = threading.Thread(target=run_for_ever, daemon=True)
        thread.start()
        wait_until(lambda: is_busy(operator), what="a busy server")
        try:
            yield
        finally:
            operator.script_kill()
            thread.join()


def is_busy(client: Redis) -> bool:
    """Whether the server says BUSY."""
    try:
        client.ping()
    except redis.exceptions.ResponseError as error:
        return str(error).startswith("BUSY")
    return False
