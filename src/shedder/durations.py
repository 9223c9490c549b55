"""How a length of time is written: `1h30m` to a timedelta and back."""

from __future__ import annotations

import re
from datetime import timedelta

from shedder.errors import InvalidInput

SHORTEST = timedelta(milliseconds=1)
LONGEST = timedelta(days=3650)


def parse_duration(text: str, *, name: str = "duration") -> timedelta:
    """Read a duration such as `90s`, `30m`, `1h30m`, `1.5h`, `2d`, `1w` or `500ms`.

    Units go from the longest to the shortest, each at most once; spaces between them are fine.
    `name` is what the error calls the value.

    Raises:
        InvalidInput: it is something else, a number without a unit, less than 1ms, or more than
            10 years.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None or found.lastgroup is None:
        raise InvalidInput(name=name, value=text, accepted=_accepted(text.strip()))
    numbers = found.groupdict(default="0")
    milliseconds = sum(float(numbers[unit]) * length for unit, length in _MILLISECONDS.items())
    if not 1 <= milliseconds <= LONGEST // SHORTEST:
        raise InvalidInput(
            name=name, value=text, accepted="a duration from 1ms to 10 years (3650d)"
        )
    return timedelta(milliseconds=milliseconds)


def format_duration(duration: timedelta | float, *, exact: bool = False) -> str:
    """Write a duration, a timedelta or finite seconds, as `38m`, `2h 5m`, `12s` or `350ms`.

    Two units are shown and the rest is cut off, towards zero. With `exact` everything down to the
    millisecond is shown (`1d 1h 0.5s`), so that `parse_duration` reads the same duration back.
    """
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    milliseconds = round(abs(seconds) * 1000)
    if not exact:
        milliseconds -= milliseconds % _grain(milliseconds)
    return ("-" if seconds < 0 < milliseconds else "") + _spelled(milliseconds)


_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,9})?"
_DURATION = re.compile(
    rf"(?:(?P<weeks>{_NUMBER})w)?\ *(?:(?P<days>{_NUMBER})d)?\ *(?:(?P<hours>{_NUMBER})h)?\ *"
    rf"(?:(?P<minutes>{_NUMBER})m)?\ *(?:(?P<seconds>{_NUMBER})s)?\ *"
    rf"(?:(?P<milliseconds>{_NUMBER})ms)?"
)
_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000
_MILLISECONDS = {
    "weeks": 7 * _DAY,
    "days": _DAY,
    "hours": _HOUR,
    "minutes": _MINUTE,
    "seconds": _SECOND,
    "milliseconds": 1,
}


def _accepted(text: str) -> str:
    if re.fullmatch(_NUMBER, text):
        return f"a unit after the number, such as {text}s, {text}m or {text}h"
    return "a duration such as 500ms, 90s, 30m, 1h30m, 2d or 1w"


def _grain(milliseconds: int) -> int:
    """Milliseconds of the smallest unit worth showing beside this many."""
    for least, grain in ((_DAY, _HOUR), (_HOUR, _MINUTE), (10 * _SECOND, _SECOND), (_SECOND, 100)):
        if milliseconds >= least:
            return grain
    return 1


def _spelled(milliseconds: int) -> str:
    if milliseconds < _SECOND:
        return f"{milliseconds}ms" if milliseconds else "0s"
    parts = []
    for unit, letter in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "m")):
        count, milliseconds = divmod(milliseconds, unit)
        if count:
            parts.append(f"{count}{letter}")
    if milliseconds:
        parts.append(f"{milliseconds / _SECOND:g}s")
    return " ".join(parts)
