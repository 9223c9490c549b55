"""Servers that wait, and whose clients wait, for as long as a test does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from shedder.embedded import EmbeddedServer
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from redis import Redis


class PatientServer(EmbeddedServer):
    """An embedded server on a machine that is busy, and may stand still while it starts or answers."""

    def start(self, *, timeout: float = PATIENCE_SECONDS) -> Self:
        """Start the server, and return once it answers."""
        return super().start(timeout=timeout)

    def restart(self, *, timeout: float = PATIENCE_SECONDS) -> None:
        """End the server and start it again."""
        super().restart(timeout=timeout)

    def client(self, **options: Any) -> Redis:
        """A new client; of redis-py's own, any that waits longer than five seconds fails."""
        patience = {"socket_timeout": PATIENCE_SECONDS, "socket_connect_timeout": PATIENCE_SECONDS}
        return super().client(**{**patience, **options})


def patient(url: str) -> str:
    """A URL with which a program waits for an answer as long as a test does, and not the few seconds of its own."""
    joint = "&" if "?" in url else "?"
    return f"{url}{joint}socket_connect_timeout={PATIENCE_SECONDS:g}&socket_timeout={PATIENCE_SECONDS:g}"
