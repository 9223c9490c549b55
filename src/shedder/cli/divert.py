"""Divert (and by policy)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import click

from shedder.cli.asking import confirm, reason_of, settle_order, settle_targets
from shedder.cli.options import Asked, change_options, verb
from shedder.cli.output import (
    Parts,
    age,
    blank,
    command,
    commands_part,
    escaped,
    headline,
    is_are,
    jobs_do,
    lane_table,
    listed,
    number,
    plain,
    row,
    table,
    targets_of,
    workers_part,
)
from shedder.cli.run import Refused
from shedder.errors import InvalidInput, ShedderError
from shedder.lanes import DEFAULT_PRIORITY, lane_of, parse_priority
from shedder.selection import Selection
from shedder.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from shedder.cli.run import Run
    from shedder.queues.divert import DivertReceipt
    from shedder.queues.preview import DivertPreview
    from shedder.queues.shed import ShedStep


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
@click.option("--older-than", metavar="DURATION", help="Only jobs enqueued longer ago than this.")
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
    from shedder.units import format_duration

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
    preview = None
    if not receipt.moved and any(lane.waiting for lane in receipt.lanes):
        with contextlib.suppress(ShedderError):  # the divert stands: its receipt must be seen
            preview = _look(run, targets, receipt.selection)
    run.screen.show(*divert_receipt(receipt, preview=preview, server=run.server_option))


def shed_by_policy(run: Run, asked: Asked, *, dry_run: bool, is_sure: bool) -> int:
    """Divert what the policy says may be shed, or show it.

    Raises:
        Refused: no policy says what may be shed.
    """
    policies = run.shedder.policies
    if not policies.applied().policy.in_shed_order():
        raise Refused(
            "--all sheds what the policy says may be shed, and no policy in force says so: "
            "write one (`shedder policy init`), or name the queues to divert"
        )
    if dry_run:
        return _tell_shed(run, policies.preview_shed(), "shed-preview/1")
    reason = reason_of(asked, "shed by policy")
    confirm("Divert all that the policy says may be shed?", is_sure=is_sure)
    run.state = f"what is diverted, says: {command('status', server=run.server_option)}"
    steps = policies.shed(reason=reason, by=asked.by)
    run.state = "it is done"
    return _tell_shed(run, steps, "shed/1")


def _tell_shed(run: Run, steps: Sequence[ShedStep], schema: str) -> int:
    if run.is_json:
        run.emit(schema, {"steps": steps})
    else:
        run.screen.show(*_view(steps, server=run.server_option))
    return 0 if any(_jobs(step) or step.receipt for step in steps) else 3


def _view(steps: Sequence[ShedStep], *, server: str) -> Parts:
    from shedder.cli.output import commands_part, headline, plain

    total = sum(map(_jobs, steps))
    is_done = any(step.receipt for step in steps)
    went = jobs_do(total, "went", "went") if is_done else jobs_do(total, "would go", "would go")
    parts: Parts = [
        headline(f"{went} to the backlog, by {counted(len(steps), 'rule')} of the policy.")
    ]
    parts += [plain(_line(step)) for step in steps]
    undo = [
        (f"undo {step.shed}", command("undo", step.receipt.event, server=server))
        for step in steps
        if step.receipt
    ]
    return [*parts, *(commands_part(*undo) if undo else [])]


def _line(step: ShedStep) -> str:
    name = escaped(step.noun or step.matches)
    return f"{step.shed}. {name}: {counted(_jobs(step), 'job')} of {listed(step.queues)}"


def _jobs(step: ShedStep) -> int:
    if step.receipt is not None:
        return step.receipt.moved
    return step.preview.taken if step.preview is not None else 0


FUNCTIONS_SHOWN = 10

_STOCK_DIVERT = (
    "What producers without shedder add it may run before it is diverted; the jobs in the backlog "
    "are out of its reach."
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
