"""How does a worker outlive a Redis that is away, busy, full or read-only for a while?

RQ's worker exits at the first such reply, wherever it meets it, and takes what it has in hand with
it. Ours talks through a client that waits and tries again. A command whose reply was lost may so be
carried out twice: an id that is pushed twice runs once (the claim and the gate see its status).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

import redis
import redis.client
import redis.exceptions

T = TypeVar("T")

logger = logging.getLogger("shedder.worker")

FIRST_WAIT_SECONDS = 0.05
LONGEST_WAIT_SECONDS = 2.0

_PASSING = (
    "BUSY",
    "LOADING",
    "READONLY",
    "OOM",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "NOREPLICAS",
    "MISCONF",
)


def is_passing(error: BaseException) -> bool:
    """Whether `error` says that Redis will do it later."""
    if isinstance(error, redis.exceptions.AuthenticationError):
        return False
    if isinstance(error, redis.exceptions.ConnectionError | redis.exceptions.TimeoutError):
        return True
    if isinstance(error, redis.exceptions.ReadOnlyError | redis.exceptions.OutOfMemoryError):
        return True
    if not isinstance(error, redis.exceptions.ResponseError):
        return False
    text = str(error)
    return text.startswith(_PASSING) or any(f": {word} " in text for word in _PASSING)


def patiently(attempt: Callable[[], T]) -> T:
    """The value of `attempt`, called again for as long as its failure is a passing one."""
    wait = FIRST_WAIT_SECONDS
    while True:
        try:
            value = attempt()
        except redis.exceptions.RedisError as error:
            if not is_passing(error):
                raise
            if wait == FIRST_WAIT_SECONDS:
                logger.warning("Redis does not serve us, trying again until it does: %s", error)
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)
        else:
            if wait != FIRST_WAIT_SECONDS:
                logger.warning("Redis serves us again")
            return value


class PatientPipeline(redis.client.Pipeline):
    """A pipeline that is sent again when Redis could not serve it."""

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """The replies to all commands on the pipeline."""
        if self.watching:
            return self._execute_watched(raise_on_error)
        stack, is_transaction = list(self.command_stack), self.explicit_transaction

        def attempt() -> list[Any]:
            self.command_stack, self.explicit_transaction = list(stack), is_transaction
            return super(PatientPipeline, self).execute(raise_on_error)

        return patiently(attempt)

    def _execute_watched(self, raise_on_error: bool) -> list[Any]:
        # what was read under WATCH cannot be read again here: RQ starts over at a WatchError
        try:
            return super().execute(raise_on_error)
        except redis.exceptions.RedisError as error:
            if not is_passing(error):
                raise
            time.sleep(FIRST_WAIT_SECONDS)
            raise redis.exceptions.WatchError(str(error)) from error

    def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        """The reply to one command that is sent at once, such as WATCH."""
        if self.watching:
            return super().immediate_execute_command(*args, **options)
        return patiently(
            lambda: super(PatientPipeline, self).immediate_execute_command(*args, **options)
        )


class PatientRedis(redis.Redis):
    """A client on another client's pool of connections that waits for Redis to come back."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """The reply to one command."""
        return patiently(lambda: super(PatientRedis, self).execute_command(*args, **options))

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> PatientPipeline:
        """A pipeline with the same patience."""
        return PatientPipeline(
            self.connection_pool, self.response_callbacks, transaction, shard_hint
        )


def patient(connection: redis.Redis) -> PatientRedis:
    """A patient client on the pool of `connection`, which stays as it is."""
    if isinstance(connection, PatientRedis):
        return connection
    return PatientRedis(connection_pool=connection.connection_pool)
