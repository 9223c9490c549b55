"""May this happen now? Rates that an operator changes while everything runs."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ParamSpec, TypeVar, cast

from shedder.errors import InvalidInput, LimitExceeded
from shedder.keys import Keys
from shedder.limit_absence import AWAY_SECONDS, Absence
from shedder.limit_windows import LimitUnavailable, LocalWindows, SharedWindows, StableItem, item_of
from shedder.rates import Rate
from shedder.setting_records import Setting
from shedder.settings import checked_name, declare_settings
from shedder.store import Store
from shedder.watch import Known, SettingsWatch

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("shedder.limits")

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


class Limits:
    """The limits of a process.

    A limit without a default in code and without an operator's setting is off and costs a look into
    a dictionary. An operator's setting beats the default for as long as it is in force.
    """

    def __init__(self, watch: SettingsWatch, shared: SharedWindows, keys: Keys) -> None:
        self._watch = watch
        self._shared = shared
        self._keys = keys
        self._local = LocalWindows()
        self._declared: dict[str, LimitDeclaration] = {}
        self._told: set[str] = set()
        self._rules: dict[str, _Rule] = {}
        self._absence = Absence()
        watch.listen(self._take)
        watch.do_each_round(self._register)

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
        checked_name(name, of="limit")
        rate = Rate.parse(default) if isinstance(default, str) else default
        limit = LimitDeclaration(name, rate, _checked(without_redis), description, owner)
        self._declared = {**self._declared, name: limit}
        self._told.discard(name)
        self._take(self._watch.known)
        return limit

    def close(self) -> None:
        """Close the connections; the next hit opens one again."""
        self._shared.close()

    def hit(self, name: str, key: str = "", cost: int = 1) -> bool:
        """Whether `cost` more are within the limit `name` for `key`; they count when they are.

        All or nothing: more than is left counts nothing.

        Raises:
            InvalidInput: `cost` is not within 1 to 10,000 (and the limit is on).
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

    def limited(
        self, name: str, *, key: Callable[P, str] | None = None
    ) -> Callable[[Callable[P, T]], Callable[P, T]]:
        """Let a function or a coroutine function run only within a limit.

        `key` is called with the same arguments. Where it does not run, `LimitExceeded` is raised.
        """

        def decorate(function: Callable[P, T]) -> Callable[P, T]:
            if inspect.iscoroutinefunction(function):
                return cast("Callable[P, T]", self._limited_async(name, key, function))

            @functools.wraps(function)
            def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
                self.require(name, key(*args, **kwargs) if key else "")
                return function(*args, **kwargs)

            return guarded

        return decorate

    async def ahit(self, name: str, key: str = "", cost: int = 1) -> bool:
        """`hit` for coroutines: the event loop goes on while Redis is asked."""
        if not self._watch.is_awake:
            await asyncio.to_thread(self._watch.wake)
        rule = self._rule_for(name, key)
        if rule is None:
            return True
        return await asyncio.to_thread(self._decide, rule, name, key, cost)

    async def arequire(self, name: str, key: str = "", cost: int = 1) -> None:
        """`require` for coroutines.

        Raises:
            LimitExceeded: they are not within the limit.
        """
        if not await self.ahit(name, key, cost):
            retry_after = await asyncio.to_thread(self._retry_after, name, key)
            raise LimitExceeded(name, key=key, retry_after=retry_after)

    @asynccontextmanager
    async def awithin(self, name: str, key: str = "", cost: int = 1) -> AsyncIterator[None]:
        """`within` for coroutines.

        Raises:
            LimitExceeded: the block does not run.
        """
        await self.arequire(name, key, cost)
        yield

    def _limited_async(
        self, name: str, key: Callable[..., str] | None, function: Callable[..., Awaitable[T]]
    ) -> Callable[..., Awaitable[T]]:
        @functools.wraps(function)
        async def guarded(*args: Any, **kwargs: Any) -> T:
            await self.arequire(name, key(*args, **kwargs) if key else "")
            return await function(*args, **kwargs)

        return guarded

    def _rule_for(self, name: str, key: str) -> _Rule | None:
        return (self._rules.get(f"{name} {key}") if key else None) or self._rules.get(name)

    def _decide(self, rule: _Rule, name: str, key: str, cost: int) -> bool:
        if not 1 <= cost <= LARGEST_COST:
            raise InvalidInput(name="cost", value=cost, accepted=f"1 to {LARGEST_COST}")
        if self._absence.may_ask():
            try:
                is_within = self._shared.hit(name, key, rule.item, cost)
            except LimitUnavailable as error:
                self._absence.note_away(error)
            else:
                self._absence.note_back()
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
        except LimitUnavailable:
            return AWAY_SECONDS

    def _take(self, known: Known) -> None:
        rules = {
            limit.name: _Rule(item_of(limit.default), limit.without_redis)
            for limit in self._declared.values()
            if limit.default is not None
        }
        for name, setting in known.limits.items():
            rule = self._rule_of(name, setting)
            if rule is not None:
                rules[name] = rule
        self._rules = rules

    def _rule_of(self, name: str, setting: Setting) -> _Rule | None:
        declared = self._declared.get(name.partition(" ")[0])
        without_redis = declared.without_redis if declared else WithoutRedis.OPEN
        try:
            rate = Rate.parse(str(setting.body.get("rate")))
        except InvalidInput as error:
            logger.warning("the setting of the limit %s is not obeyed: %s", name, error)
            return None
        return _Rule(item_of(rate), without_redis, is_shadow=bool(setting.body.get("shadow")))

    def _register(self, store: Store, is_new: bool) -> None:  # noqa: FBT001 - a chore's signature
        if is_new:
            self._told.clear()
        news = {name: limit for name, limit in self._declared.items() if name not in self._told}
        if news:
            said = {name: _declared(limit) for name, limit in news.items()}
            store.run(declare_settings(self._keys.limit_declarations, said))
            self._told.update(news)


def _declared(limit: LimitDeclaration) -> dict[str, Any]:
    return {
        "v": 1,
        "default": None if limit.default is None else str(limit.default),
        "without_redis": limit.without_redis.value,
        "description": limit.description,
        "owner": limit.owner,
    }


def _checked(without_redis: WithoutRedis | str) -> WithoutRedis:
    try:
        return WithoutRedis(without_redis)
    except ValueError:
        raise InvalidInput(
            name="without_redis", value=without_redis, accepted="open, closed or local"
        ) from None
