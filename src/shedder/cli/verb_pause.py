"""`shedder pause`: let no job of a queue start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shedder.cli.asking import Order
from shedder.cli.defaults import expiry
from shedder.cli.options import (
    Asked,
    Wait,
    change_options,
    expiry_option,
    maybe_duration_option,
    verb,
)
from shedder.cli.text import command, is_are, listed
from shedder.cli.toes import settle_order

if TYPE_CHECKING:
    from datetime import timedelta

    from shedder.cli.run import Run
    from shedder.records import PauseReceipt, RunningJob


_EXAMPLES = (
    'shedder pause mail -r "database at 99 %"',
    'shedder pause mail.low reports --for 30m -r "nightly export"',
    'shedder pause mail --wait 5m -r "before the migration"',
    'shedder pause --all -r "stop the bleeding"',
)


@verb("pause", examples=_EXAMPLES)
@change_options
@expiry_option
@maybe_duration_option("--wait", help="Return when no job runs any more, or after DURATION.")
def pause(run: Run, *, asked: Asked, expires_in: timedelta | None, wait: Wait | None) -> int:
    """Let no job of a queue (or lane) start until it is resumed. Jobs stay where they are."""
    order = settle_order(run, asked, "pause", note="it is paused all the same")
    expires_in = expiry(run, expires_in, of="pause")
    run.state = _uncertain(run, order)
    receipt = run.shedder.pause(
        *order.targets,
        reason=order.reason,
        by=order.by,
        expires_in=expires_in,
    )
    run.state = f"{is_are(order.targets)} paused, and what runs goes on"
    if not run.is_json:
        _show(run, receipt)
    running = _wait(run, order, wait) if wait is not None else None
    if run.is_json:
        run.emit("pause/1", receipt, still_running=running)
    return 3 if running else 0


def _uncertain(run: Run, order: Order) -> str:
    check = command("status", *order.targets, server=run.server_option)
    return f"whether {is_are(order.targets)} paused, says: {check}"


def _show(run: Run, receipt: PauseReceipt) -> None:
    from shedder.cli.receipts_pause import pause_receipt

    run.screen.show(*pause_receipt(receipt, server=run.server_option))


def _wait(run: Run, order: Order, wait: Wait) -> tuple[RunningJob, ...]:
    from shedder.cli.pause_wait import wait_for_running

    running = wait_for_running(run, order.targets, limit=wait.limit)
    _tell_end(run, order, running)
    return running


def _tell_end(run: Run, order: Order, running: tuple[RunningJob, ...]) -> None:
    if running:
        jobs = listed([job.job_id for job in running], most=3)
        verb = "runs" if len(running) == 1 else "run"
        run.screen.warn(f"time is up and {jobs} still {verb}; {is_are(order.targets)} paused")
    elif not run.is_json:
        run.screen.out.print(f"No job of {listed(order.targets)} runs any more.")
