"""TLS for clients of a server without it: a proxy ends the encryption in front of the server."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import threading
from typing import Self

CHUNK = 65536


class TlsRoad:
    """A TLS port in front of the server at `port` on this machine.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, port: int, *, certificate: str, key: str) -> None:
        self._target = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, raw: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),  # an SSLError is one: who does not trust us hangs up
            self._context.wrap_socket(raw, server_side=True) as near,
            socket.create_connection(("127.0.0.1", self._target)) as far,
            selectors.DefaultSelector() as waiting,  # select.select() refuses files from number 1,024 on
        ):
            for end in (near, far):
                waiting.register(end, selectors.EVENT_READ)
            while self._step(near, far, waiting):
                pass

    def _step(self, near: ssl.SSLSocket, far: socket.socket, waiting: selectors.BaseSelector) -> bool:
        for key, _ in waiting.select():
            end = near if key.fileobj is near else far
            data = end.recv(CHUNK)
            while end is near and near.pending():
                data += near.recv(CHUNK)
            if not data:
                return False
            (far if end is near else near).sendall(data)
        return True
