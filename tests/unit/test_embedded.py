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
from redis.exceptions import TimeoutError as RedisTimeoutError

from shedder.embedded import EmbeddedServer, ServerDidNotStart, ServerNotRunning
from shedder.errors import ServerNotFound
from shedder.server_binary import ServerBinary, find_server
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import ServerFactory


def test_it_answers_once_started(server: EmbeddedServer) -> None:
    """A started server answers under its URL, with the program's version and its own pid."""
    with Redis.from_url(server.url) as client:
        info = client.info("server")
    assert server.pid == info["process_id"]
    assert server.version == info.get("valkey_version", info["redis_version"])


def test_it_is_found_by_socket_only(server: EmbeddedServer) -> None:
    """Without a port it listens on a socket in a temporary folder and nowhere else."""
    with server.client() as client:
        assert {"port": "0"} == client.config_get("port")
    assert f"unix://{server.socket_path}" == server.url
    assert server.socket_path.parent.name.startswith("shedder-")


def test_a_long_temporary_folder_is_not_used(
    server_factory: ServerFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The socket's path stays under 104 bytes whatever the system's temporary folder is called."""
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    server = server_factory()
    assert len(os.fsencode(server.socket_path)) < 104
    assert [] == list(deep.iterdir())


def test_it_listens_on_a_port_if_asked_to(server_factory: ServerFactory) -> None:
    """With port=0 it takes a free port of 127.0.0.1, and its URL points there."""
    server = server_factory(port=0)
    assert f"redis://127.0.0.1:{server.port}" == server.url
    with server.client() as client:
        assert client.ping()


def test_it_takes_directives(server_factory: ServerFactory) -> None:
    """Further directives reach the server, those of several words too."""
    limits = "normal 0 0 0 pubsub 1048576 524288 30"
    server = server_factory(
        appendonly=True,
        appendfsync="always",
        config={"maxmemory": "50mb", "client-output-buffer-limit": limits},
    )
    with server.client(decode_responses=True) as client:
        assert {"maxmemory": str(50 * 1024**2)} == client.config_get("maxmemory")
        assert {"appendonly": "yes", "appendfsync": "always"} == client.config_get(
            "appendonly", "appendfsync"
        )
        assert "pubsub 1048576 524288 30" in client.config_get()["client-output-buffer-limit"]


def test_starting_twice_changes_nothing(server_factory: ServerFactory) -> None:
    """A second start of a server that runs leaves it as it is."""
    server = server_factory()
    pid = server.pid
    assert server is server.start()
    assert pid == server.pid


def test_stop_ends_it_and_removes_its_folder() -> None:
    """After stop there is no server, no folder, and a second stop does no harm."""
    server = EmbeddedServer().start()
    pid, folder = server.pid, server.socket_path.parent
    server.stop()
    server.stop()
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(ServerNotRunning):
        _ = server.pid


def test_restart_keeps_data_and_socket(server_factory: ServerFactory) -> None:
    """With appendonly, what was written is there after a restart, under the same URL."""
    server = server_factory(appendonly=True)
    pid, url = server.pid, server.url
    with server.client() as client:
        client.set("colour", "red")
        server.restart()
        assert b"red" == client.get("colour")
    assert url == server.url
    assert pid != server.pid


def test_kill_keeps_data_for_a_restart(server_factory: ServerFactory) -> None:
    """With appendonly, what was acknowledged outlives SIGKILL."""
    server = server_factory(appendonly=True)
    with server.client() as client:
        client.rpush("numbers", *range(1000))
        server.kill()
        with pytest.raises(RedisConnectionError):
            client.ping()
        server.restart()
        assert 1000 == client.llen("numbers")


def test_a_frozen_server_is_silent_until_it_thaws(server_factory: ServerFactory) -> None:
    """From freeze to thaw nothing is answered; then everything goes on."""
    server = server_factory()
    with server.client(socket_timeout=0.05) as client:
        server.freeze()
        with pytest.raises(RedisTimeoutError):
            client.ping()
        server.thaw()
    with server.client() as client:
        assert client.ping()


def test_a_frozen_server_is_ended_politely(server_factory: ServerFactory) -> None:
    """A frozen server is woken to hear SIGTERM, rather than killed after a while."""
    server = server_factory()
    server.freeze()
    server.restart()
    assert "Received SIGTERM" in (server.socket_path.parent / "log").read_text()


def test_a_frozen_server_can_be_killed(server_factory: ServerFactory) -> None:
    """Kill ends a frozen server, and it starts again."""
    server = server_factory()
    server.freeze()
    server.kill()
    with pytest.raises(ServerNotRunning):
        server.thaw()
    server.restart()
    with server.client() as client:
        assert client.ping()


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


def test_a_refused_directive_is_shown() -> None:
    """A server that refuses its configuration raises at once, with what it said."""
    server = EmbeddedServer(config={"maxmemory-policy": "nonsense"})
    with pytest.raises(ServerDidNotStart, match="maxmemory-policy"):
        server.start()
    with pytest.raises(ServerNotRunning):
        _ = server.socket_path


def test_data_survive_a_restart_that_fails(server_factory: ServerFactory) -> None:
    """A restart that is not given enough time leaves the data for the next one."""
    server = server_factory(appendonly=True)
    with server.client() as client:
        client.set("colour", "red")
        with pytest.raises(ServerDidNotStart):
            server.restart(timeout=0)
        server.restart()
        assert b"red" == client.get("colour")


def test_a_program_that_is_no_server_is_refused(tmp_path: Path) -> None:
    """A program that was asked for and is no server is named, with the way to get one."""
    with pytest.raises(ServerNotFound, match=r"pip install 'shedder\[embedded\]'") as caught:
        EmbeddedServer(tmp_path / "missing-server")
    assert "missing-server" in str(caught.value)


def test_the_environment_names_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SHEDDER_SERVER is taken when no program is given, even one that is too old."""
    old = _fake_server(tmp_path / "old-server", says="Redis server v=6.2.14 sha=0:0")
    monkeypatch.setenv("SHEDDER_SERVER", str(old))
    assert ServerBinary(path=old, product="redis", version=(6, 2, 14)) == find_server()


@pytest.mark.parametrize(
    ("program", "says", "taken"),
    [
        ("valkey-server", "Valkey server v=7.2.0 sha=0:0", True),
        ("valkey-server", "Valkey server v=7.1.9 sha=0:0", False),
        ("redis-server", "Redis server v=7.0.0 sha=0:0", True),
        ("redis-server", "Redis server v=6.2.14 sha=0:0", False),
        ("redis-server", "Valkey server v=8.1.0 sha=0:0", True),
        ("redis-server", "something else", False),
    ],
)
def test_only_new_enough_servers_are_taken_from_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, says: str, taken: bool
) -> None:
    """A server on PATH is taken from Redis 7.0 or Valkey 7.2 on, else the package's is."""
    path = _fake_server(tmp_path / program, says=says)
    monkeypatch.delenv("SHEDDER_SERVER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert taken == (path == find_server().path)


def test_without_any_server_it_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing on PATH and no package, the error says what to install."""
    monkeypatch.delenv("SHEDDER_SERVER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ServerNotFound, match=r"pip install 'shedder\[embedded\]'"):
        EmbeddedServer()


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
        [sys.executable, "-c", _OWNER + then],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert owner.stdout is not None
    with owner:
        url, folder, child = owner.stdout.readline().split()
        try:
            yield owner, url, Path(folder)
        finally:
            owner.kill()
            os.kill(int(child), signal.SIGKILL)


def _fake_server(path: Path, *, says: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path
