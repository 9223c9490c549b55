"""How values are written in a page: what comes from jobs and people is data, bounded and without power."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

from markupsafe import Markup, escape

from shedder.policy.model import WEB_COLOURS
from shedder.web.board import IncidentBar, bar_of
from shedder.web.charts import meter, spark
from shedder.wording import counted, drives_terminals, moment, named, pace, spoken

if TYPE_CHECKING:
    from jinja2 import Environment

    from shedder.web.site import Site, Visitor

LONGEST = 400
"""Characters of a name or a reason; a name can be a megabyte, and a page must stay one."""

LONGEST_PROSE = 1_200
"""Characters of a sentence with names in it."""

LONGEST_VALUE = 8_000
"""Characters of anything else, such as an address that names a hundred lanes."""

UNKNOWN = "\u2013"
"""What stands for a number that is not known."""


def install(environment: Environment) -> None:
    """Give the templates what they write values with."""
    environment.finalize = written
    environment.filters.update(
        age=age_text, ago=ago, amount=amount, clock=clock_text, counted=counted, data=data, join_names=named,
        moment=moment,
        pace=pace_or_unknown, path=path_of, percent=percent, prose=prose,
    )  # fmt: skip
    environment.globals.update(bar_for=bar_for, colour_class=colour_class, meter=meter, spark=spark)


def written(value: object) -> object:
    """What a page shows of a value: text is bounded, and what cannot be seen is spelled out."""
    if value is None:
        return ""
    return (
        plain_text(value, longest=LONGEST_VALUE) if isinstance(value, str) and not isinstance(value, Markup) else value
    )


def plain_text(text: str, *, longest: int = LONGEST) -> str:
    r"""`text` with what could turn or hide other text spelled out, such as `\u202e`; cut where it is long."""
    cut = text if len(text) <= longest else f"{text[:longest]}… ({len(text):,} characters)"
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(_spelled(each) if drives_terminals(each) else each for each in cut)


def _spelled(character: str) -> str:
    if character in "\n\t":
        return " "
    return f"\\u{ord(character):04x}"


def data(text: object) -> Markup:
    """What a person or a job called something: apart from the text around it, whichever way it is written."""
    return Markup("<bdi>{}</bdi>").format(plain_text(str(text)))


def prose(text: object) -> Markup:
    """A sentence with names in it: like `data`, and what stands in backticks is shown as what one types."""
    parts = plain_text(str(text), longest=LONGEST_PROSE).split("`")
    told = (Markup("<code>{}</code>").format(each) if number % 2 else escape(each) for number, each in enumerate(parts))
    return Markup("<bdi>{}</bdi>").format(Markup("").join(told))


def amount(number: float | None) -> str:
    """`41,200`; a dash where it is not known."""
    return UNKNOWN if number is None else f"{number:,.0f}"


def pace_or_unknown(per_second: float | None) -> str:
    """`60/s`; a dash where it is not known."""
    return UNKNOWN if per_second is None else pace(per_second)


def age_text(length: timedelta | None) -> str:
    """`9 min`; a dash where there is none."""
    return UNKNOWN if length is None else spoken(length)


def ago(when: datetime | None, now: datetime) -> str:
    """How long something was before `now`: `9 min`."""
    return UNKNOWN if when is None else spoken(max(now - when, timedelta()))


def clock_text(when: datetime | None) -> str:
    """`14:32:10`, UTC."""
    return UNKNOWN if when is None else when.astimezone(UTC).strftime("%H:%M:%S")


def percent(share: float | None) -> str:
    """`12 %`."""
    return UNKNOWN if share is None else f"{100 * share:.0f} %"


def path_of(name: str) -> str:
    """A name as one part of an address."""
    return quote(name.encode("utf-8", "replace"), safe="")


def colour_class(colour: str) -> str:
    """The class of the environment's colour; a plain one for a colour that there is not."""
    return f"env-{colour}" if colour in WEB_COLOURS else "env-plain"


def bar_for(site: Site, visitor: Visitor) -> IncidentBar | None:
    """The open incident, for those who may see it: not on the page on which one logs in."""
    if site.settings.has_login and not visitor.name:
        return None
    reading = site.read()
    return bar_of(reading.incident, reading.policy, reading.at)
