"""A network that can be made bad: a TCP proxy on the loopback, in a process of its own.

Bytes go through as they come, until a fault is ordered. A fault that happens once waits for the
next request that it fits.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

PASS, DELAY, SILENCE = "pass", "delay", "silence"
CUT, HALF_CLOSE, TEAR, DROP_REPLY = "cut", "half-close", "tear", "drop reply"
FORSAKE = "forsake"

_SCRIPTS = (b"EVALSHA", b"EVAL", b"EXEC")
_CHUNK = 1 << 16


class Proxy:
    """Stands between clients and a server; to be started as a child process of the harness.

    Attributes:
        url: Where clients find it.
    """

    def __init__(self, upstream: Callable[[], socket.socket]) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def order(self, fault: str, *, seconds: float = 0.0, times: int = 1) -> None:
        """Be so from now on (`pass`, `delay`, `silence`), or do that `times` times."""
        self._ours.send(json.dumps([fault, seconds, times]).encode())

    def came_true(self) -> int:
        """How many faults that happen once have happened since the last question."""
        self._ours.send(json.dumps(["count", 0, 0]).encode())
        return int(self._ours.recv(64))

    def client(self, **options: Any) -> Any:
        """A client that goes through here."""
        import redis

        return redis.Redis.from_url(self.url, **options)

    def close(self) -> None:
        """Let go of what this process holds of it."""
        for each in (self._listener, self._ours, self._theirs):
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def run(self) -> None:
        """Serve for ever, in the child process."""
        _Relay(self._listener, self._theirs, self._upstream).run()


@dataclass(slots=True, eq=False)
class _Pair:
    client: socket.socket
    server: socket.socket
    pending: bytes = b""
    is_doomed: bool = False
    is_forsaken: bool = False
    late: list[tuple[float, socket.socket, bytes]] = field(default_factory=list)


class _Relay:
    def __init__(self, listener: socket.socket, control: socket.socket, upstream: Callable[[], socket.socket]) -> None:
        self._listener = listener
        self._control = control
        self._upstream = upstream
        self._selector = selectors.DefaultSelector()
        self._pairs: set[_Pair] = set()
        self._mode, self._seconds = PASS, 0.0
        self._once, self._left, self._done = "", 0, 0

    def run(self) -> None:
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._selector.register(self._control, selectors.EVENT_READ, None)
        while True:
            for key, _ in self._selector.select(timeout=self._until_next()):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._control:
                    self._obey()
                elif key.data in self._pairs:
                    self._forward(key.data, key.fileobj)
            self._send_late()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = self._upstream()
        except OSError:
            client.close()
            return
        pair = _Pair(client, server)
        self._pairs.add(pair)
        for end in (client, server):
            self._selector.register(end, selectors.EVENT_READ, pair)

    def _obey(self) -> None:
        fault, self._seconds, times = json.loads(self._control.recv(256))
        if fault == "count":
            self._control.send(str(self._done).encode())
            self._done = 0
        elif fault in (PASS, DELAY, SILENCE):
            self._mode, self._left = fault, 0
        elif fault == FORSAKE:
            for pair in self._pairs:
                pair.is_forsaken = True
                self._done += 1
        elif fault in (CUT, HALF_CLOSE):
            for pair in list(self._pairs):
                self._end(pair, is_half=fault == HALF_CLOSE)
        else:
            self._once, self._left = fault, times

    def _forward(self, pair: _Pair, source: Any) -> None:
        try:
            data = source.recv(_CHUNK)
        except OSError:
            data = b""
        if not data:
            self._close(pair)
        elif pair.is_forsaken:
            return  # as when a firewall has forgotten the connection
        elif self._mode == DELAY:
            target = pair.server if source is pair.client else pair.client
            pair.late.append((time.monotonic() + self._seconds, target, data))
        elif self._mode == PASS and source is pair.client:
            is_script = any(word in data for word in _SCRIPTS)
            pair.is_doomed = self._left > 0 and is_script
            self._send(pair, pair.server, data)
        elif self._mode == PASS:
            self._reply(pair, data)

    def _reply(self, pair: _Pair, data: bytes) -> None:
        if not pair.is_doomed or self._left <= 0:
            self._send(pair, pair.client, data)
            return
        self._left -= 1
        self._done += 1
        if self._once == TEAR:
            self._send(pair, pair.client, data[: max(1, len(data) // 2)])
        self._reset(pair)

    def _send(self, pair: _Pair, target: socket.socket, data: bytes) -> None:
        try:
            target.sendall(data)
        except OSError:
            self._close(pair)

    def _end(self, pair: _Pair, *, is_half: bool) -> None:
        self._done += 1
        if is_half:
            with contextlib.suppress(OSError):
                pair.client.shutdown(socket.SHUT_WR)
        else:
            self._reset(pair)

    def _reset(self, pair: _Pair) -> None:
        # RST instead of FIN: the other side learns at once, in the middle of whatever it reads
        with contextlib.suppress(OSError):
            linger = struct.pack("ii", 1, 0)
            pair.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._close(pair)

    def _close(self, pair: _Pair) -> None:
        if pair in self._pairs:
            self._pairs.remove(pair)
            for end in (pair.client, pair.server):
                self._selector.unregister(end)
                end.close()

    def _send_late(self) -> None:
        now = time.monotonic()
        for pair in [each for each in self._pairs if each.late]:
            while pair.late and pair.late[0][0] <= now and pair in self._pairs:
                _, target, data = pair.late.pop(0)
                self._send(pair, target, data)

    def _until_next(self) -> float:
        due = [pair.late[0][0] for pair in self._pairs if pair.late]
        return max(min(due) - time.monotonic(), 0.0) if due else 0.5


def to_unix_socket(path: str) -> Callable[[], socket.socket]:
    """Connects to a server that listens on a socket."""

    def connect() -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        return connection

    return connect
