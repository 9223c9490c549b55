"""Who hears of the demo's incident? A web server of its own that takes messages, as a chat does."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from shedder.demo.interrupts import held_back

if TYPE_CHECKING:
    from typing import Self

_LONGEST = 1_000_000


class Listener:
    """Takes messages at `url`, as a context.

    Attributes:
        heard: the texts that came, in order.
    """

    def __init__(self) -> None:
        self.heard: list[str] = []
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = min(int(self.headers.get("Content-Length", 0)), _LONGEST)
                heard.append(str(json.loads(self.rfile.read(size)).get("message", "")))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it is, as a channel's URL."""
        return f"json://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Self:
        with held_back():  # inherited by the thread: Python acts on a signal that any thread takes
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
