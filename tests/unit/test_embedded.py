"""The server that we bring starts, stops and keeps its data as it is told to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shedder.embedded import EmbeddedServer, ServerDidNotStart, ServerNotRunning

if TYPE_CHECKING:
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
        appendonly=True, appendfsync="always", config={"maxmemory": "50mb", "client-output-buffer-limit": limits}
    )
    with server.client(decode_responses=True) as client:
        assert {"maxmemory": str(50 * 1024**2)} == client.config_get("maxmemory")
        assert {"appendonly": "yes", "appendfsync": "always"} == client.config_get("appendonly", "appendfsync")
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
