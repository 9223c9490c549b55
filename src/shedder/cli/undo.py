"""`shedder undo`: the verb and its receipt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from shedder.cli.asking import settle_reason, warn_of_recent_changes
from shedder.cli.divert import divert_receipt
from shedder.cli.drain import drain_receipt, restore_receipt
from shedder.cli.incident_view import receipt_parts
from shedder.cli.options import Request, cause_options, force_option, verb
from shedder.cli.output import Parts, escaped
from shedder.cli.pause import pause_receipt, resume_receipt
from shedder.cli.policy import policy_receipt
from shedder.cli.run import Run
from shedder.cli.settings import flag_receipt, limit_receipt
from shedder.cli.starts import starts_receipt
from shedder.incident.records import IncidentReceipt
from shedder.policy.applied import PolicyReceipt
from shedder.queues.divert import DivertReceipt
from shedder.queues.drain import DrainReceipt
from shedder.queues.pause import PauseReceipt, ResumeReceipt
from shedder.settings.flags import FlagReceipt
from shedder.settings.limits import LimitReceipt

if TYPE_CHECKING:
    from shedder.queues.undo import Undone


_EXAMPLES = (
    'shedder undo -r "wrong queue"',
    'shedder undo 1764000000000-0 -r "wrong queue"',
    "shedder events                     lists the events",
)


@verb("undo", examples=_EXAMPLES)
@click.argument("event_id", metavar="[EVENT]", required=False)
@force_option()
@cause_options
def undo(run: Run, *, request: Request, event_id: str | None) -> int:
    """Undo what an event did, or the last event that can be undone.

    Restores the previous pauses, diverts, drains, flags and limits, with their author and expiry.
    What somebody has changed since stays as it is.
    """
    connected = run.shedder
    what = f"undo event {event_id}" if event_id else "undo the last change"
    request = settle_reason(request, escaped(what))
    event = connected.event_to_undo(event_id)
    named = event.details.get("names")
    names = tuple(map(str, named)) if isinstance(named, list) else ()
    warn_of_recent_changes(run, request, targets=event.lanes, names=names)
    run.unsure("whether it is undone", "events")
    receipt = connected.undo(event.id, **request.cause)
    run.state = "it is undone"
    told = {"kind": receipt_kind(receipt), "receipt": receipt}
    run.tell("undo/1", told, undo_receipt(receipt, server=run.server_option))
    return 0


def receipt_kind(receipt: Undone | IncidentReceipt) -> str:
    """Which verb has such a receipt: such as `pause`, `restore` or `flag`."""
    kinds = {
        PauseReceipt: "pause",
        ResumeReceipt: "resume",
        DrainReceipt: "drain",
        FlagReceipt: "flag",
        LimitReceipt: "limit",
        IncidentReceipt: "incident",
        PolicyReceipt: "policy",
    }
    if isinstance(receipt, DivertReceipt):
        return "limit starts" if receipt.replaced else "divert"
    return kinds.get(type(receipt), "restore")


def undo_receipt(receipt: Undone | IncidentReceipt, *, server: str = "") -> Parts:
    """The receipt of what was done to undo something."""
    if isinstance(receipt, PauseReceipt):
        return pause_receipt(receipt, server=server)
    if isinstance(receipt, ResumeReceipt):
        return resume_receipt(receipt, server=server)
    if isinstance(receipt, DivertReceipt) and not receipt.replaced:
        return divert_receipt(receipt, server=server)
    if isinstance(receipt, DivertReceipt):
        return starts_receipt(receipt, server=server)
    if isinstance(receipt, DrainReceipt):
        return drain_receipt(receipt, server=server)
    if isinstance(receipt, FlagReceipt):
        return flag_receipt(receipt, server=server)
    if isinstance(receipt, LimitReceipt):
        return limit_receipt(receipt, server=server)
    if isinstance(receipt, IncidentReceipt):
        text = f"Incident {receipt.incident.id} is as it was before."
        return receipt_parts(receipt, text, server=server)
    if isinstance(receipt, PolicyReceipt):
        return policy_receipt(receipt, server=server)
    return restore_receipt(receipt)
