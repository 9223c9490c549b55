"""How is the journal written for a person, an event on a line?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shedder.cli.screen import Verbatim
from shedder.cli.text import command, escaped, listed, targets_of
from shedder.verbs import verb_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shedder.records import Event

MOST_TARGETS = 4


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
    numbers = escaped(verb_of(event).numbers(event))
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
