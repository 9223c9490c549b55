"""`shedder pause | resume`: the verbs, their wait and their receipts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from shedder.cli import asking, output
from shedder.cli.options import Request, Wait, change_options, expiry, expiry_option, maybe_duration_option, verb
from shedder.cli.progress import live_line, still_running_line
from shedder.cli.run import Run, trouble
from shedder.errors import RedisUnreachable
from shedder.lanes import names_of, targets_of
from shedder.wording import jobs_do

if TYPE_CHECKING:
    from shedder import Pause, PauseReceipt, ResumeReceipt, RunningJob


_EXAMPLES = (
    'shedder pause mail -r "database at 99 %"',
    'shedder pause mail.low reports --for 30m -r "nightly export"',
    'shedder pause mail --wait 5m -r "before the migration"',
    'shedder pause --all -r "stop the bleeding"',
)


@verb("pause", examples=_EXAMPLES)
@change_options
@expiry_option
@maybe_duration_option("--wait", help="Return when no job runs, or after DURATION.")
def pause(run: Run, *, request: Request, expires_in: timedelta | None, wait: Wait | None) -> int:
    """Stop jobs of a queue (or lane) from starting until it is resumed; they stay in place."""
    request = asking.settle_request(run, request, "pause", note="it is paused all the same")
    expires_in = expiry(run, expires_in, of="pause")
    run.unsure(f"whether {output.is_are(request.names)} paused", "status", *request.names)
    receipt = run.shedder.pause(*request.names, **request.cause, expires_in=expires_in)
    run.state = f"{output.is_are(request.names)} paused, and what runs goes on"
    if not run.is_json:
        run.screen.show(*pause_receipt(receipt, server=run.server_option))
    running = None
    if wait is not None:
        running = wait_for_running(run, request.names, limit=wait.limit)
        _tell_end(run, request, running)
    if run.is_json:
        run.emit("pause/1", receipt, still_running=running)
    return 3 if running else 0


def _tell_end(run: Run, request: Request, running: tuple[RunningJob, ...]) -> None:
    if running:
        jobs = output.listed([job.job_id for job in running], most=3)
        verb = "runs" if len(running) == 1 else "run"
        run.screen.warn(f"time is up and {jobs} still {verb}; {output.is_are(request.names)} paused")
    elif not run.is_json:
        run.screen.show(output.plain(f"No job of {output.listed(request.names)} runs any more."))


_RESUME_EXAMPLES = (
    'shedder resume mail -r "database is fine again"',
    'shedder resume mail.critical -r "receipts first"',
    'shedder resume --all -r "incident is over"',
)


@verb("resume", examples=_RESUME_EXAMPLES)
@change_options
def resume(run: Run, *, request: Request) -> int:
    """End the pause of a queue (or lane): its jobs start again, in their order."""
    request = asking.settle_request(run, request, "resume")
    run.unsure(f"whether {output.is_are(request.names)} resumed", "status", *request.names)
    receipt = run.shedder.resume(*request.names, **request.cause)
    run.state = f"{output.is_are(request.names)} resumed"
    run.tell("resume/1", receipt, resume_receipt)
    return 0


_STOCK = (
    "The jobs that wait were taken out of its reach; it still runs what reaches the queue past "
    "shedder from now on: jobs of other producers, of enqueue_many, of schedulers and retries."
)


def pause_receipt(receipt: PauseReceipt, *, server: str = "") -> output.Parts:
    """The receipt of a pause; `server` is the option that names the server."""
    lanes = [lane.lane for lane in receipt.lanes]
    resume = output.command("resume", *targets_of(lanes), server=server)
    return [
        output.headline(_paused(receipt, names_of(lanes)), style="bold yellow"),
        *_replaced([lane.replaced for lane in receipt.lanes if lane.replaced], receipt.at),
        *_restored([lane.restored for lane in receipt.lanes if lane.restored], receipt.at),
        *_not_paused(receipt),
        *output.lane_table(["waiting"], [(lane.lane, lane.waiting) for lane in receipt.lanes]),
        *output.running_part(receipt.running, receipt.at),
        *output.workers_part(receipt.workers, stock=_STOCK),
        *output.commands_part(("resume", resume), ("undo", output.command("undo", receipt.event, server=server))),
    ]


def resume_receipt(receipt: ResumeReceipt, *, server: str = "") -> output.Parts:
    """The receipt of the end of a pause."""
    ended = [lane for lane in receipt.lanes if lane.ended]
    if not ended:
        names = names_of(lane.lane for lane in receipt.lanes)
        return [output.headline(f"{output.is_are(names)} not paused: nothing to resume.")]
    waiting = sum(lane.waiting for lane in receipt.lanes)
    names = names_of(lane.lane for lane in ended)
    start = f"{jobs_do(waiting, 'wait', 'waits')} and may start" if waiting else "no job waits"
    parts: output.Parts = [
        output.headline(f"{output.is_are(names)} resumed: {start}.", style="bold green"),
        *_said("The pause stood", [lane.ended for lane in ended], receipt.at),
    ]
    others = names_of(lane.lane for lane in receipt.lanes if not lane.ended)
    if others:
        parts.append(output.plain(f"{output.listed(others)} {'was' if len(others) == 1 else 'were'} not paused."))
    parts += output.lane_table(["waiting"], [(lane.lane, lane.waiting) for lane in receipt.lanes])
    return [*parts, *output.commands_part(("undo", output.command("undo", receipt.event, server=server)))]


def _paused(receipt: PauseReceipt, names: Sequence[str]) -> str:
    waiting = sum(lane.waiting for lane in receipt.lanes)
    runs = len(receipt.running)
    still = f"{output.number(runs)} still {'runs' if runs == 1 else 'run'}" if runs else "none runs"
    until = output.until(receipt, receipt.at)
    return f"{output.is_are(names)} paused{until}: {jobs_do(waiting, 'wait', 'waits')}, {still}."


def _replaced(pauses: Sequence[Pause], now: datetime) -> output.Parts:
    said = "This takes the place of the pause"
    return output.plain_once(f"{said}{output.until(each, now)} {output.why_and_who(each, now)}" for each in pauses)


def _restored(pauses: Sequence[Pause], now: datetime) -> output.Parts:
    return output.plain_once(f"It is the pause {output.why_and_who(each, now)}{_until(each, now)}." for each in pauses)


def _until(pause: Pause, now: datetime) -> str:
    return "" if pause.until is None else f", until {output.clock(pause.until, now)}"


def _not_paused(receipt: PauseReceipt) -> output.Parts:
    names = names_of(lane.lane for lane in receipt.resumed)
    return [output.plain(f"{output.is_are(names)} not paused, as before.")] if names else []


def _said(what: str, pauses: Sequence[Pause | None], now: datetime) -> output.Parts:
    return output.plain_once(f"{what} {output.why_and_who(each, now)}" for each in pauses if each)


RETRY_SECONDS = 0.5


def wait_for_running(run: Run, targets: Sequence[str], *, limit: timedelta | None) -> tuple[RunningJob, ...]:
    """The jobs of `targets` that still run when `limit` is over; waits for a Redis that is away.

    Raises:
        RedisUnreachable: it is still away when `limit` is over.
    """
    deadline = time.monotonic() + limit.total_seconds() if limit else None
    with live_line(run.screen) as show:

        def show_running(jobs: tuple[RunningJob, ...]) -> None:
            if jobs:
                show(still_running_line(jobs, datetime.now(UTC)))

        while True:
            try:
                return run.shedder.wait_until_idle(*targets, timeout=_left(deadline), on_change=show_running)
            except RedisUnreachable as error:
                if deadline is not None and time.monotonic() >= deadline:
                    raise
                show(f"{trouble(error, run)}, trying again; {run.state}")
                time.sleep(RETRY_SECONDS)


def _left(deadline: float | None) -> timedelta | None:
    # Nothing left is no time limit to the facade, so there is always a little.
    return timedelta(seconds=max(deadline - time.monotonic(), 0.001)) if deadline else None
