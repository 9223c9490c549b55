"""Clients beside the application's, for the background and with a deadline; what a fork does to clients."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from redis import ConnectionPool, Redis, backoff, retry, sentinel

MOST_CONNECTIONS = 2**31
"""One for each thread or greenlet that asks at once: the hundred of redis-py are too few."""

SHORTEST_WAIT_SECONDS = 0.001
"""Zero would not be a wait at all."""

TOLERATED_SECONDS = 0.002
"""A wait may be longer than it should by this much."""


class Deadline(threading.local):
    """How long a thread still waits for Redis, over all replies of one decision together.

    Args:
        seconds: What one decision may take.
        clock: Tells the time in seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._until = clock() + seconds

    def begin(self) -> None:
        """Begin a decision."""
        self._until = self._clock() + self._seconds

    @property
    def left(self) -> float:
        """Seconds that are left of it."""
        return max(self._until - self._clock(), SHORTEST_WAIT_SECONDS)


def own_client(connection: Redis, *, patience: float) -> Redis:
    """A client to the server of `connection`, with connections of its own.

    It gives up after `patience` seconds and does not try again; the application's client, its
    timeouts and the size of its pool stay as they are.
    """
    return _client(connection, connection.connection_pool.connection_class, patience)


def deadline_client(connection: Redis, haste: Deadline, *, patience: float) -> Redis:
    """As `own_client`, but one that gives up when nothing is left of `haste`.

    A new connection takes a handshake of several replies, and each of them could come just before
    `patience` is over: their sum is what is bounded.
    """
    return _client(connection, _hasty(connection.connection_pool.connection_class, haste), patience)


def _client(connection: Redis, kind: type[Any], patience: float) -> Redis:
    pool = connection.connection_pool
    settings = {
        **pool.connection_kwargs,
        "socket_timeout": patience,
        "socket_connect_timeout": patience,
        "retry": retry.Retry(backoff.NoBackoff(), 0),
        "decode_responses": False,
        "max_connections": MOST_CONNECTIONS,
    }
    if isinstance(pool, sentinel.SentinelConnectionPool):
        settings.pop("connection_pool", None)
        own: ConnectionPool = sentinel.SentinelConnectionPool(
            pool.service_name, pool.sentinel_manager, connection_class=kind, **settings
        )
    else:
        own = ConnectionPool(connection_class=kind, **settings)
    client = Redis.from_pool(own)  # whose close() closes the pool, too
    keep_after_fork(client)
    return client


def _hasty(kind: type[Any], haste: Deadline) -> type[Any]:
    class Hasty(kind):  # type: ignore[misc]  # whatever class the application's pool has
        _said = 0.0

        def _connect(self) -> Any:
            self._said = self.socket_connect_timeout = self.socket_timeout = haste.left
            return super()._connect()

        def send_packed_command(self, *args: Any, **options: Any) -> Any:
            self._hurry()
            return super().send_packed_command(*args, **options)

        def read_response(self, *args: Any, **options: Any) -> Any:
            self._hurry()
            return super().read_response(*args, **options)

        def _hurry(self) -> None:
            left = haste.left
            # each change is a call of the system; what is a little off is as good
            if self._sock is not None and abs(left - self._said) > TOLERATED_SECONDS:
                self._said = left
                self._sock.settimeout(left)

    return Hasty


_GIVEN = ("driver_info", "lib_name", "lib_version")


def look_up_driver_once(pool: ConnectionPool) -> None:
    """Let connections of `pool` know what redis-py calls itself; what the user said of it stays.

    A pool made from a URL looks it up for each connection, in the metadata of the installed
    package (since redis-py's pull request 3880). That is 3 ms in the fork of every job.
    """
    settings: dict[str, Any] = pool.connection_kwargs
    if any(name in settings for name in _GIVEN):
        return
    try:
        from redis.driver_info import DriverInfo
    except ImportError:  # an older redis-py looks it up once, when it is imported
        return
    settings["driver_info"] = DriverInfo()


_KEPT: weakref.WeakSet[Any] = weakref.WeakSet()

_LOCKS = {type(make()): make for make in (threading.Lock, threading.RLock)}


def keep_after_fork(client: Redis) -> None:
    """See to it that `client` answers in each fork of this process.

    redis-py throws away the connections of the parent there, and takes a lock of the pool to do so.
    A thread of the parent may have held it, or that of the pool's dispatcher of events, in the moment
    of the fork, and nobody ever frees the copy. So the child gets locks of its own. Nothing else
    of the client is changed, and nothing at all in the parent.
    """
    _KEPT.add(client)


def _free_locks_in_child() -> None:
    for client in list(_KEPT):
        for holder in _holders(client):
            for name, value in list(vars(holder).items()):
                if type(value) in _LOCKS:
                    setattr(holder, name, _LOCKS[type(value)]())


def _holders(client: Any) -> Iterator[Any]:
    """What may hold locks: a client, its pool, the parts of both, and clients of Sentinels."""
    pool = client.connection_pool
    yield from (client, pool)
    for part in (*vars(client).values(), *vars(pool).values()):
        if type(part).__module__.startswith("redis.") and hasattr(part, "__dict__"):
            yield part
    for each in getattr(getattr(pool, "sentinel_manager", None), "sentinels", ()):
        yield from _holders(each)


os.register_at_fork(after_in_child=_free_locks_in_child)
