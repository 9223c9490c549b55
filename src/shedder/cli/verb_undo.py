"""`shedder undo`: take back what an event did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from shedder.cli.asking import reason_of
from shedder.cli.options import Asked, cause_options, force_option, verb
from shedder.cli.text import command, escaped
from shedder.cli.toes import look_around

if TYPE_CHECKING:
    from shedder.cli.run import Run


_EXAMPLES = (
    'shedder undo -r "wrong queue"',
    'shedder undo 1764000000000-0 -r "wrong queue"',
    "shedder events                     lists the events",
)


@verb("undo", examples=_EXAMPLES)
@click.argument("event_id", metavar="[EVENT]", required=False)
@force_option()
@cause_options
def undo(run: Run, *, asked: Asked, event_id: str | None) -> int:
    """Take back what an event did, or the last one that can be taken back.

    What stood before stands again, with its author and its end: pauses, diverts, drains,
    flags, limits and limits on starts. What somebody has changed since is left alone.
    """
    connected = run.shedder
    deed = f"undo event {event_id}" if event_id else "undo the last change"
    reason = reason_of(asked, escaped(deed))
    event = connected.event_to_undo(event_id)
    named = event.details.get("names")
    names = tuple(map(str, named)) if isinstance(named, list) else ()
    look_around(run, asked, targets=event.lanes, names=names)
    check = command("events", server=run.server_option)
    run.state = f"whether it is undone, says: {check}"
    receipt = connected.undo(event.id, reason=reason, by=asked.by)
    run.state = "it is undone"
    from shedder.cli.receipts_undo import kind_of, undo_receipt

    if run.is_json:
        run.emit("undo/1", {"kind": kind_of(receipt), "receipt": receipt})
    else:
        run.screen.show(*undo_receipt(receipt, server=run.server_option))
    return 0
