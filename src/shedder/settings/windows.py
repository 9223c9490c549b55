"""Hits of limits, counted in Redis or, while it is away, in this process.

`limits` puts the amount of a rate into the name of its counter, so that a change of rate starts a
fresh counter: 100, then 50, then 200 a minute let 350 through in one minute. An item of ours leaves
the amount out, and a storage of ours counts by the server's clock, forgets no hit that a longer
period still counts, and can count when memory is full. See `docs/explanation/limits-and-flags.md`.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from fractions import Fraction
from typing import TypeVar

import redis
import redis.exceptions
from limits import RateLimitItemPerSecond
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter

from shedder.errors import ShedderError
from shedder.log_context import Troubles
from shedder.settings.setting import AWAY_SECONDS, LimitUnavailable
from shedder.store.clients import Deadline, deadline_client, keep_after_fork
from shedder.store.keys import Keys
from shedder.store.store import Command, Store
from shedder.units import Rate

T = TypeVar("T")

_OWN_FAULT = re.compile(r"WRONGTYPE|user_script|not an integer|out of range")
"""What a server says that serves, and could not carry out this one script."""

DECISION_SECONDS = 0.1
"""A decision takes no longer than this, whatever Redis does."""

PATIENCE_SECONDS = 0.085
"""The part of it that goes to Redis: to connections, handshakes and replies together."""

_LARGEST_PERIOD = 100_000
_FORGOTTEN_PER_HIT = 1000
_MICROSECONDS = 1_000_000


class StableItem(RateLimitItemPerSecond):
    """A rate whose counter keeps its name when the rate changes."""

    __slots__ = ()

    def key_for(self, *identifiers: bytes | str | float) -> str:
        """The name of the counter: what is limited, and nothing of the rate."""
        return " ".join(str(each) for each in identifiers if each not in ("", None))

    def shared_by(self, processes: int) -> StableItem:
        """What one of `processes` may do, when they cannot ask one another."""
        if self.amount >= processes:
            return StableItem(self.amount // processes, self.get_expiry())
        return StableItem(1, -(-self.get_expiry() * processes // self.amount))


def item_of(rate: Rate) -> StableItem:
    """`rate` as whole hits in whole seconds: 0.5/second is one in two seconds."""
    if rate.amount == int(rate.amount) and rate.per == int(rate.per):
        return StableItem(int(rate.amount), int(rate.per))
    share = Fraction(rate.per_second).limit_denominator(_LARGEST_PERIOD)
    return StableItem(max(share.numerator, 1), share.denominator)


class SharedWindows:
    """Hits of all processes, counted in Redis.

    Args:
        connection: The application's client; a client of our own beside it has a short patience.
        keys: Where the windows are.
        patience: Seconds that one decision waits for Redis.
    """

    def __init__(self, connection: redis.Redis, keys: Keys, *, patience: float = PATIENCE_SECONDS) -> None:
        self._haste = Deadline(patience)
        client = deadline_client(connection, self._haste, patience=patience)
        self._client = client
        self._windows = MovingWindowRateLimiter(_Windows(client, keys))

    def close(self) -> None:
        """Close the connections; the next hit opens one again."""
        self._client.close()

    def hit(self, name: str, key: str, item: StableItem, cost: int) -> bool:
        """Whether `cost` hits are within the rate; they count when they are.

        Raises:
            LimitUnavailable: Redis did not answer in time.
        """
        return self._ask(lambda: self._windows.hit(item, name, key, cost=cost))

    def retry_after(self, name: str, key: str, item: StableItem) -> float:
        """In how many seconds one more hit is within the rate.

        Raises:
            LimitUnavailable: Redis did not answer in time.
        """
        stats = self._ask(lambda: self._windows.get_window_stats(item, name, key))
        return max(stats.reset_time - time.time(), 0.0) if stats.remaining <= 0 else 0.0

    def _ask(self, question: Callable[[], T]) -> T:
        self._haste.begin()
        try:
            return question()
        except (StorageError, OSError) as error:
            raise LimitUnavailable(str(error), is_outage=_is_outage(error)) from error


def _is_outage(error: Exception) -> bool:
    cause = error.__cause__ or error
    if isinstance(cause, redis.exceptions.DataError):  # the client did not even send it
        return False
    return not (isinstance(cause, redis.exceptions.ResponseError) and _OWN_FAULT.search(str(cause)))


class LocalWindows:
    """Hits of this process alone, while Redis is away."""

    def __init__(self) -> None:
        self._windows: MovingWindowRateLimiter | None = None
        self._process = 0

    def hit(self, name: str, key: str, item: StableItem, cost: int) -> bool:
        """Whether `cost` hits are within the rate; they count when they are."""
        # the storage starts a thread, and a fork may inherit its locks while they are held
        if self._windows is None or self._process != os.getpid():
            self._windows = MovingWindowRateLimiter(MemoryStorage())
            self._process = os.getpid()
        return self._windows.hit(item, name, key, cost=cost)


def read_window(keys: Keys, counter: str, amount: int, period: int) -> Command[tuple[int, float]]:
    """Hits that count now, and seconds until one more is within `amount` in `period` seconds."""
    return Command(
        "read_window",
        (keys.limit_window(counter),),
        (amount, period * _MICROSECONDS),
        lambda reply: (int(reply[0]), int(reply[1]) / _MICROSECONDS),
    )


class _Windows(RedisStorage):
    """Windows by the server's clock: an hour's skew of one client would shut out all others."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._keys = keys
        self._store = Store(client, keys)
        super().__init__("redis://", connection_pool=client.connection_pool, wrap_exceptions=True)
        keep_after_fork(self.storage)

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """What becomes a `StorageError`."""
        return redis.exceptions.RedisError, ShedderError

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount` hits at the server's time, all of them or none."""
        keys, name = self._keys, key.partition(" ")[0]
        return self._store.execute(
            Command(
                "hit_window",
                (keys.limit_window(key), keys.limit_hits),
                (limit, expiry * _MICROSECONDS, amount, name, _FORGOTTEN_PER_HIT),
                bool,
            )
        )

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the hit was that must leave the window first, and how many count."""
        used, wait = self._store.execute(read_window(self._keys, key, limit, expiry))
        return time.time() + wait - expiry, used


logger = logging.getLogger("shedder.limits")


class Absence:
    """What the hits of a process found.

    While Redis is away, one hit a second asks whether it is back, and only that one waits.

    Args:
        clock: Tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = 0.0
        self._troubles = Troubles(logger)

    def may_ask(self) -> bool:
        """Whether this hit asks Redis."""
        if not self._until:
            return True
        now = self._clock()
        if now < self._until:
            return False
        self._until = now + AWAY_SECONDS
        return True

    def note_away(self, error: Exception) -> None:
        """Redis did not answer in time."""
        self._until = self._clock() + AWAY_SECONDS
        self._troubles.meet("Redis", "limits are decided without Redis, as each declares: %s", error)

    def note_back(self) -> None:
        """Redis answered."""
        if self._until:
            self._until = 0.0
            self._troubles.end("Redis", "limits are decided with Redis again")
