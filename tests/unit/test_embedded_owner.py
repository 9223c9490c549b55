"""The server that we bring ends with its owner, and with no other process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from shedder.embedded import EmbeddedServer, ServerNotRunning
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import ServerFactory


def test_a_forked_child_cannot_end_it(server_factory: ServerFactory) -> None:
    """A child that leaves the server's context, and exits, leaves server and folder alone."""
    server = server_factory()
    pid = os.fork()
    if pid == 0:
        _leave_in_child(server)
    assert (pid, 0) == os.waitpid(pid, 0)
    assert server.socket_path.exists()
    with server.client() as client:
        assert client.ping()


_OWNER = """
import os, signal, sys
from shedder.embedded import EmbeddedServer

server = EmbeddedServer().start()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
child = os.fork()
if child == 0:
    signal.pause()
print(server.url, server.socket_path.parent, child, flush=True)
"""


def test_the_end_of_its_owner_ends_it() -> None:
    """SIGKILL of the owner ends the server and removes its folder; no forked child prevents it."""
    with _owner("signal.pause()") as (owner, url, folder), Redis.from_url(url) as client:
        client.ping()
        owner.kill()
        wait_until(lambda: not folder.exists(), what="the folder's removal")
        with pytest.raises(RedisConnectionError):
            client.ping()


def test_an_owner_that_forgets_to_stop_leaves_nothing_behind() -> None:
    """An owner that simply exits takes server and folder with it."""
    with _owner("sys.exit()") as (_, url, folder):
        wait_until(lambda: not folder.exists(), what="the folder's removal")
        with Redis.from_url(url) as client, pytest.raises(RedisConnectionError):
            client.ping()


def test_a_killed_server_leaves_nothing_behind_either() -> None:
    """A folder that waits for a restart goes with its owner as well."""
    with _owner("server.kill(); print('killed', flush=True); signal.pause()") as (owner, _, folder):
        assert owner.stdout is not None
        assert "killed\n" == owner.stdout.readline()
        owner.kill()
        wait_until(lambda: not folder.exists(), what="the folder's removal")


def test_ctrl_c_does_not_reach_it() -> None:
    """SIGINT to the owner's process group reaches neither the server nor what cleans up."""
    then = "signal.sigwait({signal.SIGINT}); print('interrupted', flush=True); signal.pause()"
    with _owner(then) as (owner, url, folder):
        os.killpg(owner.pid, signal.SIGINT)
        assert owner.stdout is not None
        assert "interrupted\n" == owner.stdout.readline()
        with Redis.from_url(url) as client:
            assert owner.pid != os.getpgid(client.info("server")["process_id"])
        owner.kill()
        wait_until(lambda: not folder.exists(), what="the folder's removal")


def _leave_in_child(server: EmbeddedServer) -> NoReturn:
    try:
        with server.client() as client:
            client.ping()
        server.stop()
        with pytest.raises(ServerNotRunning):
            server.kill()
        os._exit(0)
    finally:
        os._exit(1)  # whatever happens, no second copy of the test run goes on


@contextmanager
def _owner(then: str) -> Iterator[tuple[subprocess.Popen[str], str, Path]]:
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER + then], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert owner.stdout is not None
    with owner:
        url, folder, child = owner.stdout.readline().split()
        try:
            yield owner, url, Path(folder)
        finally:
            owner.kill()
            os.kill(int(child), signal.SIGKILL)
