"""What does a person read after `uninstall`, or before?"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rich.text import Text

from shedder.cli.parts import Parts, blank, commands_part, headline, plain, row, table
from shedder.cli.text import command, listed, number, targets_of
from shedder.counts import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shedder.leaving import QueueLeft, UninstallReceipt

KEYS_SHOWN = 5


def uninstall_receipt(receipt: UninstallReceipt, *, server: str = "") -> Parts:
    """What was brought back and removed, and which stock workers the jobs need now."""
    return [
        headline(_fact(receipt)),
        *_ended(receipt),
        *_workers(receipt),
        *_left(receipt),
        *_next(receipt, server),
    ]


def _fact(receipt: UninstallReceipt) -> str:
    if not receipt.keys:
        return "There is nothing of shedder on this server."
    keys = counted(receipt.keys, "key")
    if receipt.is_preview:
        return f"Every job would go back to the lists of RQ, and {keys} would be removed."
    return f"Every job is back in the lists of RQ, and {keys} of shedder {_are(receipt)} removed."


def _are(receipt: UninstallReceipt) -> str:
    return "is" if receipt.keys == 1 else "are"


def _ended(receipt: UninstallReceipt) -> Parts:
    backlogs = sum(lane.restored for lane in receipt.restored)
    diverted = sorted({lane.lane for lane in receipt.restored})
    rows = (
        ("pauses", targets_of(receipt.resumed), ""),
        ("diverts and limits on starts", targets_of(diverted), counted(backlogs, "job")),
        ("claims that had not started", (), number(receipt.claims) if receipt.claims else ""),
        ("lists without an order", (), counted(receipt.found, "job") if receipt.found else ""),
        ("degraded flags", receipt.flags, ""),
        ("limits in code", receipt.limits, ""),
        ("lines of the journal", (), number(receipt.events) if receipt.events else ""),
    )
    made = table("ends" if receipt.is_preview else "ended", "where", ">how much")
    filled = [each for each in rows if each[1] or (each[2] and each[2] != counted(0, "job"))]
    for name, where, much in filled:
        row(made, name, listed(where, most=6), much)
    return [blank(), made] if filled else []


def _workers(receipt: UninstallReceipt) -> Parts:
    if not receipt.workers:
        return []
    names = listed([worker.name for worker in receipt.workers])
    is_one = len(receipt.workers) == 1
    said = (
        f"{counted(len(receipt.workers), 'worker')} of shedder {'is' if is_one else 'are'} on "
        f"record: {names}. Stop {'it' if is_one else 'them'} first; a living one writes new keys."
    )
    return [blank(), Text(said, style="yellow")]


def _left(receipt: UninstallReceipt) -> Parts:
    if not receipt.left:
        return []
    said = (
        f"{counted(len(receipt.left), 'key')} of shedder came back: "
        f"{listed(receipt.left, most=KEYS_SHOWN)}. A producer, a worker or an application with "
        "flags still writes them: change it back and run this again."
    )
    return [blank(), Text(said, style="yellow")]


def _next(receipt: UninstallReceipt, server: str) -> Parts:
    if receipt.is_preview:
        if not receipt.keys:
            return []
        again = command("uninstall", options=["--journal", "journal.jsonl"], server=server)
        return commands_part(("do it", again))
    waiting = sum(queue.jobs for queue in receipt.queues)
    if not receipt.queues:
        return [blank(), plain("No job waits.")]
    is_one = waiting == 1
    return [
        blank(),
        plain(f"{counted(waiting, 'job')} {'waits' if is_one else 'wait'} for stock workers:"),
        *commands_part(*(("serve them", line) for line in _worker_commands(receipt.queues))),
    ]


def _worker_commands(queues: Sequence[QueueLeft]) -> list[str]:
    from shedder.lanes import serving_order

    order = serving_order(queue.lane for queue in queues)
    found = {queue.lane for queue in queues}
    return [" ".join(["rq worker", *(shlex.quote(name) for name in order if name in found)])]
