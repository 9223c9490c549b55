"""The journal: events and what their verbs mean; the head of an event; events read and followed.

Scripts append an event in the same step as the change that it tells of. It has three fields of
JSON: `head`, made here, `before` and `after`. The id that Redis gives it is its time.

Each verb that scripts or Python write has its row here, and a test asks for it. The page
`docs/reference/events.md` is made of these rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

from shedder.errors import EventNotFound
from shedder.selection import Selection
from shedder.store.codec import ms_from_time, of_kind, read_with_time, text_of, time_from_ms
from shedder.wording import counted

if TYPE_CHECKING:
    from shedder.store.store import Store


HEAD_VERSION = 1

UNREADABLE = "unreadable"
"""The verb of an event that is damaged or of a newer shedder; its details hold what is stored."""

EVENTS_PER_PAGE = 200
EVENTS_LATELY = 20
"""The number of events that are read at once when the latest are asked for."""

OPERATION_LASTS = timedelta(minutes=10)
"""All changes of one operation are made within this time, and mostly within a second."""

LONGEST_BLOCK_SECONDS = 1.0

SYSTEM = "shedder"
"""The actor of what workers and watchers do without an operator."""

SHARED_ACCOUNTS = frozenset({"admin", "app", "deploy", "ec2-user", "root", "ubuntu", "unknown"})
"""Accounts that several people use."""

EVERY_JOB = Selection().describe()


@dataclass(frozen=True, slots=True)
class Cause:
    """The person or program that changes something, and the reason.

    Attributes:
        by: The person or program, such as `oncall@host`.
        why: The reason, in their words.
        incident: Id of the incident that it belongs to; empty outside of one.
        role: The role that they have in it; empty without one.
        operation: Id of what they do, where it takes several changes with an event each; else empty.
    """

    by: str
    why: str
    incident: str = ""
    role: str = ""
    operation: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the journal.

    Attributes:
        id: Its id; ids grow with time.
        at: When it happened (server's clock, UTC).
        verb: What happened, such as `pause`; the reference of the journal lists all verbs.
        by: Who did it.
        why: For which reason.
        lanes: Names of the lanes concerned.
        order: Id of the divert concerned, if there is one.
        undoes: Id of the event that this one undid, if it did.
        before: What stood before, by lane, flag or limit.
        after: What stands after, by lane, flag or limit.
        details: What else the event says, such as a rate or a selection.
        incident: Id of the incident that it belongs to; empty outside of one.
        role: The role that who did it had in the incident; empty without one.
        operation: Id of what was done, where other events are of it too, with which it is undone; else empty.
    """

    id: str
    at: datetime
    verb: str
    by: str
    why: str
    lanes: tuple[str, ...]
    order: str = ""
    undoes: str = ""
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    incident: str = ""
    role: str = ""
    operation: str = ""

    @property
    def position(self) -> tuple[int, int]:
        """Where it stands in the journal: its id as numbers; as text, `1-10` is before `1-9`."""
        return position_of(self.id)

    @property
    def can_undo(self) -> bool:
        """Whether `undo` knows a way back; the drain of a retry goes back with the retry."""
        return self.verb in VERBS and bool(VERBS[self.verb].undo) and not self.details.get("retry")


def is_shared_account(name: str) -> bool:
    """Whether `name`, such as `root@host`, is an account that several people use, and so nobody."""
    return name.partition("@")[0].casefold() in SHARED_ACCOUNTS


def event_head(
    verb: str, cause: Cause, lanes: Iterable[str], *, order: str = "", undoes: str = "", **details: Any
) -> str:
    """What an event says beside numbers, as JSON for a script.

    `details` are values that JSON can hold; those that are None are left out. Half a character of
    UTF-16, which neither Redis nor a terminal takes, becomes a question mark.
    """
    ids = {
        "order": order,
        "undoes": undoes,
        "incident": cause.incident,
        "role": cause.role,
        "operation": cause.operation,
    }
    known = {name: value for name, value in details.items() if value is not None}
    head = _head(verb, cause.by, cause.why, lanes, known, ids)
    return json.dumps(_clean(head), allow_nan=False)


@lru_cache(maxsize=64)
def head_of_step(verb: str, cause: Cause, lane: str, order: str, undoes: str = "", undid: str = "") -> str:
    """The head of the event that a step of a scan or a restore may write."""
    # the same for thousands of steps, and as much work as the rest of the command
    return event_head(verb, cause, (lane,), order=order, undoes=undoes, undid=undid or None)


def head_of(event: Event) -> dict[str, Any]:
    """The head that `event` was read from."""
    ids = {name: getattr(event, name) for name in _IDS}
    return _head(event.verb, event.by, event.why, event.lanes, event.details, ids)


def read_copies(store: Store, stream: str, *, limit: int) -> tuple[Event, ...]:
    """The last `limit` events of another `stream` than the journal, oldest first."""
    entries = store.read(lambda ask: ask.xrevrange(stream, count=max(limit, 1)))[0]
    return tuple(map(_event, reversed(entries)))


def read_events(
    store: Store,
    *,
    limit: int,
    after: str | None = None,
    since: datetime | None = None,
    lanes: Sequence[str] = (),
    wanted: Callable[[Event], bool] | None = None,
) -> tuple[Event, ...]:
    """The last `limit` events, or the first `limit` after the id `after`; oldest first.

    `since` ends the way back from the newest one. With `lanes` only those that concern one of
    them; only those that are `wanted` count.

    Raises:
        EventNotFound: `after` is no id.
    """
    is_all = not lanes and wanted is None
    page = min(limit, EVENTS_PER_PAGE) if is_all else EVENTS_PER_PAGE
    pages = _pages_back(store, page, since) if after is None else _pages_on(store, _checked_id(after, _POSITION), page)
    events = (event for entries in pages for event in map(_event, entries))
    if lanes:
        events = (each for each in events if not frozenset(lanes).isdisjoint(each.lanes))
    first = [*islice(filter(wanted, events) if wanted else events, max(limit, 0))]
    return tuple(first if after is not None else reversed(first))


def read_latest(store: Store, span: timedelta, *, limit: int, wanted: Callable[[Event], bool]) -> tuple[Event, ...]:
    """The newest `limit` events of the last `span` that are `wanted`, oldest first.

    By the server's clock, and in one round trip, unless there were very many.
    """
    now, (entries,) = read_with_time(store, lambda ask: ask.xrevrange(store.keys.events, count=EVENTS_LATELY))
    found = [each for each in map(_event, reversed(entries)) if each.at > now - span]
    if len(found) < EVENTS_LATELY:
        return tuple(filter(wanted, found))
    return read_events(store, limit=limit, since=now - span, wanted=wanted)


def events_back(store: Store) -> Iterator[Event]:
    """All events of the journal, the newest first, read page by page."""
    return (_event(entry) for page in _pages_back(store, EVENTS_PER_PAGE, None) for entry in page)


def events_of_operation(store: Store, event: Event) -> tuple[Event, ...]:
    """The events of what `event` was a part of, the newest first; itself alone where it was all."""
    if not event.operation:
        return (event,)
    first = f"{max(ms_from_time(event.at - OPERATION_LASTS), 0)}"
    events = (_event(entry) for page in _pages_on(store, first, EVENTS_PER_PAGE) for entry in page)
    near = takewhile(lambda each: each.at < event.at + OPERATION_LASTS, events)
    return tuple(each for each in near if each.operation == event.operation)[::-1] or (event,)


def find_event(store: Store, event_id: str) -> Event:
    """The event with this id.

    Raises:
        EventNotFound: there is none; what is no id at all is refused without asking Redis.
    """
    identifier = _checked_id(event_id, _ID)
    journal = store.keys.events
    (found,) = store.read(lambda ask: ask.xrange(journal, identifier, identifier, count=1))
    if not found:
        raise EventNotFound(event_id)
    return _event(found[0])


def follow(store: Store, *, after: str = "$", until: Callable[[], bool]) -> Iterator[Event]:
    """The events after the id `after`, as they come; `$` stands for those after this call.

    Returns when `until` gives true, which is asked at least once a second.

    Raises:
        EventNotFound: `after` is no id.
    """
    last = _newest_id(store) if after == "$" else _checked_id(after, _POSITION)
    return _following(store, last, until)


class Tail:
    """The events of the last `span` that are `wanted`; each is read once, as it comes."""

    def __init__(self, store: Store, *, span: timedelta, wanted: Callable[[Event], bool]) -> None:
        self._store = store
        self._span = span
        self._wanted = wanted
        self._last = ""
        self._events: tuple[Event, ...] = ()

    def read(self, now: datetime) -> tuple[Event, ...]:
        """Those of the `span` before `now`, oldest first."""
        newest = _newest_id(self._store)
        if not self._last or position_of(newest) < position_of(self._last):
            # at the first time; and after a fail-over, which may lose events that were read here
            self._last = f"{max(ms_from_time(now - self._span), 0)}-0"
            self._events = ()
        if position_of(self._last) < position_of(newest):
            for entries in _pages_on(self._store, self._last, EVENTS_PER_PAGE):
                self._take(entries)
        self._events = tuple(each for each in self._events if now - self._span <= each.at)
        return self._events

    def _take(self, entries: Sequence[_Entry]) -> None:
        if entries:
            self._last = text_of(entries[-1][0])
            self._events += tuple(filter(self._wanted, map(_event, entries)))


def position_of(identifier: str) -> tuple[int, int]:
    """The id of an event as numbers, by which ids are in the order of the journal."""
    milliseconds, _, number = identifier.partition("-")
    return (int(milliseconds) if milliseconds.isdecimal() else 0, int(number) if number.isdecimal() else 0)


@dataclass(frozen=True, slots=True)
class Verb:
    """What an event of a verb means.

    Attributes:
        name: The verb.
        when: When it is written.
        sentence: What was done, to stand behind a name; names in braces are filled in.
        undo: What `undo` does about it; empty where there is no way back.
        instead: What to do where there is none, if anything.
        undone: What was done where an event of this verb undoes another one.
        numbers: Its numbers, in a few words.
        is_decision: It is an operator's decision on jobs, settings or the policy.
        has_effect: Its effect on lanes is measured.
        is_told: The main channel hears of it.
        is_detail: It belongs to another event, and a story leaves it out.
        is_system: Workers and watchers write it without an operator.
        is_of_incident: It changes the record of an incident.
    """

    name: str
    when: str
    sentence: str
    undo: str = ""
    instead: str = ""
    undone: str = ""
    numbers: Callable[[Event], str] = lambda _event: ""
    is_decision: bool = False
    has_effect: bool = False
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


def _jobs(words: str, name: str, *, after: int = 0, before: int = 0) -> Callable[[Event], str]:
    """Tells of the jobs that a number of the lanes counts: `after` and `before` are their signs."""

    def numbers(event: Event) -> str:
        jobs = after * _sum(event.after, name) + before * _sum(event.before, name)
        return f"{counted(jobs, 'job')} {words}"

    return numbers


_in_backlog = _jobs("in the backlog", "backlog", after=1)


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


def _draining(event: Event) -> str:
    rate = event.details.get("rate")
    return f"{f'{rate}, ' if rate else ''}{_in_backlog(event)}"


def _retried(event: Event) -> str:
    told = [str(event.details.get(name, "")) for name in ("selection", "rate")]
    # told together with its drain, which knows of all steps
    is_whole = any(isinstance(lane, Mapping) and "rate" in lane for lane in event.after.values())
    return ", ".join(filter(None, [*told, _in_backlog(event) if is_whole else ""]))


def _stopped(event: Event) -> str:
    lanes = [lane for lane in event.after.values() if isinstance(lane, Mapping) and "released" in lane]
    return f"{_released(*lanes)}, {_in_backlog(event)}" if lanes else _in_backlog(event)


def _halted(event: Event) -> str:
    failed, ended = (int(event.details.get(name, 0)) for name in ("failed", "ended"))
    return f"{failed} of the last {counted(ended, 'job')} failed, {_stopped(event)}"


def _drained(event: Event) -> str:
    return _released(event.after)


def _released(*drains: Mapping[str, Any]) -> str:
    """`260 jobs released, 12 failed, 3 skipped`: what drains did, as far as it is told."""
    released, failed = (sum(int(each.get(name, 0)) for each in drains) for name in ("released", "failed"))
    skipped = [each["skipped"] for each in drains if isinstance(each.get("skipped"), Mapping)]
    lost = sum(int(jobs) for each in skipped for jobs in each.values())
    more = [f"{jobs:,} {what}" for jobs, what in ((failed, "failed"), (lost, "skipped")) if jobs]
    return ", ".join([f"{counted(released, 'job')} released", *more])


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
    known = {"is_told": True, "has_effect": True, **more}
    return Verb(name, when, sentence, **known, is_decision=True)


def _of_incident(name: str, when: str, sentence: str, undo: str = "", **more: Any) -> Verb:
    """A change of the record of an incident; the event of its undo has the same verb."""
    return Verb(name, when, sentence, undo, **more, is_of_incident=True)


_AS_IT_WAS = "sets what it changed as it was"

_ROWS = (
    _decision("pause", "Lanes were paused.", "paused {lanes}", undo="resumes them",
        numbers=_jobs("waiting", "waiting", after=1)),
    _decision("resume", "A pause was ended. Lanes that were not paused are left out of the numbers.",
        "resumed {lanes}", undo="pauses them again, for what is left of their time",
        numbers=_jobs("waiting", "waiting", after=1)),
    Verb("pause expired", "Somebody met a pause whose time was over.", "the pause of {lanes} expired",
        is_system=True),
    _decision("divert", "A divert was set. Of one that takes everything, the jobs have moved already.",
        "put aside jobs of {lanes}", undo="ends the divert and puts the jobs back where they were",
        numbers=_diverted),
    Verb("scan", "A divert of a part has been through all jobs that waited.",
        "finished putting aside jobs of {lanes}", instead="undo its `divert`", numbers=_in_backlog, is_detail=True,
        is_system=True),
    _decision("drain", "A drain was ordered, or its rate changed.", "let the backlog of {lanes} start again",
        undo="sets the rate that was, or stops; what it ended is diverted again", numbers=_draining),
    _decision("drain stopped", "A drain was stopped.", "stopped the drain of {lanes}", instead="give the drain again",
        numbers=_stopped),
    Verb("drain halted", "Too many of the last jobs that a drain released failed; the backlog stays in order.",
        "halted the drain of {lanes}, because too many of its jobs failed",
        instead="drain again, when its jobs succeed", numbers=_halted, has_effect=True, is_told=True, is_system=True),
    Verb("drained", "A backlog is empty, and its divert has ended.",
        "ended the drain of {lanes}, because the backlog is empty", numbers=_drained, is_told=True, is_system=True),
    _decision("retry", "The first failed jobs were moved to the backlog of a lane; its drain tells of how many.",
        "let failed jobs of {lanes} come back", undo="puts what has not started back among the failed jobs",
        numbers=_retried),
    _decision("retry undone", "What had not started of a retry is among the failed jobs again.",
        "put jobs of {lanes} back among the failed ones", instead="retry again",
        numbers=_jobs("failed as before", "failed", after=1)),
    _decision("limit start", "A limit on starts was set, or changed.", "limited what starts of {lanes}",
        undo="sets the limit that was, or lifts the first one; what waited is in the lanes again", numbers=_starts),
    _decision("uninstall",
        "shedder is being removed; what workers held in hand and had not started is back in its lane.",
        "began to remove shedder", has_effect=False),
    _decision("restore", "A backlog is back in its lane, by `undo`, `--at-once` or `uninstall`.",
        "put the backlog of {lanes} back", numbers=_jobs("back in place", "backlog", before=1)),
    Verb("repair", "`doctor --fix` mended something.", "mended {what}", numbers=_repaired),
    _decision("flag degrade", "Flags were degraded.", "degraded {things}", undo="sets them as they were",
        numbers=_set),
    _decision("flag restore", "A degradation of flags was ended.", "restored {things}",
        undo="sets them as they were"),
    _decision("limit set", "A limit in code was set.", "set the limit of {things}", undo="sets it as it was",
        numbers=_set),
    _decision("limit clear", "The setting of a limit in code was ended.", "cleared the limit of {things}",
        undo="sets it as it was"),
    _decision("policy apply", "A policy was put into force.", "put another policy into force",
        undo="puts the policy before it into force", numbers=_policy, has_effect=False),
    Verb("set aside", "Jobs of a backlog were older than the policy allows.",
        "set aside jobs of {lanes} that had become too old", instead="`shedder stale replay`",
        numbers=_jobs("set aside", "stale", after=1, before=-1), is_system=True),
    _decision("replay", "Jobs that were set aside are in their lane again.",
        "put jobs of {lanes} back that had been set aside", numbers=_jobs("back", "stale", before=1, after=-1),
        has_effect=False),
    _of_incident("incident open", "An incident was opened.", "opened the incident", is_told=True),
    _of_incident("incident mitigated", "Customers are helped.", "said that customers are helped", undo=_AS_IT_WAS,
        undone="took back that customers are helped", is_told=True),
    _of_incident("incident resolve", "It is over.", "resolved the incident", undo=_AS_IT_WAS,
        undone="took back that it is over: the incident is open", is_told=True),
    _of_incident("incident reopen", "It was not over.", "opened the incident again", undo=_AS_IT_WAS,
        undone="took back that it was not over: the incident is resolved", is_told=True),
    _of_incident("incident correct", "Its title, severity or times were corrected.", "corrected {fields}",
        undo=_AS_IT_WAS, undone="took back the correction of {fields}"),
    _of_incident("incident update", "An update was posted; the reason is its text.", "posted an update",
        instead="it was told"),
    _of_incident("incident close", "Its review is done.", "closed the review"),
    _of_incident("incident import", "A copy of its record was brought back.", "brought the record back"),
    _of_incident("role assign", "Somebody was given a role.", "gave the role {role}", undo="gives it back",
        undone="took back who was given the role {role}"),
    _of_incident("role take", "Somebody took a role.", "took the role {role}", undo="gives it back",
        undone="took back who took the role {role}"),
    _of_incident("role offer", "A role was offered; it is in force when it is accepted.", "offered the role {role}",
        undo="ends the offer", undone="took back the offer of the role {role}"),
    _of_incident("role accept", "The offer was accepted.", "accepted the role {role}", undo="gives it back",
        undone="took back who accepted the role {role}"),
    _of_incident("role leave", "Nobody has the role any more.", "left the role {role}", undo="gives it back",
        undone="took back who left the role {role}"),
    _of_incident("note", "A finding was written down.", "noted a finding"),
    _of_incident("action add", "What is to be done was written down.", "wrote down an action", undo="takes it out",
        undone="took out an action"),
    _of_incident("action set", "An owner, a priority, a due date was said.", "changed an action", undo=_AS_IT_WAS,
        undone="took back a change of an action"),
    _of_incident("action done", "An action is done.", "finished an action", undo=_AS_IT_WAS,
        undone="took back that an action is done"),
    _of_incident("review", "Parts of the review were written.", "wrote a part of the review", undo=_AS_IT_WAS,
        undone="took back a part of the review"),
    _decision("mitigate started", "A declared mitigation was started.", "began the mitigation {name}", is_told=False),
    _decision("mitigate",
        "A declared mitigation has ended, or nobody has seen its end (`outcome` is `end not recorded`).",
        "ran the mitigation {name}", numbers=_mitigated),
)  # fmt: skip

VERBS: Mapping[str, Verb] = {row.name: row for row in _ROWS}
"""By name all verbs, in the order of the reference."""


_ID = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")
_POSITION = re.compile(r"([0-9]{1,20})(?:-([0-9]{1,20}))?")
_LARGEST_PART = 2**64 - 1
_IDS = ("order", "undoes", "incident", "role", "operation")

_Entry = tuple[bytes, Mapping[bytes, bytes]]


def _newest_id(store: Store) -> str:
    (newest,) = store.read(lambda ask: ask.xrevrange(store.keys.events, count=1))
    return text_of(newest[0][0]) if newest else "0-0"


def _following(store: Store, last: str, until: Callable[[], bool]) -> Iterator[Event]:
    block = int(1000 * _block_seconds(store))

    def ask_next(ask: Any) -> None:
        ask.xread({store.keys.events: last}, count=1, block=block)
        ask.xrange(store.keys.events, f"({last}", count=EVENTS_PER_PAGE)

    while not until():
        _, entries = store.read(ask_next)
        for event in map(_event, entries):
            last = event.id
            yield event


def _block_seconds(store: Store) -> float:
    # The client of the user gives up on an answer after its own time, and stays as it is.
    patience = store.connection.connection_pool.connection_kwargs.get("socket_timeout")
    return min(LONGEST_BLOCK_SECONDS, patience / 2) if patience else LONGEST_BLOCK_SECONDS


def _pages_back(store: Store, page: int, since: datetime | None) -> Iterator[list[_Entry]]:
    newest, oldest = "+", "-"
    if since is not None:  # an id has whole milliseconds, and none is earlier than `since`
        oldest = f"{max(ms_from_time(since + timedelta(microseconds=999)), 0)}"

    def ask_page(ask: Any) -> None:
        ask.xrevrange(store.keys.events, newest, oldest, count=page)

    while newest:
        entries = store.read(ask_page)[0]
        yield entries
        newest = f"({text_of(entries[-1][0])}" if len(entries) == page else ""


def _pages_on(store: Store, after: str, page: int) -> Iterator[list[_Entry]]:
    def ask_page(ask: Any) -> None:
        ask.xrange(store.keys.events, f"({after}", count=page)

    while after:
        entries = store.read(ask_page)[0]
        yield entries
        after = text_of(entries[-1][0]) if len(entries) == page else ""


def _checked_id(text: str, pattern: re.Pattern[str]) -> str:
    found = pattern.fullmatch(text)
    if found is None or any(int(part) > _LARGEST_PART for part in found.groups(default="0")):
        raise EventNotFound(text)
    return text


def _head(
    verb: str, by: str, why: str, lanes: Iterable[str], details: Mapping[str, Any], ids: Mapping[str, str]
) -> dict[str, Any]:
    known = {name: value for name, value in ids.items() if value}
    fixed = {"v": HEAD_VERSION, "verb": verb, "by": by, "why": why, "lanes": list(lanes)}
    return {**details, **known, **fixed}


def _event(entry: _Entry) -> Event:
    identifier = text_of(entry[0])
    fields = {text_of(name): text_of(value) for name, value in entry[1].items()}
    try:
        return _readable_event(identifier, fields)
    except (KeyError, RecursionError, TypeError, ValueError):
        at = _time_of(identifier)
        return Event(identifier, at, UNREADABLE, by="", why="", lanes=(), details=fields)


def _readable_event(identifier: str, fields: Mapping[str, str]) -> Event:
    head, before, after = (of_kind(dict, json.loads(fields[name])) for name in ("head", "before", "after"))
    if head.pop("v") != HEAD_VERSION:
        raise ValueError("of a newer shedder")
    lanes = of_kind(list, head.pop("lanes") or [])  # the scripts' encoder writes {} for no lanes
    return Event(
        id=identifier,
        at=_time_of(identifier),
        verb=of_kind(str, head.pop("verb")),
        lanes=tuple(of_kind(str, lane) for lane in lanes),
        **{name: of_kind(str, head.pop(name, "")) for name in ("by", "why", *_IDS)},
        before=before,
        after=after,
        details=head,
    )


def _time_of(identifier: str) -> datetime:
    try:
        return time_from_ms(int(identifier.partition("-")[0]))
    except OverflowError:  # an id that Redis did not make
        return datetime.max.replace(tzinfo=UTC)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_clean(str(name)): _clean(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(each) for each in value]
    return value
