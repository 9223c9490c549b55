"""How a process follows settings, and tells what its code declares, by one thread.

The thread listens on a channel and asks once a second for the version of the settings; what it
reads becomes a dictionary that is replaced as a whole, so that a reader needs no lock. It starts
at the first use, never at import, and again after a fork.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import os
import random
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, ParamSpec, TypeVar, cast

import redis
import redis.exceptions

from shedder.errors import RecordUnreadable, RedisUnreachable, ShedderError
from shedder.log_context import Troubles
from shedder.settings.setting import Setting, declare_settings, in_force, setting_from
from shedder.store.clients import own_client
from shedder.store.codec import text_of
from shedder.store.keys import Keys
from shedder.store.store import Store

logger = logging.getLogger("shedder.settings")

POLL_SECONDS = 1.0
"""How often a process asks whether anything was changed that it was not told of."""

FIRST_LOAD_SECONDS = 0.1
"""How long the first question of a process waits for Redis before it takes what the code says."""

SHORTEST_RETRY_SECONDS = 0.1
LONGEST_RETRY_SECONDS = 1.0

_DICE = random.SystemRandom()
"""The application may have seeded `random`, and does not expect a thread of ours to draw from it."""

PATIENCE_SECONDS = 1.0
"""A Redis that has not answered for this long is away."""


Chore = Callable[[Store, bool], None]
"""Its second argument is true after each reconnection: Redis may not be the one that it was."""


@dataclass(frozen=True, slots=True)
class SettingsSnapshot:
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
        connection: The application's client; the thread has connections of its own beside it.
        keys: Where the settings are.

    Attributes:
        known: What was read last.
        confirmed_at: When Redis last confirmed it (this machine's monotonic clock).
        processes: How many processes follow the settings, as Redis counted them last; at least 1.
        is_awake: The thread runs in this process, and its first load is done or given up.
        changing: Held while what is declared or known changes what holds here.
    """

    def __init__(self, connection: redis.Redis, keys: Keys) -> None:
        self._client = own_client(connection, patience=PATIENCE_SECONDS)
        self._store = Store(self._client, keys)
        self._keys = keys
        self._listeners: list[Callable[[SettingsSnapshot], None]] = []
        self._chores: list[Chore] = []
        self._thread: threading.Thread | None = None
        self.known = SettingsSnapshot()
        self.confirmed_at = -float("inf")
        self.processes = 1
        self.is_awake = False
        self.changing = threading.RLock()
        self._version: bytes | None = None
        self._server_ahead = time.time() - time.monotonic()
        self._troubles, self._unreadable = Troubles(logger), Troubles(logger)
        self._starting = threading.Lock()
        self._loaded = threading.Event()
        self._ended = threading.Event()
        me = weakref.ref(self)

        def after_fork() -> None:
            watch = me()
            if watch is not None:
                watch.changing = threading.RLock()
                watch._forget_thread()  # noqa: SLF001 - its own, of this class

        os.register_at_fork(after_in_child=after_fork)

    def listen(self, listener: Callable[[SettingsSnapshot], None]) -> None:
        """Call `listener` with what is known, now and whenever it changes or grows stale."""
        self._listeners.append(listener)
        listener(self.known)

    def do_each_round(self, chore: Chore) -> None:
        """Let the thread do `chore` once a second, such as telling what is declared."""
        self._chores.append(chore)

    @property
    def age_seconds(self) -> float:
        """How long ago Redis confirmed what is known; infinite when it never has."""
        return time.monotonic() - self.confirmed_at

    @property
    def is_stale(self) -> bool:
        """Whether what is known is older than it is while Redis answers."""
        return self.age_seconds > 2 * POLL_SECONDS + PATIENCE_SECONDS

    def wake(self) -> None:
        """See to it that the thread runs in this process, and wait a moment for its first load.

        A coroutine would hold its event loop meanwhile. It does not wait: what the code says holds
        until the first load, and each question until then comes here again.
        """
        with self._starting:
            if self._thread is None and not self._start():
                return
        if self.age_seconds <= POLL_SECONDS or self._loaded.is_set():
            self.is_awake = True
        elif not _is_in_event_loop():
            self._loaded.wait(FIRST_LOAD_SECONDS)
            self.is_awake = True

    def close(self) -> None:
        """End the thread; the next question starts it again."""
        self._ended.set()
        thread = self._thread
        self._forget_thread()
        self._client.close()  # which wakes the thread, if it waits for a message
        if thread is not None:
            thread.join(2 * PATIENCE_SECONDS)

    def _start(self) -> bool:
        ended = self._ended
        thread = threading.Thread(target=self._watch, args=(ended,), name="shedder-settings", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the interpreter ends, or the system has no more threads
            logger.debug("settings are not followed: %s", error)
            return False
        self._thread = thread
        return True

    def _forget_thread(self) -> None:
        # locks and events of the parent may be held by a thread that is not here
        self.is_awake = False
        self._thread = None
        self._starting = threading.Lock()
        self._loaded = threading.Event()
        self._ended = threading.Event()

    def _watch(self, ended: threading.Event) -> None:
        look = _Look(self)
        while not ended.is_set():
            try:
                look.do()
            except Exception as error:  # noqa: BLE001 - without this thread nobody learns anything
                if ended.is_set():
                    break
                self._note_away(error)
                ended.wait(look.fail())
        look.close()

    def _subscribed(self) -> Any:
        pubsub = self._client.pubsub(ignore_subscribe_messages=True)
        pubsub.subscribe(self._keys.settings_channel)
        return pubsub

    def _refresh(self, *, is_new: bool) -> None:
        version, (seconds, microseconds), listening = self._store.read(self._ask_news)
        self._server_ahead = seconds + microseconds / 1e6 - time.monotonic()
        self.processes = max(1, sum(int(count) for _, count in listening))
        # after a fail-over or a restore the same version may stand for other settings
        if version != self._version or is_new:
            self._load(version)
        self.confirmed_at = time.monotonic()
        self._drop_expired()
        self._note_back()
        self._loaded.set()
        self._do_chores(is_new=is_new)

    def _do_chores(self, *, is_new: bool) -> None:
        refused = ""
        for chore in self._chores:
            try:
                chore(self._store, is_new)
            except RedisUnreachable:
                raise
            except ShedderError as error:  # a server that refuses writes can still be read, and followed
                refused = str(error)
        if refused:
            self._troubles.meet("chores", "what is declared here is not told to operators: %s", refused)
        else:
            self._troubles.end("chores", "what is declared here is told to operators again")

    def _ask_news(self, ask: Any) -> None:
        ask.get(self._keys.settings_version)
        ask.time()
        ask.pubsub_numsub(self._keys.settings_channel)

    def _load(self, version: bytes | None) -> None:
        keys = self._keys
        flags, limits = self._store.read(lambda ask: (ask.hgetall(keys.flags), ask.hgetall(keys.limits)))
        self.known = SettingsSnapshot(self._readable(flags), self._readable(limits), is_loaded=True)
        self._version = version
        self._tell()

    def _drop_expired(self) -> None:
        now_ms = (time.monotonic() + self._server_ahead) * 1000
        flags, limits = (in_force(each, now_ms) for each in (self.known.flags, self.known.limits))
        if len(flags) != len(self.known.flags) or len(limits) != len(self.known.limits):
            self.known = SettingsSnapshot(flags, limits, is_loaded=True)
            self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener(self.known)

    def _note_away(self, error: Exception) -> None:
        self._troubles.meet("Redis", "settings of flags and limits are not confirmed any more: %s", error)
        self._drop_expired()
        self._tell()

    def _note_back(self) -> None:
        if self._troubles.end("Redis", "settings of flags and limits are confirmed again"):
            self._tell()

    def _readable(self, records: Mapping[bytes, bytes]) -> dict[str, Setting]:
        settings = {}
        for name, text in records.items():
            try:
                settings[text_of(name)] = setting_from(text_of(name), text)
            except RecordUnreadable as error:
                self._unreadable.meet(f"{error} {text!r}", "%s; it is not obeyed", error)
        return settings


class _Look:
    """One look after the other at the settings, with the subscription that ends the wait between two."""

    def __init__(self, watch: SettingsWatch) -> None:
        self._watch = watch
        self._pubsub: Any = None
        self._retry = SHORTEST_RETRY_SECONDS

    def do(self) -> None:
        """Look, and wait for a message until the next look is due; whatever is raised needs `fail`."""
        is_new = self._pubsub is None
        if is_new:
            self._pubsub = self._watch._subscribed()  # noqa: SLF001 - a part of it
        self._watch._refresh(is_new=is_new)  # noqa: SLF001
        self._retry = SHORTEST_RETRY_SECONDS
        self._pubsub.get_message(timeout=POLL_SECONDS)

    def fail(self) -> float:
        """Subscribe anew at the next look; in how many seconds that is."""
        self.close()
        retry, self._retry = self._retry, min(2 * self._retry, LONGEST_RETRY_SECONDS)
        return retry * _DICE.uniform(0.5, 1.0)

    def close(self) -> None:
        """End the subscription."""
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            try:
                pubsub.close()
            except (redis.exceptions.RedisError, OSError):
                logger.debug("a subscription did not close in order")


D = TypeVar("D")


class Declarations(ABC, Generic[D]):
    """The flags or the limits that the code of a process declares, beside what operators set.

    Args:
        watch: Follows the settings, and tells Redis once a second what was declared since.
        key: Where Redis keeps the declarations.
    """

    def __init__(self, watch: SettingsWatch, key: str) -> None:
        self._watch = watch
        self._key = key
        self._declared: dict[str, D] = {}
        self._registered: dict[str, D] = {}
        watch.listen(self._obey)
        watch.do_each_round(self._register)

    @abstractmethod
    def _take(self, known: SettingsSnapshot) -> None:
        """Obey what is known from now on."""

    @abstractmethod
    def _told(self, declaration: D) -> dict[str, Any]:
        """What operators see of it."""

    def _declare(self, name: str, declaration: D) -> D:
        with self._watch.changing:
            self._declared = {**self._declared, name: declaration}
            self._take(self._watch.known)
        return declaration

    def _obey(self, known: SettingsSnapshot) -> None:
        # or a declaration that began before could overwrite it with what was known then
        with self._watch.changing:
            self._take(known)

    def _register(self, store: Store, is_new: bool) -> None:  # noqa: FBT001 - a chore's signature
        if is_new:
            self._registered.clear()
        news = {name: each for name, each in self._declared.items() if self._registered.get(name) is not each}
        if news:
            told = {name: {"v": 1, **self._told(each)} for name, each in news.items()}
            store.run(declare_settings(self._key, told))
            self._registered.update(news)


P = ParamSpec("P")
T = TypeVar("T")


def replaced_by(function: Callable[P, T], call: Callable[..., Any], coroutine: Callable[..., Any]) -> Callable[P, T]:
    """`call` in place of `function`, or `coroutine` in place of a coroutine function."""
    chosen = coroutine if inspect.iscoroutinefunction(function) else call
    return cast("Callable[P, T]", functools.wraps(function)(chosen))


def _is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
