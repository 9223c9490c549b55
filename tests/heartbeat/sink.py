"""An HTTP server on loopback that takes messages as a webhook does, or misbehaves."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.waiting import PATIENCE_SECONDS

_POLL_SECONDS = 0.02  # its end waits for so long; half a second is usual


class Sink:
    """Takes what is posted to `/PATH`.

    Attributes:
        taken: What arrived and was answered with 200: path, title and text.
        mood: `fine`, `error`, or `hang`, by path; what is not named is fine.
    """

    def __init__(self) -> None:
        self.taken: list[tuple[str, str, str]] = []
        self.asked: list[str] = []
        self.mood: dict[str, str] = {}
        self.released = threading.Event()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                path = self.path.strip("/")
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                mood = sink.mood.get(path, "fine")
                sink.asked.append(path)
                if mood == "hang":
                    sink.released.wait(PATIENCE_SECONDS)
                    return
                if mood == "fine":
                    sink.taken.append((path, body["title"], body["message"]))
                self.send_response(200 if mood == "fine" else 500)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_SECONDS,), daemon=True)

    def url(self, path: str) -> str:
        """Where it is, as Apprise writes it."""
        return f"json://127.0.0.1:{self._server.server_port}/{path}"

    def texts(self, path: str) -> list[str]:
        return [text for found, _, text in self.taken if found == path]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
