"""What flags and limits share: a setting of an operator, how it is changed, read and set back."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from shedder.errors import CannotUndo, InvalidInput, NothingMatched, NothingToUndo, RecordUnreadable
from shedder.events import Cause, Event, event_head
from shedder.store.codec import NO_TIME, ms_from_time, reading_record, text_of, time_from_ms, versioned_record
from shedder.store.keys import Keys
from shedder.store.store import Command, Store, new_id
from shedder.units import milliseconds_of

S = TypeVar("S", bound=StrEnum)

_FRAME = frozenset({"v", "by", "why", "since", "until", "event"})

LONGEST_NAME = 200


AWAY_SECONDS = 1.0
"""For this long hits are decided without a Redis that did not answer."""


class LimitUnavailable(Exception):
    """It is not known how much of a limit is left.

    Attributes:
        is_outage: Redis did not answer in time, or serves nobody now; else it refused this
            question alone, such as for a key of another type.
    """

    def __init__(self, says: str, *, is_outage: bool = True) -> None:
        super().__init__(says)
        self.is_outage = is_outage


@dataclass(frozen=True, slots=True)
class Setting:
    """What an operator set.

    Attributes:
        name: Of the flag or the limit; a limit for one key has it behind a space.
        by: Who set it.
        why: For which reason.
        since: Since when (server's clock, UTC).
        until: When it expires; None when it stands until an operator ends it.
        body: What it says, such as a percentage or a rate.
    """

    name: str
    by: str
    why: str
    since: datetime
    until: datetime | None = None
    body: Mapping[str, Any] = field(default_factory=dict)

    def holds_at(self, now_ms: float) -> bool:
        """Whether it holds at `now_ms` (milliseconds of the server's clock)."""
        return self.until is None or now_ms < ms_from_time(self.until)


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """Settings that were changed.

    Attributes:
        event: Id of the event; empty when there was nothing to end.
        at: Server's clock, UTC.
        names: What was changed.
        replaced: What stood before, for those that had been set.
    """

    event: str
    at: datetime
    names: tuple[str, ...]
    replaced: tuple[Setting, ...]


def change_settings(
    store: Store, settings: str, names: Sequence[str], body: Mapping[str, Any] | None,
    cause: Cause, *, verb: str, expires_in: timedelta | None = None, **details: Any,
) -> SettingsChanged:  # fmt: skip
    """Set `names` of the hash `settings` to what `body` says, in one step with one event.

    Without a body they are ended. Without `expires_in` somebody must end them.
    """
    head = event_head(verb, cause, (), names=list(names), **details)
    record = "" if body is None else json.dumps({**body, "by": cause.by, "why": cause.why})
    duration = milliseconds_of(expires_in)
    said = [part for name in names for part in (name, record, duration)]
    arguments = ("change", head, store.keys.settings_channel, *said)
    keys = _keys(store.keys, settings)
    return store.run(Command("change_settings", keys, arguments, lambda reply: _changed(reply, tuple(names))))


def _keys(keys: Keys, settings: str) -> tuple[str, ...]:
    return settings, keys.settings_version, keys.events, keys.operation(new_id())


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


def one_of(choices: type[S], value: S | str, *, name: str) -> S:
    """The one of `choices` that `value` names.

    Raises:
        InvalidInput: it is none of them; the error calls it `name`.
    """
    try:
        return choices(value)
    except ValueError:
        *most, last = choices
        accepted = f"{', '.join(most)} or {last}"
        raise InvalidInput(name=name, value=value, accepted=accepted) from None


def check_known(name: str, known: Collection[str], *, of: str, can_force: bool = False) -> None:
    """Refuse a name that no code has declared.

    Raises:
        NothingMatched: it is none of `known`; the error has the nearest first.
    """
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=3) or sorted(known)
        hint = f" (--force accepts a {of} that no process has declared yet)" if can_force else ""
        raise NothingMatched(f"{of} {name}{hint}", found=tuple(nearest))


def setting_from(name: str, text: bytes | str) -> Setting:
    """The setting of `name` that `text` describes.

    Raises:
        RecordUnreadable: it is damaged or of a newer shedder.
    """
    with reading_record(f"of {name}"):
        record = versioned_record(json.loads(text))
        until = record.get("until")
        return Setting(
            name=name,
            by=str(record.get("by", "")),
            why=str(record.get("why", "")),
            since=time_from_ms(record["since"]),
            until=None if until is None else time_from_ms(until),
            body={key: value for key, value in record.items() if key not in _FRAME},
        )


def settings_from(records: Mapping[bytes, bytes], now_ms: float) -> dict[str, Setting]:
    """The settings in force, by name; one that cannot be read is told without an author."""
    found = {text_of(name): _setting_or_note(text_of(name), text) for name, text in records.items()}
    return in_force(found, now_ms)


def in_force(settings: Mapping[str, Setting], now_ms: float) -> dict[str, Setting]:
    """Those of `settings` that hold at `now_ms` (milliseconds of the server's clock)."""
    return {name: each for name, each in settings.items() if each.holds_at(now_ms)}


def declared_from(records: Mapping[bytes, bytes]) -> dict[str, Mapping[str, Any]]:
    """What applications' code says, by name; nothing for what cannot be read."""
    return {text_of(name): _fields_or_none(text) for name, text in records.items()}


def set_back_settings(
    keys: Keys, settings: str, event: Event, cause: Cause, *, verbs: tuple[str, str], **details: Any
) -> Command[SettingsChanged]:
    """Write the settings again that `event` replaced, unless one was changed since.

    `verbs` are that of its event when a setting stands again, which says the `details`, and that
    when none does. The command's reply raises `CannotUndo` when one was changed, and
    `NothingToUndo` when nothing stands, before and after.
    """
    names = tuple(event.after)
    is_set, is_cleared = verbs
    heads = (
        event_head(is_set, cause, (), undoes=event.id, undid=event.verb, names=list(names), **details),
        event_head(is_cleared, cause, (), undoes=event.id, undid=event.verb, names=list(names)),
    )
    said = [part for name in names for part in (name, _set_by(event, name), _record(event, name))]
    arguments = ("set back", *heads, keys.settings_channel, *said)
    return Command("set_back_settings", _keys(keys, settings), arguments, lambda reply: _set_back(reply, event))


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
    if text_of(state) in _REFUSALS:
        reason, try_instead = _REFUSALS[text_of(state)]
        error = CannotUndo if text_of(state) == "changed" else NothingToUndo
        raise error(event.id, reason=reason.format(text_of(rest[0])), try_instead=try_instead)
    return _changed(rest, tuple(event.after))


_REFUSALS = {
    "changed": ("{} was changed since", "shedder events"),
    "ended": ("the setting of {} was taken back, or has ended, since", "shedder status"),
    "over": ("what stood before on {} would have ended by now", "shedder status"),
}
"""Why settings are not set back, and the command to try instead, by what the script replies."""


def _changed(reply: list[Any], names: tuple[str, ...]) -> SettingsChanged:
    event, at, *previous = reply
    replaced = (_setting_or_note(name, text) for name, text in zip(names, previous, strict=True) if text)
    return SettingsChanged(text_of(event), time_from_ms(int(at)), names, tuple(replaced))


def _setting_or_note(name: str, text: bytes | str) -> Setting:
    try:
        return setting_from(name, text)
    except RecordUnreadable as error:
        return Setting(name, by="", why=str(error), since=NO_TIME)


def _fields_or_none(text: bytes | str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (RecursionError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
