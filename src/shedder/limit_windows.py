"""How are hits counted? By the `limits` library, under names that do not change with the rate.

`limits` puts the amount of a rate into the name of its counter, so that a change of rate starts a
fresh counter: 100, then 50, then 200 a minute let 350 through in one minute. An item of ours leaves
the amount out. The moving window alone stays exact then: each hit is remembered for as long as it
counts. A fixed window counts refused hits too and starves after a rate was lowered; the sliding
window counter is an estimate that lets more through at the edge of two windows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from typing import Protocol

import redis
import redis.backoff
import redis.exceptions
import redis.retry
import redis.sentinel
from limits import RateLimitItemPerSecond
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter

from shedder.rates import Rate

DECISION_SECONDS = 0.1
"""A hit waits for Redis no longer than this."""

_LARGEST_PERIOD = 100_000


class LimitUnavailable(Exception):
    """Redis did not answer in time, so nobody knows how much is left."""


class Window(Protocol):
    """Counts hits under a name."""

    def hit(self, name: str, key: str, item: RateLimitItemPerSecond, cost: int) -> bool:
        """Whether `cost` hits are within the rate; they count when they are."""

    def retry_after(self, name: str, key: str, item: RateLimitItemPerSecond) -> float:
        """In how many seconds the next hit may be within the rate."""


class StableItem(RateLimitItemPerSecond):
    """A rate whose counter keeps its name when the rate changes."""

    __slots__ = ()

    def key_for(self, *identifiers: bytes | str | float) -> str:
        """The name of the counter: what is limited, and nothing of the rate."""
        return "/".join(str(each) for each in identifiers)


def item_of(rate: Rate) -> StableItem:
    """`rate` as whole hits in whole seconds: 0.5/second is one in two seconds."""
    share = Fraction(rate.per_second).limit_denominator(_LARGEST_PERIOD)
    if rate.amount == int(rate.amount) and rate.per == int(rate.per):
        return StableItem(int(rate.amount), int(rate.per))
    return StableItem(max(share.numerator, 1), share.denominator)


class _ServerClockStorage(RedisStorage):
    """Counters in Redis whose clock is the server's: an hour's skew of one client shuts out all."""

    def __init__(self, client: redis.Redis, prefix: str, now: Callable[[], float]) -> None:
        self._now = now
        super().__init__(
            "redis://",
            connection_pool=client.connection_pool,
            key_prefix=prefix,
            wrap_exceptions=True,
        )

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count a hit at the server's time."""
        reply = self.lua_acquire_moving_window(
            [self.prefixed_key(key)], [self._now(), limit, expiry, amount]
        )
        return bool(reply)

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """The oldest hit that counts at the server's time, and how many do."""
        now = self._now()
        window = self.lua_moving_window([self.prefixed_key(key)], [now - expiry, limit])
        return (float(window[0]), int(window[1])) if window else (now, 0)


class SharedWindows:
    """Hits of all processes, counted in Redis.

    Args:
        connection: The application's client; a client of our own beside it has a short patience.
        prefix: What the keys of the counters begin with.
        now: The server's clock, in seconds.
    """

    def __init__(self, connection: redis.Redis, prefix: str, now: Callable[[], float]) -> None:
        self._now = now
        self._windows = MovingWindowRateLimiter(
            _ServerClockStorage(impatient(connection), prefix, now)
        )

    def hit(self, name: str, key: str, item: RateLimitItemPerSecond, cost: int) -> bool:
        """Whether `cost` hits are within the rate; they count when they are.

        Raises:
            LimitUnavailable: Redis did not answer in time.
        """
        try:
            return self._windows.hit(item, name, key, cost=cost)
        except (StorageError, OSError) as error:
            raise LimitUnavailable(str(error)) from error

    def retry_after(self, name: str, key: str, item: RateLimitItemPerSecond) -> float:
        """In how many seconds the next hit may be within the rate.

        Raises:
            LimitUnavailable: Redis did not answer in time.
        """
        try:
            stats = self._windows.get_window_stats(item, name, key)
        except (StorageError, OSError) as error:
            raise LimitUnavailable(str(error)) from error
        return max(stats.reset_time - self._now(), 0.0)


class LocalWindows:
    """Hits of this process alone, while Redis is away."""

    def __init__(self) -> None:
        self._windows = MovingWindowRateLimiter(MemoryStorage())

    def hit(self, name: str, key: str, item: RateLimitItemPerSecond, cost: int) -> bool:
        """Whether `cost` hits are within the rate; they count when they are."""
        return self._windows.hit(item, name, key, cost=cost)

    def retry_after(self, name: str, key: str, item: RateLimitItemPerSecond) -> float:
        """In how many seconds the next hit may be within the rate."""
        stats = self._windows.get_window_stats(item, name, key)
        return max(stats.reset_time - time.time(), 0.0)


def impatient(connection: redis.Redis) -> redis.Redis:
    """A client to the same server that gives up after `DECISION_SECONDS` and does not retry."""
    pool = connection.connection_pool
    settings = {
        **pool.connection_kwargs,
        "socket_timeout": DECISION_SECONDS,
        "socket_connect_timeout": DECISION_SECONDS,
        "retry": redis.retry.Retry(redis.backoff.NoBackoff(), 0),
    }
    if isinstance(pool, redis.sentinel.SentinelConnectionPool):
        settings.pop("connection_pool", None)
        own = redis.sentinel.SentinelConnectionPool(
            pool.service_name, pool.sentinel_manager, **settings
        )
    else:
        own = redis.ConnectionPool(connection_class=pool.connection_class, **settings)
    return redis.Redis(connection_pool=own)
