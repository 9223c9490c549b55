"""How does an operator change limits?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from shedder.errors import InvalidInput
from shedder.keys import Keys
from shedder.limit_windows import item_of, read_window
from shedder.rates import Rate
from shedder.records import Cause, Event
from shedder.setting_records import LimitAnswer, LimitReceipt, LimitState, Setting
from shedder.settings import (
    Change,
    SettingsChanged,
    body_before,
    change_settings,
    check_known,
    checked_name,
    declared_from,
    set_back_settings,
    settings_from,
)
from shedder.store import Store
from shedder.stored import count_of, read_with_time, text_of

LONGEST_KEY = 500


def list_limits(store: Store, keys: Keys) -> tuple[LimitState, ...]:
    """All limits that are declared or set, those that an operator set first."""
    now, replies = read_with_time(store, lambda ask: ask_limits(ask, keys))
    return limits_from(iter(replies), now.timestamp() * 1000)


def ask_limits(ask: Any, keys: Keys) -> None:
    """Ask for what `limits_from` reads, in constant time."""
    ask.hgetall(keys.limit_declarations)
    ask.hgetall(keys.limits)
    ask.hgetall(keys.limit_hits)


def limits_from(replies: Iterator[Any], now_ms: float) -> tuple[LimitState, ...]:
    """The limits that the replies to `ask_limits` describe, those that an operator set first."""
    declared = declared_from(next(replies))
    standing = settings_from(next(replies), now_ms)
    counts = {text_of(name): count_of(count) for name, count in next(replies).items()}
    limits = [
        _state(name, declared, standing.get(name), counts)
        for name in sorted(declared.keys() | standing.keys())
    ]
    return tuple(sorted(limits, key=lambda limit: (limit.setting is None, limit.name, limit.key)))


def set_limit(
    store: Store,
    keys: Keys,
    name: str,
    rate: Rate,
    cause: Cause,
    *,
    operation: str,
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
        check_known(name, _names(list_limits(store, keys)), of="limit", can_force=True)
    body: dict[str, Any] = {"rate": str(rate), **({"shadow": True} if is_shadow else {})}
    return _carry_out(store, keys, [Change(target, body, expires_in)], cause,
                      verb="limit set", operation=operation, **body)  # fmt: skip


def clear_limit(
    store: Store, keys: Keys, name: str, cause: Cause, *, operation: str, key: str = ""
) -> LimitReceipt:
    """End an operator's setting of the limit `name`: what the code says holds again.

    Raises:
        InvalidInput: the name or the key cannot be one.
        NothingMatched: the limit is neither declared nor set.
    """
    target = _target(name, key)
    check_known(name, _names(list_limits(store, keys)), of="limit")
    return _carry_out(store, keys, [Change(target)], cause, verb="limit clear", operation=operation)


def undo_limit(
    store: Store, keys: Keys, event: Event, cause: Cause, *, operation: str
) -> LimitReceipt:
    """Set a limit as it was before `event`.

    Raises:
        CannotUndo: it was changed since, or what stood before would have ended by now.
    """
    body = next(filter(None, (body_before(event, name) for name in event.after)), {})
    done = store.run(
        set_back_settings(
            keys, keys.limits, event, cause,
            verb="limit set" if body else "limit clear", operation=operation, **body,
        )
    )  # fmt: skip
    return _receipt(store, keys, done)


def ask_limit(store: Store, keys: Keys, name: str, *, key: str = "") -> LimitAnswer:
    """What a hit would be told now; nothing is counted.

    Raises:
        InvalidInput: the name or the key cannot be one.
        NothingMatched: the limit is neither declared nor set.
    """
    target = _target(name, key)
    limits = list_limits(store, keys)
    check_known(name, _names(limits), of="limit")
    by_target = {_target(limit.name, limit.key): limit for limit in limits}
    limit = by_target.get(target) or by_target.get(name) or LimitState(name)
    if limit.rate is None:
        return LimitAnswer(name, key, None, is_within=True)
    item = item_of(limit.rate)
    used, wait = store.run(read_window(keys, target, item.amount, item.get_expiry()))
    left = max(item.amount - used, 0)
    return LimitAnswer(
        name, key, limit.rate, is_within=left > 0 or limit.is_shadow, used=used, left=left,
        retry_after=wait, is_shadow=limit.is_shadow,
    )  # fmt: skip


def _target(name: str, key: str) -> str:
    checked_name(name, of="limit")
    if len(key) > LONGEST_KEY or not key.isprintable():
        raise InvalidInput(name="key", value=key, accepted=f"at most {LONGEST_KEY} letters")
    return f"{name} {key}" if key else name


def _names(limits: Sequence[LimitState]) -> set[str]:
    return {limit.name for limit in limits}


def _carry_out(
    store: Store, keys: Keys, changes: Sequence[Change], cause: Cause, *, verb: str,
    operation: str, **details: Any,
) -> LimitReceipt:  # fmt: skip
    done = store.run(
        change_settings(
            keys, keys.limits, changes, cause,
            verb=verb, operation=operation, **details,
        )
    )  # fmt: skip
    return _receipt(store, keys, done)


def _receipt(store: Store, keys: Keys, done: SettingsChanged) -> LimitReceipt:
    limits = {_target(limit.name, limit.key): limit for limit in list_limits(store, keys)}
    changed = tuple(limits.get(name) or _unset(name, limits) for name in done.names)
    return LimitReceipt(done.event, done.at, changed, tuple(done.replaced.values()))


def _unset(target: str, limits: Mapping[str, LimitState]) -> LimitState:
    """A limit, or a key of one, that nothing is set for: what holds for all keys holds."""
    name, _, key = target.partition(" ")
    whole = limits.get(name)
    return LimitState(name, key, rate=whole.rate if whole else None, is_declared=whole is not None)


def _state(
    target: str,
    declared: Mapping[str, Mapping[str, Any]],
    setting: Setting | None,
    counts: Mapping[str, int],
) -> LimitState:
    name, _, key = target.partition(" ")
    facts = declared.get(name, {})
    default = _rate(facts.get("default"))
    return LimitState(
        name=name,
        key=key,
        rate=(_rate(setting.body.get("rate")) if setting else None) or default,
        default=default,
        setting=setting,
        is_shadow=bool(setting and setting.body.get("shadow")),
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
