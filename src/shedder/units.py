"""Durations, rates and points in time, read and written."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

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
        raise InvalidInput(name=name, value=text, accepted="a duration from 1ms to 10 years (3650d)")
    return timedelta(milliseconds=milliseconds)


def milliseconds_of(duration: timedelta | None, *, name: str = "expires_in") -> int:
    """`duration` in whole milliseconds; 0 for None, which scripts take for no end.

    Raises:
        InvalidInput: it is no duration from 1 ms to 10 years.
    """
    if duration is None:
        return 0
    given: object = duration
    if not isinstance(given, timedelta) or not SHORTEST <= given <= LONGEST:
        accepted = "None, or a timedelta from 1 ms to 10 years"
        raise InvalidInput(name=name, value=duration, accepted=accepted)
    return given // SHORTEST


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


SLOWEST_PER_SECOND = 1e-9
FASTEST_PER_SECOND = 1e9


BURST_SECONDS = 0.1
"""So much of a rate may start at once after a time in which no worker was free."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A number of things in a time; always positive and finite.

    `60/minute` and `1/second` are not equal: each remembers how it was written. Compare
    `per_second` where only the pace matters.

    Attributes:
        amount: how many, a number above 0.
        per: in how many seconds, a number above 0.

    Raises:
        InvalidInput: the pace is not within 1e-9 to 1e9 per second, or of no numbers.
    """

    amount: float
    per: float = 1.0

    def __post_init__(self) -> None:
        # Written so that NaN, which compares as false with everything, is refused too.
        given: tuple[object, ...] = (self.amount, self.per)
        for value in given:
            if isinstance(value, bool) or not isinstance(value, int | float) or value > sys.float_info.max:
                raise InvalidInput(name="rate", value=value, accepted="a number of things, and a number of seconds")
        if not (self.amount > 0 and self.per > 0 and self._is_in_range()):
            raise InvalidInput(name="rate", value=f"{self.amount:g} in {self.per:g} s", accepted=_accepted_rate())

    @property
    def per_second(self) -> float:
        """The pace in things per second."""
        return self.amount / self.per

    @classmethod
    def parse(cls, text: str, *, name: str = "rate") -> Rate:
        """Read `200/second`, `200/s`, `100/minute`, `1/min`, `1/h`, `0.5/s`, `3/day`.

        `name` is what the error calls the value.

        Raises:
            InvalidInput: it is something else; of zero, which would stop everything, the error says
                to pause instead.
        """
        found = _RATE.fullmatch(text.strip())
        per = _SECONDS.get(found["unit"]) if found else None
        if found is None or per is None:
            raise InvalidInput(name=name, value=text, accepted=_accepted_rate())
        amount = float(found["amount"])
        try:
            return cls(amount=amount, per=per)
        except InvalidInput:
            accepted = _accepted_rate(amount)
            raise InvalidInput(name=name, value=text, accepted=accepted) from None

    def __str__(self) -> str:
        unit = _UNITS.get(self.per)
        if unit is None:
            return f"{_plain(self.per_second)}/second"
        return f"{_plain(self.amount)}/{unit}"

    def _is_in_range(self) -> bool:
        return SLOWEST_PER_SECOND <= self.per_second <= FASTEST_PER_SECOND


_RATE = re.compile(r"(?P<amount>[0-9]{1,20}(?:\.[0-9]{1,40})?) */ *(?P<unit>[a-z]+)")
_UNITS = {1.0: "second", 60.0: "minute", 3600.0: "hour", 86400.0: "day"}
_SHORT_UNITS = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SECONDS = {name: per for per, name in _UNITS.items()} | _SHORT_UNITS


def _accepted_rate(amount: float | None = None) -> str:
    if amount == 0:
        return "a positive rate such as 200/second, or `shedder pause` to stop altogether"
    if amount is not None:
        return "a rate from one in 30 years to 1000000000/second"
    return "a positive rate such as 200/second, 100/minute, 1/hour or 3/day"


def _plain(number: float) -> str:
    # Without an exponent and without a ".0", which repr() would give.
    return format(Decimal(repr(float(number))).normalize(), "f")


def burst_of(rate: Rate) -> float:
    """How many jobs may start at once under `rate`: what it allows in 0.1 s, but one at least.

    A bucket that has room for one token alone would lose all the time between a token and the start
    that takes it, and start fewer than the rate allows. So a slow rate has room for what comes in
    0.1 s beside the first token, up to two.
    """
    within = rate.per_second * BURST_SECONDS
    return max(within, min(1.0 + within, 2.0))


ONE_DAY = timedelta(days=1)

ACCEPTED = "a time such as 02:11 or 2026-11-25T02:11 (UTC), or how long ago, such as 38m"
ACCEPTED_LATER = "a day such as 2026-12-09, or how long from now, such as 2w"


def parse_past(text: str, *, now: datetime, name: str, near: datetime | None = None) -> datetime:
    """A moment that has been; `name` is what an error calls it.

    After midnight `23:50` is that of the day before; with `near` a time of day is the nearest to that moment.

    Raises:
        InvalidInput: it is something else, or in the future.
    """
    found = _clock(text, now, near) or _iso(text)
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


def _clock(text: str, now: datetime, near: datetime | None) -> datetime | None:
    found = _CLOCK.fullmatch(text.strip())
    if found is None:
        return None
    hour, minute, second = (int(part) for part in found.groups(default="0"))
    today = (near or now).replace(hour=hour, minute=minute, second=second, microsecond=0)
    if near is not None:
        return min((today + days * ONE_DAY for days in (-1, 0, 1)), key=lambda each: abs(each - near))
    return today - ONE_DAY if today - now > ONE_DAY / 2 else today


def _iso(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")


def parse_share(text: str, *, name: str = "share") -> float:
    """A share of jobs, such as `20%`, as a number from 0 to 1; `never` is 0.

    Raises:
        InvalidInput: it is neither `never` nor a number of percent above 0 and up to 100.
    """
    if text.strip() == "never":
        return 0.0
    found = _SHARE.fullmatch(text.strip())
    share = float(found[1]) / 100 if found else 0.0
    if not 0 < share <= 1:
        raise InvalidInput(name=name, value=text, accepted="percent such as 20%, or never")
    return share


def format_share(share: float) -> str:
    """A share as `parse_share` reads it."""
    return f"{share * 100:g}%" if share else "never"
