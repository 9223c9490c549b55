"""`shedder divert`: the verb, its preview and its receipt."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from shedder.cli.asking import confirm, is_asking_possible, settle_request, settle_targets
from shedder.cli.options import Request, change_options_with, force_option, verb
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
from shedder.cli.progress import scan_bar
from shedder.cli.run import Refused
from shedder.errors import InvalidInput, ShedderError
from shedder.lanes import DEFAULT_PRIORITY, lane_of, parse_priority
from shedder.selection import Selection
from shedder.units import format_duration
from shedder.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shedder.cli.run import Run
    from shedder.queues.divert import DivertReceipt
    from shedder.queues.preview import DivertPreview


_EXAMPLES = (
    'shedder divert mail --priority low -r "only receipts now"',
    "shedder divert mail --function 'app.news.*' --dry-run",
    'shedder divert mail --meta tenant=acme --older-than 1h -r "acme floods us"',
    'shedder divert --all --older-than 1d -r "too old to be of use"',
)


@verb("divert", examples=_EXAMPLES)
@change_options_with(force_option("Also divert --all where the policy says what may be shed"))
@click.option("--priority", "priorities", multiple=True, metavar="NAME",
              help="Only this lane of each queue; repeatable.")  # fmt: skip
@click.option("--function", "functions", multiple=True, metavar="GLOB",
              help="Only functions such as 'app.mail.*'; repeatable.")  # fmt: skip
@click.option("--meta", multiple=True, metavar="FIELD=VALUE",
              help="Only jobs with this in their meta; repeatable.")  # fmt: skip
@click.option("--older-than", metavar="DURATION", help="Only jobs that are older than this.")
@click.option("-n", "--dry-run", is_flag=True, help="Show what it would do; change nothing.")
@click.option("-y", "--yes", "is_sure", is_flag=True, help="With --all: do not ask.")
def divert(
    run: Run, *, request: Request, priorities: tuple[str, ...], dry_run: bool, is_sure: bool,
    **criteria: Any,
) -> int:  # fmt: skip
    """Move jobs to the backlog: those that wait, and those that still arrive. None is deleted.

    `shedder shed` diverts what the policy allows.
    """
    selection = Selection.parse(**criteria)
    for priority in priorities:
        parse_priority(priority)
    _lanes_of(request.names, priorities)  # refuses a contradiction before anything is touched
    if request.is_all and not request.names and not priorities and selection.is_whole:
        _tell_of_shed(run, is_refused=not dry_run and not request.is_forced
                      and (is_sure or not is_asking_possible()))  # fmt: skip
    if dry_run:
        return _preview(run, request, priorities, selection)
    request = settle_request(run, request, "divert", note="it is diverted all the same")
    if request.is_all:
        question = f"Divert {selection.describe()} of ALL queues ({listed(request.names)})?"
        confirm(question, is_sure=is_sure)
    targets = _lanes_of(request.names, priorities)
    run.unsure(f"whether {is_are(targets)} diverted", "status", *targets)
    receipt = _divert(run, targets, selection, **request.cause)
    run.state = f"{is_are(targets)} diverted"
    _tell(run, receipt, targets)
    return 0


def _tell_of_shed(run: Run, *, is_refused: bool) -> None:
    """Before 0.2 `divert --all` did what `shed` does, so that a script may still mean that."""
    if not run.shedder.policies.applied().policy.in_shed_order():
        return
    changed = (
        "divert --all now diverts every job of every queue; to divert what the policy allows: "
        f"{command('shed', server=run.server_option)}"
    )
    if is_refused:
        raise Refused(f"{changed}; --force diverts every job")
    run.screen.warn(changed)


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


def _preview(run: Run, request: Request, priorities: Sequence[str], selection: Selection) -> int:
    targets = _lanes_of(settle_targets(run, request, "divert").names, priorities)
    preview = _look(run, targets, selection)
    follow = command("divert", *targets, options=_words(selection), server=run.server_option)
    view = divert_preview(preview, now=datetime.now(UTC), next_command=follow)
    run.tell("divert-preview/1", preview, view)
    return 0 if preview.taken else 3


def _look(run: Run, targets: Sequence[str], selection: Selection) -> DivertPreview:
    with scan_bar(run.screen, f"looking at {listed(targets)}") as on_progress:
        return run.shedder.preview_divert(*targets, selection=selection, on_progress=on_progress)


def _words(selection: Selection) -> tuple[str, ...]:
    """The options that stand for `selection`."""
    words = [word for glob in selection.functions for word in ("--function", glob)]
    words += [word for pair in selection.meta for word in ("--meta", "=".join(pair))]
    if selection.older_than is not None:
        least = format_duration(selection.older_than, exact=True).replace(" ", "")
        words += ["--older-than", least]
    return tuple(words)


def _tell(run: Run, receipt: DivertReceipt, targets: Sequence[str]) -> None:
    preview = None
    if not run.is_json and not receipt.moved and any(lane.waiting for lane in receipt.lanes):
        with contextlib.suppress(ShedderError):  # the divert stands: its receipt must be seen
            preview = _look(run, targets, receipt.selection)
    run.tell("divert/1", receipt, partial(divert_receipt, preview=preview))


FUNCTIONS_SHOWN = 10

_STOCK_DIVERT = (
    "What producers without shedder add it may run before it is diverted; the jobs in the backlog are out of its reach."
)


def divert_receipt(receipt: DivertReceipt, *, preview: DivertPreview | None = None, server: str = "") -> Parts:
    """The receipt of a divert; `preview` says what waits there when nothing was moved."""
    targets = targets_of(lane.lane for lane in receipt.lanes)
    drain = command("drain", *targets, options=("--rate", "200/second"), server=server)
    undo = command("undo", receipt.event, server=server)
    return [
        headline(_diverted(receipt, targets), style="bold yellow"),
        plain(f"What still arrives goes there too: {escaped(receipt.selection.describe())}."),
        *lane_table(["to backlog", "waiting"], [(lane.lane, lane.moved, lane.waiting) for lane in receipt.lanes]),
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
