"""`shedder limit starts` and `limit lift`: how fast, and how many at once, jobs may start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from shedder.cli.defaults import expiry
from shedder.cli.options import Asked, change_options, expiry_option, verb
from shedder.cli.text import command, is_are
from shedder.cli.toes import settle_order
from shedder.errors import InvalidInput
from shedder.rates import Rate
from shedder.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from shedder.cli.parts import Parts
    from shedder.cli.run import Run
    from shedder.records import RestoreReceipt

STARTS_EXAMPLES = (
    'shedder limit starts mail --rate 20/second -r "database at 99 %"',
    "shedder limit starts reports --at-once 2 --function 'app.reports.*' -r \"slow disk\"",
    'shedder limit starts mail.low --rate 5/second --for 1h -r "after the outage"',
)

LIFT_EXAMPLES = ('shedder limit lift mail -r "database is fine"',)


def _rate(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Rate | None:
    return None if value is None else Rate.parse(value)


@verb("starts", examples=STARTS_EXAMPLES, short="How fast jobs of a queue may start.")
@change_options
@click.option("--rate", metavar="RATE", callback=_rate, help="At most so many starts.")
@click.option("--at-once", "most", type=int, metavar="N", help="At most N of them run at once.")
@click.option("--function", "functions", multiple=True, metavar="GLOB",
              help="Only functions such as 'app.mail.*'; repeatable.")  # fmt: skip
@expiry_option
def limit_starts(
    run: Run, *, asked: Asked, rate: Rate | None, most: int | None, functions: tuple[str, ...],
    expires_in: timedelta | None,
) -> int:  # fmt: skip
    """Let jobs start at most so fast, or so many at once.

    The bound holds for all that is named together. Jobs over it wait in order and pass nobody who
    is not limited; workers of shedder obey at once, a divert or a pause beats it.
    """
    if rate is None and (most is None or most < 1):
        raise InvalidInput(
            name="limit", value=most, accepted="--rate 20/second, or --at-once N with N from 1 on"
        )
    selection = Selection.parse(functions=functions)
    order = settle_order(run, asked, "limit", note="it is limited all the same")
    check = command("status", *order.targets, server=run.server_option)
    expires_in = expiry(run, expires_in, of="limit")
    run.state = f"whether {is_are(order.targets)} limited, says: {check}"
    receipt = run.shedder.limit_starts(
        *order.targets, rate=rate, most=most, selection=selection, expires_in=expires_in,
        reason=order.reason, by=order.by,
    )  # fmt: skip
    run.state = f"{is_are(order.targets)} limited"
    from shedder.cli.receipts_starts import limit_receipt

    _tell(run, "divert/1", receipt, limit_receipt)
    return 0


@verb("lift", examples=LIFT_EXAMPLES, short="End limits on starts.")
@change_options
def lift(run: Run, *, asked: Asked) -> int:
    """End the limits on starts of a queue (or lane); what waits under them is free to start."""
    order = settle_order(run, asked, "lift the limits of")
    check = command("status", *order.targets, server=run.server_option)
    run.state = f"whether the limits stand, says: {check}"
    receipt: RestoreReceipt = run.shedder.lift_limit(
        *order.targets, reason=order.reason, by=order.by
    )
    run.state = "they are lifted"
    from shedder.cli.receipts_starts import lift_receipt

    _tell(run, "restore/1", receipt, lift_receipt)
    return 0 if receipt.lanes else 3


def _tell(run: Run, schema: str, receipt: Any, told: Callable[..., Parts]) -> None:
    if run.is_json:
        run.emit(schema, receipt)
    else:
        run.screen.show(*told(receipt, server=run.server_option))
