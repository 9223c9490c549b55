"""`shedder drain`: bring a backlog back, at a pace or at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from shedder.cli.asking import Order, confirm
from shedder.cli.defaults import defaults_in_force
from shedder.cli.failures import Refused
from shedder.cli.options import Asked, Wait, change_options, maybe_duration_option, verb
from shedder.cli.text import command, is_are, listed
from shedder.cli.toes import settle_order
from shedder.rates import Rate

if TYPE_CHECKING:
    from shedder.cli.run import Run
    from shedder.records import DrainReceipt


_EXAMPLES = (
    'shedder drain mail --rate 200/second -r "database is fine"',
    'shedder drain mail --rate 20/second -r "too fast"',
    'shedder drain mail --stop -r "database is slow again"',
    'shedder drain mail.low --at-once -r "only ten jobs"',
)


@verb("drain", examples=_EXAMPLES)
@change_options
@click.option(
    "--rate", metavar="RATE", help="At most so many, such as 200/second; the policy's if absent."
)
@click.option("--stay", "stays", is_flag=True, help="Keep the divert when its backlog is empty.")
@click.option("--stop", is_flag=True, help="Stop draining; the backlog stays.")
@click.option("--at-once", is_flag=True, help="Put everything back now, at no pace.")
@click.option("--detach", is_flag=True, help="Give the order and return.")
@maybe_duration_option("--wait", help="Return when the backlog is empty, or after DURATION.")
@click.option("-y", "--yes", "is_sure", is_flag=True, help="With --at-once: do not ask.")
def drain(
    run: Run, *, asked: Asked, rate: str | None, stays: bool, stop: bool, at_once: bool,
    detach: bool, wait: Wait | None, is_sure: bool,
) -> int:  # fmt: skip
    """Bring a backlog back, oldest job first, at a pace that the rest of the world stands.

    The order stands in Redis: it goes on when this command ends. On a terminal the command stays
    and shows how far it is. Said again, it changes the rate.
    """
    pace = _pace(run, rate, is_needed=not stop and not at_once)
    _check(pace, stop=stop, at_once=at_once, stays=stays)
    if detach and wait is not None:
        raise Refused("--detach and --wait exclude each other; leave one of them out")
    if at_once:
        return _restore(run, asked, is_sure=is_sure)
    order = settle_order(run, asked, "drain")
    receipt = _order(run, order, pace, stays=stays)
    is_shown = run.screen.is_watched and not detach and receipt.backlog > 0
    if pace is None or not receipt.lanes or not (is_shown or wait):
        _tell(run, receipt)
        return 0 if receipt.lanes else 3
    return _watch(run, receipt, wait or Wait())


def _pace(run: Run, rate: str | None, *, is_needed: bool) -> Rate | None:
    if rate is not None:
        return Rate.parse(rate, name="--rate")
    return defaults_in_force(run).drain_rate if is_needed else None


def _check(pace: Rate | None, *, stop: bool, at_once: bool, stays: bool) -> None:
    if [pace is not None, stop, at_once].count(True) != 1:
        raise Refused(
            "say how: one of --rate 200/second, --at-once and --stop; "
            "a policy can have a drain_rate for when nothing is said"
        )
    if stays and pace is None:
        raise Refused("--stay goes with --rate only; leave it out")


def _order(run: Run, order: Order, pace: Rate | None, *, stays: bool) -> DrainReceipt:
    check = command("status", *order.targets, server=run.server_option)
    run.state = f"whether {listed(order.targets)} drains, says: {check}"
    if pace is None:
        receipt = run.shedder.stop_drain(*order.targets, reason=order.reason, by=order.by)
        run.state = f"the drain of {listed(order.targets)} has stopped"
        return receipt
    receipt = run.shedder.drain(
        *order.targets, rate=pace, stays=stays, reason=order.reason, by=order.by
    )
    stop = command("drain", *order.targets, options=["--stop"], server=run.server_option)
    run.state = f"the order stands: {listed(order.targets)} drains at {pace}; to stop it: {stop}"
    return receipt


def _tell(run: Run, receipt: DrainReceipt) -> None:
    if run.is_json:
        run.emit("drain/1", receipt, progress=None)
        return
    from shedder.cli.receipts_backlog import drain_receipt

    run.screen.show(*drain_receipt(receipt, server=run.server_option))


def _watch(run: Run, receipt: DrainReceipt, wait: Wait) -> int:
    from shedder.cli.drain_watch import watch_drain
    from shedder.cli.receipts_backlog import drain_end, drain_receipt

    if not run.is_json:
        run.screen.show(*drain_receipt(receipt, server=run.server_option))
    end = watch_drain(run, receipt, limit=wait.limit)
    if run.is_json:
        run.emit("drain/1", receipt, progress=end.progress)
    elif end.is_done:
        run.screen.show(*drain_end(end.progress, took=end.took))
    else:
        run.screen.warn(f"time is up; {run.state}")
    return 0 if end.is_done else 3


def _restore(run: Run, asked: Asked, *, is_sure: bool) -> int:
    from shedder.cli.progress import scan_bar

    order = settle_order(run, asked, "drain")
    question = f"Put the whole backlog of {listed(order.targets)} back at once, at no pace?"
    confirm(question, is_sure=is_sure)
    check = command("status", *order.targets, server=run.server_option)
    run.state = f"how much of {listed(order.targets)} is back, says: {check}"
    with scan_bar(run.screen, f"bringing {listed(order.targets)} back") as on_progress:
        receipt = run.shedder.drain_at_once(
            *order.targets, reason=order.reason, by=order.by, on_progress=on_progress
        )
    run.state = f"{is_are(order.targets)} back in place"
    if run.is_json:
        run.emit("restore/1", receipt)
    else:
        from shedder.cli.receipts_backlog import restore_receipt

        run.screen.show(*restore_receipt(receipt))
    return 0 if receipt.lanes else 3
