"""How does an operator set a flag or a limit, for every process at once?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from shedder.errors import RecordUnreadable
from shedder.journal import event_head
from shedder.keys import Keys
from shedder.records import Cause
from shedder.store import Command
from shedder.stored import RECORD_VERSION, text_of, time_from_ms

_FRAME = frozenset({"v", "by", "why", "since", "until"})


@dataclass(frozen=True, slots=True)
class Setting:
    """What an operator set.

    Attributes:
        name: Of the flag or the limit.
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
    replaced: Mapping[str, Setting]


def set_settings(
    keys: Keys,
    settings: str,
    names: Sequence[str],
    body: Mapping[str, Any],
    cause: Cause,
    *,
    verb: str,
    operation: str,
    expires_in: timedelta | None = None,
    undoes: str = "",
) -> Command[SettingsChanged]:
    """Write the same `body` for all `names` into the hash `settings`."""
    duration = int(expires_in.total_seconds() * 1000) if expires_in else 0
    head = event_head(verb, cause, (), undoes=undoes, names=list(names), **body)
    record = json.dumps({**body, "by": cause.by, "why": cause.why})
    return Command(
        "set_settings",
        (settings, keys.settings_version, keys.events, keys.operation(operation)),
        ("set", head, keys.settings_channel, duration, record, *names),
        lambda reply: _changed(reply, tuple(names)),
    )


def clear_settings(
    keys: Keys,
    settings: str,
    names: Sequence[str],
    cause: Cause,
    *,
    verb: str,
    operation: str,
    undoes: str = "",
) -> Command[SettingsChanged]:
    """End the settings of `names` in the hash `settings`."""
    head = event_head(verb, cause, (), undoes=undoes, names=list(names))
    return Command(
        "clear_settings",
        (settings, keys.settings_version, keys.events, keys.operation(operation)),
        ("clear", head, keys.settings_channel, *names),
        lambda reply: _changed(reply, tuple(names)),
    )


def setting_from(name: str, text: bytes | str) -> Setting:
    """The setting of `name` that `text` describes.

    Raises:
        RecordUnreadable: it is damaged or of a newer shedder.
    """
    try:
        record = json.loads(text)
        if record["v"] != RECORD_VERSION:
            raise ValueError(f"it is of version {record['v']}")
        until = record.get("until")
        return Setting(
            name=name,
            by=str(record.get("by", "")),
            why=str(record.get("why", "")),
            since=time_from_ms(record["since"]),
            until=None if until is None else time_from_ms(until),
            body={key: value for key, value in record.items() if key not in _FRAME},
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RecordUnreadable(f"of {name}", reason=str(error)) from error


def _changed(reply: list[Any], names: tuple[str, ...]) -> SettingsChanged:
    event, at, *previous = reply
    replaced = {
        name: setting_from(name, text) for name, text in zip(names, previous, strict=True) if text
    }
    return SettingsChanged(text_of(event), time_from_ms(int(at)), names, replaced)
