"""How does an operator degrade features and restore them?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from shedder.errors import ConditionNotMet, InvalidInput, NothingMatched
from shedder.keys import Keys
from shedder.records import Cause, Event
from shedder.setting_records import FlagReceipt, FlagState, Setting
from shedder.settings import (
    Change,
    SettingsChanged,
    change_settings,
    check_known,
    checked_name,
    declared_from,
    set_back_settings,
    settings_from,
)
from shedder.store import Store
from shedder.stored import read_with_time

MOST_NAMES = 500


def list_flags(store: Store, keys: Keys) -> tuple[FlagState, ...]:
    """All flags that are declared or set, the degraded ones first."""
    now, replies = read_with_time(store, lambda ask: ask_flags(ask, keys))
    return flags_from(iter(replies), now.timestamp() * 1000)


def ask_flags(ask: Any, keys: Keys) -> None:
    """Ask for what `flags_from` reads, in constant time."""
    ask.hgetall(keys.flag_declarations)
    ask.hgetall(keys.flags)


def flags_from(replies: Iterator[Any], now_ms: float) -> tuple[FlagState, ...]:
    """The flags that the replies to `ask_flags` describe, the degraded ones first."""
    declared = declared_from(next(replies))
    standing = settings_from(next(replies), now_ms)
    names = sorted(declared.keys() | standing.keys())
    flags = [_state(name, declared.get(name), standing.get(name)) for name in names]
    return tuple(sorted(flags, key=lambda flag: (flag.percent == 0, flag.name)))


def degrade_flags(
    store: Store,
    keys: Keys,
    names: Sequence[str],
    cause: Cause,
    *,
    operation: str,
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
    chosen = _chosen(list_flags(store, keys), names, group, is_forced=is_forced)
    changes = [Change(name, {"percent": percent}, expires_in) for name in chosen]
    return _carry_out(store, keys, changes, cause, verb="flag degrade", operation=operation,
                      group=group or None, percent=percent)  # fmt: skip


def restore_flags(
    store: Store,
    keys: Keys,
    names: Sequence[str],
    cause: Cause,
    *,
    operation: str,
    group: str = "",
) -> FlagReceipt:
    """End the degradation of the flags called `names`, and of all of `group`.

    Raises:
        NothingMatched: a flag or the group is not known.
    """
    chosen = _chosen(list_flags(store, keys), names, group)
    changes = [Change(name) for name in chosen]
    return _carry_out(store, keys, changes, cause, verb="flag restore", operation=operation,
                      group=group or None)  # fmt: skip


def undo_flags(
    store: Store, keys: Keys, event: Event, cause: Cause, *, operation: str
) -> FlagReceipt:
    """Set flags as they were before `event`.

    Raises:
        CannotUndo: one was changed since, or what stood before would have ended by now.
    """
    is_set = any(event.before.get(name) for name in event.after)
    done = store.run(
        set_back_settings(
            keys, keys.flags, event, cause,
            verb="flag degrade" if is_set else "flag restore", operation=operation,
        )
    )  # fmt: skip
    return _receipt(store, keys, done)


def _carry_out(
    store: Store, keys: Keys, changes: Sequence[Change], cause: Cause, *, verb: str,
    operation: str, **details: Any,
) -> FlagReceipt:  # fmt: skip
    done = store.run(
        change_settings(
            keys, keys.flags, changes, cause,
            verb=verb, operation=operation, **details,
        )
    )  # fmt: skip
    return _receipt(store, keys, done)


def _chosen(
    flags: Sequence[FlagState], names: Sequence[str], group: str, *, is_forced: bool | None = None
) -> tuple[str, ...]:
    known = {flag.name for flag in flags}
    for name in names:
        checked_name(name, of="flag")
        if not is_forced:
            check_known(name, known, of="flag", can_force=is_forced is False)
    grouped = [flag.name for flag in flags if group and flag.group == group]
    if group and not grouped:
        groups = sorted({flag.group for flag in flags if flag.group})
        raise NothingMatched(f"the group {group}", found=tuple(groups))
    chosen = tuple(dict.fromkeys([*names, *grouped]))
    if not chosen:
        raise ConditionNotMet("at least one flag or a group is named", found="none")
    if len(chosen) > MOST_NAMES:
        condition = f"at most {MOST_NAMES} flags are changed at once"
        raise ConditionNotMet(condition, found=str(len(chosen)))
    return chosen


def _receipt(store: Store, keys: Keys, done: SettingsChanged) -> FlagReceipt:
    flags = {flag.name: flag for flag in list_flags(store, keys)}
    changed = tuple(flags.get(name, FlagState(name, 0.0)) for name in done.names)
    return FlagReceipt(done.event, done.at, changed, tuple(done.replaced.values()))


def _state(name: str, declared: Mapping[str, Any] | None, setting: Setting | None) -> FlagState:
    facts = declared or {}
    default = 0.0 if facts.get("default", True) else 100.0
    return FlagState(
        name=name,
        percent=default if setting is None else _percent(setting),
        setting=setting,
        description=str(facts.get("description", "")),
        owner=str(facts.get("owner", "")),
        group=str(facts.get("group", "")),
        is_declared=declared is not None,
    )


def _percent(setting: Setting) -> float:
    percent = setting.body.get("percent", 0)  # none in a record that cannot be read
    return float(percent) if isinstance(percent, int | float) else 0.0
