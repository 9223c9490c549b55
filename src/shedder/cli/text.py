"""How are numbers, times, names and commands written for a person?"""

from __future__ import annotations

import shlex
import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from humanize import intcomma

from shedder.counts import counted
from shedder.durations import format_duration
from shedder.lanes import PRIORITIES, lane_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_DRIVES_TERMINALS = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"


def escaped(text: str) -> str:
    r"""`text` with all that could drive a terminal spelled out, such as `\x1b` or `\u202e`."""
    return "".join(_escaped(character) for character in text)


def number(count: float) -> str:
    """`41200` as `41,200`."""
    return intcomma(count)


def jobs_do(count: int, do: str, does: str) -> str:
    """`41,200 jobs wait`, `1 job waits`."""
    return f"{counted(count, 'job')} {does if count == 1 else do}"


def per_second(pace: float | None) -> str:
    """A pace with as many digits as mean something; `-` when it is not known."""
    if pace is None:
        return "-"
    return number(round(pace)) if pace >= 100 else f"{pace:.1f}"


def age(since: datetime | None, now: datetime) -> str:
    """How long ago, such as `38m`; `-` when nobody knows."""
    if since is None:
        return "-"
    return format_duration(max((now - since).total_seconds(), 0.0) // 1)


def clock(at: datetime, now: datetime) -> str:
    """`02:11 UTC`, with the date when it is not today's."""
    moment = at.astimezone(UTC)
    today = now.astimezone(UTC).date()
    return moment.strftime("%H:%M UTC" if moment.date() == today else "%Y-%m-%d %H:%M UTC")


def listed(names: Sequence[str], *, most: int = 3, others: str = "more") -> str:
    """`a`, `a and b`, `a, b, c and 4 more`; names are escaped."""
    shown = [escaped(name) for name in names[:most]]
    if len(names) > most:
        shown.append(f"{number(len(names) - most)} {others}")
    if len(shown) < 2:
        return "".join(shown)
    return ", ".join(shown[:-1]) + " and " + shown[-1]


def targets_of(lanes: Iterable[str]) -> tuple[str, ...]:
    """The shortest targets that stand for `lanes`: a queue where all its lanes are among them."""
    priorities: dict[str, list[str]] = {}
    for lane in map(lane_of, lanes):
        priorities.setdefault(lane.queue, []).append(lane.priority)
    targets: list[str] = []
    for queue, named in priorities.items():
        is_whole = set(named) == set(PRIORITIES)
        targets += [queue] if is_whole else [f"{queue}.{priority}" for priority in named]
    return tuple(targets)


def is_are(names: Sequence[str]) -> str:
    """`mail is`, `mail and reports are`."""
    return f"{listed(names)} {'is' if len(names) == 1 else 'are'}"


def command(verb: str, *words: str, options: Sequence[str] = (), server: str = "") -> str:
    """A command line for the shell, such as `shedder drain mail --stop`.

    `server` is the option that says which server, as this very call was told.
    """
    parts = [*words, *options]
    if any(word.startswith("-") for word in words):
        parts = [*options, "--", *words]
    quoted = [shlex.quote(part) for part in parts]
    return escaped(" ".join(["shedder", verb, *([server] if server else []), *quoted]))


def one_line(text: str) -> str:
    """`text` as one line that cannot drive a terminal."""
    return escaped(" ".join(text.split()))


def _escaped(character: str) -> str:
    if character in _JOINERS or unicodedata.category(character) not in _DRIVES_TERMINALS:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
