"""`shedder retry`: the verb, its preview, its progress and its receipts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from shedder.cli import asking, output
from shedder.cli.completion import complete_exceptions, complete_failed_functions, complete_shares
from shedder.cli.drain import drain_end, drain_halted, drain_receipt, watch_drain
from shedder.cli.options import (
    Request,
    Wait,
    change_options_with,
    defaults_in_force,
    force_option,
    maybe_duration_option,
    verb,
)
from shedder.cli.progress import live_line, scan_bar
from shedder.cli.run import FAILED, Refused, Run
from shedder.errors import RedisUnreachable
from shedder.lanes import targets_of
from shedder.queues.failed import FailedSelection
from shedder.selection import Selection
from shedder.units import Rate, format_share, parse_past, parse_share
from shedder.wording import counted

if TYPE_CHECKING:
    from shedder import DrainProgress, FailedGroup, RetryEnds, RetryPreview, RetryReceipt, RetryTakenBack


_EXAMPLES = (
    "shedder retry mail --error 'OperationalError*' --since 02:00 --dry-run",
    "shedder retry mail --exception '*Timeout*' --rate 50/s -r \"it is back\"",
    'shedder retry --all --first 20 --rate 5/second -r "a canary"',
    'shedder retry mail --stop -r "it fails again"',
)

_CRITERIA = ("functions", "exceptions", "errors", "since", "until", "meta", "attempts_below", "older_than")

STEP_SECONDS = 0.2


@verb("retry", examples=_EXAMPLES)
@change_options_with(force_option("Also bring back what the policy does not let come back"))
@click.option("--function", "functions", multiple=True, metavar="GLOB", shell_complete=complete_failed_functions,
              help="Only functions such as 'app.mail.*'; repeatable.")  # fmt: skip
@click.option("--exception", "exceptions", multiple=True, metavar="GLOB", shell_complete=complete_exceptions,
              help="Only with an exception of this class, such as '*Timeout*'; repeatable.")  # fmt: skip
@click.option("--error", "errors", multiple=True, metavar="GLOB", shell_complete=complete_exceptions,
              help="Only with this last line of the report, such as 'OperationalError*'; repeatable.")  # fmt: skip
@click.option("--since", metavar="TIME", help="Only jobs that failed then or later: 02:00 (UTC), or 38m ago.")
@click.option("--until", metavar="TIME", help="Only jobs that failed before then.")
@click.option("--meta", multiple=True, metavar="FIELD=VALUE", help="Only jobs with this in their meta; repeatable.")
@click.option("--attempts-below", type=int, metavar="N", help="Only jobs that were tried fewer times.")
@click.option("--older-than", metavar="DURATION", help="Only jobs that were enqueued longer ago.")
@click.option("--rate", metavar="RATE", help="The highest rate, such as 50/second; the policy's if absent.")
@click.option("--halt-at", metavar="SHARE", shell_complete=complete_shares,
              help="Halt when this share of its last 50 jobs failed again: 20%, or never; the policy's if absent, "
              "else 50%.")  # fmt: skip
@click.option("--first", type=int, metavar="N", help="Only the N jobs that failed first, and wait for their end.")
@click.option("--stop", is_flag=True, help="Stop; what has not started stays in the backlog.")
@click.option("-n", "--dry-run", is_flag=True, help="Show what would come back; change nothing.")
@click.option("--detach", is_flag=True, help="Give the order and return.")
@maybe_duration_option("--wait", help="Return when the backlog is empty, or after DURATION.")
@click.option("-y", "--yes", "is_sure", is_flag=True, help="With --all: do not ask.")
def retry(
    run: Run, *, request: Request, rate: str | None, halt_at: str | None, first: int | None, stop: bool,
    dry_run: bool, detach: bool, wait: Wait | None, is_sure: bool, **criteria: Any,
) -> int:  # fmt: skip
    """Bring failed jobs back: counted first, at a rate, and halted when they fail again.

    Criteria choose which; all that are given must hold. The jobs leave RQ's registry of failed jobs for
    the backlog of their lane, and start from there, those that failed first before the others.
    They keep their ids, their data and the time at which they were first enqueued.

    The order is kept in Redis and goes on when this command ends. It halts by itself when too many of
    the jobs fail again: the rest stays in the backlog, and the command exits with 1. `shedder undo` puts
    what has not started back among the failed jobs.
    """
    if stop:
        return _stop(run, request, [name for name, given in (("--rate", rate), ("--halt-at", halt_at),
                     ("--first", first), ("--dry-run", dry_run), *criteria.items()) if given])  # fmt: skip
    if detach and wait is not None:
        raise Refused("--detach and --wait exclude each other; leave one of them out")
    share = None if halt_at is None else parse_share(halt_at, name="--halt-at")
    pace = None if rate is None else Rate.parse(rate, name="--rate")
    if dry_run:
        return _preview(run, asking.settle_targets(run, request, "retry"), criteria, first)
    request = asking.settle_request(run, request, "retry")
    pace = pace or defaults_in_force(run).drain_rate or _asked_rate()
    selection = _selection(run, criteria)
    _confirm_all(request, selection, first, is_sure=is_sure)
    receipt = _order(run, request, selection, pace, share, first)
    if receipt.drain is None:
        run.tell("retry/1", receipt, retry_receipt, progress=None, ends=None)
        return 3
    if first is not None and not detach:
        return _canary(run, request, receipt, criteria, wait or Wait())
    is_shown = run.screen.is_watched and not detach
    if not is_shown and wait is None:
        run.tell("retry/1", receipt, partial(retry_receipt, asked=request.names), progress=None, ends=None)
        return 0
    return _watch(run, request, receipt, wait or Wait())


def _selection(run: Run, criteria: dict[str, Any]) -> FailedSelection:
    given = {name: criteria[name] for name in ("since", "until") if criteria[name] is not None}
    now = run.shedder.incidents.now() if given else None
    moments = {name: parse_past(text, now=now, name=f"--{name}") for name, text in given.items() if now}
    chosen = Selection.parse(**{name: criteria[name] for name in ("functions", "meta", "older_than")})
    return FailedSelection(
        chosen, criteria["exceptions"], criteria["errors"], moments.get("since"), moments.get("until"),
        criteria["attempts_below"],
    )  # fmt: skip


def _asked_rate() -> Rate:
    """The rate that the person at the terminal types.

    Raises:
        Refused: nobody can be asked.
    """
    if not asking.is_asking_possible():
        raise Refused("say at which rate: --rate 50/second; a policy can have a drain_rate for when nothing is said")
    said = click.prompt("At which rate, such as 50/second?", err=True, prompt_suffix=" ")
    return Rate.parse(said, name="--rate")


def _confirm_all(request: Request, selection: FailedSelection, first: int | None, *, is_sure: bool) -> None:
    if request.is_all and first is None:
        question = f"Bring {selection.describe()} of ALL queues ({output.listed(request.names)}) back?"
        asking.confirm(question, is_sure=is_sure)


def _order(
    run: Run, request: Request, selection: FailedSelection, pace: Rate, halt_at: float | None, first: int | None
) -> RetryReceipt:
    names = output.listed(request.names)
    run.unsure(f"how many failed jobs of {names} are in its backlog", "status", *request.names)
    with scan_bar(run.screen, f"bringing failed jobs of {names} back") as on_progress:
        receipt = run.shedder.retry(
            *request.names, selection=selection, rate=pace, halt_at=halt_at, first=first,
            force=request.is_forced, on_progress=on_progress, **request.cause,
        )  # fmt: skip
    stop = output.command("retry", *request.names, options=["--stop"], server=run.server_option)
    run.state = f"the order stands: {counted(receipt.jobs, 'failed job')} come back at {pace}; to stop it: {stop}"
    return receipt


def _stop(run: Run, request: Request, others: Sequence[str]) -> int:
    if others:
        raise Refused("--stop goes with queues and a reason only; leave the rest out")
    request = asking.settle_request(run, request, "stop the retry of")
    run.unsure(f"whether a retry of {output.listed(request.names)} goes on", "status", *request.names)
    receipt = run.shedder.stop_retry(*request.names, **request.cause)
    run.state = f"the retry of {output.listed(request.names)} has stopped"
    if not receipt.lanes:
        run.tell("drain/1", receipt, lambda *_, **__: [output.headline("No retry is under way there.")], progress=None)
        return 3
    run.tell("drain/1", receipt, partial(drain_receipt, asked=request.names), progress=None)
    return 0


def _preview(run: Run, request: Request, criteria: dict[str, Any], first: int | None) -> int:
    selection = _selection(run, criteria)
    with scan_bar(run.screen, f"looking at failed jobs of {output.listed(request.names)}") as on_progress:
        preview = run.shedder.preview_retry(*request.names, selection=selection, first=first, on_progress=on_progress)
    options = [*_words(criteria), *(() if first is None else ("--first", str(first))), "--rate", "50/second"]
    follow = output.command("retry", *request.names, options=options, server=run.server_option)
    run.tell("retry-preview/1", preview, partial(retry_preview, names=request.names, follow=follow))
    return 0 if preview.jobs else 3


def _words(criteria: dict[str, Any]) -> list[str]:
    """The options as they were given."""
    names = {"functions": "--function", "exceptions": "--exception", "errors": "--error"}
    words = []
    for name in _CRITERIA:
        given = criteria[name]
        for each in given if isinstance(given, tuple) else [] if given is None else [given]:
            words += [names.get(name, f"--{name.replace('_', '-')}"), str(each)]
    return words


def _watch(run: Run, request: Request, receipt: RetryReceipt, wait: Wait) -> int:
    if receipt.drain is None:
        return 3
    if not run.is_json:
        run.screen.show(*retry_receipt(receipt, asked=request.names, server=run.server_option))
    progress, took, is_done = watch_drain(run, receipt.drain, limit=wait.limit)
    is_halted = any(each.halted for each in progress)
    if run.is_json:
        run.emit("retry/1", receipt, progress=progress, ends=None)
    elif is_halted:
        run.screen.show(*drain_halted(progress, server=run.server_option))
    elif is_done:
        run.screen.show(*drain_end(progress, took=took))
    else:
        run.screen.warn(f"time is up; {run.state}")
    return FAILED if is_halted else 0 if is_done else 3


def _canary(run: Run, request: Request, receipt: RetryReceipt, criteria: dict[str, Any], wait: Wait) -> int:
    """Wait until the first jobs have ended, and say how they did."""
    if not run.is_json:
        run.screen.show(*retry_receipt(receipt, asked=request.names, server=run.server_option))
    ends, progress = _wait_for_ends(run, receipt, limit=wait.limit)
    if run.is_json:
        run.emit("retry/1", receipt, progress=progress, ends=ends)
    else:
        rest = ["--dry-run", *_words(criteria)]
        follow = output.command("retry", *request.names, options=rest, server=run.server_option)
        run.screen.show(*canary_end(ends, progress, follow=follow, server=run.server_option))
    return FAILED if ends.failed else 0 if ends.is_over else 3


def _wait_for_ends(
    run: Run, receipt: RetryReceipt, *, limit: timedelta | None
) -> tuple[RetryEnds, tuple[DrainProgress, ...]]:
    """How the first jobs ended, when all have, when their drain was stopped, or when time is up."""
    began = time.monotonic()
    with live_line(run.screen) as show:
        while True:
            found = _look(run, receipt)
            if found is not None:
                ends, progress = found
                show(_ends_line(ends))
                is_stopped = any(each.is_done and each.backlog for each in progress) and not ends.running
                is_late = limit is not None and time.monotonic() - began >= limit.total_seconds()
                if ends.is_over or is_stopped or is_late:
                    return found
            else:
                show("Redis is away, trying again; the order stands")
            time.sleep(STEP_SECONDS)


def _look(run: Run, receipt: RetryReceipt) -> tuple[RetryEnds, tuple[DrainProgress, ...]] | None:
    if receipt.drain is None:
        return None
    try:
        if any(worker.is_stock for worker in receipt.drain.workers):
            run.shedder.release_for_stock_workers(receipt.drain)
        progress = run.shedder.drain_progress(receipt.drain)
        return run.shedder.retry_ends(receipt), progress
    except RedisUnreachable:
        return None


def _ends_line(ends: RetryEnds) -> str:
    parts = [f"{ends.well + ends.failed + ends.gone} of {ends.jobs} have ended"]
    parts += [f"{count} {what}" for count, what in ((ends.running, "run"), (ends.failed, "failed again")) if count]
    return ", ".join(parts)


def retry_preview(preview: RetryPreview, *, names: Sequence[str] = (), follow: str = "", **_: str) -> output.Parts:
    """What a retry would bring back, and what to type next."""
    of = f"{counted(preview.failed, 'failed job')} of {output.listed(names)}"
    if not preview.jobs:
        said = f"None of {of} would come back: {output.escaped(preview.selection)}."
        return [output.headline(said, style="bold yellow"), *_lost(preview), *_errors(preview)]
    return [
        output.headline(f"{output.number(preview.jobs)} of {of} would come back."),
        output.plain(f"Nothing was changed. Selected: {output.escaped(preview.selection)}."),
        *_lost(preview),
        *_groups("would come back", preview.groups, preview.at),
        *_lanes(preview),
        *output.commands_part(("do it", f'{follow} -r "it is back"' if follow else "")),
    ]


def retry_receipt(receipt: RetryReceipt, *, asked: Sequence[str] = (), server: str = "") -> output.Parts:
    """The receipt of a retry."""
    if receipt.drain is None or receipt.drain.rate is None:
        said = f"No failed job comes back: {output.escaped(receipt.selection)}."
        return [output.headline(said, style="bold yellow"), *_lost(receipt), *_errors(receipt)]
    names = asked or targets_of(lane.lane for lane in receipt.lanes)
    come = "comes" if receipt.jobs == 1 else "come"
    return [
        output.headline(
            f"{output.number(receipt.jobs)} of {counted(receipt.failed, 'failed job')} {come} back at "
            f"{receipt.drain.rate}{' each' if len(receipt.lanes) > 1 else ''}."
        ),
        output.plain(_halts(receipt.drain.halt_at)),
        *_lost(receipt),
        *_groups("come back", receipt.groups, receipt.at),
        *_lanes(receipt),
        *output.workers_part(receipt.drain.workers, stock=_STOCK_RETRY),
        *output.commands_part(
            ("watch", output.command("status", *names, options=["--watch"], server=server)),
            ("stop", output.command("retry", *names, options=["--stop"], server=server)),
            ("undo", output.command("undo", receipt.event, server=server)),
        ),
    ]


def _halts(halt_at: float | None) -> str:
    if not halt_at:
        return "It does not halt by itself, even if every job fails again."
    share = format_share(halt_at)
    return f"It halts by itself when {share} of its last 50 jobs failed again, and at least 20 have ended."


_STOCK_RETRY = (
    "Where only stock workers serve, jobs leave the backlog while a worker of shedder runs somewhere on this Redis, or "
    "while `shedder retry` stays and shows its progress (--wait). How their jobs end is read from RQ's registries."
)


def canary_end(ends: RetryEnds, progress: Sequence[DrainProgress], *, follow: str, server: str = "") -> output.Parts:
    """How the first jobs of a retry ended, and what to type next."""
    failed = f", {output.number(ends.failed)} failed again" if ends.failed else ""
    why = output.listed([name for name, _ in ends.exceptions])
    also = [f"{count} {what}" for count, what in ((ends.running, "run"), (ends.waiting, "wait"), (ends.gone, "gone"))
            if count]  # fmt: skip
    said = f"{output.number(ends.well)} of {output.number(ends.jobs)} done{failed}{f' with {why}' if why else ''}"
    style = "bold red" if ends.failed else "bold green" if ends.is_over else "bold yellow"
    parts: output.Parts = [output.headline(f"{', '.join([said, *also])}.", style=style)]
    if any(each.halted for each in progress):
        parts += drain_halted(progress, server=server)
    return parts + output.commands_part(("what is left", follow))


def taken_back_receipt(receipt: RetryTakenBack, **_: str) -> output.Parts:
    """The receipt of the undo of a retry."""
    jobs = sum(lane.failed for lane in receipt.lanes)
    lost = sum(lane.lost for lane in receipt.lanes)
    are = "is" if jobs == 1 else "are"
    parts: output.Parts = [
        output.headline(f"{counted(jobs, 'job')} {are} among the failed again, as before.", style="bold green")
    ]
    parts += output.lane_table(["failed"], [(lane.lane, lane.failed) for lane in receipt.lanes])
    if lost:
        parts.append(output.plain(f"{counted(lost, 'job')} left out: cancelled, deleted or enqueued anew meanwhile."))
    return parts


def _lost(found: RetryPreview | RetryReceipt) -> output.Parts:
    parts: output.Parts = []
    if found.skipped:
        causes = [f"{output.number(jobs)} {_CAUSES.get(cause, cause)}" for cause, jobs in found.skipped.items()]
        parts.append(output.plain(f"Left out, because they cannot come back: {output.listed(causes, most=8)}."))
        parts.append(output.plain(f"  {output.listed([output.escaped(each) for each in found.skipped_names], most=5)}"))
    if found.came_back:
        parts.append(output.plain(f"{counted(found.came_back, 'job')} of them came back before, and failed again."))
    return parts


_CAUSES = {
    "gone": "whose data has expired",
    "policy": "of which the policy says retry = false (--force takes them along)",
    "taken": "taken by somebody else",
}


def _errors(found: RetryPreview | RetryReceipt) -> output.Parts:
    if not found.errors:
        return []
    made = output.table("the most common errors", ">jobs")
    for name, jobs in found.errors:
        output.row(made, name, output.number(jobs))
    return [output.blank(), made]


def _groups(heading: str, groups: Sequence[FailedGroup], now: datetime) -> output.Parts:
    made = output.table(heading, "exception", ">jobs", ">oldest", ">newest")
    for each in groups:
        ages = (output.age(each.oldest, now), output.age(each.newest, now))
        output.row(made, each.function, each.exception, output.number(each.jobs), *ages)
    return [output.blank(), made]


def _lanes(found: RetryPreview | RetryReceipt) -> output.Parts:
    if len(found.lanes) < 2:
        return []
    return output.lane_table(["jobs"], [(lane.lane, lane.jobs) for lane in found.lanes])
