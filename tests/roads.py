"""A network that delays, cuts or swallows what a program sends: a proxy that a test drives."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Self

from tests.waiting import PATIENCE_SECONDS


class Road:
    """A TCP proxy to `port` on this machine.

    Attributes:
        port: Where it listens.
        delay_seconds: How long it holds each reply.
        is_swallowing: Requests go through, replies never come (a connection that is half closed).
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.delay_seconds = 0.0
        self.is_swallowing = False
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)

    def cut(self) -> None:
        """Cut all connections, in the middle of whatever they carry."""
        ends, self._ends = self._ends, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _start(self, body: Callable[..., None], *ends: socket.socket) -> None:
        thread = threading.Thread(target=body, args=ends, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    near.close()
                    continue
                self._ends += [near, far]
                self._start(self._carry, near, far)

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        # no `select`, which takes no file whose number is above 1,024
        with near, far, selectors.DefaultSelector() as ready, contextlib.suppress(OSError):
            for end in (near, far):
                ready.register(end, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    end = key.fileobj
                    data = end.recv(65536)
                    if not data:
                        return
                    if end is near:
                        far.sendall(data)
                    elif not self.is_swallowing:
                        time.sleep(self.delay_seconds)
                        near.sendall(data)
