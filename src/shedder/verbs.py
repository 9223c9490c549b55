"""The verbs of the journal: what an event of each of them means, in one table.

A verb that scripts or Python write has its row here, and a test asks for it. The page
`docs/reference/events.md` is made of these rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shedder.counts import counted
from shedder.selection import Selection

if TYPE_CHECKING:
    from shedder.records.events import Event

SYSTEM = "shedder"
"""Who does what workers and watchers do by themselves."""

EVERY_JOB = Selection().describe()


@dataclass(frozen=True, slots=True)
class Verb:
    """What an event of a verb means.

    Attributes:
        name: The verb.
        when: When it is written.
        sentence: What somebody did, to stand behind who did it; names in braces are filled in.
        undo: What `undo` does about it; empty where there is no way back.
        instead: What to do where there is none, if anything.
        numbers: Its numbers, in a few words.
        is_decision: It is an operator's decision on jobs, settings or the policy.
        is_told: The main channel hears of it.
        is_detail: It belongs to another event, and a story leaves it out.
        is_system: Workers and watchers write it by themselves.
        is_of_incident: It changes the record of an incident.
    """

    name: str
    when: str
    sentence: str
    undo: str = ""
    instead: str = ""
    numbers: Callable[[Event], str] = lambda _event: ""
    is_decision: bool = False
    is_told: bool = False
    is_detail: bool = False
    is_system: bool = False
    is_of_incident: bool = False

    @property
    def is_of_lanes(self) -> bool:
        """Whether it is done to lanes; else to flags, limits, or an incident."""
        return "{lanes}" in self.sentence


def verb_of(event: Event) -> Verb:
    """The row of the verb of `event`; one that is not known says its name, and no more."""
    name = event.verb
    plain = name.replace("{", "{{").replace("}", "}}")
    return VERBS.get(name) or Verb(name, "", plain)


def _waiting(event: Event) -> str:
    return f"{counted(_sum(event.after, 'waiting'), 'job')} waiting"


def _diverted(event: Event) -> str:
    moved = _sum(event.after, "backlog") - _sum(event.before, "backlog")
    selection = str(event.details.get("selection", ""))
    if not moved and selection != EVERY_JOB:
        return selection  # events of its scan tell how many it took
    return f"{counted(moved, 'job')} to the backlog{f', {selection}' if selection else ''}"


def _starts(event: Event) -> str:
    rate, most = event.details.get("rate"), event.details.get("most")
    selection = str(event.details.get("selection", ""))
    words = [str(rate or ""), f"{most} at once" if most else "", selection]
    return ", ".join(filter(None, words))


def _in_backlog(event: Event) -> str:
    return f"{counted(_sum(event.after, 'backlog'), 'job')} in the backlog"


def _draining(event: Event) -> str:
    rate = event.details.get("rate")
    return f"{f'{rate}, ' if rate else ''}{_in_backlog(event)}"


def _drained(event: Event) -> str:
    skipped = event.after.get("skipped")
    lost = sum(map(int, skipped.values())) if isinstance(skipped, Mapping) else 0
    released = counted(int(event.after.get("released", 0)), "job")
    return f"{released} released{f', {lost:,} skipped' if lost else ''}"


def _restored(event: Event) -> str:
    return f"{counted(_sum(event.before, 'backlog'), 'job')} back in place"


def _repaired(event: Event) -> str:
    what, jobs = str(event.details.get("what", "")), _sum(event.after, "jobs")
    return f"{what}: {counted(jobs, 'job')} put back" if jobs else what


def _mitigated(event: Event) -> str:
    code, seconds = event.details.get("exit_code"), event.details.get("seconds")
    took = f", {seconds:.1f}s" if isinstance(seconds, int | float) else ""
    return f"{event.details.get('outcome')}{'' if code is None else f', exit code {code}'}{took}"


def _set(event: Event) -> str:
    percent, rate = event.details.get("percent"), event.details.get("rate")
    if isinstance(percent, int | float):
        return f"{percent:g} %"
    return f"{rate}{', shadow' if event.details.get('shadow') else ''}" if rate else ""


def _aside(event: Event) -> str:
    moved = _sum(event.after, "stale") - _sum(event.before, "stale")
    return f"{counted(moved, 'job')} set aside"


def _replayed(event: Event) -> str:
    moved = _sum(event.before, "stale") - _sum(event.after, "stale")
    return f"{counted(moved, 'job')} back"


def _policy(event: Event) -> str:
    changes = event.details.get("changes")
    told = counted(len(changes), "difference") if isinstance(changes, list) else ""
    return f"{event.before.get('number')} to {event.after.get('number')}, {told}"


def _sum(lanes: Mapping[str, Any], name: str) -> int:
    """The sum of a number over lanes; what an event of another version lacks counts as 0."""
    found = [lane.get(name) for lane in lanes.values() if isinstance(lane, Mapping)]
    return sum(int(value) for value in found if isinstance(value, int | float))


def _decision(name: str, when: str, sentence: str, **more: Any) -> Verb:
    """A decision on jobs, settings or the policy; the main channel hears of it."""
    return Verb(name, when, sentence, **{"is_told": True, **more}, is_decision=True)


def _of_incident(name: str, when: str, sentence: str, undo: str = "", **more: Any) -> Verb:
    """A change of the record of an incident."""
    return Verb(name, when, sentence, undo, **more, is_of_incident=True)


_AS_IT_WAS = "sets what it changed as it was"

_ROWS = (
    _decision("pause", "Lanes were paused.", "paused {lanes}",
        undo="resumes them", numbers=_waiting),
    _decision("resume",
        "A pause was ended. Lanes that were not paused are left out of the numbers.",
        "resumed {lanes}", undo="pauses them again, for what is left of their time",
        numbers=_waiting),
    Verb("pause expired", "Somebody met a pause whose time was over.",
        "the pause of {lanes} ended by itself", is_system=True),
    _decision("divert",
        "A divert was set. Of one that takes everything, the jobs have moved already.",
        "put aside jobs of {lanes}",
        undo="ends the divert and puts the jobs back where they were", numbers=_diverted),
    Verb("scan", "A divert of a part has been through all jobs that waited.",
        "finished putting aside jobs of {lanes}", instead="undo its `divert`",
        numbers=_in_backlog, is_detail=True, is_system=True),
    _decision("drain", "A drain was ordered, or its rate changed.",
        "let the backlog of {lanes} start again", undo="sets the rate that was, or stops",
        numbers=_draining),
    _decision("drain stopped", "A drain was stopped.", "stopped the drain of {lanes}",
        instead="give the drain again", numbers=_in_backlog),
    Verb("drained", "A backlog is empty, and its divert has ended.",
        "the backlog of {lanes} was empty", numbers=_drained, is_system=True),
    _decision("limit start", "A limit on starts was set, or changed.",
        "limited what starts of {lanes}",
        undo="sets the limit that was, or lifts the first one; what waited is in the lanes again",
        numbers=_starts),
    _decision("uninstall", "shedder is being removed; what workers held in hand and had not "
        "started is back in its lane.", "began to remove shedder"),
    _decision("restore", "A backlog is back in its lane, by `undo`, `--at-once` or `uninstall`.",
        "put the backlog of {lanes} back", numbers=_restored),
    Verb("repair", "`doctor --fix` mended something.", "mended {what}", numbers=_repaired),
    _decision("flag degrade", "Flags were degraded.", "degraded {things}",
        undo="sets them as they were", numbers=_set),
    _decision("flag restore", "A degradation of flags was ended.", "restored {things}",
        undo="sets them as they were"),
    _decision("limit set", "A limit in code was set.", "set the limit of {things}",
        undo="sets it as it was", numbers=_set),
    _decision("limit clear", "The setting of a limit in code was ended.",
        "cleared the limit of {things}", undo="sets it as it was"),
    _decision("policy apply", "A policy was put into force.", "put another policy into force",
        undo="puts the policy before it into force", numbers=_policy),
    Verb("set aside", "Jobs of a backlog were older than the policy allows.",
        "set aside jobs of {lanes} that had become too old", instead="`shedder stale replay`",
        numbers=_aside, is_system=True),
    _decision("replay", "Jobs that were set aside are in their lane again.",
        "put jobs of {lanes} back that had been set aside", numbers=_replayed),
    _of_incident("incident open", "An incident was opened.", "opened the incident", is_told=True),
    _of_incident("incident mitigated", "Customers are helped.", "said that customers are helped",
        undo=_AS_IT_WAS, is_told=True),
    _of_incident("incident resolve", "It is over.", "resolved the incident",
        undo=_AS_IT_WAS, is_told=True),
    _of_incident("incident reopen", "It was not over.", "opened the incident again",
        undo=_AS_IT_WAS, is_told=True),
    _of_incident("incident correct", "Its title, severity or times were corrected.",
        "corrected {fields}", undo=_AS_IT_WAS),
    _of_incident("incident update", "An update was posted; the reason is its text.",
        "posted an update", instead="it was told"),
    _of_incident("incident close", "Its review is done.", "closed the review"),
    _of_incident("incident import", "A copy of its record was brought back.",
        "brought the record back"),
    _of_incident("role assign", "Somebody was given a role.", "gave the role {role}",
        undo="gives it back"),
    _of_incident("role take", "Somebody took a role.", "took the role {role}",
        undo="gives it back"),
    _of_incident("role offer", "A role was offered; it is in force when it is accepted.",
        "offered the role {role}", undo="ends the offer"),
    _of_incident("role accept", "The offer was accepted.", "accepted the role {role}",
        undo="gives it back"),
    _of_incident("role leave", "Nobody has the role any more.", "left the role {role}",
        undo="gives it back"),
    _of_incident("note", "A finding was written down.", "noted a finding"),
    _of_incident("action add", "What is to be done was written down.", "wrote down an action",
        undo="takes it out"),
    _of_incident("action set", "An owner, a priority, a due date was said.", "changed an action",
        undo=_AS_IT_WAS),
    _of_incident("action done", "An action is done.", "finished an action", undo=_AS_IT_WAS),
    _of_incident("review", "Parts of the review were written.", "wrote a part of the review",
        undo=_AS_IT_WAS),
    _decision("mitigate started", "A declared mitigation was started.",
        "began the mitigation {name}", is_told=False),
    _decision("mitigate", "A declared mitigation has ended, or nobody has seen its end "
        "(`outcome` is `end not recorded`).", "ran the mitigation {name}", numbers=_mitigated),
)  # fmt: skip

VERBS: Mapping[str, Verb] = {row.name: row for row in _ROWS}
"""By name all verbs, in the order of the reference."""
