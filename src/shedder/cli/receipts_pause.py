"""What does a person read after `pause` and `resume`?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shedder.cli.parts import (
    Parts,
    commands_part,
    headline,
    lane_table,
    plain,
    running_part,
    workers_part,
)
from shedder.cli.text import (
    age,
    clock,
    command,
    escaped,
    is_are,
    jobs_do,
    listed,
    number,
    targets_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from shedder.records import Pause, PauseReceipt, ResumeReceipt

_STOCK = (
    "The jobs that wait were taken out of its reach; it still runs what reaches the queue past "
    "shedder from now on: jobs of other producers, of enqueue_many, of schedulers and retries."
)


def pause_receipt(receipt: PauseReceipt, *, server: str = "") -> Parts:
    """The receipt of a pause; `server` is the option that names the server."""
    targets = targets_of(lane.lane for lane in receipt.lanes)
    resume = command("resume", *targets, server=server)
    undo = command("undo", receipt.event, server=server)
    return [
        headline(_paused(receipt, targets), style="bold yellow"),
        *_replaced([lane.replaced for lane in receipt.lanes if lane.replaced], receipt.at),
        *_restored([lane.restored for lane in receipt.lanes if lane.restored], receipt.at),
        *_not_paused(receipt),
        *lane_table(["waiting"], [(lane.lane, lane.waiting, 0) for lane in receipt.lanes]),
        *running_part(receipt.running, receipt.at),
        *workers_part(receipt.workers, stock=_STOCK),
        *commands_part(("resume", resume), ("undo", undo)),
    ]


def resume_receipt(receipt: ResumeReceipt, *, server: str = "") -> Parts:
    """The receipt of the end of a pause."""
    ended = [lane for lane in receipt.lanes if lane.ended]
    if not ended:
        names = targets_of(lane.lane for lane in receipt.lanes)
        return [headline(f"{is_are(names)} not paused: nothing to resume.")]
    waiting = sum(lane.waiting for lane in receipt.lanes)
    names = targets_of(lane.lane for lane in ended)
    parts: Parts = [
        headline(f"{is_are(names)} resumed: {_may_start(waiting)}.", style="bold green"),
        *_stood([lane.ended for lane in ended if lane.ended], receipt.at),
    ]
    others = targets_of(lane.lane for lane in receipt.lanes if not lane.ended)
    if others:
        parts.append(plain(f"{listed(others)} {'was' if len(others) == 1 else 'were'} not paused."))
    parts += lane_table(["waiting"], [(lane.lane, lane.waiting, 0) for lane in receipt.lanes])
    return [*parts, *commands_part(("undo", command("undo", receipt.event, server=server)))]


def why_and_who(control: Pause, now: datetime) -> str:
    """`since 02:11 UTC (38m) by oncall@ops: database at 99 %`."""
    since = f"since {clock(control.since, now)} ({age(control.since, now)})"
    return f"{since} by {escaped(control.by)}: {escaped(control.why)}"


def _paused(receipt: PauseReceipt, targets: Sequence[str]) -> str:
    waiting = sum(lane.waiting for lane in receipt.lanes)
    runs = len(receipt.running)
    still = f"{number(runs)} still {'runs' if runs == 1 else 'run'}" if runs else "none runs"
    until = ""
    if receipt.until is not None:
        until = f" until {clock(receipt.until, receipt.at)} ({age(receipt.at, receipt.until)})"
    return f"{is_are(targets)} paused{until}: {jobs_do(waiting, 'wait', 'waits')}, {still}."


def _may_start(waiting: int) -> str:
    if not waiting:
        return "no job waits"
    return f"{jobs_do(waiting, 'wait', 'waits')} and may start"


def _replaced(pauses: Sequence[Pause], now: datetime) -> Parts:
    return [plain(f"This takes the place of the pause {said}") for said in _said(pauses, now)]


def _restored(pauses: Sequence[Pause], now: datetime) -> Parts:
    lines = [f"It is the pause {why_and_who(pause, now)}{_until(pause, now)}." for pause in pauses]
    return [plain(line) for line in dict.fromkeys(lines)]


def _until(pause: Pause, now: datetime) -> str:
    return "" if pause.until is None else f", until {clock(pause.until, now)}"


def _not_paused(receipt: PauseReceipt) -> Parts:
    names = targets_of(lane.lane for lane in receipt.resumed)
    return [plain(f"{is_are(names)} not paused, as before.")] if names else []


def _stood(pauses: Sequence[Pause], now: datetime) -> Parts:
    return [plain(f"The pause stood {said}") for said in _said(pauses, now)]


def _said(pauses: Sequence[Pause], now: datetime) -> list[str]:
    return list(dict.fromkeys(why_and_who(pause, now) for pause in pauses))
