"""Acts on flags and limits in code; declared mitigations; the undo of any change."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from shedder.errors import InvalidInput, NothingToUndo, ShedderError
from shedder.events import Event, verb_of
from shedder.queues.pause import pause_before
from shedder.response.runner import filled, find_mitigation, mask_for
from shedder.settings.flags import chosen_flags
from shedder.settings.setting import check_known
from shedder.store.codec import mapping_field
from shedder.units import Rate, format_duration
from shedder.web.acts import (
    FOR,
    Act,
    Asked,
    Entry,
    Field,
    Planned,
    Result,
    journal_line,
    some_of,
    standing_of,
    utc_text,
)
from shedder.web.acts_incident import Rehearsal, entry_of, rehearsed_result
from shedder.wording import jobs_do

if TYPE_CHECKING:
    from shedder import FlagReceipt, LimitReceipt, MitigationReceipt, Setting

EVENTS_AFTER = 2000
"""Events after a change among which it is looked whether it was undone."""

WAITS_SECONDS = 10.0
"""For a mitigation to end, before the page says that it goes on."""


def _flag_degrade(asked: Asked) -> Planned:
    names, group = _flags_asked(asked, is_forced=asked.is_on("force"))
    percent = asked.number("percent", float)
    expires_in = _time_left(asked, names) if percent is not None and not asked.text("for") else None
    expires_in = expires_in or asked.expiry("flag")
    share, forced = 100.0 if percent is None else percent, asked.is_on("force")
    until = "until somebody restores them" if expires_in is None else f"for {format_duration(expires_in)}"
    if not 0 < share <= 100:
        raise InvalidInput(name="percent", value=share, accepted="a number above 0 and up to 100")

    def carry_out(why: str) -> Result:
        receipt = asked.shedder.degrade_flag(
            *asked.several("name"), group=group, percent=share, expires_in=expires_in, force=forced, reason=why,
            by=asked.by,
        )  # fmt: skip
        return _flags_set(receipt, "degraded")

    return Planned(
        "flag degrade", (Entry("flag degrade", names=names),), _flags_state(asked, names),
        lambda: [f"{some_of(names)}: {share:g} % of users get the degraded feature, {until}.", *_told(asked, names)],
        carry_out, words=asked.several("name"), names=names,
        options=(*asked.options(group="--group", percent="--percent", **{"for": "--for"}),
                 *asked.switches(force="--force")),
    )  # fmt: skip


def _flag_restore(asked: Asked) -> Planned:
    names, group = _flags_asked(asked)

    def carry_out(why: str) -> Result:
        receipt = asked.shedder.restore_flag(*asked.several("name"), group=group, reason=why, by=asked.by)
        return _flags_set(receipt, "restored")

    return Planned(
        "flag restore", (Entry("flag restore", names=names),), _flags_state(asked, names),
        lambda: [(f"{some_of(names)} {'is' if len(names) == 1 else 'are'} restored for every user, and jobs that "
                 "waited for that go back at once."), *_told(asked, names)],
        carry_out, words=asked.several("name"), names=names, options=asked.options(group="--group"),
    )  # fmt: skip


def _flags_asked(asked: Asked, *, is_forced: bool | None = None) -> tuple[tuple[str, ...], str]:
    names, group = asked.several("name"), asked.text("group")
    if not names and not group:
        raise InvalidInput(name="flag", value="", accepted="", says="say which flag, or which group of flags")
    return chosen_flags(asked.shedder.flag_states(), names, group, is_forced=is_forced), group


def _time_left(asked: Asked, names: Sequence[str]) -> timedelta | None:
    """How long the degradation still holds, if all of them end together."""
    standing = [each.setting for each in asked.shedder.flag_states() if each.name in names and each.setting]
    ends = {each.until for each in standing}
    end = ends.pop() if len(standing) == len(names) and len(ends) == 1 else None
    left = None if end is None else end - asked.shedder.incidents.now()
    return left if left and left > timedelta() else None


def _flags_state(asked: Asked, names: Sequence[str]) -> dict[str, Any]:
    states = {each.name: _setting(each.setting) for each in asked.shedder.flag_states() if each.name in names}
    return {"flags": states, "names": names}


def _told(asked: Asked, names: Sequence[str]) -> list[str]:
    states = [each for each in asked.shedder.flag_states() if each.name in names]
    said = [f"{each.name}: {each.description}" for each in states if each.description]
    said += [f"{each.name} is degraded for {each.percent:g} %, by {each.setting.by}: {each.setting.why}."
             for each in states if each.setting]  # fmt: skip
    return said


def _flags_set(receipt: FlagReceipt, what: str) -> Result:
    names = [each.name for each in receipt.flags]
    if not receipt.event:
        return Result((f"{some_of(names)}: it was so before; nothing was changed.",), receipt, is_done=False)
    back = [f"{jobs_do(receipt.restored, 'are', 'is')} back that waited for it."] if receipt.restored else []
    return Result((f"{some_of(names)} {'is' if len(names) == 1 else 'are'} {what}.", *back), receipt, receipt.event)


def _limit_set(asked: Asked) -> Planned:
    name, key, rate = asked.text("name"), asked.text("key"), Rate.parse(asked.text("rate"), name="rate")
    target, expires_in = f"{name} {key}".strip(), asked.expiry("limit")
    shadow, forced = asked.is_on("shadow"), asked.is_on("force")
    if not forced:
        check_known(name, {each.name for each in asked.shedder.limit_states()}, of="limit", can_force=True)
    what = "counts what is over" if shadow else "refuses what is over"
    until = "until somebody clears it" if expires_in is None else f"for {format_duration(expires_in)}"

    def carry_out(why: str) -> Result:
        receipt = asked.shedder.set_limit(
            name, rate, key=key, expires_in=expires_in, shadow=shadow, force=forced, reason=why, by=asked.by
        )
        return _limits_set(receipt, f"{target} is set to {rate}.")

    return Planned(
        "limit set", (Entry("limit set", names=(target,)),), _limits_state(asked, name),
        lambda: [f"The limit {target} {what} {rate}, {until}.", *_limits_told(asked, name)], carry_out,
        words=(name, asked.text("rate")), names=(target,),
        options=(*asked.options(key="--key", **{"for": "--for"}), *asked.switches(shadow="--shadow", force="--force")),
    )  # fmt: skip


def _limit_clear(asked: Asked) -> Planned:
    name, key = asked.text("name"), asked.text("key")
    target = f"{name} {key}".strip()
    check_known(name, {each.name for each in asked.shedder.limit_states()}, of="limit")

    def carry_out(why: str) -> Result:
        receipt = asked.shedder.clear_limit(name, key=key, reason=why, by=asked.by)
        return _limits_set(receipt, f"{target} is cleared: what the code says holds again.")

    return Planned(
        "limit clear", (Entry("limit clear", names=(target,)),), _limits_state(asked, name),
        lambda: [f"What an operator set for {target} ends: what the code says holds again.",
                 *_limits_told(asked, name)],
        carry_out, words=(name,), options=asked.options(key="--key"), names=(target,),
    )  # fmt: skip


def _limits_state(asked: Asked, name: str) -> dict[str, Any]:
    states = [each for each in asked.shedder.limit_states() if each.name == name]
    return {"limits": {f"{each.name} {each.key}": [str(each.default), _setting(each.setting)] for each in states}}


def _limits_told(asked: Asked, name: str) -> list[str]:
    states = [each for each in asked.shedder.limit_states() if each.name == name]
    if not states:
        return [f"No process has declared a limit called {name}."]
    return [f"{name}{f' for {each.key}' if each.key else ''} is {each.rate or 'off'} now; "
            f"{each.hits:,} let through, {each.refusals:,} refused." for each in states]  # fmt: skip


def _limits_set(receipt: LimitReceipt, said: str) -> Result:
    if not receipt.event:
        return Result(("It was so before; nothing was changed.",), receipt, is_done=False)
    return Result((said,), receipt, receipt.event)


def _setting(setting: Setting | None) -> Any:
    return setting and [setting.by, setting.why, setting.since, setting.until, dict(setting.body)]


def _undo(asked: Asked) -> Planned:
    event = asked.shedder.event_to_undo(asked.text("event"))
    after = asked.shedder.events(limit=EVENTS_AFTER, after=event.id)
    undone = next((each for each in after if each.undoes == event.id), None)
    if undone is not None:
        raise NothingToUndo(event.id, reason=f"{undone.by} has undone it already", try_instead="shedder events")
    if verb_of(event).is_of_incident:
        return _undo_of_incident(asked, event)
    return _undo_of_change(asked, event)


def _undo_told(event: Event) -> list[str]:
    return [f"It {verb_of(event).undo}.", f"What is undone: {journal_line([event])}, at {utc_text(event.at)}."]


def _undo_of_change(asked: Asked, event: Event) -> Planned:
    wanted = frozenset(event.lanes)
    lanes = [lane for lane in asked.status.lanes if lane.lane in wanted]
    named = event.details.get("names")
    names = tuple(map(str, named)) if isinstance(named, list) else ()
    state = {
        "lanes": standing_of(lanes), "event": event.id,
        "flags": _flags_state(asked, names) if event.verb.startswith("flag") else {},
        "limits": [_limits_state(asked, name.partition(" ")[0]) for name in names if event.verb.startswith("limit")],
        "policy": asked.shedder.policies.applied().number if event.verb.startswith("policy") else 0,
    }  # fmt: skip

    def carry_out(why: str) -> Result:
        receipt: Any = asked.shedder.undo(event.id, reason=why, by=asked.by)
        events = getattr(receipt, "events", None) or (receipt.event,)
        return Result((f"'{event.verb}' of {event.by} is undone: it {verb_of(event).undo}.",), receipt, events[-1])

    return Planned(
        "undo", tuple(_undoing(event, names)), state, lambda: _undo_told(event), carry_out,
        words=(event.id,), lanes=event.lanes, names=names,
    )  # fmt: skip


def _undoing(event: Event, names: tuple[str, ...]) -> list[Entry]:
    """What the journal gets when `event` is undone: what stood before it stands again, or nothing does."""
    if event.verb in ("pause", "resume"):
        was = [lane for lane in event.lanes if lane in event.after and pause_before(event, lane)]
        return _either(event, "pause", was, "resume")
    if event.verb in ("divert", "limit start"):
        was = [lane for lane in event.lanes if mapping_field(event.before, lane).get("diverted") is True]
        return _either(event, event.verb, was, "restore")
    if event.verb == "drain":
        before = {lane: mapping_field(event.before, lane) for lane in event.lanes if lane in event.before}
        has_drained = any(drain for each in before.values() for drain in mapping_field(each, "drains").values())
        return [Entry("drain" if has_drained else "drain stopped", tuple(before))]
    if event.verb == "retry":
        return [Entry("retry undone", event.lanes)]
    if event.verb == "policy apply":
        return [Entry("policy apply")]
    set_again, ended = (
        ("flag degrade", "flag restore") if event.verb.startswith("flag") else ("limit set", "limit clear")
    )
    return [Entry(set_again if any(map(event.before.get, names)) else ended, names=names)]


def _either(event: Event, again: str, was: Sequence[str], ended: str) -> list[Entry]:
    others = tuple(lane for lane in event.lanes if lane not in was)
    return [*([Entry(again, tuple(was))] if was else []), *([Entry(ended, others)] if others else [])]


def _undo_of_incident(asked: Asked, event: Event) -> Planned:
    rehearsal = Rehearsal(asked.shedder)
    rehearsal.undo(event, reason="", by=asked.by)
    entry, state = entry_of(rehearsal, asked.by)

    def carry_out(why: str) -> Result:
        receipt: Any = asked.shedder.undo(event.id, reason=why, by=asked.by)
        return rehearsed_result(receipt, f"Incident {receipt.incident.id} is as it was before.")

    return Planned(
        "undo", (entry,), state, lambda: _undo_told(event), carry_out, words=(event.id,)
    )  # fmt: skip


def _mitigate(asked: Asked) -> Planned:
    found = find_mitigation(asked.policy.mitigations, asked.text("name"))
    values = _values(asked.several("value"))
    words = filled(found, values)
    masked = shlex.join(mask_for({})(each) for each in words)

    def look() -> Sequence[str]:
        return [
            f"On the machine of this page runs: {masked}",
            f"It ends after {format_duration(found.timeout)} at most.",
        ]

    def carry_out(why: str) -> Result:
        done: list[MitigationReceipt | ShedderError] = []

        def run() -> None:
            try:
                done.append(asked.shedder.mitigate(found, words, reason=why, by=asked.by))
            except ShedderError as error:
                done.append(error)

        thread = threading.Thread(target=run, name="shedder-web-mitigate", daemon=False)
        thread.start()
        thread.join(WAITS_SECONDS)
        return _mitigated(found.name, done)

    options = tuple(word for name, value in values.items() for word in (f"--{name}", value))
    return Planned(
        "mitigate", (Entry("mitigate started", names=(found.name,)),),
        {"policy": asked.shedder.policies.applied().number}, look, carry_out, words=(found.name,), options=options,
        names=(found.name,),
    )  # fmt: skip


def _mitigated(name: str, done: Sequence[MitigationReceipt | ShedderError]) -> Result:
    if not done:
        return Result((f"{name} was started and still runs; the journal says how it ends.",), None)
    receipt = done[0]
    if isinstance(receipt, ShedderError):
        raise receipt
    code = "" if receipt.exit_code is None else f" with exit code {receipt.exit_code}"
    said = f"{name}: {receipt.outcome}{code} after {format_duration(receipt.seconds)}."
    return Result((said, *receipt.output.splitlines()[-20:]), receipt, receipt.event)


def _values(lines: Sequence[str]) -> Mapping[str, str]:
    """`release=41`, one a line, as values by name."""
    found: dict[str, str] = {}
    for line in lines:
        name, is_there, value = line.partition("=")
        if not is_there or not name.strip() or name.strip() in found:
            raise InvalidInput(name="values", value=line, accepted="NAME=VALUE, each name once, such as release=41")
        found[name.strip()] = value.strip()
    return found


_FLAGS = Field("name", "Flags", "lines", "one a line")
_GROUP = Field("group", "All of the group", hint="such as non-critical")
_LIMIT = Field("name", "Limit", is_needed=True)
_KEY = Field("key", "Only for the key", hint="such as tenant=acme")

SETTING_ACTS = (
    Act("degrade", "Degrade flags", "Features are degraded in every process within a second.", _flag_degrade, (
        _FLAGS, _GROUP, Field("percent", "Percent of users", hint="all if empty"), FOR,
        Field("force", "Also a flag that no process has declared", "check"),
    )),
    Act("restore", "Restore flags", "Features are as the code has them.", _flag_restore, (_FLAGS, _GROUP)),
    Act("limit-set", "Set a limit", "A limit in code holds at another rate within a second.", _limit_set, (
        _LIMIT, Field("rate", "Rate", hint="such as 100/minute", is_needed=True), _KEY, FOR,
        Field("shadow", "Only count what it would refuse", "check"),
        Field("force", "Also a limit that no process has declared", "check"),
    )),
    Act("limit-clear", "Clear a limit", "What the code says holds again.", _limit_clear, (_LIMIT, _KEY)),
    Act("undo", "Undo", "What an event changed is as it was; what somebody has changed since stays.", _undo, (
        Field("event", "Event", hint="its id in the journal", is_needed=True),
    )),
    Act("mitigate", "Run a mitigation", "A program that the policy declares runs, and the journal has its outcome.",
        _mitigate, (
            Field("name", "Mitigation", is_needed=True),
            Field("value", "Values", "lines", "NAME=VALUE, one a line, such as release=41"),
        )),
)  # fmt: skip
