"""Numbers, lists and times as people read them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

REASON_BLANK = "REASON"
"""What a proposed command has as its reason where a person must say it; no command takes it as one."""


def counted(count: int, one: str, many: str = "") -> str:
    """`1 job`, `12,000 jobs`; `many` where it is not `one` with an s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def jobs_do(count: int, do: str, does: str) -> str:
    """`41,200 jobs wait`, `1 job waits`."""
    return f"{counted(count, 'job')} {does if count == 1 else do}"


def spoken(length: timedelta) -> str:
    """A length of time for people: `2 s`, `38 min`, `1 h 5 min`, `2 d 3 h`."""
    seconds = max(int(length.total_seconds()), 0)
    if seconds < 60:
        return f"{seconds} s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if hours < 1:
        return f"{minutes} min"
    if days < 1:
        return _two(hours, "h", minutes % 60, "min")
    return _two(days, "d", hours % 24, "h")


def moment(when: datetime, now: datetime) -> str:
    """`14:45`, and the date with it when that is not today's (UTC)."""
    when, now = when.astimezone(UTC), now.astimezone(UTC)
    return when.strftime("%H:%M" if when.date() == now.date() else "%Y-%m-%d %H:%M")


def pace(per_second: float) -> str:
    """`60/s`, or `24/min` and `3/h` where a second is too short to tell; nothing is `0/s`."""
    if per_second <= 0:
        return "0/s"
    for factor, unit in ((1, "s"), (60, "min")):
        if per_second * factor >= 1:
            return f"{round(per_second * factor):,}/{unit}"
    return f"{round(per_second * 3600):,}/h"


def named(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def some_named(names: Sequence[str], most: int = 3) -> str:
    """`a`, `a and b`, `a, b, c and 4 more`."""
    rest = [f"{len(names) - most:,} more"] if len(names) > most else []
    return named([*names[:most], *rest])


def drives_terminals(character: str) -> bool:
    """Whether a character is no sign that can be seen, and so could drive a terminal or look like another text."""
    return character not in _JOINERS and unicodedata.category(character) in _DRIVES_TERMINALS


_DRIVES_TERMINALS = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"


def _two(first: int, unit: str, second: int, small: str) -> str:
    return f"{first} {unit} {second} {small}" if second else f"{first} {unit}"
