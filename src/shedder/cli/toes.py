"""Does somebody else work on this right now, and should the commander do it at all?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shedder.cli.asking import Order, confirm, is_asking_possible, order_of
from shedder.cli.text import age, command, escaped, listed, targets_of
from shedder.errors import ConditionNotMet, RecordUnreadable

if TYPE_CHECKING:
    from collections.abc import Collection

    from shedder.cli.options import Asked
    from shedder.cli.run import Run
    from shedder.incident.records import Incident
    from shedder.records import Event


def settle_order(run: Run, asked: Asked, verb: str, *, note: str = "") -> Order:
    """The order that `asked` stands for, once a person has said what was left open.

    `note` is what the warning about an unknown queue adds.

    Raises:
        Refused: no queue is named, or no reason is given and nobody can be asked.
        NothingMatched: all queues are meant and there are none.
        ConditionNotMet: somebody else has just changed them, in an incident.
    """
    order = order_of(run, asked, verb, note=note)
    look_around(run, asked, targets=order.targets)
    return order


def look_around(
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
    from shedder.incident.attribution import incident_of

    incidents = run.shedder.incidents
    try:
        return incident_of(incidents.open_ones(), incidents.cause("", asked.by).by)
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
    who = run.shedder.incidents.cause("", asked.by).by
    if incident.role_of(who) != "commander":
        return
    from shedder.incident.records import Role

    operations = incident.holder(Role.OPERATIONS)
    give = command("incident assign", "operations", "NAME", server=run.server_option)
    whose = f"operations is {escaped(operations)}" if operations else f"give operations to: {give}"
    run.reminders.append(
        f"reminder: you are the commander of {incident.id}, who coordinates; {whose}"
    )
