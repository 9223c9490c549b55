"""`shedder stale`: old work that was set aside, and how it comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shedder.cli.asking import settle_order
from shedder.cli.options import Asked, change_options, targets_argument, verb, verb_group
from shedder.cli.output import command, escaped, listed
from shedder.wording import counted

if TYPE_CHECKING:
    from shedder.cli.run import Run
    from shedder.queues.stale import ReplayReceipt


_LIST = ("shedder stale list", "shedder stale list mail --json")
_REPLAY = (
    'shedder stale replay mail -r "they are wanted after all"',
    'shedder stale replay --all -r "they are wanted after all"',
)


@verb("list", examples=_LIST, short="What was set aside, by lane.")
@targets_argument
def list_stale(run: Run, *, names: tuple[str, ...]) -> int:
    """Show which jobs of a backlog were set aside because the policy calls them stale.

    It exits with 3 when there are none.
    """
    found = run.shedder.stale(*names)
    if run.is_json:
        run.emit("stale-list/1", {"lanes": found})
    else:
        from datetime import UTC, datetime

        from shedder.cli.output import age, headline, number, row, table

        made = table("lane", ">jobs", ">oldest", "the first")
        now = datetime.now(UTC)
        for each in found:
            row(made, each.lane, number(each.jobs), age(each.oldest, now), listed(each.first))
        run.screen.show(made if found else headline("No job was set aside."))
    return 0 if found else 3


@verb("replay", examples=_REPLAY, short="Put it into its lanes again.")
@change_options
def replay(run: Run, *, asked: Asked) -> int:
    """Put what was set aside into its lanes again, as if it were enqueued now.

    It goes behind what waits, or to the backlog of a lane that is diverted.
    """
    from shedder.cli.progress import scan_bar

    order = settle_order(run, asked, "replay")
    check = command("stale", "list", *order.targets, server=run.server_option)
    run.state = f"how much of {listed(order.targets)} is still set aside, says: {check}"
    with scan_bar(run.screen, f"replaying {listed(order.targets)}") as on_progress:
        receipt = run.shedder.replay_stale(
            *order.targets, reason=order.reason, by=order.by, on_progress=on_progress
        )
    run.state = "it is done"
    _tell(run, receipt)
    return 0 if receipt.lanes else 3


stale = verb_group(
    "stale", list_stale, replay,
    text="Old work of a backlog that was set aside, as the policy says, and its replay.",
    examples=(_LIST[0], _REPLAY[0]),
)  # fmt: skip


def _tell(run: Run, receipt: ReplayReceipt) -> None:
    if run.is_json:
        run.emit("stale-replay/1", receipt)
        return
    from shedder.cli.output import headline, plain

    if not receipt.lanes:
        run.screen.show(headline("No job was set aside: nothing to replay."))
        return
    back = counted(receipt.replayed, "job is", "jobs are")
    run.screen.show(headline(f"{back} back, behind what waits.", style="bold green"))
    for lane in receipt.lanes:
        if lane.skipped:
            gone = counted(lane.skipped, "job")
            run.screen.show(plain(f"{gone} of {escaped(lane.lane)} cannot run any more."))
