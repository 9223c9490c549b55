"""How is the journal written for a person, an event on a line?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shedder.cli.screen import Verbatim
from shedder.cli.text import command, escaped, listed, number, targets_of
from shedder.counts import counted
from shedder.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shedder.records import Event

MOST_TARGETS = 4
EVERY_JOB = Selection().describe()


def event_lines(events: Sequence[Event], *, server: str = "") -> list[Verbatim]:
    """One line for each of `events`; the way back only where it is still open."""
    undone = {event.undoes for event in events if event.undoes}
    return [event_line(event, is_undone=event.id in undone, server=server) for event in events]


def event_line(
    event: Event, *, is_undone: bool = False, is_plain: bool = False, server: str = ""
) -> Verbatim:
    """When, what, where, who and why, the numbers, and unless it is plain how to undo it."""
    line = Verbatim(event.at.strftime("%Y-%m-%d %H:%M:%SZ  "))
    line.append(escaped(event.verb), style="bold")
    targets = listed(_targets(event), most=MOST_TARGETS)
    line.append(f" {targets}" if targets else "")
    role = f" ({escaped(event.role)})" if event.role else ""
    line.append(f" by {escaped(event.by)}{role}: {escaped(event.why)}" if event.by else "")
    numbers = _numbers(event)
    line.append(f" ({numbers})" if numbers else "")
    line.append(f"  undoes {escaped(event.undoes)}" if event.undoes else "", style="dim")
    if is_plain:
        return line
    if is_undone:
        line.append(f"  undone ({escaped(event.id)})", style="dim")
    elif event.can_undo:
        line.append("  undo: ", style="dim")
        line.append(command("undo", event.id, server=server))
    return line


def _targets(event: Event) -> Sequence[str]:
    names = event.details.get("names")
    if event.verb.startswith("mitigate"):
        return [str(event.details.get("mitigation", ""))]
    if event.lanes or not isinstance(names, list):
        return targets_of(event.lanes)
    return [str(name) for name in names]


def _numbers(event: Event) -> str:
    tell = _TELLING.get(event.verb)
    return escaped(tell(event)) if tell is not None else ""


def _waiting(event: Event) -> str:
    return f"{counted(_sum(event.after, 'waiting'), 'job')} waiting"


def _diverted(event: Event) -> str:
    moved = _sum(event.after, "backlog") - _sum(event.before, "backlog")
    selection = str(event.details.get("selection", ""))
    if not moved and selection != EVERY_JOB:
        return selection  # events of its scan tell how many it took
    return f"{counted(moved, 'job')} to the backlog{f', {selection}' if selection else ''}"


def _starts(event: Event) -> str:
    rate, most = event.details.get("rate"), event.details.get("most")
    selection = str(event.details.get("selection", ""))
    words = [str(rate or ""), f"{most} at once" if most else "", selection]
    return ", ".join(filter(None, words))


def _in_backlog(event: Event) -> str:
    return f"{counted(_sum(event.after, 'backlog'), 'job')} in the backlog"


def _draining(event: Event) -> str:
    rate = event.details.get("rate")
    return f"{f'{rate}, ' if rate else ''}{_in_backlog(event)}"


def _drained(event: Event) -> str:
    skipped = event.after.get("skipped")
    lost = sum(map(int, skipped.values())) if isinstance(skipped, Mapping) else 0
    released = counted(int(event.after.get("released", 0)), "job")
    return f"{released} released{f', {number(lost)} skipped' if lost else ''}"


def _restored(event: Event) -> str:
    return f"{counted(_sum(event.before, 'backlog'), 'job')} back in place"


def _repaired(event: Event) -> str:
    what, jobs = str(event.details.get("what", "")), _sum(event.after, "jobs")
    return f"{what}: {counted(jobs, 'job')} put back" if jobs else what


def _mitigated(event: Event) -> str:
    code, seconds = event.details.get("exit_code"), event.details.get("seconds")
    took = f", {seconds:.1f}s" if isinstance(seconds, int | float) else ""
    return f"{event.details.get('outcome')}{'' if code is None else f', exit code {code}'}{took}"


def _set(event: Event) -> str:
    percent, rate = event.details.get("percent"), event.details.get("rate")
    if isinstance(percent, int | float):
        return f"{percent:g} %"
    return f"{rate}{', shadow' if event.details.get('shadow') else ''}" if rate else ""


def _aside(event: Event) -> str:
    moved = _sum(event.after, "stale") - _sum(event.before, "stale")
    return f"{counted(moved, 'job')} set aside"


def _replayed(event: Event) -> str:
    moved = _sum(event.before, "stale") - _sum(event.after, "stale")
    return f"{counted(moved, 'job')} back"


def _policy(event: Event) -> str:
    changes = event.details.get("changes")
    told = counted(len(changes), "difference") if isinstance(changes, list) else ""
    return f"{event.before.get('number')} to {event.after.get('number')}, {told}"


_TELLING: Mapping[str, Callable[[Event], str]] = {
    "pause": _waiting,
    "resume": _waiting,
    "pause expired": _waiting,
    "divert": _diverted,
    "scan": _in_backlog,
    "drain": _draining,
    "drain stopped": _in_backlog,
    "drained": _drained,
    "restore": _restored,
    "repair": _repaired,
    "mitigate": _mitigated,
    "flag degrade": _set,
    "limit set": _set,
    "limit start": _starts,
    "policy apply": _policy,
    "set aside": _aside,
    "replay": _replayed,
}


def _sum(lanes: Mapping[str, Any], name: str) -> int:
    """The sum of a number over lanes; what an event of another version lacks counts as 0."""
    found = [lane.get(name) for lane in lanes.values() if isinstance(lane, Mapping)]
    return sum(int(value) for value in found if isinstance(value, int | float))
