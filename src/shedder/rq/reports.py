"""How does a worker say that a job's function runs, without waiting for the answer?

Between the gate and the first line of the function lies a moment in which a process can be frozen.
`pause` waits for those who are in it, so each start must end it: one line on the wire, whose reply
is read when the function has returned.
"""

from __future__ import annotations

from typing import Any

import redis
import redis.client
import redis.exceptions

SMALL_POOL = 8
"""A pool of no more connections is not short of one while a job runs, which may need it."""


class StartReport:
    """The report of one start, on a connection of its own out of the client's pool."""

    def __init__(self, client: redis.Redis, starting: str, token: bytes) -> None:
        self._client = client
        self._starting = starting
        self._token = token
        self._connection: Any = None
        self._has_arrived = False

    def send(self) -> None:
        """Send the report, and do not wait.

        A server that cannot be reached now is met again when the job has ended; the start then
        stands as unconfirmed, which `pause` names and never hides.
        """
        try:
            self._connection = self._client.connection_pool.get_connection()
            self._connection.send_command("HDEL", self._starting, self._token)
        except (redis.exceptions.RedisError, OSError):
            self._give_up()
            return
        if self._client.connection_pool.max_connections <= SMALL_POOL:
            self._collect()

    def confirm(self) -> None:
        """Read the replies, and return the connection; report again what has not arrived."""
        self._collect()
        if not self._has_arrived:
            self._client.hdel(self._starting, self._token)

    def _collect(self) -> None:
        if self._connection is None:
            return
        try:
            self._connection.read_response()
        except redis.exceptions.ResponseError:
            pass
        except (redis.exceptions.RedisError, OSError):
            self._give_up()
            return
        self._has_arrived = True
        self._client.connection_pool.release(self._connection)
        self._connection = None

    def _give_up(self) -> None:
        if self._connection is not None:
            self._connection.disconnect()
            self._client.connection_pool.release(self._connection)
            self._connection = None
