"""What does a person read after `limit starts` and `limit lift`?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shedder.cli.parts import Parts, commands_part, headline, lane_table, plain, workers_part
from shedder.cli.text import command, counted, escaped, is_are, listed, targets_of

if TYPE_CHECKING:
    from shedder.records import DivertReceipt, RestoreReceipt

_STOCK = "Jobs that wait under the limit are out of its reach; what arrives later it may still run."


def limit_receipt(receipt: DivertReceipt, terms: str, *, server: str = "") -> Parts:
    """The receipt of a limit on starts."""
    targets = targets_of(lane.lane for lane in receipt.lanes)
    lift = command("limit", "lift", *targets, server=server)
    return [
        headline(f"{is_are(targets)} limited to {escaped(terms)}.", style="bold yellow"),
        plain(f"It holds for {escaped(receipt.selection.describe())}, in order of arrival."),
        *lane_table(
            ["under the limit", "waiting"],
            [(lane.lane, lane.moved, lane.waiting) for lane in receipt.lanes],
        ),
        *workers_part(receipt.workers, stock=_STOCK),
        *commands_part(("lift", lift), ("undo", command("undo", receipt.event, server=server))),
    ]


def lift_receipt(receipt: RestoreReceipt, _terms: str, *, server: str = "") -> Parts:
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
