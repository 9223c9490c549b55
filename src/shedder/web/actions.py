"""The table of acts, and how one is previewed and confirmed: once, and only on what the preview saw; no HTTP.

A preview has a token: signed, and good for one act by one person within a quarter of an hour. It
names what stood, so that a confirm after somebody has changed that is refused with a new preview.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from shedder.api.shedder import Shedder
from shedder.errors import InvalidInput, RedisUnreachable, ShedderError
from shedder.events import Cause, Event, verb_of
from shedder.incident.timeline import attributed
from shedder.lanes import names_of, targets_of
from shedder.store.codec import ms_from_time, time_from_ms
from shedder.store.keys import Keys
from shedder.store.store import Command, new_id
from shedder.units import format_duration
from shedder.web.acts import Act, Asked, Entry, Planned, Result, lines_of, some_of
from shedder.web.acts_incident import INCIDENT_ACTS
from shedder.web.acts_queues import QUEUE_ACTS
from shedder.web.acts_settings import SETTING_ACTS
from shedder.wording import REASON_BLANK

if TYPE_CHECKING:
    from shedder.web.site import Visitor

ACTS: Mapping[str, Act] = {each.name: each for each in (*QUEUE_ACTS, *SETTING_ACTS, *INCIDENT_ACTS)}
"""By name all acts, in the order in which an incident needs them."""

GOOD_FOR = timedelta(minutes=15)
"""How long after a preview one may confirm it."""

EVENTS_OF_ACT = 200


@dataclass(frozen=True, slots=True)
class Desk:
    """What acts need of their host.

    Attributes:
        shedder: What is called.
        secret: Signs tokens; all processes of a host have the same.
        allow: Raises when a visitor may not do a verb to lanes.
    """

    shedder: Shedder
    secret: bytes
    allow: Callable[[Visitor, str, Sequence[str]], None]


@dataclass(frozen=True, slots=True)
class Preview:
    """What an act would do.

    Attributes:
        act: Which.
        said: What was typed, by field.
        sentences: What it would do.
        outlook: When work is well again if it is done, and if nothing is.
        lines: What the journal will get, with the reason as far as it is known.
        command: The command line that does the same.
        others: What others changed of the same things within two minutes.
        token: Confirms it.
        reason: Why, as far as it was said.
        extra: What else the page shows, by name.
    """

    act: Act
    said: Mapping[str, tuple[str, ...]]
    sentences: tuple[str, ...]
    outlook: tuple[str, ...]
    lines: tuple[str, ...]
    command: str
    others: tuple[str, ...]
    token: str
    reason: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """What an act did.

    Attributes:
        act: Which.
        sentences: What it did, the headline first.
        lines: What the journal got.
        command: The command line that does the same.
        event: Id of the event; empty when nothing was changed.
        undo: The command line that takes it back; empty where there is no way back.
        undo_does: What that does.
        record: The receipt of the API.
    """

    act: Act
    sentences: tuple[str, ...]
    lines: tuple[str, ...]
    command: str
    event: str
    undo: str
    undo_does: str
    record: Any


class NotConfirmed(ShedderError):
    """The token confirms nothing: it is damaged, too old, or of somebody else."""

    exit_code = 3


class Spent(NotConfirmed):
    """The token was used already: what was sent twice acted once."""


class Expired(NotConfirmed):
    """The token is too old."""


class NoReason(InvalidInput):
    """A person must say why, and has not."""

    def __init__(self) -> None:
        super().__init__(name="reason", value="", accepted="", says="say why: the journal keeps it")


class Unsure(ShedderError):
    """Redis went away while it was done: nobody here knows whether it was."""

    exit_code = 4

    def __init__(self, error: ShedderError) -> None:
        super().__init__(f"it is not known whether it was done: {error}")


class Drifted(ShedderError):
    """What stands has changed since the preview; nothing was done.

    Attributes:
        preview: What it would do now.
    """

    exit_code = 3

    def __init__(self, preview: Preview) -> None:
        super().__init__("things have changed since you looked, so nothing was done; look again")
        self.preview = preview


def act_called(name: str) -> Act | None:
    """The act of this name."""
    return ACTS.get(name)


def said_in(act: Act, given: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """What was said in the fields of `act`; other names are left out.

    Raises:
        InvalidInput: a value is too long, is no choice, or there are too many.
    """
    found = {each.name: each.values(given.get(each.name, ())) for each in act.fields}
    for each in act.fields:
        if each.is_needed and not found[each.name]:
            raise InvalidInput(name=each.name, value="", accepted="", says=f"{each.label}: say something")
        known = [value for value, _ in each.choices]
        for value in found[each.name] if known else ():
            if value not in known:
                raise InvalidInput(name=each.label, value=value, accepted=", ".join(known))
    return {name: values for name, values in found.items() if values}


def preview_act(
    desk: Desk, act: Act, given: Mapping[str, Sequence[str]], visitor: Visitor, *, reason: str = ""
) -> Preview:
    """What `act` would do as it was filled in; changes nothing.

    Raises:
        ShedderError: it cannot be done so; the message says why.
    """
    _refuse_viewers(desk, act, visitor)
    said = said_in(act, given)
    planned = act.plan(Asked(desk.shedder, said, visitor.name))
    desk.allow(visitor, act.name, planned.lanes)
    return _preview(desk, act, said, visitor, planned, _one_line(reason))


def confirm_act(desk: Desk, token: str, *, reason: str, visitor: Visitor) -> Done:
    """Do what the preview of `token` showed, once.

    Raises:
        NotConfirmed: the token is damaged, too old, of somebody else, or was used.
        Drifted: what stands has changed since.
        NoReason: there is no reason; the token is good still.
        Unsure: Redis went away meanwhile.
        ShedderError: it cannot be done; the message says why.
    """
    act, said, state, identifier = _opened(desk, token, visitor)
    why = checked_reason(act, reason)
    _refuse_viewers(desk, act, visitor)
    _use(desk, identifier)
    planned = act.plan(Asked(desk.shedder, said, visitor.name))
    desk.allow(visitor, act.name, planned.lanes)
    if state != _number_of(planned.state):
        raise Drifted(_preview(desk, act, said, visitor, planned, why))
    before = _newest(desk.shedder)
    try:
        result = planned.carry_out(why)
    except RedisUnreachable as error:
        raise Unsure(error) from error
    return _done(desk, act, visitor, planned, result, why, before)


def checked_reason(act: Act, reason: str) -> str:
    """The reason of an act, in one line.

    Raises:
        NoReason: there is none where a person must say why.
    """
    said = _one_line(reason) if act.has_reason else ""
    if act.needs_reason and said in ("", REASON_BLANK):
        raise NoReason
    return said or act.reason or ""


def act_of_token(token: str, secret: bytes) -> tuple[Act, dict[str, tuple[str, ...]]]:
    """The act that a token is for, and what was said; for a form that is some_of again.

    Raises:
        NotConfirmed: it is damaged.
    """
    payload = _payload(token, secret)
    return ACTS[payload["act"]], {name: tuple(values) for name, values in payload["said"].items()}


def _refuse_viewers(desk: Desk, act: Act, visitor: Visitor) -> None:
    # before anything is read; which lanes it is about is known later
    if not (visitor.name and visitor.may_act):
        desk.allow(visitor, act.name, ())


def _preview(
    desk: Desk, act: Act, said: Mapping[str, tuple[str, ...]], visitor: Visitor, planned: Planned, reason: str
) -> Preview:
    others = desk.shedder.changes_by_others(*targets_of(planned.lanes), names=planned.names, by=visitor.name)
    now = desk.shedder.incidents.now()
    said_why = reason or act.reason or "" if act.has_reason else ""
    return Preview(
        act=act,
        said=said,
        sentences=tuple(planned.look()),
        outlook=tuple(planned.outlook()),
        lines=lines_of(_drafts(desk.shedder, visitor, planned.entries, said_why)),
        command=planned.command(said_why or (REASON_BLANK if act.needs_reason else "")),
        others=tuple(_told(each, now) for each in others),
        token=_sealed(desk.secret, act, said, visitor, planned.state, now),
        reason=reason,
        extra=planned.extra,
    )


def _drafts(shedder: Shedder, visitor: Visitor, entries: Iterable[Entry], reason: str) -> list[Event]:
    cause = attributed(shedder.store, Cause(by=visitor.name, why=reason))
    return [
        Event(
            "", datetime.now(UTC), each.verb, cause.by, reason or each.why, each.lanes,
            details={"names": list(each.names), "mitigation": "".join(each.names)},
            role=cause.role if each.role is None else each.role, undoes="-" if each.is_undo else "",
        )
        for each in entries
    ]  # fmt: skip


def _told(event: Event, now: datetime) -> str:
    names = event.details.get("names")
    what = names_of(event.lanes) or (tuple(map(str, names)) if isinstance(names, list) else ())
    role = f" ({event.role})" if event.role else ""
    return f"{event.by}{role} did '{event.verb} {some_of(what)}' {format_duration(now - event.at)} ago: {event.why}"


def _newest(shedder: Shedder) -> str:
    newest = shedder.events(limit=1)
    return newest[-1].id if newest else "0-0"


def _done(desk: Desk, act: Act, visitor: Visitor, planned: Planned, result: Result, why: str, before: str) -> Done:
    verbs = {each.verb for each in planned.entries}
    events: list[Event] = []
    with suppress(ShedderError):  # it is done, and the receipt must be seen
        events = [each for each in desk.shedder.events(limit=EVENTS_OF_ACT, after=before)
                  if each.by == visitor.name and each.verb in verbs]  # fmt: skip
    event = next((each for each in events if each.id == result.event), None)
    can_undo = event is not None and event.can_undo
    return Done(
        act=act,
        sentences=result.sentences,
        lines=lines_of(events),
        command=planned.command(why),
        event=result.event,
        undo=f"shedder undo {result.event}" if can_undo else "",
        undo_does=verb_of(event).undo if event is not None and can_undo else "",
        record=result.record,
    )


def _one_line(text: str) -> str:
    return " ".join(text.encode("utf-8", "replace").decode().replace("\0", "").split())[:1000]


def _number_of(state: Mapping[str, Any]) -> str:
    """A number of what stands: the same as long as nobody has changed it."""
    text = json.dumps(state, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def _sealed(
    secret: bytes, act: Act, said: Mapping[str, tuple[str, ...]], visitor: Visitor, state: Mapping[str, Any],
    now: datetime,
) -> str:  # fmt: skip
    payload = {
        "id": new_id(), "act": act.name, "said": said, "by": visitor.name, "state": _number_of(state),
        "at": ms_from_time(now),
    }  # fmt: skip
    return signed(payload, secret)


def signed(payload: Mapping[str, Any], secret: bytes) -> str:
    """A token that says `payload`."""
    body = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode()
    return f"{body}.{_signature(body, secret)}"


def _signature(body: str, secret: bytes) -> str:
    return hmac.new(secret, f"act:{body}".encode(), hashlib.sha256).hexdigest()


def _payload(token: str, secret: bytes) -> dict[str, Any]:
    body, _, signature = token.partition(".")
    if not hmac.compare_digest(_signature(body, secret).encode(), signature.encode("utf-8", "replace")):
        raise NotConfirmed("this form cannot be confirmed: it is damaged; begin again")
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body))
    return found


def _opened(desk: Desk, token: str, visitor: Visitor) -> tuple[Act, dict[str, tuple[str, ...]], str, str]:
    payload = _payload(token, desk.secret)
    act, said = act_of_token(token, desk.secret)
    if payload["by"] != visitor.name:
        raise NotConfirmed("this form cannot be confirmed: somebody else has filled it in; begin again")
    if desk.shedder.incidents.now() - time_from_ms(payload["at"]) > GOOD_FOR:
        minutes = format_duration(GOOD_FOR)
        raise Expired(f"this form cannot be confirmed: it is older than {minutes}; look again")
    return act, said, payload["state"], payload["id"]


def use_token(keys: Keys, identifier: str, call: str) -> Command[bool]:
    """Mark a token as used, so that one process of all acts on it; also when Redis is full."""
    length = GOOD_FOR + timedelta(minutes=1)  # until it is too old by any clock
    return Command("use_token", (keys.web_token(identifier),), (call, length // timedelta(milliseconds=1)), bool)


def _use(desk: Desk, identifier: str) -> None:
    if not desk.shedder.store.run(use_token(desk.shedder.keys, identifier, new_id())):
        raise Spent("this form was sent twice; it acts once, and has done so: see the journal")
