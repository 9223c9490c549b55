"""`shedder stale`: lists and replays old jobs that were set aside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shedder.cli.asking import settle_request
from shedder.cli.options import Request, change_options, targets_argument, verb, verb_group
from shedder.cli.output import Parts, age, escaped, headline, listed, number, plain, row, table
from shedder.cli.progress import scan_bar
from shedder.cli.run import Run
from shedder.wording import counted

if TYPE_CHECKING:
    from shedder import ReplayReceipt, StaleLane


_LIST = ("shedder stale list", "shedder stale list mail --json")
_REPLAY = (
    'shedder stale replay mail -r "they are wanted after all"',
    'shedder stale replay --all -r "they are wanted after all"',
)


@verb("list", examples=_LIST, short="List what was set aside, by lane.")
@targets_argument
def list_stale(run: Run, *, names: tuple[str, ...]) -> int:
    """Show which jobs of a backlog were set aside because the policy calls them stale.

    It exits with 3 when there are none.
    """
    found = run.shedder.stale(*names)
    run.tell("stale-list/1", {"lanes": found}, _stale_parts(found))
    return 0 if found else 3


@verb("replay", examples=_REPLAY, short="Put it back into its lanes.")
@change_options
def replay(run: Run, *, request: Request) -> int:
    """Put what was set aside into its lanes again, as if it were enqueued now.

    It goes behind what waits, or to the backlog of a lane that is diverted.
    """
    request = settle_request(run, request, "replay")
    names = listed(request.names)
    run.unsure(f"how much of {names} is still set aside", "stale list", *request.names)
    with scan_bar(run.screen, f"replaying {listed(request.names)}") as on_progress:
        receipt = run.shedder.replay_stale(*request.names, **request.cause, on_progress=on_progress)
    run.state = "it is done"
    run.tell("stale-replay/1", receipt, replay_receipt)
    return 0 if receipt.lanes else 3


stale = verb_group(
    "stale", list_stale, replay,
    text="List and replay old backlog jobs that the policy set aside.",
    examples=(_LIST[0], _REPLAY[0]),
)  # fmt: skip


def _stale_parts(lanes: Sequence[StaleLane]) -> Parts:
    made = table("lane", ">jobs", ">oldest", "the first")
    now = datetime.now(UTC)
    for each in lanes:
        row(made, each.lane, number(each.jobs), age(each.oldest, now), listed(each.first))
    return [made if lanes else headline("No job was set aside.")]


def replay_receipt(receipt: ReplayReceipt, **_: str) -> Parts:
    """The receipt of a replay."""
    if not receipt.lanes:
        return [headline("No job was set aside: nothing to replay.")]
    back = counted(receipt.replayed, "job is", "jobs are")
    skipped = [lane for lane in receipt.lanes if lane.skipped]
    return [
        headline(f"{back} back, behind what waits.", style="bold green"),
        *(plain(f"{counted(lane.skipped, 'job')} of {escaped(lane.lane)} cannot run any more.") for lane in skipped),
    ]
