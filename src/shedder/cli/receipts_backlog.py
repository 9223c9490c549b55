"""What does a person read after `divert` and `drain`?"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from shedder.cli.parts import (
    Parts,
    blank,
    commands_part,
    headline,
    lane_table,
    plain,
    row,
    table,
    workers_part,
)
from shedder.cli.text import age, command, escaped, is_are, jobs_do, listed, number, targets_of
from shedder.counts import counted
from shedder.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from shedder.rates import Rate
    from shedder.records import (
        DivertPreview,
        DivertReceipt,
        DrainProgress,
        DrainReceipt,
        RestoreReceipt,
    )

FUNCTIONS_SHOWN = 10
LONGEST_FORECAST = timedelta(days=365)

_STOCK_DIVERT = (
    "What producers without shedder add it may run before it is diverted; the jobs in the backlog "
    "are out of its reach."
)
_STOCK_DRAIN = (
    "Where only stock workers serve, jobs leave the backlog while a worker of shedder runs "
    "somewhere on this Redis, or while `shedder drain` stays and shows its progress (--wait)."
)


def divert_receipt(
    receipt: DivertReceipt, *, preview: DivertPreview | None = None, server: str = ""
) -> Parts:
    """The receipt of a divert; `preview` says what waits there when nothing was moved."""
    targets = targets_of(lane.lane for lane in receipt.lanes)
    drain = command("drain", *targets, options=("--rate", "200/second"), server=server)
    undo = command("undo", receipt.event, server=server)
    return [
        headline(_diverted(receipt, targets), style="bold yellow"),
        plain(f"What still arrives goes there too: {escaped(receipt.selection.describe())}."),
        *lane_table(
            ["to backlog", "waiting"],
            [(lane.lane, lane.moved, lane.waiting) for lane in receipt.lanes],
        ),
        *(_others(preview) if preview is not None else []),
        *workers_part(receipt.workers, stock=_STOCK_DIVERT),
        *commands_part(("bring back", drain), ("undo", undo)),
    ]


def divert_preview(preview: DivertPreview, *, now: datetime, next_command: str) -> Parts:
    """What a divert would do, and the command that does it."""
    targets = targets_of(lane.lane for lane in preview.lanes)
    waiting = sum(lane.waiting for lane in preview.lanes)
    if not preview.taken:
        said = f"Nothing that waits in {listed(targets)} matches: "
        return [
            headline(f"{said}{escaped(preview.selection.describe())}.", style="bold yellow"),
            *_others(preview),
            *commands_part(("divert what arrives", next_command)),
        ]
    oldest = min((lane.oldest for lane in preview.lanes if lane.oldest), default=None)
    old = f", the oldest {age(oldest, now)} old" if oldest else ""
    return [
        headline(f"{number(preview.taken)} of {counted(waiting, 'job')} in {listed(targets)} would "
                 f"go to the backlog{old}."),
        plain(f"Nothing was changed. Selected: {escaped(preview.selection.describe())}."),
        *lane_table(["taken", "waiting"],
                    [(lane.lane, lane.taken, lane.waiting) for lane in preview.lanes]),
        *_functions("would go", preview.functions),
        *commands_part(("do it", next_command)),
    ]  # fmt: skip


def drain_receipt(receipt: DrainReceipt, *, server: str = "") -> Parts:
    """The receipt of a drain order, of a new rate, or of the end of a drain."""
    targets = targets_of(lane.lane for lane in receipt.lanes)
    if not receipt.lanes:
        return [headline("No divert is in force there: nothing to drain.")]
    commands = [("undo", command("undo", receipt.event, server=server))]
    if receipt.rate is not None:
        stop = command("drain", *targets, options=["--stop"], server=server)
        commands = [("watch", command("status", *targets, options=["--watch"], server=server)),
                    ("stop", stop), *commands]  # fmt: skip
    return [
        headline(_drains(receipt, targets), style="bold"),
        *lane_table(["backlog"], [(lane.lane, lane.backlog, 0) for lane in receipt.lanes]),
        *workers_part(receipt.workers, stock=_STOCK_DRAIN),
        *commands_part(*commands),
    ]


def drain_end(progress: Sequence[DrainProgress], *, took: timedelta) -> Parts:
    """What a drain that was watched to its end did."""
    names = targets_of(each.lane for each in progress)
    released = sum(each.released for each in progress)
    left = sum(each.backlog for each in progress)
    said = f"{counted(released, 'job')} released in {format_duration(took)}"
    if left:
        said += f", {jobs_do(left, 'stay', 'stays')} in the backlog: the drain was stopped"
    parts: Parts = [headline(f"The backlog of {listed(names)}: {said}.", style="bold green")]
    standing = targets_of(each.lane for each in progress if not each.is_done)
    if standing:
        parts.append(
            plain(f"{is_are(standing)} still diverted: what arrives there is drained too.")
        )
    return parts + _skipped(progress)


def restore_receipt(receipt: RestoreReceipt) -> Parts:
    """The receipt of a backlog that is back in its lane at once."""
    targets = targets_of(lane.lane for lane in receipt.lanes)
    if not receipt.lanes:
        return [headline("No divert is in force there: nothing to bring back.")]
    are = "are" if receipt.restored != 1 else "is"
    said = f"{counted(receipt.restored, 'job')} of {listed(targets)} {are} back in place"
    return [
        headline(f"{said}; the divert has ended.", style="bold green"),
        *lane_table(["back"], [(lane.lane, lane.restored, 0) for lane in receipt.lanes]),
    ]


def _diverted(receipt: DivertReceipt, targets: Sequence[str]) -> str:
    waiting = sum(lane.waiting for lane in receipt.lanes)
    if not receipt.moved:
        none = "nothing that waits matches" if waiting else "nothing waits"
        return f"{is_are(targets)} diverted from now on; {none}, so no job was moved."
    went = "went" if receipt.moved != 1 else "has gone"
    left = jobs_do(waiting, "still wait", "still waits") if waiting else "none waits"
    return f"{counted(receipt.moved, 'job')} of {listed(targets)} {went} to the backlog; {left}."


def _others(preview: DivertPreview) -> Parts:
    if not preview.others:
        return [plain("Nothing waits there.")]
    return _functions("what waits there instead", preview.others)


def _functions(heading: str, functions: Sequence[tuple[str, int]]) -> Parts:
    if not functions:
        return []
    made = table(heading, ">jobs")
    for name, count in functions[:FUNCTIONS_SHOWN]:
        row(made, name, number(count))
    more = len(functions) - FUNCTIONS_SHOWN
    return [blank(), made, *([plain(f"and {counted(more, 'more function')}")] if more > 0 else [])]


def _drains(receipt: DrainReceipt, targets: Sequence[str]) -> str:
    jobs = jobs_do(receipt.backlog, "wait", "waits")
    if receipt.rate is None:
        return f"The drain of {listed(targets)} has stopped: {jobs} in the backlog."
    filled = [lane.backlog for lane in receipt.lanes if lane.backlog]
    each = " each" if len(filled) > 1 else ""
    before = {str(lane.rate_before) for lane in receipt.lanes if lane.rate_before}
    was = f" (it was {listed(sorted(before))})" if before and before != {str(receipt.rate)} else ""
    forecast = _forecast(max(filled, default=0), receipt.rate)
    drain = f"The backlog of {listed(targets)} drains at {receipt.rate}{each}{was}"
    return f"{drain}: {counted(receipt.backlog, 'job')}{forecast}."


def _forecast(backlog: int, rate: Rate) -> str:
    seconds = backlog / rate.per_second
    if seconds > LONGEST_FORECAST.total_seconds():
        return ", more than a year"
    return f", at least {format_duration(seconds)}" if seconds >= 1 else ""


def _skipped(progress: Sequence[DrainProgress]) -> Parts:
    causes: dict[str, int] = {}
    for each in progress:
        for cause, count in each.skipped.items():
            causes[cause] = causes.get(cause, 0) + count
    if not causes:
        return []
    said = listed([f"{number(count)} {cause}" for cause, count in causes.items()], most=8)
    names = [name for each in progress for name in each.skipped_names]
    return [plain(f"Skipped, because they could not run any more: {said}."),
            plain(f"  {listed(names, most=10)}")]  # fmt: skip
