"""Questions and refusals before a change, and the warning of recent changes by others."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

import click

from shedder.cli import output
from shedder.cli.options import Request, several_use
from shedder.cli.run import Refused, Run
from shedder.errors import ConditionNotMet, NothingMatched, RecordUnreadable, ShedderError
from shedder.events import is_shared_account
from shedder.lanes import lane_of_target, names_of, why_refused
from shedder.wording import REASON_BLANK

if TYPE_CHECKING:
    from shedder.events import Event
    from shedder.incident.records import Incident


class ChangedByOthers(ConditionNotMet):
    """Somebody else has just changed the same thing in an incident, and nobody can be asked."""

    def __init__(self, said: str) -> None:
        super().__init__(said, try_instead="to change it all the same, add --force")


def settle_request(run: Run, request: Request, verb: str, *, note: str = "") -> Request:
    """`request` with the queues and lanes that it means and a reason, before a change of them.

    `note` is what becomes of a queue that nobody knows, for a verb that changes such a queue too.

    Raises:
        Refused: no queue is named, or no reason is given and nobody can be asked.
        ShedderError: the person does not mean a queue that nobody knows.
        NothingMatched: all queues are meant and there are none.
        ConditionNotMet: somebody else has just changed them, in an incident.
    """
    _check_targets(run, request, verb)
    check_reason(request)
    request = settle_targets(run, request, verb, note=note)
    request = settle_reason(request, f"{verb} {output.listed(request.names)}")
    warn_of_recent_changes(run, request, targets=request.names)
    return request


def settle_targets(run: Run, request: Request, verb: str, *, note: str = "") -> Request:
    """`request` with the queues and lanes that it means, for a command that needs no reason.

    Raises:
        Refused: no queue is named.
        NothingMatched: all queues are meant and there are none.
        ShedderError: the person does not mean a queue that nobody knows.
    """
    _check_targets(run, request, verb)
    names = request.names or _all_queues(run)
    if is_asking_possible():
        return replace(request, names=_settle_unknown(run, names, verb, note=note))
    warn_of_unknown(run, names, note=note)
    return replace(request, names=names)


def settle_reason(request: Request, change: str) -> Request:
    """`request` with the reason that was given, or that the person at the terminal types now.

    Raises:
        Refused: none was given and nobody can be asked.
    """
    check_reason(request)
    said = request.reason or ""
    while not said.strip():
        said = click.prompt(f"Why {change}?", err=True, default="", show_default=False, prompt_suffix=" ")
    return replace(request, reason=said.strip())


def settle_person(run: Run, request: Request) -> Request:
    """`request` with a person who acts, before that person takes a role.

    At a terminal whoever uses an account of several people is asked.

    Raises:
        Refused: it is not known who acts, and nobody can be asked.
    """
    by = request.by or run.shedder.by
    if not is_shared_account(by):
        return request
    if not is_asking_possible():
        raise Refused(f"{several_use(by)}; a role is taken by a person")
    while is_shared_account(by := click.prompt(f"Several people use {output.escaped(by)}. Your name?", err=True)):
        pass
    run.reminders.append(f"say so once for this shell: export SHEDDER_BY={shlex.quote(by)}")
    return replace(request, by=by)


def confirm(question: str, *, is_sure: bool) -> None:
    """Let the person at the terminal say yes; without a terminal nobody is asked.

    Raises:
        ShedderError: they said no.
    """
    if is_sure or not is_asking_possible():
        return
    if not click.confirm(output.fitted(output.escaped(question), sys.stderr), err=True):
        raise ShedderError("nothing was changed, because you said no")


def is_asking_possible() -> bool:
    """Whether somebody can answer a question."""
    return sys.stdin is not None and sys.stdin.isatty()


def warn_of_unknown(run: Run, names: Sequence[str], *, note: str = "") -> None:
    """Say on standard error which of `names` no producer has used yet, and what is like it."""
    known = run.shedder.queues()
    for queue in dict.fromkeys(lane_of_target(name).queue for name in names):
        if queue not in known:
            near = _nearest(queue, known)
            hint = f"did you mean {output.escaped(near)}?" if near else f"there is {_there_is(known)}"
            run.screen.warn(f"no queue is called {queue} ({hint}){f'; {note}' if note else ''}")


def _settle_unknown(run: Run, names: Sequence[str], verb: str, *, note: str) -> tuple[str, ...]:
    """`names`, with the queue in place of each unknown one that the person means instead.

    With a `note` the verb changes an unknown queue too, and goes on only after a yes.
    """
    known = run.shedder.queues()
    settled = (
        name if lane_of_target(name).queue in known else _settle_name(run, name, known, verb if note else "")
        for name in names
    )
    return tuple(dict.fromkeys(settled))


def _settle_name(run: Run, name: str, known: Sequence[str], verb: str) -> str:
    queue = lane_of_target(name).queue
    if any(lane.pause or lane.diverts for lane in run.shedder.status(queue).lanes):
        return name  # nobody has used it yet, but somebody has decided about it
    near = _nearest(queue, known)
    unknown = f"No queue is called {queue}"
    if near and click.confirm(output.escaped(f"{unknown}. Did you mean {near}?"), default=None, err=True):
        return near + name[len(queue) :]
    if verb:
        there = "" if near else f"; there is {_there_is(known)}"
        confirm(f"{unknown}{there}. {verb.capitalize()} {name} all the same?", is_sure=False)
    elif not near:
        warn_of_unknown(run, (name,))
    return name


def _nearest(queue: str, known: Sequence[str]) -> str:
    return next(iter(get_close_matches(queue, known, n=1)), "")


def _check_targets(run: Run, request: Request, verb: str) -> None:
    if request.names and request.is_all:
        raise Refused(f"{output.listed(request.names)} and --all exclude each other; name queues, or all")
    if not request.names and not request.is_all:
        raise Refused(f"say what to {verb}: a queue, a lane such as mail.low, or --all; {_what(run)}")


def _what(run: Run) -> str:
    try:
        return f"there is {_there_is(run.shedder.queues())}"
    except ShedderError as error:
        return f"which queues there are is not known: {error}"


def _there_is(queues: Sequence[str]) -> str:
    return output.listed(queues, most=10) or "no queue yet"


def check_reason(request: Request) -> None:
    """Refuse a change without a reason where nobody can be asked for one.

    Raises:
        Refused: there is none.
    """
    if request.reason is None and not is_asking_possible():
        raise Refused('say why: -r "database at 99 %"; the journal keeps it')
    if (request.reason or "").strip() == REASON_BLANK:
        raise Refused(f'{REASON_BLANK} is a blank: say why instead, -r "database at 99 %"; the journal keeps it')


def _all_queues(run: Run) -> tuple[str, ...]:
    for name in run.shedder.refused_queues():
        run.screen.warn(f"not among all queues: {why_refused(name)}")
    if queues := run.shedder.queues():
        return queues
    raise NothingMatched("queue yet (is this the right Redis? see -u and RQ_KEY_PREFIX)")


def warn_of_recent_changes(
    run: Run, request: Request, *, targets: Collection[str] = (), names: Collection[str] = ()
) -> None:
    """Ask before a change of what somebody else has changed within two minutes.

    Outside of an incident it is only told. Without a terminal nobody is asked, and only `--force`
    goes on. A commander who changes something is reminded, afterwards, that others should.

    Raises:
        ConditionNotMet: somebody else has, nobody can be asked, and it is not forced.
        ShedderError: the person said no.
    """
    incident = _incident(run, request)
    found = run.shedder.changes_by_others(*targets, names=tuple(names), by=request.by)
    if found:
        _ask(run, request, found, is_incident=incident is not None)
    if incident is not None:
        _remind(run, request, incident)


def _incident(run: Run, request: Request) -> Incident | None:
    from shedder.incident.store import open_incidents
    from shedder.incident.timeline import incident_of

    try:
        return incident_of(open_incidents(run.shedder.store), request.by or run.shedder.by)
    except RecordUnreadable as error:
        # No record of an incident stands in the way of a change of queues.
        run.screen.warn(str(error))
        return None


def _ask(run: Run, request: Request, found: tuple[Event, ...], *, is_incident: bool) -> None:
    said = _told(run, found[-1])
    if not is_incident or request.is_forced:
        run.screen.warn(said)
    elif is_asking_possible():
        confirm(f"{said}. Go on?", is_sure=False)
    else:
        raise ChangedByOthers(said)


def _told(run: Run, event: Event) -> str:
    names = event.details.get("names")
    is_named = not event.lanes and isinstance(names, list)
    what = [str(each) for each in names] if is_named else names_of(event.lanes)  # type: ignore[union-attr]
    ago = output.age(event.at, run.shedder.incidents.now())
    role = f" ({event.role})" if event.role else ""
    return output.escaped(f"{event.by}{role} did '{event.verb} {output.listed(what)}' {ago} ago: {event.why}")


def _remind(run: Run, request: Request, incident: Incident) -> None:
    if incident.role_of(request.by or run.shedder.by) != "commander":
        return
    operations = next((each.person for each in incident.roles if each.role == "operations"), "")
    give = output.command("incident assign", "operations", "NAME", server=run.server_option)
    whose = f"operations is {output.escaped(operations)}" if operations else f"give operations to: {give}"
    run.reminders.append(f"reminder: you are the commander of {incident.id}, who coordinates; {whose}")
