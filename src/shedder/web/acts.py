"""What an act is: its fields, what a person says in them, and what is planned of it; no HTTP."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any

from shedder.errors import InvalidInput, NothingMatched, RecordUnreadable
from shedder.events import Event, verb_of
from shedder.lanes import lane_of_target, lanes_of_target, names_of
from shedder.policy.model import Defaults, Policy
from shedder.response import plan as planning
from shedder.selection import Selection
from shedder.units import parse_duration, parse_past
from shedder.wording import named, some_named

if TYPE_CHECKING:
    from shedder.api.shedder import Shedder
    from shedder.incident.records import Incident
    from shedder.status.readings import LaneStatus, Status

LONGEST_TEXT = 4000
"""Characters of a field; no command takes more."""

MOST_VALUES = 200
"""Values of one field, such as queues."""

EVER = "ever"
"""What a person types for no end, whatever the policy's default is."""

NAMES_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Field:
    """What a form asks for.

    Attributes:
        name: Of the value in the form and in a link.
        label: What stands before it.
        kind: `line`, `lines` (one value a line), `area`, `choice`, `choices` or `check`.
        hint: What may be typed, such as `30m`.
        choices: What can be chosen: values and their words.
        is_needed: Nothing can be done without it.
    """

    name: str
    label: str
    kind: str = "line"
    hint: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    is_needed: bool = False

    def values(self, given: Sequence[str]) -> tuple[str, ...]:
        """What was said, each value once, without what no record takes.

        Raises:
            InvalidInput: it is too long, or there are too many.
        """
        # half a character of UTF-16 is nothing that Redis takes
        texts = [each.encode("utf-8", "replace").decode().replace("\0", "") for each in given]
        if any(len(each) > LONGEST_TEXT for each in texts):
            raise InvalidInput(name=self.name, value="", accepted="", says=f"{self.label}: that is too long")
        if self.kind == "lines":
            texts = [line for each in texts for line in each.splitlines()]
        found = dict.fromkeys(text for each in texts if (text := self._text(each)))
        if len(found) > MOST_VALUES:
            raise InvalidInput(
                name=self.name, value="", accepted="", says=f"{self.label}: at most {MOST_VALUES} of them"
            )
        return tuple(found)

    def _text(self, text: str) -> str:
        return text.strip() if self.kind == "area" else " ".join(text.split())


@dataclass(frozen=True, slots=True)
class Entry:
    """A line that the journal will get.

    Attributes:
        verb: Of the event.
        lanes: The lanes concerned.
        names: Flags, limits, or a mitigation, where it is about no lanes.
        why: What it says where a person gives no reason.
        role: The role of the actor, where it is another one than before the act; None where it is not.
        is_undo: It says what it undoes.
    """

    verb: str
    lanes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    why: str = ""
    role: str | None = None
    is_undo: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What was done.

    Attributes:
        sentences: For a person, the headline first.
        record: The receipt of the API.
        event: Id of the event that `undo` takes; empty when nothing was changed.
        is_done: Something was changed.
    """

    sentences: tuple[str, ...]
    record: Any
    event: str = ""
    is_done: bool = True


@dataclass(frozen=True, slots=True)
class Planned:
    """What an act would do, read and not done.

    Attributes:
        verb: The words of the command line after `shedder`, such as `limit set`.
        words: What it is done to, as typed.
        options: Options of the command line, without the reason.
        entries: What the journal will get.
        state: What stands; an act is carried out only while this is as it was in the preview.
        look: Tells what it would do, in sentences; may look at jobs.
        carry_out: Does it, for a reason.
        lanes: The lanes concerned.
        names: The flags or limits concerned.
        outlook: What it would change about the time until all is well.
        extra: What else the page shows, by name.
    """

    verb: str
    entries: tuple[Entry, ...]
    state: Mapping[str, Any]
    look: Callable[[], Sequence[str]]
    carry_out: Callable[[str], Result]
    words: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    lanes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    outlook: Callable[[], Sequence[str]] = tuple
    extra: Mapping[str, str] = field(default_factory=dict)

    def command(self, reason: str) -> str:
        """The command line that does the same."""
        options = [*self.options, *(("-r", reason) if reason else ())]
        parts = [*self.words, *options]
        if any(word.startswith("-") for word in self.words):
            parts = [*options, "--", *self.words]
        return shlex.join(["shedder", *self.verb.split(), *parts])


@dataclass(frozen=True, slots=True)
class Act:
    """Something that a person can do.

    Attributes:
        name: In the address of its page.
        title: What its button says.
        help: What it does, in a sentence.
        fields: What is asked for.
        plan: Reads what it would do; changes nothing.
        reason: What stands as the reason when a person gives none; None where they must.
        has_reason: A reason is asked for.
        is_of_incident: It changes the record of an incident.
    """

    name: str
    title: str
    help: str
    plan: Callable[[Asked], Planned]
    fields: tuple[Field, ...] = ()
    reason: str | None = None
    has_reason: bool = True
    is_of_incident: bool = False

    @property
    def needs_reason(self) -> bool:
        """Whether a person must say why."""
        return self.has_reason and self.reason is None


class Asked:
    """What a person asks for, and of which Redis.

    Args:
        shedder: What is asked.
        values: What was said, by field.
        by: The person.
    """

    def __init__(self, shedder: Shedder, values: Mapping[str, tuple[str, ...]], by: str) -> None:
        self.shedder = shedder
        self.values = values
        self.by = by

    def text(self, name: str) -> str:
        """The value of a field; empty when nothing was said."""
        return next(iter(self.several(name)), "")

    def several(self, name: str) -> tuple[str, ...]:
        """All values of a field."""
        return self.values.get(name, ())

    def is_on(self, name: str) -> bool:
        """Whether a box is ticked."""
        return bool(self.text(name))

    def number(self, name: str, kind: Callable[[str], Any] = int) -> Any:
        """A number; None when nothing was said.

        Raises:
            InvalidInput: it is none.
        """
        text = self.text(name)
        try:
            return kind(text.replace(",", "")) if text else None
        except ValueError as error:
            raise InvalidInput(name=name.replace("_", " "), value=text, accepted="a number") from error

    def past(self, *names: str, near: datetime | None = None) -> dict[str, datetime]:
        """The moments that were said, by field."""
        said = {name: text for name in names if (text := self.text(name))}
        now = self.shedder.incidents.now() if said else datetime.now(UTC)
        return {name: parse_past(text, now=now, name=name, near=near) for name, text in said.items()}

    def options(self, **names: str) -> tuple[str, ...]:
        """Options of the command line for fields that were filled in, in the order given: `rate="--rate"`."""
        given = [(option, value) for name, option in names.items() for value in self.several(name)]
        return tuple(word for pair in given for word in pair)

    def switches(self, **names: str) -> tuple[str, ...]:
        """Options without a value, for boxes that are ticked."""
        return tuple(option for name, option in names.items() if self.is_on(name))

    @cached_property
    def policy(self) -> Policy:
        """The policy in force; one that cannot be read must not stop anybody."""
        try:
            return self.shedder.policies.applied().policy
        except RecordUnreadable:
            return Policy()

    @property
    def defaults(self) -> Defaults:
        """What holds where nothing is said."""
        return self.policy.defaults

    def expiry(self, of: str) -> timedelta | None:
        """When a `pause`, `limit` or `flag` ends: as was said, else as the policy says; None for never."""
        said = self.text("for")
        if not said:
            found: timedelta | None = getattr(self.defaults, f"{of}_for")
            return found
        return None if said == EVER else parse_duration(said, name="for")

    @cached_property
    def status(self) -> Status:
        """How all lanes are."""
        return self.shedder.status(policy=self.policy)

    @cached_property
    def incident(self) -> Incident | None:
        """The incident that is open."""
        return self.shedder.incidents.current_if_readable()


class Targets:
    """The queues and lanes that are meant.

    Raises:
        InvalidInput: none is named, some are named beside all, or no queue may be called so.
        NothingMatched: all are meant and there are none.
    """

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.is_all = asked.is_on("all")
        given = asked.several("target")
        for each in given:
            lanes_of_target(each)
        if bool(given) == self.is_all:
            says = "queues are named and all are meant; choose one of the two" if given else "say which queue or lane"
            raise InvalidInput(name="target", value="", accepted="", says=says)
        self.names = given or asked.shedder.queues()
        if not self.names:
            raise NothingMatched("queue yet")
        self.lanes = tuple(lane.name for lane in asked.shedder.lanes(self.names))

    @property
    def words(self) -> tuple[str, ...]:
        """How the command line names them."""
        return () if self.is_all else self.names

    @property
    def options(self) -> tuple[str, ...]:
        """How the command line names all of them."""
        return ("--all",) if self.is_all else ()

    @cached_property
    def found(self) -> tuple[LaneStatus, ...]:
        """How they are; lanes without anything in them are left out."""
        wanted = frozenset(self.lanes)
        return tuple(lane for lane in self.asked.status.lanes if lane.lane in wanted)

    @property
    def state(self) -> dict[str, Any]:
        """What stands on them."""
        return {"lanes": standing_of(self.found), "names": self.lanes}

    def unknown(self, note: str) -> list[str]:
        """A sentence for each queue that nobody knows, and what becomes of it."""
        known = self.asked.shedder.queues()
        queues = dict.fromkeys(lane_of_target(each).queue for each in self.names)
        return [_unknown(queue, known, note) for queue in queues if queue not in known]

    def stock(self) -> list[str]:
        """A sentence that some workers do not obey, if there are such."""
        lanes = [lane.lane for lane in self.found if lane.stock_workers]
        said = f"Stock workers serve {some_of(names_of(lanes))}: they run what reaches the queue past shedder."
        return [said] if lanes else []


TARGETS = (
    Field("target", "Queues or lanes", "lines", "one a line, such as mail or mail.low"),
    Field("all", "All queues", "check"),
)
FOR = Field("for", "Ends after", hint="such as 30m; ever for no end; empty for the policy's default")
SELECTION = (
    Field("function", "Only functions", "lines", "globs, one a line, such as app.mail.*"),
    Field("meta", "Only with meta", "lines", "field=value, one a line, such as tenant=acme"),
    Field("older_than", "Only older than", hint="such as 1h"),
)


def selection_of(asked: Asked) -> Selection:
    """The jobs that the fields of `SELECTION` choose."""
    return Selection.parse(
        functions=asked.several("function"), meta=asked.several("meta"), older_than=asked.text("older_than") or None
    )


def standing_of(lanes: Iterable[LaneStatus]) -> dict[str, Any]:
    """The decisions on lanes, without counts and what moves without anybody's decision."""
    return {lane.lane: [_pause(lane), *map(_divert, lane.diverts), *lane.unreadable] for lane in lanes
            if lane.pause or lane.diverts or lane.unreadable}  # fmt: skip


def _pause(lane: LaneStatus) -> Any:
    it = lane.pause
    return it and [it.by, it.why, it.since, it.until]


def _divert(it: Any) -> Any:
    drain, halted = it.drain, it.halted
    order = [it.order, it.by, it.since, it.selection.describe(), it.is_limit, it.most, it.until, it.is_retry]
    order.append(drain and [str(drain.rate), drain.by, drain.since, drain.stays, drain.halt_at])
    return [*order, halted and halted.event]


def _unknown(queue: str, known: Sequence[str], note: str) -> str:
    near = next(iter(get_close_matches(queue, known, n=1)), "")
    hint = f"did you mean {near}?" if near else f"there is {some_of(known) or 'no queue yet'}"
    return f"No queue is called {queue} ({hint}); {note}."


def some_of(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    return some_named(names, NAMES_SHOWN)


def utc_text(at: datetime) -> str:
    """`2026-11-25 02:33:10 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def journal_line(events: Sequence[Event]) -> str:
    """What the journal says of one verb: what, where, who and why, without time and numbers."""
    first = events[0]
    lanes = dict.fromkeys(lane for each in events for lane in each.lanes)
    names = first.details.get("names")
    things = list(names_of(lanes)) if lanes else [str(each) for each in names] if isinstance(names, list) else []
    if first.verb.startswith("mitigate"):
        things = [str(first.details.get("mitigation", ""))]
    is_taken_back = bool(first.undoes) and verb_of(first).is_of_incident
    role = f" ({first.role})" if first.role else ""
    what = f"{'undo ' if is_taken_back else ''}{first.verb}{f' {named(sorted(things))}' if things else ''}"
    return f"{what} by {first.by}{role}: {first.why}"


def lines_of(events: Iterable[Event]) -> tuple[str, ...]:
    """A line for each verb of what was done in one go, the order aside."""
    found: dict[str, list[Event]] = {}
    for each in events:
        found.setdefault(each.verb, []).append(each)
    return tuple(sorted(journal_line(several) for several in found.values()))


def if_and_if_not(asked: Asked, option: planning.Option) -> tuple[str, ...]:
    """When work is well again if this is done, and if nothing is."""
    status = asked.status
    lanes = [lane.lane for lane in status.lanes]
    samples = asked.shedder.samples(*lanes, since=status.at - planning.PACE_LOOK_BACK) if lanes else {}
    it = planning.read_outlook(status, samples, asked.policy)
    if not it.pace:
        return ("How long it takes is not known: no job has ended in the last hour.",)
    found = [planning.forecast(it.lanes, each, pace=it.pace, workers=it.workers)
             for each in (option, planning.Option("do nothing"))]  # fmt: skip
    whats = ("If you do this", "If you do nothing")
    return tuple(f"{what}: {_forecast(each, it)}." for what, each in zip(whats, found, strict=True))


def _forecast(found: planning.Forecast, it: planning.Outlook) -> str:
    gone = _clause("what is open", "done", it.at, found.gone_in, found.gone_never)
    if not any(lane.is_urgent for lane in it.lanes):
        return gone
    return f"{_clause('urgent work', 'on time', it.at, found.urgent_in, found.urgent_never)}; {gone}"


def _clause(work: str, well: str, at: datetime, seconds: float | None, why: str) -> str:
    if why == planning.UNKNOWN:
        return f"it is not known when {work} is {well}"
    if seconds is None or seconds >= planning.HORIZON_SECONDS:
        return f"{work} is never {well}, because {planning.WHY_NEVER[why or planning.SLOW]}"
    return f"{work} is {well} {'now' if seconds < 1 else f'at about {at + timedelta(seconds=seconds):%H:%M} UTC'}"
