"""`shedder events`: what happened, who did it and why."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from shedder.cli.failures import trouble
from shedder.cli.options import targets_argument, verb
from shedder.errors import RedisUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shedder.cli.run import Run
    from shedder.records import Event

MOST_EVENTS = 100_000
RETRY_SECONDS = 1.0


_EXAMPLES = (
    "shedder events",
    "shedder events mail -n 100",
    "shedder events --follow",
    "shedder events --after 1764000000000-0 --json",
)


@verb("events", examples=_EXAMPLES)
@targets_argument
@click.option("-n", "--number", "limit", type=click.IntRange(1, MOST_EVENTS), default=20,
              show_default=True, help="How many at most.")  # fmt: skip
@click.option("--after", metavar="ID", help="Those after this event.")
@click.option("-f", "--follow", is_flag=True, help="Go on, and print those that come.")
def events(run: Run, *, names: tuple[str, ...], limit: int, after: str | None, follow: bool) -> int:
    """Show the journal: every change with time, person, reason, numbers and the way back."""
    found = run.shedder.events(limit=limit, after=after, targets=names)
    if not follow:
        _show(run, found)
        return 0
    run.state = "nothing was changed by looking"
    for event in found:
        _show_one(run, event)
    last = found[-1].id if found else after or _newest(run)
    for event in _coming(run, last, names):
        _show_one(run, event)
    return 0


def _show(run: Run, found: tuple[Event, ...]) -> None:
    if run.is_json:
        run.emit("events/1", {"events": found})
        return
    from shedder.cli.event_lines import event_lines

    if not found:
        run.screen.remark("no events there")
    run.screen.show(*event_lines(found, server=run.server_option))


def _show_one(run: Run, event: Event) -> None:
    if run.is_json:
        run.emit("event/1", event, is_line=True)
        return
    from shedder.cli.event_lines import event_line

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
