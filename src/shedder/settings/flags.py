"""Flags: code declares and asks them, an operator degrades and restores them."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Any, ParamSpec, TypeVar

from shedder.errors import ConditionNotMet, InvalidInput, NothingMatched
from shedder.events import Cause, Event
from shedder.settings import setting
from shedder.settings.setting import Setting, SettingsChanged
from shedder.settings.watch import Declarations, SettingsSnapshot, SettingsWatch, replaced_by
from shedder.store.arguments import checked
from shedder.store.codec import read_with_time
from shedder.store.keys import Keys
from shedder.store.store import Store

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


class Flags(Declarations[FlagDeclaration]):
    """The flags of a process.

    `enabled` never raises and never waits for Redis, but at the first call of a process, and then
    no longer than 100 ms. In a coroutine it does not wait even then: until Redis has been read,
    what the code says holds, unless `arefresh` was awaited before.
    """

    def __init__(self, watch: SettingsWatch, keys: Keys) -> None:
        self._degraded: dict[str, float] = {}
        super().__init__(watch, keys.flag_declarations)

    @checked
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
        setting.checked_name(name, of="flag")
        stale = setting.one_of(WhenStale, then, name="then")
        return self._declare(name, FlagDeclaration(name, description, owner, group, default, keep_for, stale))

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
        """Learn what holds, in 100 ms at most; the first question does it too.

        It does not wait in a coroutine, which awaits `arefresh`.
        """
        self._watch.wake()

    async def arefresh(self) -> None:
        """`refresh` for coroutines: the event loop goes on meanwhile."""
        await asyncio.to_thread(self._watch.wake)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` when a flag was changed, or grew stale; from the thread that follows."""
        self._watch.listen(lambda _known: listener())

    def age_seconds(self) -> float:
        """How long ago Redis confirmed the flags; infinite when it never has."""
        return self._watch.age_seconds

    @checked
    def degradable(self, name: str, *, fallback: object = None) -> Callable[[Callable[P, T]], Callable[P, T]]:
        """Give a function or a coroutine function a way out while its feature is degraded.

        `fallback` is a value, something that is called with the same arguments, or `SKIP` for the
        function of a job, which then goes to the backlog instead of running.
        """

        def decorate(function: Callable[P, T]) -> Callable[P, T]:
            if fallback is SKIP:
                setattr(function, FLAG_ATTRIBUTE, (self, name))
                return function

            def guarded(*args: Any, **kwargs: Any) -> Any:
                if self.enabled(name):
                    return function(*args, **kwargs)
                return fallback(*args, **kwargs) if callable(fallback) else fallback

            async def guarded_coroutine(*args: Any, **kwargs: Any) -> Any:
                if not self._watch.is_awake:  # the one question that waits must not hold the loop
                    await self.arefresh()
                found = guarded(*args, **kwargs)
                return await found if inspect.isawaitable(found) else found

            return replaced_by(function, guarded, guarded_coroutine)

        return decorate

    def _take(self, known: SettingsSnapshot) -> None:
        degraded = {
            name: float(standing.body["percent"])
            for name, standing in known.flags.items()
            if isinstance(standing.body.get("percent"), int | float)
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

    def _told(self, declaration: FlagDeclaration) -> dict[str, Any]:
        return {name: getattr(declaration, name) for name in ("description", "owner", "group", "default")}


def is_hit(name: str, key: str | None, percent: float) -> bool:
    """Whether a degradation of `percent` (0 to 100) of the flag `name` takes `key`."""
    if percent >= 100:
        return True
    if key is None:
        return random.random() * 100 < percent  # noqa: S311 - no secret depends on it
    digest = hashlib.blake2b(f"{name}\0{key}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % _BUCKETS < percent * _BUCKETS / 100


MOST_NAMES = 500


def list_flags(store: Store) -> tuple[FlagState, ...]:
    """All flags that are declared or set, the degraded ones first."""
    now, replies = read_with_time(store, lambda ask: ask_flags(ask, store.keys))
    return flags_from(iter(replies), now.timestamp() * 1000)


def ask_flags(ask: Any, keys: Keys) -> None:
    """Ask for what `flags_from` reads, in constant time."""
    ask.hgetall(keys.flag_declarations)
    ask.hgetall(keys.flags)


def flags_from(replies: Iterator[Any], now_ms: float) -> tuple[FlagState, ...]:
    """The flags that the replies to `ask_flags` describe, the degraded ones first."""
    declared = setting.declared_from(next(replies))
    standing = setting.settings_from(next(replies), now_ms)
    names = sorted(declared.keys() | standing.keys())
    flags = [_state(name, declared.get(name), standing.get(name)) for name in names]
    return tuple(sorted(flags, key=lambda flag: (flag.percent == 0, flag.name)))


def degrade_flags(
    store: Store,
    names: Sequence[str],
    cause: Cause,
    *,
    group: str = "",
    percent: float = 100.0,
    expires_in: timedelta | None = None,
    is_forced: bool = False,
) -> FlagReceipt:
    """Degrade the flags called `names`, and all of `group`, in every process at once.

    Raises:
        InvalidInput: the percentage is not within 0 to 100, or a name is empty.
        NothingMatched: a flag or the group is not declared (and it is not forced).
    """
    if not 0 < percent <= 100:
        raise InvalidInput(name="percent", value=percent, accepted="a number above 0, up to 100")
    chosen = chosen_flags(list_flags(store), names, group, is_forced=is_forced)
    done = setting.change_settings(
        store, store.keys.flags, chosen, {"percent": percent}, cause, verb="flag degrade",
        expires_in=expires_in, group=group or None, percent=percent,
    )  # fmt: skip
    return _receipt(store, done)


def restore_flags(store: Store, names: Sequence[str], cause: Cause, *, group: str = "") -> FlagReceipt:
    """End the degradation of the flags called `names`, and of all of `group`.

    Raises:
        NothingMatched: a flag or the group is not known.
    """
    chosen = chosen_flags(list_flags(store), names, group)
    done = setting.change_settings(
        store, store.keys.flags, chosen, None, cause, verb="flag restore", group=group or None
    )
    return _receipt(store, done)


def chosen_flags(
    flags: Sequence[FlagState], names: Sequence[str], group: str, *, is_forced: bool | None = None
) -> tuple[str, ...]:
    """The flags that are named, and all of a group; `is_forced` is None where nothing can be forced.

    Raises:
        NothingMatched: a flag or the group is not known.
        ConditionNotMet: none is meant, or too many are.
    """
    known = {flag.name for flag in flags}
    for name in names:
        setting.checked_name(name, of="flag")
        if not is_forced:
            setting.check_known(name, known, of="flag", can_force=is_forced is False)
    grouped = [flag.name for flag in flags if group and flag.group == group]
    if group and not grouped:
        groups = sorted({flag.group for flag in flags if flag.group})
        raise NothingMatched(f"group {group}", found=tuple(groups))
    chosen = tuple(dict.fromkeys([*names, *grouped]))
    if not chosen:
        raise ConditionNotMet("no flag and no group was named", try_instead="name at least one")
    if len(chosen) > MOST_NAMES:
        raise ConditionNotMet(f"{len(chosen)} flags are too many at once", try_instead=f"name at most {MOST_NAMES}")
    return chosen


def undo_flags(store: Store, event: Event, cause: Cause) -> FlagReceipt:
    """Set flags as they were before `event`.

    Raises:
        CannotUndo: one was changed since.
        NothingToUndo: nothing stands, and what stood before would have ended by now.
    """
    verbs = ("flag degrade", "flag restore")
    return _receipt(
        store, store.run(setting.set_back_settings(store.keys, store.keys.flags, event, cause, verbs=verbs))
    )


def _receipt(store: Store, done: SettingsChanged) -> FlagReceipt:
    flags = {flag.name: flag for flag in list_flags(store)}
    changed = tuple(flags.get(name, FlagState(name, 0.0)) for name in done.names)
    return FlagReceipt(done.event, done.at, changed, done.replaced)


def _state(name: str, declared: Mapping[str, Any] | None, standing: Setting | None) -> FlagState:
    facts = declared or {}
    default = 0.0 if facts.get("default", True) else 100.0
    return FlagState(
        name=name,
        percent=default if standing is None else _percent(standing),
        setting=standing,
        description=str(facts.get("description", "")),
        owner=str(facts.get("owner", "")),
        group=str(facts.get("group", "")),
        is_declared=declared is not None,
    )


def _percent(standing: Setting) -> float:
    percent = standing.body.get("percent", 0)  # none in a record that cannot be read
    return float(percent) if isinstance(percent, int | float) else 0.0


@dataclass(frozen=True, slots=True)
class FlagState:
    """How a flag is.

    Attributes:
        name: Its name.
        percent: How much of it is degraded, 0 to 100.
        setting: What an operator set; None when the code decides.
        description: What the customer notices when it is degraded.
        owner: Who answers for it.
        group: The group that it is degraded with.
        is_declared: A process that uses it has been seen.
    """

    name: str
    percent: float
    setting: Setting | None = None
    description: str = ""
    owner: str = ""
    group: str = ""
    is_declared: bool = True


@dataclass(frozen=True, slots=True)
class FlagReceipt:
    """What a change of flags did.

    Attributes:
        event: Id of its event; empty when there was nothing to change.
        at: When it was in force (server's clock, UTC).
        flags: The flags, as they are now.
        replaced: What stood before, for those that had been set.
        restored: Jobs that had been sent to the backlog because of these flags, and are back.
    """

    event: str
    at: datetime
    flags: tuple[FlagState, ...]
    replaced: tuple[Setting, ...] = ()
    restored: int = 0
