"""`shedder incident take | assign | hand-over | accept | leave`: the roles of people."""

from __future__ import annotations

import click

from shedder.cli import asking
from shedder.cli.incident_view import also_option, changing, finish, incident_option, task_option
from shedder.cli.options import Request, cause_options_or, verb
from shedder.cli.output import escaped
from shedder.cli.run import Run

_TAKE = ("shedder incident take operations", 'shedder incident take investigator --task "database logs"')
_ASSIGN = ("shedder incident assign communications bob@desk",)
_HAND_OVER = ("shedder incident hand-over commander bob@desk",)
_ACCEPT = ("shedder incident accept", "shedder incident accept commander --by bob@desk")
_LEAVE = ('shedder incident leave investigator --task "database logs"',)

_role = click.argument("role", metavar="ROLE")
_instead = click.option("--instead", is_flag=True, help="Even if somebody else has it.")
_second = also_option("Keep your other role too.")


@verb("take", examples=_TAKE, short="Take a role.")
@_role
@task_option
@_second
@_instead
@incident_option
@cause_options_or("")
def take(run: Run, *, request: Request, role: str, task: str, also: bool, instead: bool, incident: str | None) -> int:
    """Take a role: commander, operations, communications, or investigator with a task.

    The commander coordinates, operations changes the system, and communications informs
    everybody else.
    """
    request = asking.settle_person(run, request)
    receipt = changing(run).roles.take(role, task=task, also=also, instead=instead, incident=incident, **request.cause)
    holder = next(h.person for h in receipt.incident.roles if (h.role, h.task) == (role, task))
    return finish(run, receipt, f"{escaped(holder)} is {_named(role, task)} now.")


@verb("assign", examples=_ASSIGN, short="Give somebody a role.")
@_role
@click.argument("person")
@task_option
@_second
@_instead
@incident_option
@cause_options_or("")
def assign(
    run: Run, *, request: Request, role: str, person: str, task: str, also: bool, instead: bool, incident: str | None
) -> int:
    """Give somebody a role that is free."""
    receipt = changing(run).roles.assign(
        role, person, task=task, also=also, instead=instead, incident=incident, **request.cause
    )
    return finish(run, receipt, f"{escaped(person)} is {_named(role, task)} now.")


@verb("hand-over", examples=_HAND_OVER, short="Offer somebody a role of yours.")
@_role
@click.argument("person")
@task_option
@incident_option
@cause_options_or("")
def hand_over(run: Run, *, request: Request, role: str, person: str, task: str, incident: str | None) -> int:
    """Offer somebody a role that you have; it is yours until they accept."""
    receipt = changing(run).roles.hand_over(role, person, task=task, incident=incident, **request.cause)
    return finish(run, receipt, f"{escaped(person)} is {_named(role, task)} as soon as they accept.")


@verb("accept", examples=_ACCEPT, short="Accept a role that was offered.")
@click.argument("role", metavar="[ROLE]", required=False)
@task_option
@_second
@incident_option
@cause_options_or("")
def accept(run: Run, *, request: Request, role: str | None, task: str, also: bool, incident: str | None) -> int:
    """Accept a role that was offered to you; from now on it is yours."""
    request = asking.settle_person(run, request)
    receipt = changing(run).roles.accept(role, task=task, also=also, incident=incident, **request.cause)
    newest = max(receipt.incident.roles, key=lambda held: held.since)
    return finish(run, receipt, f"{escaped(newest.person)} is {_named(newest.role.value, newest.task)} now.")


@verb("leave", examples=_LEAVE, short="Give up a role.")
@_role
@task_option
@incident_option
@cause_options_or("")
def leave(run: Run, *, request: Request, role: str, task: str, incident: str | None) -> int:
    """Give up a role; nobody holds it afterwards."""
    receipt = changing(run).roles.leave(role, task=task, incident=incident, **request.cause)
    return finish(run, receipt, f"Nobody is {_named(role, task)} now.")


VERBS = (take, assign, hand_over, accept, leave)


def _named(role: str, task: str) -> str:
    return escaped(f"{role} of {task}" if task else role)
