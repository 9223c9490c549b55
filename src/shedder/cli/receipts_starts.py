"""What does a person read after `limit starts` and `limit lift`?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shedder.cli.parts import Parts, commands_part, headline, lane_table, plain, workers_part
from shedder.cli.text import age, clock, command, escaped, is_are, listed, number, targets_of
from shedder.counts import counted

if TYPE_CHECKING:
    from shedder.records import DivertReceipt, RestoreReceipt, StartsLimit

_STOCK = "Jobs that wait under the limit are out of its reach; what arrives later it may still run."


def limit_receipt(receipt: DivertReceipt, *, server: str = "") -> Parts:
    """The receipt of a limit on starts."""
    targets = targets_of(lane.lane for lane in receipt.lanes)
    lift = command("limit", "lift", *targets, server=server)
    return [
        headline(f"{is_are(targets)} limited {_how(receipt)}.", style="bold yellow"),
        plain(f"It holds for {escaped(receipt.selection.describe())}, in order of arrival."),
        *_replaced(receipt),
        *lane_table(
            ["under the limit", "waiting"],
            [(lane.lane, lane.moved, lane.waiting) for lane in receipt.lanes],
        ),
        *workers_part(receipt.workers, stock=_STOCK),
        *commands_part(("lift", lift), ("undo", command("undo", receipt.event, server=server))),
    ]


def terms_of(limit: DivertReceipt | StartsLimit) -> str:
    """What a limit allows, such as `5/second, 2 at once`."""
    rate = [str(limit.rate)] if limit.rate else []
    most = [f"{number(limit.most)} at once"] if limit.most is not None else []
    return ", ".join([*rate, *most])


def _how(receipt: DivertReceipt) -> str:
    terms = terms_of(receipt)
    return f"to {terms}" if terms else "as each of them was before"


def lift_receipt(receipt: RestoreReceipt, *, server: str = "") -> Parts:
    """The receipt of limits that were lifted."""
    if not receipt.lanes:
        check = command("status", server=server)
        return [headline("No limit on starts stands there."), *commands_part(("see", check))]
    targets = targets_of(lane.lane for lane in receipt.lanes)
    return [
        headline(
            f"The limit on starts of {listed(targets)} is lifted: "
            f"{counted(receipt.restored, 'job')} that waited under it may start."
        )
    ]


def _replaced(receipt: DivertReceipt) -> Parts:
    lines = [
        f"This takes the place of {terms_of(each)} since {clock(each.since, receipt.at)} "
        f"({age(each.since, receipt.at)}) by {escaped(each.by)}: {escaped(each.why)}"
        for each in receipt.replaced
    ]
    return [plain(line) for line in dict.fromkeys(lines)]
