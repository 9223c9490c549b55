"""The state after an undo is the state before the change, whatever others did in between.

A history of changes by several people is played against the server and against a plain model. The
model notes of each change, item by item, what stood before and what stands after. An undo is
allowed when each item is as that change left it, and then each is as it was before.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from shedder import Rate, Shedder
from shedder.errors import CannotUndo, NothingMatched
from shedder.events import Event
from shedder.selection import Selection
from tests.features.scene import Scene

if TYPE_CHECKING:
    from redis import Redis

TARGETS: Mapping[str, tuple[str, ...]] = {
    "mail": ("mail.critical", "mail.high", "mail", "mail.low"),
    "mail.normal": ("mail",),
    "mail.low": ("mail.low",),
}
SELECTIONS = (Selection(), Selection.parse(functions=["app.mail.*"]))

Item = tuple[str, ...]
State = dict[Item, Any]
"""What stands: records by kind and name; of an order by `order`, lane and id."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a history.

    Attributes:
        what: Which change, or `undo`.
        who: By whom.
        where: On which target.
        number: A rate, a percentage, a selection; of an undo, how many changes before the last.
    """

    what: str
    who: str
    where: str
    number: int


@dataclass(slots=True)
class Model:
    """What must stand, and of each event what it changed: before and after, by item."""

    standing: State = field(default_factory=dict)
    changes: dict[str, dict[Item, tuple[Any, Any]]] = field(default_factory=dict)

    def note(self, events: Sequence[Event], found: State) -> None:
        """`events` have made the state `found`; each changed what is on its lanes."""
        items = [each for each in {**self.standing, **found}
                 if self.standing.get(each) != found.get(each)]  # fmt: skip
        for event in events:
            self.changes[event.id] = {
                item: (self.standing.get(item), found.get(item))
                for item in items
                if not event.lanes or item[1] in event.lanes
            }
        self.standing = found

    def after_undo(self, event: Event) -> State | None:
        """What stands once `event` is undone; None when that must be refused."""
        verdicts = {
            item: self._verdict(item, before, after) for item, (before, after) in self.changes[event.id].items()
        }
        is_done = "gone" in verdicts.values() and "set" not in verdicts.values()
        if "changed" in verdicts.values() or is_done or not {"set", "again"} & {*verdicts.values()}:
            return None
        state = dict(self.standing)
        for item, verdict in verdicts.items():
            if verdict in ("set", "again"):
                state[item] = self.changes[event.id][item][0]
        return {item: record for item, record in state.items() if record is not None}

    def _verdict(self, item: Item, before: Any, after: Any) -> str:
        """`set`, `again` (of a divert that had ended), `gone`, `same` or `changed`."""
        now = self.standing.get(item)
        if item[0] == "order":
            return self._verdict_on_order(item, before, after, now)
        if now == after:
            return "set"
        return "same" if now == before and item[0] == "pause" else "changed"

    def _verdict_on_order(self, item: Item, before: Any, after: Any, now: Any) -> str:
        if after is None:
            return "changed" if now is not None or self._stands_alike(item, before) else "again"
        if now is None:
            return "gone"
        if before is None and not after.get("limit"):  # its drains go with it
            return "set" if now["event"] == after["event"] else "changed"
        return "set" if now == after else "changed"

    def _stands_alike(self, item: Item, record: Any) -> bool:
        return any(
            other[:2] == item[:2] and each["selection"] == record["selection"]
            and not each.get("limit")
            for other, each in self.standing.items()
        )  # fmt: skip


def act(shedder: Shedder, step: Step) -> object:
    """Carry out a step that is no undo."""
    by = {"by": step.who, "reason": f"{step.what} {step.number}"}
    expiry = timedelta(hours=step.number) if step.number else None
    selection = SELECTIONS[step.number % len(SELECTIONS)]
    rate = Rate(step.number + 1, 86400.0)
    acts: dict[str, Callable[[], object]] = {
        "pause": lambda: shedder.pause(step.where, expires_in=expiry, **by),
        "resume": lambda: shedder.resume(step.where, **by),
        "divert": lambda: shedder.divert(step.where, selection=selection, **by),
        "drain": lambda: shedder.drain(step.where, rate=rate, **by),
        "restore": lambda: shedder.drain_at_once(step.where, **by),
        "limit starts": lambda: shedder.limit_starts(
            step.where, rate=rate, most=step.number or None, expires_in=expiry,
            selection=selection, **by,
        ),
        "lift": lambda: shedder.lift_limit(step.where, **by),
        "degrade": lambda: shedder.degrade_flag(
            step.where, percent=10 * step.number + 5, force=True, **by
        ),
        "flag restore": lambda: shedder.restore_flag(step.where, **by),
        "limit": lambda: shedder.set_limit(step.where, rate, force=True, **by),
        "clear": lambda: shedder.clear_limit(step.where, **by),
    }  # fmt: skip
    return acts[step.what]()


CHANGES = ("pause", "resume", "divert", "drain", "restore", "limit starts", "lift", "degrade",
           "flag restore", "limit", "clear")  # fmt: skip
STEPS = st.builds(
    Step,
    what=st.sampled_from((*CHANGES, *("divert", "drain") * 2, *("undo",) * 8)),
    who=st.sampled_from(("ana@desk", "bob@desk")),
    where=st.sampled_from(tuple(TARGETS)),
    number=st.integers(0, 3),
)


def state_of(scene: Scene) -> State:
    """What stands now, with the events that set it."""
    found: State = {}
    for kind, key in (("pause", scene.keys.pauses), ("flag", scene.keys.flags),
                      ("limit", scene.keys.limits)):  # fmt: skip
        for name, text in scene.redis.hgetall(key).items():
            found[kind, name.decode()] = _plain(json.loads(text))
    for lane, text in scene.redis.hgetall(scene.keys.diverts).items():
        for record in json.loads(text):
            found["order", lane.decode(), record["id"]] = _plain(record)
    return found


def _plain(record: Any) -> Any:
    """A record without what no operator has said, its numbers as exact as they are stored."""
    if isinstance(record, dict):
        return {name: _plain(each) for name, each in record.items() if name != "scanning" and each}
    return float(f"{record:.10g}") if isinstance(record, float) else record


def _play(scene: Scene, model: Model, step: Step) -> None:
    seen = len(scene.shedder.events(limit=1000))
    with contextlib.suppress(NothingMatched):  # a flag or a limit that nobody has set
        act(scene.shedder, step)
    model.note(scene.shedder.events(limit=1000)[seen:], state_of(scene))


def _undo(scene: Scene, model: Model, step: Step) -> None:
    events = scene.shedder.events(limit=1000)
    chosen = [event for event in events if event.can_undo and event.id in model.changes]
    if step.number >= len(chosen):
        return
    event = chosen[-1 - step.number]
    expected = model.after_undo(event)
    refusal = _try(scene.shedder, event, step.who)
    found = state_of(scene)
    if refusal:
        assert expected is None or "brought back" in refusal, (refusal, event)
        assert model.standing == found
    else:
        assert expected == found, event
        model.note(scene.shedder.events(limit=1000)[len(events) :], found)


def _try(shedder: Shedder, event: Event, who: str) -> str:
    """Undo `event`; why it was refused, empty when it was not."""
    try:
        shedder.undo(event.id, reason="undo", by=who)
    except CannotUndo as refusal:
        return refusal.reason
    return ""


@settings(max_examples=1000 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 100,
          phases=[phase for phase in settings().phases if phase is not Phase.explain],
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
          deadline=None)  # fmt: skip
@given(steps=st.lists(STEPS, min_size=4, max_size=16))
def test_the_state_after_an_undo_is_the_state_before_the_change(redis: Redis, steps: list[Step]) -> None:
    """Or the undo is refused and changes nothing, because somebody changed it since."""
    redis.flushall()
    scene, model = Scene(redis), Model()
    scene.fill("mail", "a", "b")
    scene.fill("mail", "c", function="app.report.build")
    scene.fill("mail.low", "d")
    for step in steps:
        (_undo if step.what == "undo" else _play)(scene, model, step)
    assert {"a", "b", "c", "d"} == {
        job for lane in TARGETS["mail"] for job in (*scene.waiting(lane), *scene.backlog(lane))
    }
