"""Limits: code declares and hits them, an operator sets and clears them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from shedder.errors import InvalidInput, LimitExceeded
from shedder.events import Cause, Event
from shedder.later import later
from shedder.log_context import Troubles
from shedder.settings import setting
from shedder.settings.setting import Setting, SettingsChanged
from shedder.settings.watch import Declarations, SettingsSnapshot, SettingsWatch, replaced_by
from shedder.store.arguments import checked
from shedder.store.codec import count_of, read_with_time, text_of
from shedder.store.keys import Keys
from shedder.store.store import Store
from shedder.units import Rate

if TYPE_CHECKING:
    from shedder.settings.windows import Absence, LocalWindows, SharedWindows, StableItem, item_of, read_window
else:
    globals().update(later((("shedder.settings.windows", "Absence LocalWindows item_of read_window"),)))

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("shedder.limits")

LONGEST_HIT_KEY = 10_000
"""Characters; sending and hashing megabytes would take longer than a decision may."""

LARGEST_COST = 10_000
"""More at once would hold the server for longer than 5 ms."""


class WithoutRedis(StrEnum):
    """What a limit says while Redis is away."""

    OPEN = "open"
    CLOSED = "closed"
    LOCAL = "local"


@dataclass(frozen=True, slots=True)
class LimitDeclaration:
    """What the code that uses a limit says of it.

    Attributes:
        name: Its name, such as `reports`.
        default: The rate when no operator has set one; None when it is off until one does.
        without_redis: What it says while Redis is away.
        description: What it protects, in business words.
        owner: Who answers for it, such as a team.
    """

    name: str
    default: Rate | None = None
    without_redis: WithoutRedis = WithoutRedis.OPEN
    description: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class _Rule:
    item: StableItem
    without_redis: WithoutRedis
    is_shadow: bool = False


class Limits(Declarations[LimitDeclaration]):
    """The limits of a process.

    A limit without a default in code and without an operator's setting is off and costs a look into
    a dictionary. An operator's setting beats the default for as long as it is in force.
    """

    def __init__(self, watch: SettingsWatch, shared: SharedWindows, keys: Keys) -> None:
        self._shared = shared
        self._local = LocalWindows()
        self._rules: dict[str, _Rule] = {}
        self._absence = Absence()
        self._uncounted, self._disobeyed = Troubles(logger), Troubles(logger)
        super().__init__(watch, keys.limit_declarations)

    @checked
    def declare(
        self,
        name: str,
        *,
        default: Rate | str | None = None,
        without_redis: WithoutRedis | str = WithoutRedis.OPEN,
        description: str = "",
        owner: str = "",
    ) -> LimitDeclaration:
        """Say what a limit is, on a calm day.

        Raises:
            InvalidInput: the name has spaces, the rate cannot be read, or `without_redis` is none
                of open, closed, local.
        """
        setting.checked_name(name, of="limit")
        rate = Rate.parse(default) if isinstance(default, str) else default
        alone = setting.one_of(WithoutRedis, without_redis, name="without_redis")
        return self._declare(name, LimitDeclaration(name, rate, alone, description, owner))

    def close(self) -> None:
        """Close the connections; the next hit opens one again."""
        self._shared.close()

    def hit(self, name: str, key: str = "", cost: int = 1) -> bool:
        """Whether `cost` more are within the limit `name` for `key`; they count when they are.

        All or nothing: more than is left counts nothing.

        Raises:
            InvalidInput: `cost` is no whole number from 1 to 10,000, or `key` is no text of at most
                10,000 characters (and the limit is on).
        """
        if not self._watch.is_awake:
            self._watch.wake()
        rule = self._rules.get(name) if not key else self._rule_for(name, key)
        return True if rule is None else self._decide(rule, name, key, cost)

    def require(self, name: str, key: str = "", cost: int = 1) -> None:
        """Count `cost` more, or say when to come again.

        Raises:
            LimitExceeded: they are not within the limit; it has `retry_after` in seconds.
        """
        if not self.hit(name, key, cost):
            raise LimitExceeded(name, key=key, retry_after=self._retry_after(name, key))

    @contextmanager
    def within(self, name: str, key: str = "", cost: int = 1) -> Iterator[None]:
        """A block of code that only runs within the limit.

        Raises:
            LimitExceeded: it does not run.
        """
        self.require(name, key, cost)
        yield

    @checked
    def limited(self, name: str, *, key: Callable[P, str] | None = None) -> Callable[[Callable[P, T]], Callable[P, T]]:
        """Let a function or a coroutine function run only within a limit.

        `key` is called with the same arguments. Where it does not run, `LimitExceeded` is raised.
        """

        def decorate(function: Callable[P, T]) -> Callable[P, T]:
            def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
                self.require(name, key(*args, **kwargs) if key else "")
                return function(*args, **kwargs)

            async def guarded_coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:
                await self.arequire(name, key(*args, **kwargs) if key else "")
                found: Any = function(*args, **kwargs)
                return await found

            return replaced_by(function, guarded, guarded_coroutine)

        return decorate

    async def ahit(self, name: str, key: str = "", cost: int = 1) -> bool:
        """`hit` for coroutines: the event loop goes on while Redis is asked."""
        if not self._watch.is_awake:
            await asyncio.to_thread(self._watch.wake)
        rule = self._rule_for(name, key)
        return True if rule is None else await asyncio.to_thread(self._decide, rule, name, key, cost)

    async def arequire(self, name: str, key: str = "", cost: int = 1) -> None:
        """`require` for coroutines.

        Raises:
            LimitExceeded: they are not within the limit.
        """
        if not await self.ahit(name, key, cost):
            raise LimitExceeded(name, key=key, retry_after=await asyncio.to_thread(self._retry_after, name, key))

    @asynccontextmanager
    async def awithin(self, name: str, key: str = "", cost: int = 1) -> AsyncIterator[None]:
        """`within` for coroutines.

        Raises:
            LimitExceeded: the block does not run.
        """
        await self.arequire(name, key, cost)
        yield

    def _rule_for(self, name: str, key: str) -> _Rule | None:
        return (self._rules.get(f"{name} {key}") if key else None) or self._rules.get(name)

    def _decide(self, rule: _Rule, name: str, key: str, cost: int) -> bool:
        _check_hit(key, cost)
        if self._absence.may_ask():
            try:
                is_within = self._shared.hit(name, key, rule.item, cost)
            except setting.LimitUnavailable as error:
                if error.is_outage:
                    self._absence.note_away(error)
                else:
                    self._uncounted.meet(name, "the limit %s cannot be counted: %s", name, error)
            else:
                self._absence.note_back()
                self._uncounted.end(name, "the limit %s is counted again", name)
                return is_within or rule.is_shadow
        return rule.is_shadow or self._decide_alone(rule, name, key, cost)

    def _decide_alone(self, rule: _Rule, name: str, key: str, cost: int) -> bool:
        if rule.without_redis is WithoutRedis.LOCAL:
            return self._local.hit(name, key, rule.item.shared_by(self._watch.processes), cost)
        return rule.without_redis is WithoutRedis.OPEN

    def _retry_after(self, name: str, key: str) -> float:
        rule = self._rule_for(name, key)
        if rule is None:
            return 0.0
        try:
            return self._shared.retry_after(name, key, rule.item)
        except setting.LimitUnavailable:
            return setting.AWAY_SECONDS

    def _take(self, known: SettingsSnapshot) -> None:
        rules = {
            limit.name: _Rule(item_of(limit.default), limit.without_redis)
            for limit in self._declared.values()
            if limit.default is not None
        }
        for name, standing in known.limits.items():
            rule = self._rule_of(name, standing)
            if rule is not None:
                rules[name] = rule
        self._rules = rules

    def _rule_of(self, name: str, standing: Setting) -> _Rule | None:
        declared = self._declared.get(name.partition(" ")[0])
        without_redis = declared.without_redis if declared else WithoutRedis.OPEN
        try:
            rate = Rate.parse(str(standing.body.get("rate")))
        except InvalidInput as error:
            self._disobeyed.meet(name, "the setting of the limit %s is not obeyed: %s", name, error)
            return None
        self._disobeyed.end(name)
        return _Rule(item_of(rate), without_redis, is_shadow=bool(standing.body.get("shadow")))

    def _told(self, declaration: LimitDeclaration) -> dict[str, Any]:
        return {
            "default": None if declaration.default is None else str(declaration.default),
            "without_redis": declaration.without_redis.value,
            "description": declaration.description,
            "owner": declaration.owner,
        }


def _check_hit(key: object, cost: object) -> None:
    """What the server or its client would refuse is not to be taken for an outage, which opens every limit."""
    if not isinstance(cost, int) or isinstance(cost, bool) or not 1 <= cost <= LARGEST_COST:
        raise InvalidInput(name="cost", value=cost, accepted=f"a whole number, 1 to {LARGEST_COST}")
    if not key:
        return
    if isinstance(key, str) and len(key) > LONGEST_HIT_KEY:
        raise InvalidInput(name="key", value=f"{key[:20]}...", accepted=f"at most {LONGEST_HIT_KEY:,} characters")
    if not isinstance(key, str) or not _is_whole(key):
        raise InvalidInput(name="key", value=key, accepted="text")


def _is_whole(text: str) -> bool:
    """Whether `text` has no half of a character of UTF-16, which Redis does not take."""
    return text.isascii() or text.encode("utf-8", "replace").decode() == text


LONGEST_KEY = 500


def list_limits(store: Store) -> tuple[LimitState, ...]:
    """All limits that are declared or set, those that an operator set first."""
    now, replies = read_with_time(store, lambda ask: ask_limits(ask, store.keys))
    return limits_from(iter(replies), now.timestamp() * 1000)


def ask_limits(ask: Any, keys: Keys) -> None:
    """Ask for what `limits_from` reads, in constant time."""
    ask.hgetall(keys.limit_declarations)
    ask.hgetall(keys.limits)
    ask.hgetall(keys.limit_hits)


def limits_from(replies: Iterator[Any], now_ms: float) -> tuple[LimitState, ...]:
    """The limits that the replies to `ask_limits` describe, those that an operator set first."""
    declared = setting.declared_from(next(replies))
    standing = setting.settings_from(next(replies), now_ms)
    counts = {text_of(name): count_of(count) for name, count in next(replies).items()}
    limits = [_state(name, declared, standing.get(name), counts) for name in sorted(declared.keys() | standing.keys())]
    return tuple(sorted(limits, key=lambda limit: (limit.setting is None, limit.name, limit.key)))


def set_limit(
    store: Store,
    name: str,
    rate: Rate,
    cause: Cause,
    *,
    key: str = "",
    expires_in: timedelta | None = None,
    is_shadow: bool = False,
    is_forced: bool = False,
) -> LimitReceipt:
    """Set the limit `name`, for one `key` or for all that have no setting of their own.

    Raises:
        InvalidInput: the name or the key cannot be one.
        NothingMatched: the limit is not declared (and it is not forced).
    """
    target = _target(name, key)
    if not is_forced:
        setting.check_known(name, _names(list_limits(store)), of="limit", can_force=True)
    body: dict[str, Any] = {"rate": str(rate), **({"shadow": True} if is_shadow else {})}
    done = setting.change_settings(
        store, store.keys.limits, (target,), body, cause, verb="limit set", expires_in=expires_in, **body
    )
    return _receipt(store, done)


def clear_limit(store: Store, name: str, cause: Cause, *, key: str = "") -> LimitReceipt:
    """End an operator's setting of the limit `name`: what the code says holds again.

    Raises:
        InvalidInput: the name or the key cannot be one.
        NothingMatched: the limit is neither declared nor set.
    """
    target = _target(name, key)
    setting.check_known(name, _names(list_limits(store)), of="limit")
    done = setting.change_settings(store, store.keys.limits, (target,), None, cause, verb="limit clear")
    return _receipt(store, done)


def undo_limit(store: Store, event: Event, cause: Cause) -> LimitReceipt:
    """Set a limit as it was before `event`.

    Raises:
        CannotUndo: it was changed since.
        NothingToUndo: nothing stands, and what stood before would have ended by now.
    """
    body = next(filter(None, (setting.body_before(event, name) for name in event.after)), {})
    verbs = ("limit set", "limit clear")
    done = store.run(setting.set_back_settings(store.keys, store.keys.limits, event, cause, verbs=verbs, **body))
    return _receipt(store, done)


def ask_limit(store: Store, name: str, *, key: str = "") -> LimitAnswer:
    """What a hit would be told now; nothing is counted.

    Raises:
        InvalidInput: the name or the key cannot be one.
        NothingMatched: the limit is neither declared nor set.
    """
    target = _target(name, key)
    limits = list_limits(store)
    setting.check_known(name, _names(limits), of="limit")
    by_target = {_target(limit.name, limit.key): limit for limit in limits}
    limit = by_target.get(target) or by_target.get(name) or LimitState(name)
    if limit.rate is None:
        return LimitAnswer(name, key, None, is_within=True)
    item = item_of(limit.rate)
    used, wait = store.run(read_window(store.keys, target, item.amount, item.get_expiry()))
    left = max(item.amount - used, 0)
    return LimitAnswer(
        name, key, limit.rate, is_within=left > 0 or limit.is_shadow, used=used, left=left,
        retry_after=wait, is_shadow=limit.is_shadow,
    )  # fmt: skip


def _target(name: str, key: str) -> str:
    setting.checked_name(name, of="limit")
    if len(key) > LONGEST_KEY or not key.isprintable():
        raise InvalidInput(name="key", value=key, accepted=f"at most {LONGEST_KEY} letters")
    return f"{name} {key}" if key else name


def _names(limits: Sequence[LimitState]) -> set[str]:
    return {limit.name for limit in limits}


def _receipt(store: Store, done: SettingsChanged) -> LimitReceipt:
    limits = {_target(limit.name, limit.key): limit for limit in list_limits(store)}
    changed = tuple(limits.get(name) or _unset(name, limits) for name in done.names)
    return LimitReceipt(done.event, done.at, changed, done.replaced)


def _unset(target: str, limits: Mapping[str, LimitState]) -> LimitState:
    """A limit, or a key of one, that nothing is set for: what holds for all keys holds."""
    name, _, key = target.partition(" ")
    whole = limits.get(name)
    return LimitState(name, key, rate=whole.rate if whole else None, is_declared=whole is not None)


def _state(
    target: str, declared: Mapping[str, Mapping[str, Any]], standing: Setting | None, counts: Mapping[str, int]
) -> LimitState:
    name, _, key = target.partition(" ")
    facts = declared.get(name, {})
    default = _rate(facts.get("default"))
    return LimitState(
        name=name,
        key=key,
        rate=(_rate(standing.body.get("rate")) if standing else None) or default,
        default=default,
        setting=standing,
        is_shadow=bool(standing and standing.body.get("shadow")),
        without_redis=str(facts.get("without_redis", "open")),
        hits=counts.get(f"{name} hits", 0),
        refusals=counts.get(f"{name} refusals", 0),
        description=str(facts.get("description", "")),
        owner=str(facts.get("owner", "")),
        is_declared=name in declared,
    )


def _rate(text: object) -> Rate | None:
    try:
        return Rate.parse(text) if isinstance(text, str) else None
    except InvalidInput:
        return None


@dataclass(frozen=True, slots=True)
class LimitState:
    """How a limit is.

    Attributes:
        name: Its name.
        key: The key that it is set for; empty for all keys that have no setting of their own.
        rate: What is in force; None when it is off.
        default: What the code says; None when it says nothing.
        setting: What an operator set; None when the code decides.
        is_shadow: It counts what it would refuse, and refuses nothing.
        without_redis: What it says while Redis is away: `open`, `closed` or `local`.
        hits: How many it let through since it is counted, all keys together.
        refusals: How many it refused, or would have refused, all keys together.
        description: What it protects.
        owner: Who answers for it.
        is_declared: A process that uses it has been seen.
    """

    name: str
    key: str = ""
    rate: Rate | None = None
    default: Rate | None = None
    setting: Setting | None = None
    is_shadow: bool = False
    without_redis: str = "open"
    hits: int = 0
    refusals: int = 0
    description: str = ""
    owner: str = ""
    is_declared: bool = True


@dataclass(frozen=True, slots=True)
class LimitReceipt:
    """What a change of a limit did.

    Attributes:
        event: Id of its event; empty when there was nothing to change.
        at: When it was in force (server's clock, UTC).
        limits: The limits, as they are now.
        replaced: What stood before, for those that had been set.
    """

    event: str
    at: datetime
    limits: tuple[LimitState, ...]
    replaced: tuple[Setting, ...] = ()


@dataclass(frozen=True, slots=True)
class LimitAnswer:
    """What a hit on a limit would be told now; nothing was counted.

    Attributes:
        name: Name of the limit.
        key: The key that was asked for.
        rate: What is in force for it; None when it is off.
        is_within: A hit would be let through.
        used: Hits that count now.
        left: Hits that would be let through at once; None when it is off.
        retry_after: In how many seconds one hit would be within the rate.
        is_shadow: It would be let through all the same.
    """

    name: str
    key: str
    rate: Rate | None
    is_within: bool
    used: int = 0
    left: int | None = None
    retry_after: float = 0.0
    is_shadow: bool = False
