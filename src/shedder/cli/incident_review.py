"""`shedder incident action | review | close`: what follows an incident."""

from __future__ import annotations

from datetime import datetime

import click

from shedder.cli.incident_view import action_table, changing, finish, incident_option
from shedder.cli.options import Body, Request, cause_options_or, person_option, verb, verb_group
from shedder.cli.run import Refused, Run
from shedder.incident.review import actions_text
from shedder.units import parse_future

_ADD = ('shedder incident action add "Alarm at 80 % CPU" --type detect -p 1 --owner platform --due 2w',)
_SET = ("shedder incident action set 1 --owner platform --due 2026-12-09",)
_DONE = ("shedder incident action done 1",)
_LIST = ("shedder incident action list", "shedder incident action list --json")
_EXPORT = (
    "shedder incident action export --format markdown",
    "shedder incident action export --format gh --label incident",
)

_priority = click.option("-p", "--priority", type=int, help="1 (first) to 5.")
_owner = click.option("--owner", metavar="TEAM", help="The team that does it.")
_until = click.option("--due", metavar="TIME", help="When it is due, such as 2w or 2026-12-09.")


def _with_terms(body: Body) -> Body:
    return _priority(_owner(_until(body)))


@verb("add", examples=_ADD, short="Add an action.")
@click.argument("title")
@click.option("--type", "kind", metavar="TYPE", required=True, help="prevent, detect, mitigate or process.")
@_with_terms
@incident_option
@person_option
def add(
    run: Run, *, request: Request, title: str, kind: str, priority: int | None, owner: str | None, due: str | None,
    incident: str | None,
) -> int:  # fmt: skip
    """Add an action; fill in the rest later with `set`."""
    due_at = _due(run, due)
    receipt = changing(run).actions.add(
        title, type=kind, priority=priority, owner=owner or "", due_at=due_at, incident=incident, by=request.by
    )
    return finish(run, receipt, f"Action {receipt.incident.actions[-1].number} is recorded.")


@verb("set", examples=_SET, short="Change an action.")
@click.argument("number", type=int)
@click.option("--title", metavar="TEXT", help="What is to be done.")
@click.option("--type", "kind", metavar="TYPE", help="prevent, detect, mitigate or process.")
@_with_terms
@incident_option
@person_option
def set_action(
    run: Run, *, request: Request, number: int, title: str | None, kind: str | None,
    priority: int | None, owner: str | None, due: str | None, incident: str | None,
) -> int:  # fmt: skip
    """Change an action."""
    due_at = _due(run, due)
    receipt = changing(run).actions.set(
        number, title=title, type=kind, priority=priority, owner=owner, due_at=due_at, incident=incident, by=request.by
    )
    return finish(run, receipt, f"Action {number} is changed.")


@verb("done", examples=_DONE, short="Say that an action is done.")
@click.argument("number", type=int)
@incident_option
@person_option
def done(run: Run, *, request: Request, number: int, incident: str | None) -> int:
    """Say that an action is done; also after the incident is closed."""
    receipt = changing(run).actions.done(number, incident=incident, by=request.by)
    return finish(run, receipt, f"Action {number} is done.")


@verb("list", examples=_LIST, short="List the actions.")
@incident_option
def list_actions(run: Run, *, incident: str | None) -> int:
    """List the actions: what, whose, until when, and which are done."""
    found = run.shedder.incidents.actions.list(incident=incident)
    if not found and not run.is_json:
        run.screen.remark("no actions yet: shedder incident action add")
    run.tell("incident-actions/1", {"actions": found}, [action_table(found)] if found else [])
    return 0


@verb("export", examples=_EXPORT, short="Export the actions.")
@click.option("--format", "form", type=click.Choice(["markdown", "csv", "json", "gh"]),
              default="markdown", show_default=True, help="gh: `gh issue create`.")  # fmt: skip
@click.option("--label", "labels", multiple=True, metavar="LABEL", help="For gh; may be repeated.")
@incident_option
def export_actions(run: Run, *, form: str, labels: tuple[str, ...], incident: str | None) -> int:
    """Print the actions as Markdown, CSV, JSON, or as `gh issue create` commands to be run."""
    incidents = run.shedder.incidents
    found = incidents.read(incident or incidents.latest_id())
    if form == "json" or run.is_json:
        run.emit("incident-actions/1", {"actions": found.actions})
    else:
        click.echo(actions_text(found, form, labels=labels), nl=False)
    return 0


action = verb_group(
    "action", add, set_action, done, list_actions, export_actions,
    short="Keep the actions.",
    text="Keep the actions of the review: what is to be done, by whom, until when.",
    examples=(_ADD[0], _DONE[0], _EXPORT[1]),
)  # fmt: skip


def _due(run: Run, text: str | None) -> datetime | None:
    return None if text is None else parse_future(text, now=run.shedder.incidents.now(), name="--due")


_REVIEW = ('shedder incident review --well "the pause took 20 s" --luck "it was not Monday"',)
_CLOSE = ('shedder incident close -r "review held, actions are in the tracker"',)


@verb("review", examples=_REVIEW, short="Write parts of the review.")
@click.option("--well", metavar="TEXT", help="What went well.")
@click.option("--badly", metavar="TEXT", help="What went badly.")
@click.option("--luck", metavar="TEXT", help="Where you were lucky.")
@click.option("--factors", metavar="TEXT", help="What in the system contributed.")
@incident_option
@person_option
def review(run: Run, *, request: Request, incident: str | None, **parts: str | None) -> int:
    """Write parts of the review; writing a part again replaces it."""
    given = {name: text for name, text in parts.items() if text is not None}
    if not given:
        raise Refused("say what to write: --well, --badly, --luck or --factors")
    receipt = changing(run).review(given, incident=incident, by=request.by)
    return finish(run, receipt, f"The review of {receipt.incident.id} is written on.")


@verb("close", examples=_CLOSE, short="Close the incident.")
@incident_option
@cause_options_or("the review is done")
def close(run: Run, *, request: Request, incident: str | None) -> int:
    """End the review, or list what is missing. A closed incident can no longer be changed."""
    receipt = changing(run).close(incident=incident, **request.cause)
    return finish(run, receipt, f"Incident {receipt.incident.id} is closed.")
