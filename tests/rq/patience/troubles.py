"""The troubles that a server gets into, and how a worker is told and seen to bear them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import redis.client
import redis.exceptions
from redis import Redis

from shedder.engine.names import rq_keys
from tests.busy import busy
from tests.waiting import wait_until
from tests.workers import WorkerProcess

if TYPE_CHECKING:
    from shedder.embedded import EmbeddedServer

KEYS = rq_keys()
SORRY = "Redis does not serve us"


@contextmanager
def restarting(server: EmbeddedServer) -> Iterator[None]:
    server.kill()
    yield
    server.start()


@contextmanager
def full(server: EmbeddedServer) -> Iterator[None]:
    with server.client() as operator:
        operator.config_set("maxmemory", "1mb")
        assert "OOM" == _refusal(operator)
        yield
        operator.config_set("maxmemory", 0)


@contextmanager
def read_only(server: EmbeddedServer) -> Iterator[None]:
    with server.client() as operator:
        operator.replicaof("127.0.0.1", "1")
        assert "READONLY" == _refusal(operator)
        yield
        operator.replicaof("NO", "ONE")


TROUBLES = pytest.mark.parametrize("trouble", [restarting, busy, full, read_only])
Trouble = Callable[["EmbeddedServer"], Any]


def wait_for_notice(worker: WorkerProcess) -> None:
    wait_until(lambda: SORRY in worker.log.read_text(), what=f"a notice of {worker}")


def finish(worker: WorkerProcess) -> None:
    worker.send(signal.SIGTERM)
    assert 0 == worker.wait()


def _refusal(client: Redis) -> str:
    """The first word of what the server says to a write, empty when it obeys."""
    try:
        client.set("probe", "1")
    except redis.exceptions.OutOfMemoryError:
        return "OOM"
    except redis.exceptions.ReadOnlyError:
        return "READONLY"
    except redis.exceptions.ResponseError as error:
        return str(error).split()[0]
    return ""
