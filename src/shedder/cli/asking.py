"""What is asked or refused before a change; recent changes by others."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

import click

from shedder.cli.output import age, command, escaped, listed, targets_of
from shedder.cli.run import Refused
from shedder.errors import ConditionNotMet, NothingMatched, RecordUnreadable, ShedderError
from shedder.lanes import lane_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from shedder.cli.options import Asked
    from shedder.cli.run import Run
    from shedder.events import Event
    from shedder.incident.records import Incident


@dataclass(frozen=True, slots=True)
class Order:
    """A command that can be given.

    Attributes:
        targets: Queues and lanes, at least one.
        reason: For which reason.
        by: Who acts; None for `user@host`.
    """

    targets: tuple[str, ...]
    reason: str
    by: str | None


def order_of(run: Run, asked: Asked, verb: str, *, note: str = "") -> Order:
    """The order that `asked` stands for, whatever others have just changed.

    Raises:
        Refused: no queue is named, or no reason is given and nobody can be asked.
        NothingMatched: all queues are meant and there are none.
    """
    _check_targets(run, asked, verb)
    _check_reason(asked)
    targets = settle_targets(run, asked, verb, note=note)
    return Order(targets, reason_of(asked, f"{verb} {listed(targets)}"), asked.by)


def settle_targets(run: Run, asked: Asked, verb: str, *, note: str = "") -> tuple[str, ...]:
    """The queues and lanes that `asked` stands for, for a command that needs no reason.

    Raises:
        Refused: no queue is named.
        NothingMatched: all queues are meant and there are none.
    """
    _check_targets(run, asked, verb)
    warn_of_unknown(run, asked.names, note=note)
    return asked.names or _all_queues(run)


def reason_of(asked: Asked, deed: str) -> str:
    """The reason that was given, or that the person at the terminal types now.

    Raises:
        Refused: none was given and nobody can be asked.
    """
    _check_reason(asked)
    if asked.reason is not None:
        return asked.reason
    said = ""
    while not said.strip():
        said = click.prompt(
            f"Why {deed}?", err=True, default="", show_default=False, prompt_suffix=" "
        )
    return str(said).strip()


def confirm(question: str, *, is_sure: bool) -> None:
    """Let the person at the terminal say yes; without a terminal nobody is asked.

    Raises:
        ShedderError: they said no.
    """
    if is_sure or not is_asking_possible():
        return
    if not click.confirm(escaped(question), err=True):
        raise ShedderError("nothing was changed, because you said no")


def is_asking_possible() -> bool:
    """Whether somebody can answer a question."""
    return sys.stdin is not None and sys.stdin.isatty()


def warn_of_unknown(run: Run, names: Sequence[str], *, note: str = "") -> None:
    """Say on standard error which of `names` no producer has used yet, and what is like it."""
    known = run.shedder.queues()
    for name in names:
        queue = lane_of(name).queue
        if queue not in known:
            near = get_close_matches(queue, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there is {_there_is(known)}"
            run.screen.warn(f"no queue is called {queue} ({hint}){f'; {note}' if note else ''}")


def _check_targets(run: Run, asked: Asked, verb: str) -> None:
    if asked.names and asked.is_all:
        raise Refused(f"{listed(asked.names)} and --all exclude each other; name queues, or all")
    if not asked.names and not asked.is_all:
        raise Refused(
            f"say what to {verb}: a queue, a lane such as mail.low, or --all; {_what(run)}"
        )


def _what(run: Run) -> str:
    try:
        return f"there is {_there_is(run.shedder.queues())}"
    except ShedderError as error:
        return f"which queues there are is not known: {error}"


def _there_is(queues: Sequence[str]) -> str:
    return listed(queues, most=10) or "no queue yet"


def _check_reason(asked: Asked) -> None:
    if asked.reason is None and not is_asking_possible():
        raise Refused('say why: -r "database at 99 %"; the journal keeps it')


def _all_queues(run: Run) -> tuple[str, ...]:
    queues = run.shedder.queues()
    if not queues:
        raise NothingMatched("--all (is this the right Redis? see -u and RQ_KEY_PREFIX)")
    return queues


def settle_order(run: Run, asked: Asked, verb: str, *, note: str = "") -> Order:
    """The order that `asked` stands for, once a person has said what was left open.

    `note` is what the warning about an unknown queue adds.

    Raises:
        Refused: no queue is named, or no reason is given and nobody can be asked.
        NothingMatched: all queues are meant and there are none.
        ConditionNotMet: somebody else has just changed them, in an incident.
    """
    order = order_of(run, asked, verb, note=note)
    warn_of_recent_changes(run, asked, targets=order.targets)
    return order


def warn_of_recent_changes(
    run: Run, asked: Asked, *, targets: Collection[str] = (), names: Collection[str] = ()
) -> None:
    """Ask before a change of what somebody else has changed within two minutes.

    Outside of an incident it is only told. Without a terminal nobody is asked, and only `--force`
    goes on. A commander who changes something is reminded, afterwards, that others should.

    Raises:
        ConditionNotMet: somebody else has, nobody can be asked, and it is not forced.
        ShedderError: the person said no.
    """
    incident = _incident(run, asked)
    found = run.shedder.changes_by_others(*targets, names=tuple(names), by=asked.by)
    if found:
        _ask(run, asked, found, is_incident=incident is not None)
    if incident is not None:
        _remind(run, asked, incident)


def _incident(run: Run, asked: Asked) -> Incident | None:
    from shedder.incident.store import open_incidents
    from shedder.incident.timeline import incident_of

    try:
        return incident_of(open_incidents(run.shedder.store), asked.by or run.shedder.by)
    except RecordUnreadable as error:
        # No record of an incident stands in the way of a change of queues.
        run.screen.warn(str(error))
        return None


def _ask(run: Run, asked: Asked, found: tuple[Event, ...], *, is_incident: bool) -> None:
    said = _told(run, found[-1])
    if not is_incident or asked.is_forced:
        run.screen.warn(said)
    elif is_asking_possible():
        confirm(f"{said}. Go on?", is_sure=False)
    else:
        raise ConditionNotMet(
            "nobody else has changed it within two minutes (--force goes on)", found=said
        )


def _told(run: Run, event: Event) -> str:
    names = event.details.get("names")
    is_named = not event.lanes and isinstance(names, list)
    what = [str(each) for each in names] if is_named else targets_of(event.lanes)  # type: ignore[union-attr]
    ago = age(event.at, run.shedder.incidents.now())
    role = f" ({event.role})" if event.role else ""
    return escaped(f"{event.by}{role} did '{event.verb} {listed(what)}' {ago} ago: {event.why}")


def _remind(run: Run, asked: Asked, incident: Incident) -> None:
    if incident.role_of(asked.by or run.shedder.by) != "commander":
        return
    from shedder.incident.records import Role

    operations = incident.holder(Role.OPERATIONS)
    give = command("incident assign", "operations", "NAME", server=run.server_option)
    whose = f"operations is {escaped(operations)}" if operations else f"give operations to: {give}"
    run.reminders.append(
        f"reminder: you are the commander of {incident.id}, who coordinates; {whose}"
    )
