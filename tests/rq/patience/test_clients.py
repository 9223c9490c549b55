"""The errors that a retrying client waits out, and what it does then."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
import redis.client
import redis.exceptions
from redis import Redis

from shedder.rq import SimpleWorker
from shedder.rq.outages import RetryingRedis, is_passing, patient
from tests.rq.patience.troubles import SORRY, read_only, restarting
from tests.waiting import is_quick, wait_until

if TYPE_CHECKING:
    from shedder.embedded import EmbeddedServer


@pytest.mark.parametrize(
    "error",
    [
        redis.exceptions.ConnectionError("Connection refused"),
        redis.exceptions.TimeoutError("Timeout reading from socket"),
        redis.exceptions.BusyLoadingError("Redis is loading the dataset in memory"),
        redis.exceptions.ReadOnlyError("You can't write against a read only replica."),
        redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        redis.exceptions.ResponseError("BUSY Redis is busy running a script."),
        redis.exceptions.ResponseError("MISCONF Redis is configured to save RDB snapshots"),
        redis.exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."),
        redis.exceptions.ResponseError("UNBLOCKED force unblock from blocking operation"),
        redis.exceptions.ResponseError("Command # 2 (HSET a b) of pipeline caused error: BUSY x"),
    ],
)
def test_errors_that_pass(error: Exception) -> None:
    """What Redis may do later is waited for."""
    assert is_passing(error)


@pytest.mark.parametrize(
    "error",
    [
        redis.exceptions.AuthenticationError("invalid username-password pair"),
        redis.exceptions.MaxConnectionsError("Too many connections"),
        redis.exceptions.NoPermissionError("this user has no permissions"),
        redis.exceptions.ResponseError("WRONGTYPE Operation against a key"),
        redis.exceptions.ResponseError("unknown command 'BUSY'"),
        redis.exceptions.WatchError("Watched variable changed."),
        redis.exceptions.NoScriptError("No matching script."),
        ValueError("BUSY"),
    ],
)
def test_errors_that_last(error: Exception) -> None:
    """What no waiting helps is raised."""
    assert not is_passing(error)


def test_the_given_client_stays_as_it_is(server: EmbeddedServer) -> None:
    """Patience is for the worker: the client that it was given still raises at once."""
    with server.client() as client:
        worker = SimpleWorker(["mail"], connection=client)
        assert isinstance(worker.connection, RetryingRedis)
        assert type(client) is Redis
        server.kill()

        def ask() -> None:
            with pytest.raises(redis.exceptions.ConnectionError):
                client.ping()

        assert is_quick(ask, seconds=1.0)


def test_read_only_makes_it_connect_again(server: EmbeddedServer) -> None:
    """A client that meets a demoted server connects anew, because the name may lead elsewhere."""
    with server.client() as client, server.client() as operator:
        ours = patient(client)
        ours.set("a", 1)
        first = ours.client_id()
        with read_only(server):
            thread = threading.Thread(target=ours.set, args=("a", 2), daemon=True)
            thread.start()
            wait_until(lambda: first not in _client_ids(operator), what="the end of the connection")
        thread.join(10)
        assert b"2" == operator.get("a")


def test_scripts_on_a_pipeline_after_a_restart(server: EmbeddedServer, caplog: pytest.LogCaptureFixture) -> None:
    """A script that is on a pipeline works on a server that restarted and knows no script."""
    with server.client() as client:
        ours = patient(client)
        script = ours.register_script("return redis.call('INCR', KEYS[1])")
        script(keys=["a"])
        with ours.pipeline() as pipeline:
            script(keys=["a"], client=pipeline)
            with restarting(server):
                replies: list[Any] = []
                send = threading.Thread(target=lambda: replies.extend(pipeline.execute()), daemon=True)
                send.start()
                wait_until(lambda: SORRY in caplog.text)
            send.join(10)
        assert [2] == replies


def _client_ids(client: Redis) -> set[int]:
    return {int(each["id"]) for each in client.client_list()}
