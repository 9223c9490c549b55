"""How does an operator degrade features and restore them?"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shedder.errors import ConditionNotMet, InvalidInput, NothingMatched
from shedder.keys import Keys
from shedder.records import Cause
from shedder.settings import (
    Setting,
    SettingsChanged,
    clear_settings,
    set_settings,
    setting_from,
)
from shedder.store import Store
from shedder.stored import ms_from_time, text_of

MOST_NAMES = 500


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
        percent: How much is degraded now; 0 after a restore.
        until: When it ends by itself, if it does.
        flags: The flags, as they are now.
        replaced: What stood before, for those that had been set.
    """

    event: str
    at: datetime
    percent: float
    until: datetime | None
    flags: tuple[FlagState, ...]
    replaced: tuple[Setting, ...] = ()


def list_flags(store: Store, keys: Keys) -> tuple[FlagState, ...]:
    """All flags that are declared or set, the degraded ones first."""
    (seconds, _), declared, settings = store.read(lambda ask: _ask(ask, keys))
    now_ms = seconds * 1000
    known = {text_of(name): _declaration(text) for name, text in declared.items()}
    standing = {
        setting.name: setting
        for setting in (setting_from(text_of(name), text) for name, text in settings.items())
        if setting.until is None or now_ms < ms_from_time(setting.until)
    }
    names = sorted(known.keys() | standing.keys())
    flags = [_state(name, known.get(name), standing.get(name)) for name in names]
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
    undoes: str = "",
) -> FlagReceipt:
    """Degrade the flags called `names`, and all of `group`, in every process at once.

    Raises:
        InvalidInput: the percentage is not within 0 to 100, or a name is empty.
        NothingMatched: a flag or the group is not declared (and it is not forced).
    """
    if not 0 < percent <= 100:  # noqa: PLR2004 - a percentage
        raise InvalidInput(name="percent", value=percent, accepted="a number above 0, up to 100")
    chosen = _chosen(list_flags(store, keys), names, group, is_forced=is_forced)
    done = store.run(
        set_settings(
            keys, keys.flags, chosen, {"percent": percent}, cause,
            verb="flag degrade", operation=operation, expires_in=expires_in, undoes=undoes,
        )
    )  # fmt: skip
    return _receipt(store, keys, done, percent, done.at + expires_in if expires_in else None)


def restore_flags(
    store: Store,
    keys: Keys,
    names: Sequence[str],
    cause: Cause,
    *,
    operation: str,
    group: str = "",
    undoes: str = "",
) -> FlagReceipt:
    """End the degradation of the flags called `names`, and of all of `group`.

    Raises:
        NothingMatched: a flag or the group is not known.
    """
    chosen = _chosen(list_flags(store, keys), names, group, is_forced=False)
    done = store.run(
        clear_settings(
            keys, keys.flags, chosen, cause,
            verb="flag restore", operation=operation, undoes=undoes,
        )
    )  # fmt: skip
    return _receipt(store, keys, done, 0.0, None)


def _ask(ask: Any, keys: Keys) -> None:
    ask.time()
    ask.hgetall(keys.flag_declarations)
    ask.hgetall(keys.flags)


def _chosen(
    flags: Sequence[FlagState], names: Sequence[str], group: str, *, is_forced: bool
) -> tuple[str, ...]:
    known = {flag.name for flag in flags}
    for name in names:
        if name not in known and not is_forced:
            nearest = difflib.get_close_matches(name, known, n=3) or sorted(known)
            raise NothingMatched(f"the flag {name}", found=tuple(nearest))
    grouped = [flag.name for flag in flags if group and flag.group == group]
    if group and not grouped:
        groups = sorted({flag.group for flag in flags if flag.group})
        raise NothingMatched(f"the group {group}", found=tuple(groups))
    chosen = tuple(dict.fromkeys([*names, *grouped]))
    if not chosen:
        raise ConditionNotMet("at least one flag or a group is named", found="none")
    return chosen[:MOST_NAMES]


def _receipt(
    store: Store, keys: Keys, done: SettingsChanged, percent: float, until: datetime | None
) -> FlagReceipt:
    flags = {flag.name: flag for flag in list_flags(store, keys)}
    changed = tuple(flags.get(name, FlagState(name, 0.0)) for name in done.names)
    return FlagReceipt(done.event, done.at, percent, until, changed, tuple(done.replaced.values()))


def _state(name: str, declared: dict[str, Any] | None, setting: Setting | None) -> FlagState:
    facts = declared or {}
    default = 0.0 if facts.get("default", True) else 100.0
    return FlagState(
        name=name,
        percent=default if setting is None else float(setting.body.get("percent", 100)),
        setting=setting,
        description=str(facts.get("description", "")),
        owner=str(facts.get("owner", "")),
        group=str(facts.get("group", "")),
        is_declared=declared is not None,
    )


def _declaration(text: bytes) -> dict[str, Any]:
    try:
        declared = json.loads(text)
    except ValueError:
        return {}
    return declared if isinstance(declared, dict) else {}
