"""How does a process learn within a second what an operator set?

A thread listens on a channel and asks once a second for the version of the settings; what it reads
becomes a dictionary that is replaced as a whole, so that a reader needs no lock. The thread starts
at the first use, never at import, and again after a fork.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import redis
import redis.exceptions

from shedder.errors import RecordUnreadable
from shedder.keys import Keys
from shedder.settings import Setting, setting_from
from shedder.stored import ms_from_time, text_of

logger = logging.getLogger("shedder.settings")

POLL_SECONDS = 1.0
"""How often a process asks whether anything was changed that it was not told of."""

FIRST_LOAD_SECONDS = 0.1
"""How long the first question of a process waits for Redis before it takes what the code says."""

LONGEST_RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Known:
    """What a process knows of the settings.

    Attributes:
        flags: The operator's settings of flags, by name.
        limits: The operator's settings of limits, by name.
        is_loaded: Redis has been read at least once.
    """

    flags: Mapping[str, Setting] = field(default_factory=dict)
    limits: Mapping[str, Setting] = field(default_factory=dict)
    is_loaded: bool = False


class SettingsWatch:
    """What this process knows of flags and limits, kept fresh by a thread.

    Args:
        connection: The application's client; the thread takes connections from its pool.
        keys: Where the settings are.
    """

    def __init__(self, connection: redis.Redis, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys
        self._listeners: list[Callable[[Known], None]] = []
        self._chores: list[Callable[[redis.Redis], None]] = []
        self.known = Known()
        self.confirmed_at = -float("inf")
        self._version: bytes | None = None
        self._server_offset_ms = (time.time() - time.monotonic()) * 1000
        self.is_awake = False
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._loaded = threading.Event()
        self._ended = threading.Event()
        me = weakref.ref(self)

        def after_fork() -> None:
            watch = me()
            if watch is not None:
                watch._forget_thread()  # noqa: SLF001 - its own, of this class

        os.register_at_fork(after_in_child=after_fork)

    def listen(self, listener: Callable[[Known], None]) -> None:
        """Call `listener` with what is known, now and whenever it changes or grows stale."""
        self._listeners.append(listener)
        listener(self.known)

    def do_each_round(self, chore: Callable[[redis.Redis], None]) -> None:
        """Let the thread do `chore` once a second, such as sending counts."""
        self._chores.append(chore)

    @property
    def age_seconds(self) -> float:
        """How long ago Redis confirmed what is known; infinite when it never has."""
        return time.monotonic() - self.confirmed_at

    def server_now(self) -> float:
        """The server's clock in seconds, as far as this process knows it."""
        return time.monotonic() + self._server_offset_ms / 1000

    def wake(self) -> None:
        """See to it that the thread runs in this process, and wait a moment for its first load."""
        with self._starting:
            if not self.is_awake:
                self._thread = threading.Thread(
                    target=self._watch, name="shedder-settings", daemon=True
                )
                self._thread.start()
                self.is_awake = True
        if self.age_seconds > POLL_SECONDS:
            self._loaded.wait(FIRST_LOAD_SECONDS)

    def close(self) -> None:
        """End the thread."""
        self._ended.set()

    def _forget_thread(self) -> None:
        # locks and events of the parent may be held by a thread that is not here
        self.is_awake = False
        self._thread = None
        self._starting = threading.Lock()
        self._loaded = threading.Event()
        self._ended = threading.Event()

    def _watch(self) -> None:
        pubsub: Any = None
        retry = 0.1
        is_served = True
        while not self._ended.is_set():
            try:
                if pubsub is None:
                    pubsub = self._connection.pubsub(ignore_subscribe_messages=True)
                    pubsub.subscribe(self._keys.settings_channel)
                self._refresh()
                if not is_served:
                    self._tell()
                self._do_chores()
                is_served = self._note_service(was_served=is_served, is_served=True)
                retry = 0.1
                pubsub.get_message(timeout=POLL_SECONDS)
            except (redis.exceptions.RedisError, OSError) as error:
                is_served = self._note_service(was_served=is_served, is_served=False, error=error)
                _close(pubsub)
                pubsub = None
                self._tell()
                self._ended.wait(retry)
                retry = min(2 * retry, LONGEST_RETRY_SECONDS)
        _close(pubsub)

    def _refresh(self) -> None:
        version: Any = self._connection.get(self._keys.settings_version)
        if version != self._version or not self.known.is_loaded:
            self._load(version)
        self.confirmed_at = time.monotonic()
        self._drop_expired()
        self._loaded.set()

    def _load(self, version: bytes | None) -> None:
        with self._connection.pipeline(transaction=False) as pipeline:
            pipeline.time()
            pipeline.hgetall(self._keys.flags)
            pipeline.hgetall(self._keys.limits)
            (seconds, microseconds), flags, limits = pipeline.execute()
        self._server_offset_ms = seconds * 1000 + microseconds / 1000 - time.monotonic() * 1000
        self.known = Known(_readable(flags), _readable(limits), is_loaded=True)
        self._version = version
        self._tell()

    def _drop_expired(self) -> None:
        now_ms = time.monotonic() * 1000 + self._server_offset_ms
        flags, limits = (_in_force(each, now_ms) for each in (self.known.flags, self.known.limits))
        if len(flags) != len(self.known.flags) or len(limits) != len(self.known.limits):
            self.known = Known(flags, limits, is_loaded=True)
            self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener(self.known)

    def _do_chores(self) -> None:
        for chore in self._chores:
            chore(self._connection)

    def _note_service(
        self, *, was_served: bool, is_served: bool, error: Exception | None = None
    ) -> bool:
        # once for each change of state, not once for each attempt
        if was_served and not is_served:
            logger.warning("settings of flags and limits are not confirmed any more: %s", error)
        elif is_served and not was_served:
            logger.warning("settings of flags and limits are confirmed again")
        return is_served


def _close(pubsub: Any) -> None:
    if pubsub is not None:
        try:
            pubsub.close()
        except (redis.exceptions.RedisError, OSError):
            logger.debug("a subscription did not close in order")


def _readable(records: Mapping[bytes, bytes]) -> dict[str, Setting]:
    settings = {}
    for name, text in records.items():
        try:
            settings[text_of(name)] = setting_from(text_of(name), text)
        except RecordUnreadable as error:
            logger.warning("%s; it is not obeyed", error)
    return settings


def _in_force(settings: Mapping[str, Setting], now_ms: float) -> dict[str, Setting]:
    return {
        name: setting
        for name, setting in settings.items()
        if setting.until is None or now_ms < ms_from_time(setting.until)
    }
