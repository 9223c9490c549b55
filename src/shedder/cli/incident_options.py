"""Which options do the verbs of `shedder incident` share?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from shedder.cli.run import Run
    from shedder.incident.records import IncidentReceipt
    from shedder.incidents import Incidents

TIMES = ("began", "detected", "opened", "mitigated", "resolved")


def incident_option(body: Callable[..., int]) -> Callable[..., int]:
    """Which incident is meant."""
    return click.option(
        "-i", "--incident", metavar="ID", help="Which one; the open one if absent."
    )(body)


def task_option(body: Callable[..., int]) -> Callable[..., int]:
    """What an investigator looks into."""
    return click.option("--task", metavar="TEXT", default="", help="Of an investigator.")(body)


def also_option(text: str) -> Callable[..., Any]:
    """To do what is usually refused."""
    return click.option("--also", is_flag=True, help=text)


def moments(run: Run, **given: str | None) -> Mapping[str, datetime]:
    """The times that were given, by name."""
    from shedder.moments import parse_past

    texts = {name: text for name, text in given.items() if text is not None}
    if not texts:
        return {}
    now = run.shedder.incidents.now()
    return {name: parse_past(text, now=now, name=f"--{name}") for name, text in texts.items()}


def changing(run: Run) -> Incidents:
    """The incidents, for a change that begins now: see `uncertain`."""
    incidents = run.shedder.incidents  # while it is certain that nothing was changed
    uncertain(run)
    return incidents


def uncertain(run: Run) -> None:
    """From here on, what holds if the connection breaks must be looked up."""
    from shedder.cli.text import command

    check = command("incident show", server=run.server_option)
    run.state = f"whether the record is changed, says: {check}"


def finish(run: Run, receipt: IncidentReceipt, headline: str) -> int:
    """Show what was done; `headline` is the sentence for a person."""
    run.state = "it is done"
    if run.is_json:
        run.emit("incident/1", receipt)
        return 0
    from shedder.cli.incident_view import receipt_parts

    run.screen.show(*receipt_parts(receipt, headline, server=run.server_option))
    return 0
