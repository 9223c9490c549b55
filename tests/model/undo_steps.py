"""The steps of a history of changes: every verb that can be undone, and what happens in between."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from shedder import Rate, Shedder
from shedder.incident.records import ReviewPart
from shedder.policy.model import Mitigation, Policy, Rule
from shedder.selection import Selection
from tests.features.scene import Scene

if TYPE_CHECKING:
    from shedder.incident.incidents import Incidents

TARGETS: Mapping[str, tuple[str, ...]] = {
    "mail": ("mail.critical", "mail.high", "mail", "mail.low"),
    "mail.normal": ("mail",),
    "mail.low": ("mail.low",),
}
SELECTIONS = (Selection(), Selection.parse(functions=["app.mail.*"]))
POLICIES = (
    Policy(),
    Policy(rules=(Rule("mail", Selection(functions=("app.report.*",)), shed=1), Rule("mail", SELECTIONS[1], shed=2))),
    Policy(rules=(Rule("mail", SELECTIONS[1], shed=1),)),
    Policy(stale_after=timedelta(hours=1)),
)
EMPTY = '{"version": 1}'
PEOPLE = ("ana@desk", "bob@desk")

Item = tuple[str, ...]
State = dict[Item, Any]
"""What stands: records by kind and name; of an order by `order`, lane and id; of an incident by its fields."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a history.

    Attributes:
        what: Which change, `undo`, `undo last`, or what happens in between.
        who: By whom.
        where: On which target.
        number: A rate, a percentage, a selection; of an undo, how many changes before the last.
    """

    what: str
    who: str
    where: str
    number: int


Act = Callable[[Shedder, Step], object]


def _by(step: Step) -> dict[str, str]:
    return {"by": step.who, "reason": f"{step.what} {step.number}"}


def _ends(step: Step) -> timedelta | None:
    """Half-way between two steps of the clock, so that no machine is too slow for it."""
    return timedelta(minutes=60 * step.number - 30) if step.number else None


def _rate(step: Step) -> Rate:
    """So slow that nothing starts but its first job; or as fast as the machine."""
    return Rate(1e6) if step.number == 3 else Rate(step.number + 1, 86400.0)


def _selection(step: Step) -> Selection:
    return SELECTIONS[step.number % len(SELECTIONS)]


def _other(step: Step) -> str:
    return PEOPLE[1 - PEOPLE.index(step.who)]


def _mitigate(shedder: Shedder, step: Step) -> object:
    mitigation = Mitigation("rollback", ("true",), kind="rollback")
    return shedder.mitigate(mitigation, (sys.executable, "-S", "-c", ""), **_by(step))


def _incident(name: str) -> Callable[[Incidents, Step], object]:
    acts: dict[str, Callable[[Incidents, Step], object]] = {
        "mitigated": lambda it, step: it.mitigated(**_by(step)),
        "resolve": lambda it, step: it.resolve(**_by(step)),
        "reopen": lambda it, step: it.reopen(**_by(step)),
        "correct": lambda it, step: it.correct(title=f"late {step.number}", severity=1 + step.number, **_by(step)),
        "note": lambda it, step: it.note(f"seen {step.number}", by=step.who),
        "review": lambda it, step: it.review(
            {list(ReviewPart)[step.number]: f"As it should be, {step.where}."}, by=step.who
        ),
        "close": lambda it, step: it.close(**_by(step)),
        "assign": lambda it, step: it.roles.assign("commander", _other(step), also=True, instead=True, **_by(step)),
        "take": lambda it, step: it.roles.take("operations", also=True, instead=True, **_by(step)),
        "offer": lambda it, step: it.roles.hand_over("operations", _other(step), **_by(step)),
        "accept": lambda it, step: it.roles.accept(also=True, **_by(step)),
        "leave": lambda it, step: it.roles.leave("operations", **_by(step)),
        "add": lambda it, step: it.actions.add(f"alarm {step.number}", type="detect", by=step.who),
        "set": lambda it, step: it.actions.set(1, priority=1 + step.number % 3, owner=step.where, by=step.who),
        "done": lambda it, step: it.actions.done(1, by=step.who),
    }  # fmt: skip
    return acts[name]


OF_INCIDENTS = ("mitigated", "resolve", "reopen", "correct", "note", "review", "close", "assign", "take", "offer",
                "accept", "leave", "add", "set", "done")  # fmt: skip

ACTS: Mapping[str, Act] = {
    "pause": lambda it, step: it.pause(step.where, expires_in=_ends(step), **_by(step)),
    "resume": lambda it, step: it.resume(step.where, **_by(step)),
    "divert": lambda it, step: it.divert(step.where, selection=_selection(step), **_by(step)),
    "drain": lambda it, step: it.drain(step.where, rate=_rate(step), **_by(step)),
    "drain and stay": lambda it, step: it.drain(step.where, rate=_rate(step), stays=True, halt_at=0.5, **_by(step)),
    "stop": lambda it, step: it.stop_drain(step.where, **_by(step)),
    "restore": lambda it, step: it.drain_at_once(step.where, **_by(step)),
    "shed": lambda it, step: it.policies.shed(**_by(step)),
    "limit starts": lambda it, step: it.limit_starts(
        step.where, rate=_rate(step), most=step.number or None, expires_in=_ends(step), selection=_selection(step),
        **_by(step),
    ),
    "lift": lambda it, step: it.lift_limit(step.where, **_by(step)),
    "replay": lambda it, step: it.replay_stale(step.where, **_by(step)),
    "degrade": lambda it, step: it.degrade_flag(
        step.where, percent=10 * step.number + 5, force=True, expires_in=_ends(step), **_by(step)
    ),
    "flag restore": lambda it, step: it.restore_flag(step.where, **_by(step)),
    "limit": lambda it, step: it.set_limit(step.where, _rate(step), force=True, expires_in=_ends(step), **_by(step)),
    "clear": lambda it, step: it.clear_limit(step.where, **_by(step)),
    "policy": lambda it, step: it.policies.apply(POLICIES[step.number], **_by(step)),
    "mitigate": _mitigate,
    "open": lambda it, step: it.incidents.open(f"late {step.number}", severity=3, by=step.who),
    **{name: lambda it, step: _incident(step.what)(it.incidents, step) for name in OF_INCIDENTS},
}  # fmt: skip

BETWEEN = ("arrive", "start", "hour")
RARE = ("mitigate", "close", "note")
OFTEN = ("divert", "drain", "drain", "start", "hour")


def steps_of(*acts: str) -> st.SearchStrategy[list[Step]]:
    """Histories of these acts, of what happens in between, and of undos."""
    return st.lists(
        st.builds(
            Step,
            what=st.sampled_from((*acts, *BETWEEN, *("undo",) * 8, *("undo last",) * 3)),
            who=st.sampled_from(PEOPLE),
            where=st.sampled_from(tuple(TARGETS)),
            number=st.integers(0, 3),
        ),
        min_size=4,
        max_size=16,
    )


def state_of(scene: Scene) -> State:
    """What stands now, with the events that set it; what has ended by the server's clock does not."""
    keys = scene.keys
    with scene.redis.pipeline(transaction=False) as ask:
        for key in (keys.pauses, keys.flags, keys.limits, keys.diverts, keys.policy):
            ask.hgetall(key)
        ask.zrange(keys.incidents, 0, -1)
        ask.time()
        *hashes, diverts, policy, incidents, (seconds, _) = ask.execute()
    found: State = {
        (kind, name.decode()): _plain(json.loads(text))
        for kind, records in zip(("pause", "flag", "limit"), hashes, strict=True)
        for name, text in records.items()
    }
    for lane, text in diverts.items():
        for record in json.loads(text):
            found["order", lane.decode(), record["id"]] = _plain(record)
    standing = {item: record for item, record in found.items() if not has_ended(record, 1000 * seconds)}
    return {**standing, **_policy(policy.get(b"current")), **_incidents(scene, incidents)}


def has_ended(record: Any, now: float) -> bool:
    """Whether the time of `record` is over at `now`."""
    return isinstance(record, dict) and record.get("until", now + 1) <= now


def _policy(text: bytes | None) -> State:
    """The policy in force, by the number that it had first; one that says nothing is as good as none."""
    record = json.loads(text or "{}")
    number = record.get("restores", record.get("number", 0))
    says_nothing = record.get("document", EMPTY) == EMPTY
    return {} if says_nothing else {("policy",): [number, record["document"]]}


def _incidents(scene: Scene, names: list[bytes]) -> State:
    """The fields of all incidents; of their lists each entry."""
    found: State = {}
    for name in names:
        record = json.loads(scene.redis.get(scene.keys.incident(name.decode())) or b"{}")
        for field, value in record.items():
            items = value if isinstance(value, list) else [value]
            for each in (one for one in items if field not in ("v", "revision") and one is not None):
                entry = (json.dumps(each, sort_keys=True),) if isinstance(value, list) else ()
                found["incident", name.decode(), field, *entry] = each
    return found


def _plain(record: Any) -> Any:
    """A record without what no operator has said, its numbers as exact as they are stored."""
    if isinstance(record, dict):
        return {name: _plain(each) for name, each in record.items() if name not in ("scanning", "ended") and each}
    return float(f"{record:.10g}") if isinstance(record, float) else record
