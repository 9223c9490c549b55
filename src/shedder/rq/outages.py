"""A client that waits for a Redis that is away, busy or full.

RQ's worker exits at the first such reply, wherever it meets it, and takes what it has in hand with
it. Ours talks through a client that waits and tries again. A command whose reply was lost may so be
carried out twice. That is so with redis-py's own retries too, and the scripts are made for it.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from itertools import count
from typing import Any, TypeVar
from uuid import uuid4

from redis import ConnectionPool, Redis, exceptions

from shedder.engine.names import rq_keys
from shedder.store.store import Pipeline, in_text

T = TypeVar("T")

logger = logging.getLogger("shedder.worker")

FIRST_WAIT_SECONDS = 0.05
LONGEST_WAIT_SECONDS = 2.0

ORPHAN_SECONDS = 600.0
"""How long the process of a job whose worker was killed keeps the job's end for a Redis away."""

MARK_SECONDS = 120
"""How long an outage may last before a push whose reply it took is made again."""

_PUSHES = ("RPUSH", "LPUSH")

_PASSING = ("BUSY", "LOADING", "READONLY", "OOM", "NOREPLICAS", "MISCONF", "UNBLOCKED")

# redis-py takes the first word off these
_PASSING_CLASSES = (
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.ClusterDownError,  # and of its family MASTERDOWN
    exceptions.TryAgainError,
)

# of the family of connection errors, but no waiting helps: a pool that is too small for one process
# would be waited for by the very thread that holds its connections
_LASTING = (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.MaxConnectionsError)


def is_passing(error: BaseException) -> bool:
    """Whether `error` says that Redis will do it later."""
    if isinstance(error, _LASTING):
        return False
    if isinstance(error, (exceptions.ConnectionError, exceptions.TimeoutError, *_PASSING_CLASSES)):
        return True
    if not isinstance(error, exceptions.ResponseError):
        return False
    text = str(error)
    return text.startswith(_PASSING) or any(f": {word} " in text for word in _PASSING)


class RetryPolicy:
    """How long a client tries again: for ever, unless it was told to come to an end.

    Args:
        pool: The connections of the client.
        sleep: Lets so many seconds pass.

    Attributes:
        failures: How often Redis has failed it; what failed may have been carried out.
    """

    def __init__(self, pool: ConnectionPool, *, sleep: Callable[[float], object] = time.sleep) -> None:
        self.failures = 0
        self._pool = pool
        self._sleep = sleep
        self._end = math.inf
        self._is_tried = False
        self._parent = 0

    def begin(self) -> None:
        """Try for ever from now on."""
        self._end = math.inf

    def end_in(self, seconds: float) -> None:
        """Try for no more than `seconds` from now on."""
        self._end = min(self._end, time.monotonic() + seconds)

    def stay_with(self, parent: int) -> None:
        """Come to an end some time after the process `parent` has ended."""
        self._parent = parent

    def run(self, attempt: Callable[[], T]) -> T:
        """The value of `attempt`, called again for as long as its failure is a passing one."""
        wait = FIRST_WAIT_SECONDS
        while True:
            try:
                value = attempt()
            except exceptions.RedisError as error:
                self.bear(error, seconds=wait)
                wait = min(2 * wait, LONGEST_WAIT_SECONDS)
            except BaseException:
                # RQ's signal handlers raise wherever they come, also between two replies: those
                # that were not read would be taken for the answer to the next command
                self._pool.disconnect(inuse_connections=False)
                raise
            else:
                if wait != FIRST_WAIT_SECONDS:
                    self.rest()
                return value

    def bear(self, error: exceptions.RedisError, *, seconds: float) -> None:
        """Wait `seconds` before another attempt; raise `error` when there should be none."""
        self.failures += 1
        if self._parent and os.getppid() != self._parent:
            self.end_in(ORPHAN_SECONDS)
            self._parent = 0
        if not is_passing(error) or time.monotonic() >= self._end:
            raise error
        if not self._is_tried:
            self._is_tried = True
            logger.warning("Redis does not serve us, trying again until it does: %s", error)
        if isinstance(error, exceptions.ReadOnlyError):
            # a server that was demoted answers so for ever: its name may lead to the new one now
            self._pool.disconnect(inuse_connections=False)
        self._sleep(seconds)

    def rest(self) -> None:
        """Say that what failed has succeeded."""
        if self._is_tried:
            self._is_tried = False
            logger.warning("Redis serves us again")


class RetryingPipeline(Pipeline):
    """A pipeline that is sent again when Redis could not serve it.

    One that pushes leaves a mark, by which it is known when its reply was lost: pushed a second
    time, after another worker has started the job, the job would run twice.
    """

    patience: RetryPolicy
    owner: RetryingRedis

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """The pipeline with one command more; under WATCH, the reply to it."""
        return super().execute_command(*in_text(args), **options)

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """The replies to all commands on the pipeline; None for each when they were lost."""
        mark = self._leave_mark()
        run = self._execute_watched if self.watching else self._execute_again
        replies = run(raise_on_error, mark)
        return replies[:-1] if mark else replies

    def _leave_mark(self) -> str:
        if not any(args[0] in _PUSHES for args, _ in self.command_stack):
            return ""
        mark = rq_keys().mark(uuid4().hex)
        self.set(mark, 1, ex=MARK_SECONDS)
        return mark

    def _execute_again(self, raise_on_error: bool, mark: str) -> list[Any]:
        stack, is_transaction = list(self.command_stack), self.explicit_transaction
        scripts = set(self.scripts)
        failures = count()

        def attempt() -> list[Any]:
            if next(failures) and mark and self.owner.exists(mark):
                return [None] * len(stack)
            self.command_stack, self.explicit_transaction = list(stack), is_transaction
            self.scripts = set(scripts)  # a server that restarted knows none of them
            return super(RetryingPipeline, self).execute(raise_on_error)

        return self.patience.run(attempt)

    def _execute_watched(self, raise_on_error: bool, mark: str) -> list[Any]:
        # what was read under WATCH cannot be read again here: RQ starts over at a WatchError
        size = len(self.command_stack)
        try:
            replies = super().execute(raise_on_error)
        except exceptions.RedisError as error:
            self.patience.bear(error, seconds=FIRST_WAIT_SECONDS)
            if mark and self.owner.exists(mark):
                return [None] * size
            raise exceptions.WatchError(str(error)) from error
        self.patience.rest()
        return replies

    def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        """The reply to one command that is sent at once: WATCH, and what is read after it.

        A connection that breaks ends the WATCH, and RQ starts over; after a refusal it still holds.
        """
        return self.patience.run(lambda: super(RetryingPipeline, self).immediate_execute_command(*args, **options))


class RetryingRedis(Redis):
    """A client on another client's pool of connections that waits for Redis to come back."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.patience = RetryPolicy(self.connection_pool)
        self.given: Redis | None = None

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """The reply to one command."""
        words = in_text(args)
        return self.patience.run(lambda: super(RetryingRedis, self).execute_command(*words, **options))

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> RetryingPipeline:
        """A pipeline with the same patience."""
        pipeline = RetryingPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        pipeline.patience, pipeline.owner = self.patience, self
        return pipeline


def patient(connection: Redis) -> RetryingRedis:
    """A patient client on the pool of `connection`, which stays as it is."""
    if isinstance(connection, RetryingRedis):
        return connection
    client = RetryingRedis(connection_pool=connection.connection_pool)
    client.given = connection  # it closes the pool when nobody needs it any more
    return client
