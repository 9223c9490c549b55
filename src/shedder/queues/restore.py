"""A backlog back into its lane at once: command, flow, receipts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from shedder.events import Cause, head_of_step
from shedder.queues.controls import Backlog, backlogs_of
from shedder.queues.pause import fold
from shedder.store.codec import server_time, text_of
from shedder.store.keys import Keys
from shedder.store.store import Command, Operation, Progress, Store

RESTORED_PER_STEP = 125
"""Jobs that one step of a restore looks at: it reads one field less of each than a scan."""

BACKLOGS_AT_ONCE = 8
"""Short backlogs whose first steps go in one round trip."""


@dataclass(frozen=True, slots=True)
class RestoreReceipt:
    """What `drain --at-once`, or the undo of a divert, did.

    Attributes:
        events: Ids of its events, one for each backlog.
        at: When it was finished (server's clock, UTC).
        lanes: The backlogs, one by one.
    """

    events: tuple[str, ...]
    at: datetime
    lanes: tuple[RestoredLane, ...]

    @property
    def restored(self) -> int:
        """Jobs put back in all."""
        return sum(lane.restored for lane in self.lanes)


@dataclass(frozen=True, slots=True)
class RestoredLane:
    """A backlog that is back in its lane.

    Attributes:
        lane: Its name.
        order: Id of the divert that ended.
        restored: Jobs put back.
    """

    lane: str
    order: str
    restored: int


@dataclass(frozen=True, slots=True)
class RestoreStep:
    """What one step of a restore did.

    Attributes:
        state: `more`, `done`, `ended` (there is no such order any more) or `fold` (the lane must
            be folded first).
        event: Id of the event, when it is done.
        restored: Jobs put back in this step.
        left: Jobs left in the backlog.
    """

    state: str
    event: str
    restored: int
    left: int


def restore_lanes(
    store: Store, lanes: Sequence[str], cause: Cause, on_progress: Progress | None = None
) -> RestoreReceipt:
    """Put all backlogs of `lanes` back."""
    backlogs = backlogs_of(store, lanes)
    receipt = restore_backlogs(store, backlogs, cause, on_progress=on_progress)
    # a process that died after the last step of a restore left the front of the lane where it was
    for lane in set(lanes).difference(lane for lane, _, _ in backlogs):
        fold(store, lane)
    return receipt


def restore_backlogs(
    store: Store,
    backlogs: Sequence[Backlog],
    cause: Cause,
    *,
    undoes: str = "",
    undid: str = "",
    set_by: Mapping[str, str] | None = None,
    on_progress: Progress | None = None,
) -> RestoreReceipt:
    """Put `backlogs` back where their jobs were.

    An undo says which event it `undoes`, and `undid` is that event's verb. With `set_by`, of each
    lane only an order that is as the event of that id has set it.
    """
    operation = Operation(on_progress, sum(jobs for _, _, jobs in backlogs))

    def step_of(lane: str, order: str) -> Command[RestoreStep]:
        return restore_lane(
            store.keys, lane, order, cause, operation=operation.id, step=operation.next_step(),
            undoes=undoes, undid=undid, set_by=set_by[lane] if set_by else "",
        )  # fmt: skip

    events, lanes = [], []
    for several in _portions(backlogs):
        steps = store.run_all([step_of(lane, order) for lane, order, _ in several])
        for (lane, order, _), step in zip(several, steps, strict=True):
            event, restored = _finished(store, lane, step, partial(step_of, lane, order), operation)
            if event:
                events.append(event)
                lanes.append(RestoredLane(lane, order, restored))
    return RestoreReceipt(tuple(events), server_time(store), tuple(lanes))


def _portions(backlogs: Sequence[Backlog]) -> Iterator[Sequence[Backlog]]:
    """Short backlogs a few at once; a long one alone, so that few lanes at a time are between two steps."""
    several: list[Backlog] = []
    for each in backlogs:
        if several and (len(several) == BACKLOGS_AT_ONCE or each[2] > RESTORED_PER_STEP):
            yield several
            several = []
        several.append(each)
        if each[2] > RESTORED_PER_STEP:
            yield several
            several = []
    if several:
        yield several


def restore_one(store: Store, lane: str, order: str, cause: Cause) -> tuple[str, int]:
    """Put one backlog back, in bounded steps; its event (empty: no such order) and the jobs."""
    operation = Operation()

    def next_step() -> Command[RestoreStep]:
        return restore_lane(store.keys, lane, order, cause, operation=operation.id, step=operation.next_step())

    return _finished(store, lane, store.run(next_step()), next_step, operation)


def _finished(
    store: Store, lane: str, step: RestoreStep, next_step: Callable[[], Command[RestoreStep]], operation: Operation
) -> tuple[str, int]:
    """Take the steps that follow the first one; the event and the jobs."""
    restored = step.restored
    operation.count(step.restored)
    while step.state in ("more", "fold"):
        if step.state == "fold":
            fold(store, lane)
        step = store.run(next_step())
        restored += step.restored
        operation.count(step.restored)
    if restored or step.state != "done":  # of an empty backlog nothing went to the front of the lane
        fold(store, lane)
    return step.event, restored


def restore_lane(
    keys: Keys,
    lane: str,
    order: str,
    cause: Cause,
    *,
    operation: str,
    step: int,
    undoes: str = "",
    undid: str = "",
    set_by: str = "",
) -> Command[RestoreStep]:
    """One step of putting the backlog of `order` back into `lane`.

    With `set_by`, only while the order is as the event of this id has set it.
    """
    head = head_of_step("restore", cause, lane, order, undoes, undid)
    return Command(
        "restore_lane",
        (keys.pauses, keys.diverts, keys.events, keys.operation(operation), *keys.lane(lane), keys.lane_lease(lane)),
        (f"restore {lane} {step}", head, lane, order, RESTORED_PER_STEP, keys.engine.jobs, set_by),
        lambda reply: RestoreStep(text_of(reply[0]), text_of(reply[1]), int(reply[2]), int(reply[3])),
    )
