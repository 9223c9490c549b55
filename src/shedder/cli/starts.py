"""`shedder limit starts | lift`: limits on the starts of a queue's jobs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from shedder.cli import asking, output
from shedder.cli.options import Request, change_options, expiry, expiry_option, verb
from shedder.cli.run import Run
from shedder.errors import InvalidInput
from shedder.lanes import names_of, targets_of
from shedder.selection import Selection
from shedder.units import Rate
from shedder.wording import counted

if TYPE_CHECKING:
    from shedder import DivertReceipt, RestoreReceipt, StartsLimit


STARTS_EXAMPLES = (
    'shedder limit starts mail --rate 20/second -r "database at 99 %"',
    "shedder limit starts reports --at-once 2 --function 'app.reports.*' -r \"slow disk\"",
    'shedder limit starts mail.low --rate 5/second --for 1h -r "after the outage"',
)

LIFT_EXAMPLES = ('shedder limit lift mail -r "database is fine"',)


def rate_asked(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Rate | None:
    """The value of an option or an argument as a rate."""
    return None if value is None else Rate.parse(value)


@verb("starts", examples=STARTS_EXAMPLES, short="Limit how fast jobs of a queue start.")
@change_options
@click.option("--rate", metavar="RATE", callback=rate_asked, help="The highest rate of starts.")
@click.option("--at-once", "most", type=int, metavar="N", help="At most N of them run at once.")
@click.option("--function", "functions", multiple=True, metavar="GLOB",
              help="Only functions such as 'app.mail.*'; repeatable.")  # fmt: skip
@expiry_option
def limit_starts(
    run: Run, *, request: Request, rate: Rate | None, most: int | None, functions: tuple[str, ...],
    expires_in: timedelta | None,
) -> int:  # fmt: skip
    """Limit how fast jobs start, or how many run at once.

    All named queues share the limit. Jobs over the limit wait in order; unlimited jobs overtake
    them. shedder workers obey at once; a divert or a pause takes precedence.
    """
    if rate is None and (most is None or most < 1):
        raise InvalidInput(name="limit", value=most, accepted="--rate 20/second, or --at-once N with N from 1 on")
    selection = Selection.parse(functions=functions)
    request = asking.settle_request(run, request, "limit", note="it is limited all the same")
    expires_in = expiry(run, expires_in, of="limit")
    run.unsure(f"whether {output.is_are(request.names)} limited", "status", *request.names)
    receipt = run.shedder.limit_starts(
        *request.names, rate=rate, most=most, selection=selection, expires_in=expires_in, **request.cause
    )
    run.state = f"{output.is_are(request.names)} limited"
    run.tell("divert/1", receipt, starts_receipt)
    return 0


@verb("lift", examples=LIFT_EXAMPLES, short="End limits on starts.")
@change_options
def lift(run: Run, *, request: Request) -> int:
    """End the limits on starts of a queue (or lane); jobs that wait under them may start."""
    request = asking.settle_request(run, request, "lift the limits of")
    run.unsure("whether the limits stand", "status", *request.names)
    receipt: RestoreReceipt = run.shedder.lift_limit(*request.names, **request.cause)
    run.state = "they are lifted"
    run.tell("restore/1", receipt, lift_receipt)
    return 0 if receipt.lanes else 3


_STOCK = "Jobs that wait under the limit are out of its reach; what arrives later it may still run."


def starts_receipt(receipt: DivertReceipt, *, server: str = "") -> output.Parts:
    """The receipt of a limit on starts."""
    names = names_of(lane.lane for lane in receipt.lanes)
    moved = [(lane.lane, lane.moved, lane.waiting) for lane in receipt.lanes]
    terms = terms_of(receipt)
    how = f"to {terms}" if terms else "as each of them was before"
    lift = output.command("limit", "lift", *targets_of(lane.lane for lane in receipt.lanes), server=server)
    return [
        output.headline(f"{output.is_are(names)} limited {how}.", style="bold yellow"),
        output.plain(f"It holds for {output.escaped(receipt.selection.describe())}, in order of arrival."),
        *output.plain_once(
            f"This takes the place of {terms_of(each)} {output.why_and_who(each, receipt.at)}"
            for each in receipt.replaced
        ),
        *output.lane_table(["under the limit", "waiting"], moved),
        *output.workers_part(receipt.workers, stock=_STOCK),
        *output.commands_part(("lift", lift), ("undo", output.command("undo", receipt.event, server=server))),
    ]


def terms_of(limit: DivertReceipt | StartsLimit) -> str:
    """What a limit allows, such as `5/second, 2 at once`."""
    rate = [str(limit.rate)] if limit.rate else []
    most = [f"{output.number(limit.most)} at once"] if limit.most is not None else []
    return ", ".join([*rate, *most])


def lift_receipt(receipt: RestoreReceipt, *, server: str = "") -> output.Parts:
    """The receipt of limits that were lifted."""
    if not receipt.lanes:
        check = output.command("status", server=server)
        return [output.headline("No limit on starts stands there."), *output.commands_part(("see", check))]
    names = output.listed(names_of(lane.lane for lane in receipt.lanes))
    start = f"{counted(receipt.restored, 'job')} that waited under it may start"
    return [output.headline(f"The limit on starts of {names} is lifted: {start}.")]
