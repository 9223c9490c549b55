"""How does a worker show that it is alive while it prepares a job?

A claim has a lease, and an import may take longer. A thread renews the lease for as long as the
process lives; it is silent while no claim is in hand. A frozen process is silent too: its claim
goes to another worker, and the gate refuses it when it thaws.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import redis
import redis.exceptions

from shedder.at_hand import ids_of
from shedder.rq.claims import RENEW_SECONDS, HeldClaim, renew_claim
from shedder.scripts import load_script

if TYPE_CHECKING:
    from shedder.keys import Keys

logger = logging.getLogger("shedder.worker")


class Heart:
    """Keeps the claim of one worker alive, from a thread with connections of its own."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._held: HeldClaim | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.is_claiming = False

    def hold(self, held: HeldClaim | None) -> None:
        """Keep this claim alive from now on, or none."""
        self._held = held

    @contextmanager
    def claiming(self) -> Iterator[None]:
        """While a claim is under way, a signal must wait for its reply."""
        self.is_claiming = True
        try:
            yield
        finally:
            self.is_claiming = False

    def start(self) -> None:
        """Begin, in a thread that ends with the process."""
        self._ended.clear()
        self._thread = threading.Thread(target=self._beat, name="shedder-heart", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=1)

    def _beat(self) -> None:
        # A connection of its own: a fork in the middle of a beat must not copy a pool's held lock,
        # and a pool that is just large enough for RQ has none to give.
        pool = self._client.connection_pool
        connection = pool.connection_class(**pool.connection_kwargs)
        while not self._ended.wait(RENEW_SECONDS):
            held = self._held
            if held is not None:
                self._renew(connection, held)
        connection.disconnect()

    def _renew(self, connection: Any, held: HeldClaim) -> None:
        command = renew_claim(self._keys, held.token)
        text = load_script(command.script).text
        try:
            connection.send_command("EVAL", text, len(command.keys), *command.keys, *command.args)
            connection.read_response()
        except (redis.exceptions.RedisError, OSError) as error:
            connection.disconnect()
            ids = ids_of(lane=held.lane, job=held.job_id)
            logger.warning("the claim of job %s was not renewed: %s", held.job_id, error, extra=ids)
