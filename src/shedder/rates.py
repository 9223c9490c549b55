"""How a pace is written: `200/second` to a Rate and back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from shedder.errors import InvalidInput

SLOWEST_PER_SECOND = 1e-9
FASTEST_PER_SECOND = 1e9


BURST_SECONDS = 0.1
"""So much of a rate may start at once after a time in which no worker was free."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many things in so much time; always positive and finite.

    `60/minute` and `1/second` are not equal: each remembers how it was written. Compare
    `per_second` where only the pace matters.

    Attributes:
        amount: how many, a number above 0.
        per: in how many seconds, a number above 0.

    Raises:
        InvalidInput: the pace is not within 1e-9 to 1e9 per second.
    """

    amount: float
    per: float = 1.0

    def __post_init__(self) -> None:
        # Written so that NaN, which compares as false with everything, is refused too.
        if not (self.amount > 0 and self.per > 0 and self._is_in_range()):
            raise InvalidInput(
                name="rate", value=f"{self.amount:g} in {self.per:g} s", accepted=_accepted()
            )

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
            raise InvalidInput(name=name, value=text, accepted=_accepted())
        amount = float(found["amount"])
        try:
            return cls(amount=amount, per=per)
        except InvalidInput:
            accepted = _accepted(amount)
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
_SECONDS = {name: per for per, name in _UNITS.items()} | {
    "s": 1.0,
    "sec": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}


def _accepted(amount: float | None = None) -> str:
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
