"""`shedder resume`: end a pause."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shedder.cli.options import Asked, change_options, verb
from shedder.cli.text import command, is_are
from shedder.cli.toes import settle_order

if TYPE_CHECKING:
    from shedder.cli.run import Run


_EXAMPLES = (
    'shedder resume mail -r "database is fine again"',
    'shedder resume mail.critical -r "receipts first"',
    'shedder resume --all -r "incident is over"',
)


@verb("resume", examples=_EXAMPLES)
@change_options
def resume(run: Run, *, asked: Asked) -> int:
    """End the pause of a queue (or lane): its jobs start again, in their order."""
    order = settle_order(run, asked, "resume")
    check = command("status", *order.targets, server=run.server_option)
    run.state = f"whether {is_are(order.targets)} resumed, says: {check}"
    receipt = run.shedder.resume(*order.targets, reason=order.reason, by=order.by)
    run.state = f"{is_are(order.targets)} resumed"
    if run.is_json:
        run.emit("resume/1", receipt)
    else:
        from shedder.cli.receipts_pause import resume_receipt

        run.screen.show(*resume_receipt(receipt, server=run.server_option))
    return 0
