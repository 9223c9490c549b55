"""`shedder undo`: the verb and its receipt."""

from __future__ import annotations

from collections.abc import Callable

import click

import shedder
from shedder.cli import asking, divert, drain, incident_view, output, pause, policy, settings, starts
from shedder.cli.options import Request, cause_options, force_option, verb
from shedder.cli.run import Run
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
    request = asking.settle_reason(request, output.escaped(what))
    event = connected.event_to_undo(event_id)
    named = event.details.get("names")
    names = tuple(map(str, named)) if isinstance(named, list) else ()
    asking.warn_of_recent_changes(run, request, targets=event.lanes, names=names)
    run.unsure("whether it is undone", "events")
    receipt = connected.undo(event.id, **request.cause)
    run.state = "it is undone"
    kind, view = _kind_and_view(receipt)
    run.tell("undo/1", {"kind": kind, "receipt": receipt}, view(receipt, server=run.server_option))
    return 0


def _kind_and_view(receipt: Undone | shedder.IncidentReceipt) -> tuple[str, Callable[..., output.Parts]]:
    """Which verb has such a receipt, and how that shows it."""
    if isinstance(receipt, shedder.DivertReceipt) and receipt.replaced:
        return "limit starts", starts.starts_receipt
    return _KINDS[type(receipt)]


def _incident_receipt(receipt: shedder.IncidentReceipt, *, server: str) -> output.Parts:
    return incident_view.receipt_parts(receipt, f"Incident {receipt.incident.id} is as it was before.", server=server)


_KINDS: dict[type, tuple[str, Callable[..., output.Parts]]] = {
    shedder.DivertReceipt: ("divert", divert.divert_receipt),
    shedder.DrainReceipt: ("drain", drain.drain_receipt),
    shedder.FlagReceipt: ("flag", settings.flag_receipt),
    shedder.IncidentReceipt: ("incident", _incident_receipt),
    shedder.LimitReceipt: ("limit", settings.limit_receipt),
    shedder.PauseReceipt: ("pause", pause.pause_receipt),
    shedder.PolicyReceipt: ("policy", policy.policy_receipt),
    shedder.RestoreReceipt: ("restore", drain.restore_receipt),
    shedder.ResumeReceipt: ("resume", pause.resume_receipt),
}
