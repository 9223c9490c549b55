"""The server on which is measured, and how far away it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from benchmarks.proxy import Proxy
from shedder.embedded import EmbeddedServer

if TYPE_CHECKING:
    import redis


_peaks: ContextVar[list[int] | None] = ContextVar("peaks", default=None)


@contextmanager
def peaks() -> Iterator[list[int]]:
    """The highest memory of each server within, in bytes, when it has ended."""
    found: list[int] = []
    token = _peaks.set(found)
    try:
        yield found
    finally:
        _peaks.reset(token)


class Ground:
    """A private server with nothing in it, and the road to it.

    Args:
        latency_ms: Milliseconds that the road adds to a round trip; 0 leads straight to the port.
        config: Directives of the server and their values.

    Attributes:
        server: The server itself.
        near: A client that takes no road: what looks on uses it, and what prepares.
        url: Where the road begins.
    """

    def __init__(self, *, latency_ms: float = 0.0, config: dict[str, str] | None = None) -> None:
        self._latency_ms = latency_ms
        self._parts = ExitStack()
        self.server = EmbeddedServer(port=0, config=config)

    def __enter__(self) -> Self:
        self._parts.enter_context(self.server)
        port = self.server.port
        assert port is not None
        if self._latency_ms:
            proxy = Proxy(host="127.0.0.1", port=port, delay_ms=self._latency_ms)
            port = self._parts.enter_context(proxy).port
        self.url = f"redis://127.0.0.1:{port}"
        self.near: redis.Redis = self.server.client()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if (found := _peaks.get()) is not None:
            memory: Any = self.near.info("memory")
            found.append(int(memory["used_memory_peak"]))
        self.near.close()
        self._parts.close()

    def client(self, **options: Any) -> redis.Redis:
        """A new client at the end of the road."""
        import redis

        return redis.Redis.from_url(self.url, **options)

    def clear(self) -> None:
        """Throw away all data; what the scripts are stays known."""
        self.near.flushall()
