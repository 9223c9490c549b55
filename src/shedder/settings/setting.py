"""A setting of an operator: change, read, take back (the base of flags and limits)."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from shedder.errors import CannotUndo, InvalidInput, NothingMatched, RecordUnreadable
from shedder.events import Cause, Event, event_head
from shedder.store.codec import RECORD_VERSION, ms_from_time, text_of, time_from_ms
from shedder.store.keys import Keys
from shedder.store.store import Command

_FRAME = frozenset({"v", "by", "why", "since", "until", "event"})

LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Change:
    """A setting to be written or ended.

    Attributes:
        name: Of the flag or the limit.
        body: What it says; None to end it.
        expires_in: After how long it ends by itself; None when somebody must end it.
    """

    name: str
    body: Mapping[str, Any] | None = None
    expires_in: timedelta | None = None


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """Settings that were changed.

    Attributes:
        event: Id of the event; empty when there was nothing to end.
        at: Server's clock, UTC.
        names: What was changed.
        replaced: What stood before, by name.
    """

    event: str
    at: datetime
    names: tuple[str, ...]
    replaced: Mapping[str, Setting] = field(default_factory=dict)


def change_settings(
    keys: Keys,
    settings: str,
    changes: Sequence[Change],
    cause: Cause,
    *,
    verb: str,
    operation: str,
    **details: Any,
) -> Command[SettingsChanged]:
    """Carry out `changes` of the hash `settings`, all in one step with one event."""
    names = tuple(change.name for change in changes)
    head = event_head(verb, cause, (), names=list(names), **details)
    said = [part for change in changes for part in _arguments(change, cause)]
    return Command(
        "change_settings",
        (settings, keys.settings_version, keys.events, keys.operation(operation)),
        ("change", head, keys.settings_channel, *said),
        lambda reply: _changed(reply, names),
    )


def declare_settings(declarations: str, declared: Mapping[str, Mapping[str, Any]]) -> Command[int]:
    """Note what an application's code says of its flags or limits; at least one."""
    said = [part for name, each in declared.items() for part in (name, json.dumps(each))]
    return Command("declare_settings", (declarations,), tuple(said), int)


def checked_name(name: str, *, of: str) -> str:
    """`name`, if a flag or a limit can be called so.

    Raises:
        InvalidInput: it is empty, too long, or has spaces or control characters.
    """
    is_plain = all(each.isprintable() and not each.isspace() for each in name)
    if not name or len(name) > LONGEST_NAME or not is_plain:
        accepted = f"a name without spaces of at most {LONGEST_NAME} letters, such as search.hints"
        raise InvalidInput(name=of, value=name, accepted=accepted)
    return name


def check_known(name: str, known: Collection[str], *, of: str, can_force: bool = False) -> None:
    """Refuse a name that nobody has declared.

    Raises:
        NothingMatched: it is none of `known`; the error has the nearest first.
    """
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=3) or sorted(known)
        hint = " (which none has declared yet: --force)" if can_force else ""
        raise NothingMatched(f"the {of} {name}{hint}", found=tuple(nearest))


def setting_from(name: str, text: bytes | str) -> Setting:
    """The setting of `name` that `text` describes.

    Raises:
        RecordUnreadable: it is damaged or of a newer shedder.
    """
    try:
        record = _versioned(json.loads(text))
        until = record.get("until")
        return Setting(
            name=name,
            by=str(record.get("by", "")),
            why=str(record.get("why", "")),
            since=time_from_ms(record["since"]),
            until=None if until is None else time_from_ms(until),
            body={key: value for key, value in record.items() if key not in _FRAME},
        )
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise RecordUnreadable(f"of {name}", reason=str(error)) from error


def settings_from(records: Mapping[bytes, bytes], now_ms: float) -> dict[str, Setting]:
    """The settings in force, by name; one that cannot be read is told as by nobody, not hidden."""
    found = {text_of(name): _setting_or_note(text_of(name), text) for name, text in records.items()}
    return {name: each for name, each in found.items() if is_in_force(each, now_ms)}


def is_in_force(setting: Setting, now_ms: float) -> bool:
    """Whether a setting holds at `now_ms` (milliseconds of the server's clock)."""
    return setting.until is None or now_ms < ms_from_time(setting.until)


def declared_from(records: Mapping[bytes, bytes]) -> dict[str, Mapping[str, Any]]:
    """What applications' code says, by name; nothing for what cannot be read."""
    return {text_of(name): _object_or_empty(text) for name, text in records.items()}


def set_back_settings(
    keys: Keys, settings: str, event: Event, cause: Cause, *, verb: str, operation: str,
    **details: Any,
) -> Command[SettingsChanged]:  # fmt: skip
    """Write the settings again that `event` replaced, unless one was changed since.

    The command's reply raises `CannotUndo` when one was, or when one would have ended by now.
    """
    names = tuple(event.after)
    head = event_head(verb, cause, (), undoes=event.id, names=list(names), **details)
    said = [part for name in names for part in (name, _set_by(event, name), _record(event, name))]
    return Command(
        "set_back_settings",
        (settings, keys.settings_version, keys.events, keys.operation(operation)),
        ("set back", head, keys.settings_channel, *said),
        lambda reply: _set_back(reply, event),
    )


def body_before(event: Event, name: str) -> dict[str, Any]:
    """What the setting `name` said before `event`; empty when there was none."""
    before = event.before.get(name) or {}
    return {key: value for key, value in before.items() if key not in _FRAME}


def _set_by(event: Event, name: str) -> str:
    """What must stand for `event` to be the last change of `name`."""
    after = event.after[name]
    return json.dumps({"event": event.id, **after}) if "since" in after else ""


def _record(event: Event, name: str) -> str:
    before = event.before.get(name)
    return json.dumps(before) if before else ""


def _set_back(reply: list[Any], event: Event) -> SettingsChanged:
    state, *rest = reply
    if text_of(state) == "changed":
        raise CannotUndo(
            event.id, reason=f"{text_of(rest[0])} was changed, or has ended, since",
            try_instead="shedder events",
        )  # fmt: skip
    if text_of(state) == "over":
        raise CannotUndo(
            event.id, reason=f"what stood before on {text_of(rest[0])} would have ended by now",
            try_instead="shedder status",
        )  # fmt: skip
    return _changed(rest, tuple(event.after))


def _arguments(change: Change, cause: Cause) -> tuple[str, str, int]:
    if change.body is None:
        return change.name, "", 0
    duration = int(change.expires_in.total_seconds() * 1000) if change.expires_in else 0
    said = json.dumps({**change.body, "by": cause.by, "why": cause.why})
    return change.name, said, duration


def _changed(reply: list[Any], names: tuple[str, ...]) -> SettingsChanged:
    event, at, *previous = reply
    replaced = {
        name: _setting_or_note(name, text)
        for name, text in zip(names, previous, strict=True)
        if text
    }
    return SettingsChanged(text_of(event), time_from_ms(int(at)), names, replaced)


def _setting_or_note(name: str, text: bytes | str) -> Setting:
    try:
        return setting_from(name, text)
    except RecordUnreadable as error:
        return Setting(name, by="", why=str(error), since=time_from_ms(0))


def _versioned(record: dict[str, Any]) -> dict[str, Any]:
    if record["v"] != RECORD_VERSION:
        raise ValueError(f"it is of version {record['v']}")
    return record


def _object_or_empty(text: bytes | str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (RecursionError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Setting:
    """What an operator set.

    Attributes:
        name: Of the flag or the limit; a limit for one key has it behind a space.
        by: Who set it.
        why: For which reason.
        since: Since when (server's clock, UTC).
        until: When it ends by itself; None when somebody must end it.
        body: What it says, such as a percentage or a rate.
    """

    name: str
    by: str
    why: str
    since: datetime
    until: datetime | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
