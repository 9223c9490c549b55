"""The state after an undo is the state before the change, whatever others did in between.

A history of changes by several people is played against the server and against a plain model. The
model notes of each change, item by item, what stood before and what stands after. An undo is
allowed when each item is as that change left it, and then each is as it was before. In between jobs
arrive and start, drains come to their end, and the clock goes on by hours, so that what has an end
ends.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from shedder import Shedder
from shedder.errors import CannotUndo, ConditionNotMet, InvalidInput, NothingMatched, NothingToUndo
from shedder.events import Event, verb_of
from tests.features.scene import Scene
from tests.model.undo_steps import ACTS, OF_INCIDENTS, TARGETS, Item, State, Step, has_ended, state_of, steps_of
from tests.stepped import SteppedServer, stepped_server, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

REFUSED = (NothingMatched, ConditionNotMet, InvalidInput)
"""A flag that nobody has set, an incident that is not open: such a change is none."""

NOT_TRIED = ("brought back", "would have ended")
"""Of an undo of an undo of a drain, and of a limit over one that is over: it says what to do instead."""


@dataclass(slots=True)
class Model:
    """What must stand, and of each event what it changed: before and after, by item."""

    standing: State = field(default_factory=dict)
    changes: dict[str, dict[Item, tuple[Any, Any]]] = field(default_factory=dict)
    ran_out: dict[Item, Any] = field(default_factory=dict)
    undone: dict[str, str] = field(default_factory=dict)

    def note(self, events: Sequence[Event], found: State) -> None:
        """`events` have made the state `found`."""
        items = [each for each in {**self.standing, **found}
                 if self.standing.get(each) != found.get(each)]  # fmt: skip
        several = len([event for event in events if event.verb == "divert"]) > 1
        for event in events:
            changed = (item for item in items if _concerns(event, item))
            self.changes[event.id] = {
                item: (self.standing.get(item), found.get(item))
                for item in changed
                if not several or (found.get(item) or {}).get("event") == event.id
            }
            if event.undoes:
                self.undone[event.undoes] = event.id
        self.standing = found

    def go_on(self, found: State) -> None:
        """Without an operator `found` stands: drains have ended their diverts, and times are over."""
        for item, record in self.standing.items():
            if item not in found and record.get("drain") and not record.get("limit"):
                self.ran_out[item] = record
        assert {item: record for item, record in self.standing.items() if item in found} == found
        self.standing = found

    def is_own_change(self, event: Event, who: str) -> bool:
        """Whether `event` is a change of `who` that was not undone."""
        back = self.undone.get(event.id)
        is_undone = back is not None and back not in self.undone
        return event.by == who and event.can_undo and not event.undoes and not is_undone

    def after_undo(self, event: Event, now: float) -> State | None:
        """What stands once `event` is undone at `now`; None when that must be refused."""
        was = {item: None if item[0] != "incident" and has_ended(before, now) else before
               for item, (before, _) in self.changes[event.id].items()}  # fmt: skip
        verdicts = {item: self._verdict(item, was[item], after)
                    for item, (_, after) in self.changes[event.id].items()}  # fmt: skip
        if "changed" in verdicts.values() or self._is_closed(event):
            return None
        state = {**self.standing, **{item: was[item] for item, verdict in verdicts.items() if verdict == "set"}}
        state = {item: record for item, record in state.items() if record is not None}
        return None if state == self.standing else state

    def _is_closed(self, event: Event) -> bool:
        return verb_of(event).is_of_incident and ("incident", event.incident, "closed_at") in self.standing

    def _verdict(self, item: Item, before: Any, after: Any) -> str:
        """`set` as it was, `gone` for good, `same` as before, or `changed` by somebody."""
        now = self.standing.get(item)
        if item[0] == "order":
            return self._verdict_on_order(item, before, after, now)
        if now == after:
            return "set"
        return "same" if now == before and item[0] == "pause" else "changed"

    def _verdict_on_order(self, item: Item, before: Any, after: Any, now: Any) -> str:
        if after is None:
            return "changed" if now is not None or self._stands_alike(item, before) else "set"
        if now is None:
            return self._verdict_on_ended(item, before, after)
        if before is None and not after.get("limit"):  # its drains go with it
            return "set" if now["event"] == after["event"] else "changed"
        return "set" if now == after else "changed"

    def _verdict_on_ended(self, item: Item, before: Any, after: Any) -> str:
        """A divert that its last drain has ended stands again, unless it would have ended by then all the same."""
        if before is None or self.ran_out.get(item) != after:
            return "gone"
        if not before.get("drain", {"stay": True}).get("stay"):
            return "gone"
        return "changed" if self._stands_alike(item, before) else "set"

    def _stands_alike(self, item: Item, record: Any) -> bool:
        return any(
            other[:2] == item[:2] and each["selection"] == record["selection"]
            and not each.get("limit")
            for other, each in self.standing.items()
        )  # fmt: skip


def _concerns(event: Event, item: Item) -> bool:
    """Whether `event` is of what `item` is."""
    kind, name, *_ = (*item, "")
    if verb_of(event).is_of_incident:
        return kind == "incident" and name == event.incident
    if event.lanes:
        return name in event.lanes and kind == ("pause" if event.verb in ("pause", "resume") else "order")
    return kind == event.verb.partition(" ")[0]


@dataclass(slots=True)
class History:
    """A history as it is played: against the server, and beside it in the model."""

    server: SteppedServer
    scene: Scene
    model: Model = field(default_factory=Model)
    jobs: int = 0
    hours: int = 0
    ran: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def play(self, step: Step) -> None:
        """Play one step."""
        by_name = {"undo": self.undo, "undo last": self.undo_last, "arrive": self.arrive, "start": self.start,
                   "hour": self.pass_an_hour}  # fmt: skip
        by_name.get(step.what, self.change)(step)

    def new_events(self) -> tuple[Event, ...]:
        """The events since this was last called."""
        last = self.events[-1].id if self.events else "0-0"
        found = self.scene.shedder.events(limit=1000, after=last)
        self.events += found
        return found

    def change(self, step: Step) -> None:
        """A change by an operator."""
        self.new_events()
        with contextlib.suppress(*REFUSED):
            ACTS[step.what](self.scene.shedder, step)
        self.model.note(self.new_events(), state_of(self.scene))

    def arrive(self, step: Step) -> None:
        """A job arrives in each lane."""
        for lane in TARGETS[step.where]:
            self.jobs += 1
            function = ("app.mail.send", "app.report.build")[step.number % 2]
            self.scene.fill(lane, f"{self.jobs}", function=function)

    def start(self, step: Step) -> None:
        """Jobs start and end, until none may start."""
        self.ran += self.scene.run_all(step.where)
        self.model.go_on(state_of(self.scene))

    def pass_an_hour(self, _step: Step) -> None:
        """What is older than that has ended, if it has an end."""
        self.hours += 1
        self.server.step(3600 * self.hours)
        self.model.go_on(state_of(self.scene))

    def undo(self, step: Step) -> None:
        """The undo of one of the last changes, of whoever it was."""
        self.new_events()
        chosen = [event for event in self.events if event.can_undo and event.id in self.model.changes]
        if step.number < len(chosen):
            event = chosen[-1 - step.number]
            expected = self.model.after_undo(event, self.scene.server_ms())
            refusal = _try(self.scene.shedder, event, step.who)
            self.compare(event, expected, refusal, self.new_events())

    def compare(self, event: Event, expected: State | None, refusal: str, events: Sequence[Event]) -> None:
        """What stands is what was `expected`, or the undo was refused and changed nothing."""
        found = state_of(self.scene)
        if refusal:
            assert expected is None or any(words in refusal for words in NOT_TRIED), (refusal, event)
            assert self.model.standing == found
        else:
            # what has come to its end may still be put away by an undo
            assert (self.model.standing if expected is None else expected) == found, event
        self.model.note(events, found)

    def undo_last(self, step: Step) -> None:
        """The undo of somebody's own last change: the first that can be undone, and no later one."""
        self.new_events()
        now = self.scene.server_ms()
        own = [event for event in reversed(self.events) if self.model.is_own_change(event, step.who)]
        refusal = self.try_last(step.who)
        if refusal:
            can = [event for event in own if self.model.after_undo(event, now)]
            assert not (can and isinstance(refusal, NothingToUndo)), refusal
            assert self.model.standing == state_of(self.scene)
            return
        events = self.new_events()
        done = next(event for event in own if event.id == events[0].undoes)
        later = own[: own.index(done)]
        assert [] == [event for event in later if self.model.after_undo(event, now)], done
        self.compare(done, self.model.after_undo(done, now), "", events)

    def try_last(self, who: str) -> CannotUndo | None:
        """Undo the last change of `who`; the refusal, if it was refused."""
        try:
            self.scene.shedder.undo(reason="undo", by=who)
        except CannotUndo as refusal:
            return refusal
        return None

    def places(self) -> list[str]:
        """The jobs that wait, were set aside, or have run."""
        scene = self.scene
        stale = [job for lane in TARGETS["mail"] for job in scene.ids(scene.keys.stale(lane))]
        waiting = [job for lane in TARGETS["mail"] for job in (*scene.waiting(lane), *scene.backlog(lane))]
        return sorted([*waiting, *stale, *self.ran])


def _try(shedder: Shedder, event: Event, who: str) -> str:
    """Undo `event`; why it was refused, empty when it was not."""
    try:
        shedder.undo(event.id, reason="undo", by=who)
    except (CannotUndo, *REFUSED) as refusal:
        return str(refusal)
    return ""


@pytest.fixture(scope="module")
def clock() -> Iterator[SteppedServer]:
    """A server whose clock can be set, and which looks at its clock all the time."""
    with stepped_server() as server, server.client() as client:
        client.config_set("hz", 500)
        yield server


def play(clock: SteppedServer, steps: Sequence[Step]) -> None:
    """Play a whole history, and count its jobs at the end."""
    with clock.client() as redis:
        redis.flushall()
        clock.step(0)
        history = History(clock, Scene(redis))
        for step in (Step("arrive", "", "mail", 0), Step("arrive", "", "mail", 1), *steps):
            history.play(step)
        assert sorted(f"{job + 1}" for job in range(history.jobs)) == history.places()


often = settings(max_examples=1000 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 25,
                 phases=[phase for phase in settings().phases if phase is not Phase.explain],
                 suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
                 deadline=None)  # fmt: skip
ON_LANES = ("pause", "resume", "divert", "drain", "drain and stay", "stop", "restore", "limit starts", "lift", "shed",
            "policy", "replay")  # fmt: skip
ON_SETTINGS = ("pause", "degrade", "flag restore", "limit", "clear", "policy", "mitigate")


@often
@given(steps=steps_of(*ON_LANES, *("divert", "drain", "start") * 2))
def test_the_state_after_an_undo_is_the_state_before_the_change(clock: SteppedServer, steps: list[Step]) -> None:
    """Or the undo is refused and changes nothing, because somebody changed it since."""
    play(clock, steps)


@often
@given(steps=steps_of(*ON_SETTINGS, *("degrade", "limit", "hour") * 2))
def test_a_setting_after_an_undo_is_what_it_was(clock: SteppedServer, steps: list[Step]) -> None:
    """So is a policy, and an end in between counts."""
    play(clock, steps)


@often
@given(steps=steps_of("open", *OF_INCIDENTS, "pause"))
def test_the_record_of_an_incident_after_an_undo_is_what_it_was(clock: SteppedServer, steps: list[Step]) -> None:
    """So is what others wrote into it since."""
    play(clock, [Step("open", "ana@desk", "mail", 0), *steps])


@often
@given(steps=steps_of(*ACTS))
def test_an_undo_leaves_all_else_alone(clock: SteppedServer, steps: list[Step]) -> None:
    """Changes of all kinds in one history."""
    play(clock, steps)
