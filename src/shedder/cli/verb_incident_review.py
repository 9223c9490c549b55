"""`shedder incident review | close`: write the review, and end it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from shedder.cli.failures import Refused
from shedder.cli.incident_options import changing, finish, incident_option
from shedder.cli.options import Asked, cause_options, verb

if TYPE_CHECKING:
    from shedder.cli.run import Run

_REVIEW = ('shedder incident review --well "the pause took 20 s" --luck "it was not Monday"',)
_CLOSE = ('shedder incident close -r "review held, actions are in the tracker"',)


@verb("review", examples=_REVIEW, short="Write parts of the review.")
@click.option("--well", metavar="TEXT", help="What went well.")
@click.option("--badly", metavar="TEXT", help="What went badly.")
@click.option("--luck", metavar="TEXT", help="Where you were lucky.")
@click.option("--factors", metavar="TEXT", help="What in the system contributed.")
@incident_option
@cause_options
def review(run: Run, *, asked: Asked, incident: str | None, **parts: str | None) -> int:
    """Write parts of the review; said again, a part is replaced."""
    given = {name: text for name, text in parts.items() if text is not None}
    if not given:
        raise Refused("say what to write: --well, --badly, --luck or --factors")
    receipt = changing(run).review(given, incident=incident, by=asked.by)
    return finish(run, receipt, f"The review of {receipt.incident.id} is written on.")


@verb("close", examples=_CLOSE, short="End the review.")
@incident_option
@cause_options
def close(run: Run, *, asked: Asked, incident: str | None) -> int:
    """End the review; it says what is missing. What is closed stays as it is."""
    said = asked.reason or "the review is done"
    receipt = changing(run).close(incident=incident, reason=said, by=asked.by)
    return finish(run, receipt, f"Incident {receipt.incident.id} is closed.")
