"""`shedder divert`: the verb, its preview and its receipt."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from shedder.cli import asking, output
from shedder.cli.options import Request, change_options_with, force_option, verb
from shedder.cli.progress import Failing, scan_bar
from shedder.cli.run import Refused, Run
from shedder.errors import ShedderError
from shedder.lanes import lanes_of_target, names_of, parse_priority, targets_of, targets_with_priorities
from shedder.selection import Selection, is_literal
from shedder.units import format_duration
from shedder.wording import counted, jobs_do

if TYPE_CHECKING:
    from shedder import DivertPreview, DivertReceipt


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
@click.option("--meta", multiple=True, metavar="FIELD=VALUE", help="Only jobs with this in their meta; repeatable.")
@click.option("--older-than", metavar="DURATION", help="Only jobs that are older than this.")
@click.option("-n", "--dry-run", is_flag=True, help="Show what it would do; change nothing.")
@click.option("-y", "--yes", "is_sure", is_flag=True, help="With --all: do not ask.")
def divert(
    run: Run, *, request: Request, priorities: tuple[str, ...], dry_run: bool, is_sure: bool, **criteria: Any
) -> int:
    """Move jobs to the backlog: those that wait, and those that still arrive. None is deleted.

    `shedder shed` diverts what the policy allows.
    """
    selection = Selection.parse(**criteria)
    for priority in priorities:
        parse_priority(priority)
    targets_with_priorities(request.names, priorities)  # refuses a contradiction before anything is touched
    if request.is_all and not request.names and not priorities and selection.is_whole:
        _tell_of_shed(run, is_refused=not dry_run and not request.is_forced
                      and (is_sure or not asking.is_asking_possible()))  # fmt: skip
    if dry_run:
        return _preview(run, request, priorities, selection)
    request = asking.settle_request(run, request, "divert", note="it is diverted all the same")
    if request.is_all:
        question = f"Divert {selection.describe()} of ALL queues ({output.listed(request.names)})?"
        asking.confirm(question, is_sure=is_sure)
    targets = targets_with_priorities(request.names, priorities)
    run.unsure(f"whether {output.is_are(targets)} diverted", "status", *targets)
    receipt = _divert(run, targets, selection, **request.cause)
    run.state = f"{output.is_are(targets)} diverted"
    _tell(run, receipt, targets)
    return 0


def _tell_of_shed(run: Run, *, is_refused: bool) -> None:
    """Before 0.2 `divert --all` did what `shed` does, so that a script may still mean that."""
    if not run.shedder.policies.applied().policy.in_shed_order():
        return
    shed = output.command("shed", server=run.server_option)
    changed = f"divert --all now diverts every job of every queue; to divert what the policy allows: {shed}"
    if is_refused:
        raise Refused(f"{changed}; --force diverts every job")
    run.screen.warn(changed)


def _divert(run: Run, targets: Sequence[str], selection: Selection, **cause: Any) -> DivertReceipt:
    failing = Failing(run.shedder, targets)
    with scan_bar(run.screen, f"diverting {output.listed(targets)}", note=failing.said) as show:

        def note(looked_at: int, of: int) -> None:
            run.state = _half_way(targets, looked_at, of)
            if show is not None:
                show(looked_at, of)

        return run.shedder.divert(*targets, selection=selection, on_progress=note, **cause)


def _half_way(targets: Sequence[str], looked_at: int, of: int) -> str:
    were = "was" if of == 1 else "were"
    seen = f"{output.number(looked_at)} of {counted(of, 'waiting job')} {were} looked at"
    return f"{output.is_are(targets)} diverted, and {seen}; the workers go on with the rest, or say it again"


def _preview(run: Run, request: Request, priorities: Sequence[str], selection: Selection) -> int:
    targets = targets_with_priorities(asking.settle_targets(run, request, "divert").names, priorities)
    preview = _look(run, targets, selection)
    purpose, chosen = _next_step(preview, targets)
    follow = output.command("divert", *targets, options=_words(chosen), server=run.server_option)
    view = divert_preview(preview, now=datetime.now(UTC), next_command=(purpose, follow))
    run.tell("divert-preview/1", preview, view)
    return 0 if preview.taken else 3


def _next_step(preview: DivertPreview, targets: Sequence[str]) -> tuple[str, Selection]:
    """What to type next is for, and what it diverts.

    Of a queue as a whole it takes the function with most jobs: all of them would take along what
    customers wait for.
    """
    if not preview.taken:
        return "divert what arrives", preview.selection
    largest = next((name for name, _ in preview.functions if is_literal(name)), None)
    is_chosen = not preview.selection.is_whole or all(len(lanes_of_target(each)) == 1 for each in targets)
    if is_chosen or largest is None:
        return "do it", preview.selection
    return "divert most of it", Selection(functions=(largest,))


def _look(run: Run, targets: Sequence[str], selection: Selection) -> DivertPreview:
    with scan_bar(run.screen, f"looking at {output.listed(targets)}") as on_progress:
        return run.shedder.preview_divert(*targets, selection=selection, on_progress=on_progress)


def _words(selection: Selection) -> tuple[str, ...]:
    """The options that stand for `selection`."""
    words = [word for glob in selection.functions for word in ("--function", glob)]
    words += [word for pair in selection.meta for word in ("--meta", "=".join(pair))]
    if selection.older_than is not None:
        words += ["--older-than", format_duration(selection.older_than, exact=True).replace(" ", "")]
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


def divert_receipt(receipt: DivertReceipt, *, preview: DivertPreview | None = None, server: str = "") -> output.Parts:
    """The receipt of a divert; `preview` says what waits there when nothing was moved."""
    lanes = [lane.lane for lane in receipt.lanes]
    moved = [(lane.lane, lane.moved, lane.waiting) for lane in receipt.lanes]
    drain = output.command("drain", *targets_of(lanes), options=("--rate", "200/second"), server=server)
    return [
        output.headline(_diverted(receipt, names_of(lanes)), style="bold yellow"),
        output.plain(f"What still arrives goes there too: {output.escaped(receipt.selection.describe())}."),
        *output.lane_table(["to backlog", "waiting"], moved),
        *(_others(preview) if preview is not None else []),
        *output.workers_part(receipt.workers, stock=_STOCK_DIVERT),
        *output.commands_part(("bring back", drain), ("undo", output.command("undo", receipt.event, server=server))),
    ]


def divert_preview(preview: DivertPreview, *, now: datetime, next_command: tuple[str, str]) -> output.Parts:
    """What a divert would do, and what to type next: what for, and the command."""
    names = output.listed(names_of(lane.lane for lane in preview.lanes))
    if not preview.taken:
        said = f"Nothing that waits in {names} {'is known to match' if preview.undecided else 'matches'}: "
        return [
            output.headline(f"{said}{output.escaped(preview.selection.describe())}.", style="bold yellow"),
            *_undecided(preview),
            *_others(preview),
            *output.commands_part(next_command),
        ]
    oldest = min((lane.oldest for lane in preview.lanes if lane.oldest), default=None)
    waiting = counted(sum(lane.waiting for lane in preview.lanes), "job")
    taken = f"{output.number(preview.taken)} of {waiting} in {names}"
    old = f", the oldest {output.age(oldest, now)} old" if oldest else ""
    return [
        output.headline(f"{taken} would go to the backlog{old}."),
        output.plain(f"Nothing was changed. Selected: {output.escaped(preview.selection.describe())}."),
        *_undecided(preview),
        *output.lane_table(["taken", "waiting"], [(lane.lane, lane.taken, lane.waiting) for lane in preview.lanes]),
        *_functions("would go", preview.functions),
        *output.commands_part(next_command),
    ]


def _diverted(receipt: DivertReceipt, names: Sequence[str]) -> str:
    waiting = sum(lane.waiting for lane in receipt.lanes)
    if not receipt.moved:
        none = "nothing that waits matches" if waiting else "nothing waits"
        return f"{output.is_are(names)} diverted from now on; {none}, so no job was moved."
    went = "went" if receipt.moved != 1 else "has gone"
    left = jobs_do(waiting, "still wait", "still waits") if waiting else "none waits"
    return f"{counted(receipt.moved, 'job')} of {output.listed(names)} {went} to the backlog; {left}."


def _undecided(preview: DivertPreview) -> output.Parts:
    if not preview.undecided:
        return []
    jobs = jobs_do(preview.undecided, "may go too", "may go too")
    return [output.plain(f"{jobs}: what they say can only be read by the application. They stay until a shedder "
                         "worker meets them, and decides before they start.")]  # fmt: skip


def _others(preview: DivertPreview) -> output.Parts:
    if not preview.others:
        return [output.plain("Nothing waits there.")]
    return _functions("what waits there instead", preview.others)


def _functions(heading: str, functions: Sequence[tuple[str, int]]) -> output.Parts:
    if not functions:
        return []
    made = output.table(heading, ">jobs")
    for name, count in functions[:FUNCTIONS_SHOWN]:
        output.row(made, name, output.number(count))
    more = len(functions) - FUNCTIONS_SHOWN
    return [output.blank(), made, *([output.plain(f"and {counted(more, 'more function')}")] if more > 0 else [])]
