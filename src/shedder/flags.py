"""Is this feature on? What an operator degraded, answered in the process itself."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import inspect
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, StrEnum
from typing import Any, ParamSpec, TypeVar, cast

from shedder.errors import InvalidInput
from shedder.keys import Keys
from shedder.settings import checked_name, declare_settings
from shedder.store import Store
from shedder.watch import Known, SettingsWatch

P = ParamSpec("P")
T = TypeVar("T")

FLAG_ATTRIBUTE = "__shedder_flag__"
"""Where a job's function says which flag, when degraded, sends it to the backlog."""

_BUCKETS = 10_000


class Skip(Enum):
    """What a job does while its feature is degraded."""

    SKIP = "skip"


SKIP = Skip.SKIP
"""As a fallback: the job does not run, it goes to the backlog until the feature is restored."""


class WhenStale(StrEnum):
    """What holds when Redis has not confirmed a flag for longer than it may be kept."""

    KEEP = "keep"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class FlagDeclaration:
    """What the code that uses a flag says of it.

    Attributes:
        name: Its name, such as `search.autocomplete`.
        description: What the customer notices when it is degraded, in business words.
        owner: Who answers for it, such as a team.
        group: A group that one command degrades as a whole, such as `non-critical`.
        default: Whether the feature is on when nobody has set anything.
        keep_for: How long the last known setting holds while Redis does not confirm it.
        then: What holds after that.
    """

    name: str
    description: str = ""
    owner: str = ""
    group: str = ""
    default: bool = True
    keep_for: timedelta | None = None
    then: WhenStale = WhenStale.KEEP


class Flags:
    """The flags of a process.

    `enabled` never raises and never waits for Redis, but at the first call of a process, and then
    no longer than 100 ms.
    """

    def __init__(self, watch: SettingsWatch, keys: Keys) -> None:
        self._watch = watch
        self._keys = keys
        self._declared: dict[str, FlagDeclaration] = {}
        self._told: set[str] = set()
        self._degraded: dict[str, float] = {}
        watch.listen(self._take)
        watch.do_each_round(self._register)

    def declare(
        self,
        name: str,
        *,
        description: str = "",
        owner: str = "",
        group: str = "",
        default: bool = True,
        keep_for: timedelta | None = None,
        then: WhenStale | str = WhenStale.KEEP,
    ) -> FlagDeclaration:
        """Say what a flag is, on a calm day; operators see it within a second of its first use.

        Raises:
            InvalidInput: the name is empty or has spaces or control characters, or `then` is none
                of keep, on, off.
        """
        flag = FlagDeclaration(
            checked_name(name, of="flag"),
            description,
            owner,
            group,
            default,
            keep_for,
            _checked_then(then),
        )
        self._declared = {**self._declared, name: flag}
        self._told.discard(name)
        self._take(self._watch.known)
        return flag

    def enabled(self, name: str, key: str | None = None) -> bool:
        """Whether the feature is on; with a percentage, whether it is on for `key`.

        One key gets one answer for one percentage, and a higher percentage only takes more keys.
        Without a key chance decides.
        """
        if not self._watch.is_awake:
            self._watch.wake()
        percent = self._degraded.get(name)
        return percent is None or not is_hit(name, key, percent)

    def percent(self, name: str) -> float:
        """How much of the feature is degraded, 0 to 100."""
        if not self._watch.is_awake:
            self._watch.wake()
        return self._degraded.get(name, 0.0)

    def percents(self) -> Mapping[str, float]:
        """How much of each degraded feature is, as far as this process knows now."""
        return self._degraded

    def is_known(self, name: str) -> bool:
        """Whether code here has declared the flag, or an operator has set it."""
        return name in self._declared or name in self._watch.known.flags

    @property
    def is_stale(self) -> bool:
        """Whether Redis has not confirmed the flags lately."""
        return self._watch.is_stale

    def refresh(self) -> None:
        """Learn what holds, in 100 ms at most; the first question does it by itself."""
        self._watch.wake()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` when a flag was changed, or grew stale; from the thread that follows."""
        self._watch.listen(lambda _known: listener())

    def age_seconds(self) -> float:
        """How long ago Redis confirmed the flags; infinite when it never has."""
        return self._watch.age_seconds

    def degradable(
        self, name: str, *, fallback: object = None
    ) -> Callable[[Callable[P, T]], Callable[P, T]]:
        """Give a function or a coroutine function a way out while its feature is degraded.

        `fallback` is a value, something that is called with the same arguments, or `SKIP` for the
        function of a job, which then goes to the backlog instead of running.
        """

        def decorate(function: Callable[P, T]) -> Callable[P, T]:
            if fallback is SKIP:
                setattr(function, FLAG_ATTRIBUTE, (self, name))
                return function
            if inspect.iscoroutinefunction(function):
                return cast("Callable[P, T]", self._degradable_async(name, function, fallback))
            return self._degradable_sync(name, function, fallback)

        return decorate

    def _degradable_sync(
        self, name: str, function: Callable[P, T], fallback: object
    ) -> Callable[P, T]:
        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            if self.enabled(name):
                return function(*args, **kwargs)
            return cast("T", fallback(*args, **kwargs) if callable(fallback) else fallback)

        return guarded

    def _degradable_async(
        self, name: str, function: Callable[..., Awaitable[T]], fallback: object
    ) -> Callable[..., Awaitable[T]]:
        @functools.wraps(function)
        async def guarded(*args: Any, **kwargs: Any) -> T:
            if not self._watch.is_awake:  # the one question that waits must not hold the loop
                await asyncio.to_thread(self._watch.wake)
            if self.enabled(name):
                return await function(*args, **kwargs)
            value = fallback(*args, **kwargs) if callable(fallback) else fallback
            return cast("T", await value if inspect.isawaitable(value) else value)

        return guarded

    def _take(self, known: Known) -> None:
        degraded = {
            name: float(setting.body["percent"])
            for name, setting in known.flags.items()
            if isinstance(setting.body.get("percent"), int | float)
        }
        for flag in self._declared.values():
            self._apply_declaration(flag, degraded)
        self._degraded = degraded

    def _apply_declaration(self, flag: FlagDeclaration, degraded: dict[str, float]) -> None:
        if not flag.default:
            degraded.setdefault(flag.name, 100.0)
        if flag.keep_for is None or flag.then is WhenStale.KEEP or not self._watch.known.is_loaded:
            return
        if self._watch.age_seconds > flag.keep_for.total_seconds():
            if flag.then is WhenStale.OFF:
                degraded[flag.name] = 100.0
            else:
                degraded.pop(flag.name, None)

    def _register(self, store: Store, is_new: bool) -> None:  # noqa: FBT001 - a chore's signature
        if is_new:
            self._told.clear()
        news = {name: flag for name, flag in self._declared.items() if name not in self._told}
        if news:
            said = {name: _declared(flag) for name, flag in news.items()}
            store.run(declare_settings(self._keys.flag_declarations, said))
            self._told.update(news)


def is_hit(name: str, key: str | None, percent: float) -> bool:
    """Whether a degradation of `percent` (0 to 100) of the flag `name` takes `key`."""
    if percent >= 100:
        return True
    if key is None:
        return random.random() * 100 < percent  # noqa: S311 - no secret depends on it
    digest = hashlib.blake2b(f"{name}\0{key}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % _BUCKETS < percent * _BUCKETS / 100


def _declared(flag: FlagDeclaration) -> Mapping[str, Any]:
    return {
        "v": 1,
        "description": flag.description,
        "owner": flag.owner,
        "group": flag.group,
        "default": flag.default,
    }


def _checked_then(then: WhenStale | str) -> WhenStale:
    try:
        return WhenStale(then)
    except ValueError:
        raise InvalidInput(name="then", value=then, accepted="keep, on or off") from None
