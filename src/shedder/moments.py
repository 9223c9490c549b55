"""How is a moment written: `02:11`, `2026-11-25T02:11`, or `38m` for so long ago?"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from shedder.durations import parse_duration
from shedder.errors import InvalidInput

ONE_DAY = timedelta(days=1)

ACCEPTED = "a time such as 02:11 or 2026-11-25T02:11 (UTC), or how long ago, such as 38m"
ACCEPTED_LATER = "a day such as 2026-12-09, or how long from now, such as 2w"


def parse_past(text: str, *, now: datetime, name: str) -> datetime:
    """A moment that has been; `name` is what an error calls it.

    After midnight `23:50` is that of the day before.

    Raises:
        InvalidInput: it is something else, or in the future.
    """
    found = _clock(text, now) or _iso(text)
    if found is None:
        try:
            found = now - parse_duration(text, name=name)
        except (InvalidInput, OverflowError) as error:
            raise InvalidInput(name=name, value=text, accepted=ACCEPTED) from error
    if found > now:
        raise InvalidInput(name=name, value=text, accepted="a time that is not in the future")
    return found


def parse_future(text: str, *, now: datetime, name: str) -> datetime:
    """A moment that is to come; a day means its end.

    Raises:
        InvalidInput: it is something else, or in the past.
    """
    found = _iso(f"{text}T23:59:59") or _iso(text)
    if found is None:
        try:
            found = now + parse_duration(text, name=name)
        except (InvalidInput, OverflowError) as error:
            raise InvalidInput(name=name, value=text, accepted=ACCEPTED_LATER) from error
    if found < now:
        raise InvalidInput(name=name, value=text, accepted="a time that is not in the past")
    return found


_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")


def _clock(text: str, now: datetime) -> datetime | None:
    found = _CLOCK.fullmatch(text.strip())
    if found is None:
        return None
    hour, minute, second = (int(part) for part in found.groups(default="0"))
    today = now.replace(hour=hour, minute=minute, second=second, microsecond=0)
    return today - ONE_DAY if today - now > ONE_DAY / 2 else today


def _iso(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
