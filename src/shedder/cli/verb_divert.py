"""`shedder divert`: move jobs to the backlog, those that wait and those that still arrive."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import click

from shedder.cli.asking import confirm, settle_targets
from shedder.cli.options import Asked, change_options, verb
from shedder.cli.shed_by_policy import shed_by_policy
from shedder.cli.text import command, is_are, listed, number
from shedder.cli.toes import settle_order
from shedder.errors import InvalidInput, ShedderError
from shedder.lanes import DEFAULT_PRIORITY, lane_of, parse_priority
from shedder.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shedder.cli.run import Run
    from shedder.records import DivertPreview, DivertReceipt


_EXAMPLES = (
    'shedder divert mail --priority low -r "only receipts now"',
    "shedder divert mail --function 'app.news.*' --dry-run",
    'shedder divert mail --meta tenant=acme --older-than 1h -r "acme floods us"',
    'shedder divert --all -r "shed by policy"',
)


@verb("divert", examples=_EXAMPLES)
@change_options
@click.option("--priority", "priorities", multiple=True, metavar="NAME",
              help="Only this lane of each queue; repeatable.")  # fmt: skip
@click.option("--function", "functions", multiple=True, metavar="GLOB",
              help="Only functions such as 'app.mail.*'; repeatable.")  # fmt: skip
@click.option("--meta", multiple=True, metavar="FIELD=VALUE",
              help="Only jobs with this in their meta; repeatable.")  # fmt: skip
@click.option("--older-than", metavar="DURATION", help="Only jobs enqueued so long ago.")
@click.option("-n", "--dry-run", is_flag=True, help="Show what it would do; change nothing.")
@click.option("-y", "--yes", "is_sure", is_flag=True, help="With --all: do not ask.")
def divert(
    run: Run, *, asked: Asked, priorities: tuple[str, ...], dry_run: bool, is_sure: bool,
    **criteria: Any,
) -> int:  # fmt: skip
    """Move jobs to the backlog: those that wait, and those that still arrive. None is deleted.

    With --all and nothing else it takes what the policy says may be shed, in the declared order.
    """
    selection = Selection.parse(**criteria)
    for priority in priorities:
        parse_priority(priority)
    _lanes_of(asked.names, priorities)  # refuses a contradiction before anything is touched
    if asked.is_all and not asked.names and not priorities and selection.is_whole:
        return shed_by_policy(run, asked, dry_run=dry_run, is_sure=is_sure)
    if dry_run:
        return _preview(run, asked, priorities, selection)
    order = settle_order(run, asked, "divert", note="it is diverted all the same")
    if asked.is_all:
        question = f"Divert {selection.describe()} of ALL queues ({listed(order.targets)})?"
        confirm(question, is_sure=is_sure)
    targets = _lanes_of(order.targets, priorities)
    check = command("status", *targets, server=run.server_option)
    run.state = f"whether {is_are(targets)} diverted, says: {check}"
    receipt = _divert(run, targets, selection, reason=order.reason, by=order.by)
    run.state = f"{is_are(targets)} diverted"
    _tell(run, receipt, targets)
    return 0


def _lanes_of(names: Sequence[str], priorities: Sequence[str]) -> tuple[str, ...]:
    if not priorities:
        return tuple(names)
    return tuple(dict.fromkeys(_lane(name, each) for name in names for each in priorities))


def _lane(name: str, priority: str) -> str:
    lane = lane_of(name)
    is_named = lane.priority != DEFAULT_PRIORITY or name.endswith(f".{DEFAULT_PRIORITY}")
    if is_named and lane.priority != priority:
        raise InvalidInput(
            name="--priority",
            value=priority,
            accepted=f"{lane.priority}, which {name} is, or name the queue {lane.queue}",
        )
    return f"{lane.queue}.{priority}"


def _divert(run: Run, targets: Sequence[str], selection: Selection, **cause: Any) -> DivertReceipt:
    from shedder.cli.progress import scan_bar

    with scan_bar(run.screen, f"diverting {listed(targets)}") as show:

        def note(looked_at: int, of: int) -> None:
            run.state = _half_way(targets, looked_at, of)
            if show is not None:
                show(looked_at, of)

        return run.shedder.divert(*targets, selection=selection, on_progress=note, **cause)


def _half_way(targets: Sequence[str], looked_at: int, of: int) -> str:
    return (
        f"{is_are(targets)} diverted, and {number(looked_at)} of {number(of)} waiting jobs were "
        "looked at; the workers go on with the rest, or say it again"
    )


def _preview(run: Run, asked: Asked, priorities: Sequence[str], selection: Selection) -> int:
    targets = _lanes_of(settle_targets(run, asked, "divert"), priorities)
    preview = _look(run, targets, selection)
    if run.is_json:
        run.emit("divert-preview/1", preview)
    else:
        from datetime import UTC, datetime

        from shedder.cli.receipts_backlog import divert_preview

        follow = command("divert", *targets, options=_words(selection), server=run.server_option)
        now = datetime.now(UTC)
        run.screen.show(*divert_preview(preview, now=now, next_command=follow))
    return 0 if preview.taken else 3


def _look(run: Run, targets: Sequence[str], selection: Selection) -> DivertPreview:
    from shedder.cli.progress import scan_bar

    with scan_bar(run.screen, f"looking at {listed(targets)}") as on_progress:
        return run.shedder.preview_divert(*targets, selection=selection, on_progress=on_progress)


def _words(selection: Selection) -> tuple[str, ...]:
    """The options that stand for `selection`."""
    from shedder.durations import format_duration

    words = [word for glob in selection.functions for word in ("--function", glob)]
    words += [word for pair in selection.meta for word in ("--meta", "=".join(pair))]
    if selection.older_than is not None:
        least = format_duration(selection.older_than, exact=True).replace(" ", "")
        words += ["--older-than", least]
    return tuple(words)


def _tell(run: Run, receipt: DivertReceipt, targets: Sequence[str]) -> None:
    if run.is_json:
        run.emit("divert/1", receipt)
        return
    from shedder.cli.receipts_backlog import divert_receipt

    preview = None
    if not receipt.moved and any(lane.waiting for lane in receipt.lanes):
        with contextlib.suppress(ShedderError):  # the divert stands: its receipt must be seen
            preview = _look(run, targets, receipt.selection)
    run.screen.show(*divert_receipt(receipt, preview=preview, server=run.server_option))
