"""The program that is taken as the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from shedder.embedded import EmbeddedServer, ServerBinary, find_server
from shedder.errors import ServerNotFound


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


def test_without_any_server_it_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing on PATH and no package, the error says what to install."""
    monkeypatch.delenv("SHEDDER_SERVER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ServerNotFound, match=r"pip install 'shedder\[embedded\]'"):
        EmbeddedServer()


def _fake_server(path: Path, *, says: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path
