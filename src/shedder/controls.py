"""How are lanes paused and resumed?

Each function decides and returns a command; `Store` sends it. The flow of a pause is in
`rq.pausing`, because it must know the workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shedder.errors import RecordUnreadable
from shedder.journal import event_head
from shedder.keys import Keys
from shedder.lanes import Lane
from shedder.records import Cause, Pause, PausedLane, ResumedLane, ResumeReceipt
from shedder.store import Command
from shedder.stored import pause_from, text_of, time_from_ms

IDS_PER_STEP = 1000
"""Ids that one step of a fold or a park moves at most: about 1 ms of the server."""


@dataclass(frozen=True, slots=True)
class PauseSet:
    """A pause that is in force now.

    Attributes:
        event: Id of its event.
        at: Server's clock, UTC.
        lanes: What was done to each lane.
    """

    event: str
    at: datetime
    lanes: tuple[PausedLane, ...]


@dataclass(frozen=True, slots=True)
class ResumeSet:
    """Pauses that have ended.

    Attributes:
        receipt: What was done.
        unfolded: Lanes in front of whose list ids still stand.
    """

    receipt: ResumeReceipt
    unfolded: tuple[str, ...]


def pause_lanes(
    keys: Keys,
    lanes: Sequence[Lane],
    cause: Cause,
    *,
    operation: str,
    expires_in: timedelta | None = None,
    undoes: str = "",
) -> Command[PauseSet]:
    """Pause `lanes` until they are resumed, or for `expires_in`."""
    names = tuple(lane.name for lane in lanes)
    duration = int(expires_in.total_seconds() * 1000) if expires_in else 0
    head = event_head("pause", cause, names, undoes=undoes, duration_ms=duration or None)
    return Command(
        "pause_lanes",
        (keys.pauses, keys.events, keys.operation(operation), *keys.lanes(tuple(lanes))),
        ("pause", head, duration, cause.by, cause.why, *names),
        lambda reply: _pause_set(reply, names),
    )


def resume_lanes(
    keys: Keys, lanes: Sequence[Lane], cause: Cause, *, operation: str, undoes: str = ""
) -> Command[ResumeSet]:
    """End the pause of `lanes`."""
    names = tuple(lane.name for lane in lanes)
    head = event_head("resume", cause, names, undoes=undoes)
    return Command(
        "resume_lanes",
        (keys.pauses, keys.events, keys.operation(operation), *keys.lanes(tuple(lanes))),
        ("resume", head, *names),
        lambda reply: _resume_set(reply, names),
    )


def park_lane(keys: Keys, lane: str) -> Command[tuple[bool, int]]:
    """One step of taking the list of a paused lane out of the reach of stock workers.

    Its reply: whether nothing is left to move, and how many jobs are parked.
    """
    return Command(
        "park_lane",
        (keys.pauses, *keys.lane(lane)),
        (IDS_PER_STEP, lane),
        lambda reply: (bool(reply[0]), int(reply[1])),
    )


def fold_lane(keys: Keys, lane: str) -> Command[int]:
    """One step of making a lane one list again; its reply: ids still to be moved."""
    return Command("fold_lane", (keys.pauses, *keys.lane(lane)), (IDS_PER_STEP, lane), int)


def _pause_set(reply: list[Any], names: tuple[str, ...]) -> PauseSet:
    event, at, *rest = reply
    lanes = tuple(
        PausedLane(lane=name, waiting=int(waiting), replaced=_pause_or_none(name, previous))
        for name, previous, waiting in zip(names, rest[::2], rest[1::2], strict=True)
    )
    return PauseSet(text_of(event), time_from_ms(int(at)), lanes)


def _resume_set(reply: list[Any], names: tuple[str, ...]) -> ResumeSet:
    event, at, *rest = reply
    rows = list(zip(names, rest[::3], rest[1::3], rest[2::3], strict=True))
    lanes = tuple(
        ResumedLane(lane=name, waiting=int(waiting), ended=_pause_or_none(name, record))
        for name, record, waiting, _ in rows
    )
    receipt = ResumeReceipt(text_of(event), time_from_ms(int(at)), lanes)
    return ResumeSet(receipt, tuple(name for name, _, _, front in rows if int(front)))


def _pause_or_none(lane: str, record: bytes | str) -> Pause | None:
    """The pause that `record` describes; a damaged one is told as by nobody, never hidden."""
    try:
        return pause_from(lane, record)
    except RecordUnreadable as error:
        return Pause(lane, by="", why=str(error), since=time_from_ms(0))
