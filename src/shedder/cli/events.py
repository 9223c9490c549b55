"""`shedder events`: the verb, and an event as one line."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import click

from shedder.cli import options, output
from shedder.cli.run import Run, trouble
from shedder.errors import RedisUnreachable
from shedder.events import Event, verb_of
from shedder.lanes import names_of

MOST_EVENTS = 100_000
RETRY_SECONDS = 1.0


_EXAMPLES = (
    "shedder events",
    "shedder events mail -n 100",
    "shedder events --follow",
    "shedder events --after 1764000000000-0 --json",
)


@options.verb("events", examples=_EXAMPLES)
@options.targets_argument
@options.number_option(MOST_EVENTS)
@click.option("--after", metavar="ID", help="Only events after this one.")
@click.option("-f", "--follow", is_flag=True, help="Keep printing new events.")
def events(run: Run, *, names: tuple[str, ...], limit: int, after: str | None, follow: bool) -> int:
    """Show the journal: every change with its time, person, reason and numbers.

    The command that undoes a change is shown where there is one.
    """
    # read before the events, or one that is written between the two reads would be missed
    newest = _newest(run) if follow and not after else ""
    found = run.shedder.events(limit=limit, after=after, targets=names)
    if not follow:
        if not found and not run.is_json:
            run.screen.remark("no events there")
        lines = [] if run.is_json else event_lines(found, server=run.server_option)
        run.tell("events/1", {"events": found}, lines)
        return 0
    run.state = "nothing was changed by looking"
    for event in found:
        _show_one(run, event)
    last = found[-1].id if found else after or newest
    for event in _coming(run, last, names):
        _show_one(run, event)
    return 0


def _show_one(run: Run, event: Event) -> None:
    if run.is_json:
        run.emit("event/1", event, is_line=True)
        return
    run.screen.show(event_line(event, server=run.server_option))
    run.screen.out.file.flush()


def _newest(run: Run) -> str:
    newest = run.shedder.events(limit=1)
    return newest[-1].id if newest else "0-0"


def _coming(run: Run, last: str, names: tuple[str, ...]) -> Iterator[Event]:
    """The events after `last`, as they come; a Redis that is away is waited for."""
    wanted = {lane.name for lane in run.shedder.lanes(names)}
    is_told = False
    while True:
        try:
            for event in run.shedder.follow_events(after=last):
                last, is_told = event.id, False
                if not wanted or not wanted.isdisjoint(event.lanes):
                    yield event
        except RedisUnreachable as error:
            if not is_told:
                run.screen.warn(f"{trouble(error, run)}, trying again")
            is_told = True
            time.sleep(RETRY_SECONDS)


MOST_TARGETS = 4


def event_lines(events: Sequence[Event], *, server: str = "") -> list[output.Text]:
    """One line for each of `events`; the way back only where it is still open."""
    undone = {event.undoes for event in events if event.undoes}
    return [event_line(event, is_undone=event.id in undone, server=server) for event in events]


def event_line(event: Event, *, is_undone: bool = False, is_plain: bool = False, server: str = "") -> output.Text:
    """When, what, where, who and why, the numbers, and unless it is plain how to undo it."""
    line = output.Text(event.at.strftime("%Y-%m-%d %H:%M:%SZ  "))
    is_taken_back = bool(event.undoes) and verb_of(event).is_of_incident  # its event has the verb of what it undoes
    line.append(f"{'undo ' if is_taken_back else ''}{output.escaped(event.verb)}", style="bold")
    targets = output.listed(_targets(event), most=MOST_TARGETS)
    line.append(f" {targets}" if targets else "")
    role = f" ({output.escaped(event.role)})" if event.role else ""
    line.append(f" by {output.escaped(event.by)}{role}: {output.escaped(event.why)}" if event.by else "")
    numbers = output.escaped(verb_of(event).numbers(event))
    line.append(f" ({numbers})" if numbers else "")
    line.append(f"  undoes {output.escaped(event.undoes)}" if event.undoes else "", style="dim")
    if is_plain:
        line.append("  undone" if is_undone else "", style="dim")
    elif is_undone:
        line.append(f"  undone ({output.escaped(event.id)})", style="dim")
    elif event.can_undo:
        line.append("  undo: ", style="dim")
        line.append(output.command("undo", event.id, server=server))
    return line


def _targets(event: Event) -> Sequence[str]:
    names = event.details.get("names")
    if event.verb.startswith("mitigate"):
        return [str(event.details.get("mitigation", ""))]
    if event.lanes or not isinstance(names, list):
        return names_of(event.lanes)
    return [str(name) for name in names]
