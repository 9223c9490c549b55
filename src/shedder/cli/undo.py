"""`shedder undo`: the verb and its receipt."""

from __future__ import annotations

from collections.abc import Callable

import click

import shedder
from shedder.cli import asking, divert, drain, incident_view, output, pause, policy, retry, settings, starts
from shedder.cli.events import event_line
from shedder.cli.options import Request, cause_options, force_option, verb
from shedder.cli.run import NOTHING_CHANGED, Run
from shedder.errors import CannotUndo, NothingToUndo
from shedder.events import Event, verb_of
from shedder.queues.undo import Undone

Receipt = Undone | shedder.IncidentReceipt

_EXAMPLES = (
    'shedder undo -r "wrong queue"',
    'shedder undo 1764000000000-0 -r "wrong queue"',
    "shedder events                     lists the events",
)


@verb("undo", examples=_EXAMPLES)
@click.argument("event_id", metavar="[EVENT]", required=False)
@click.option("-y", "--yes", "is_sure", is_flag=True, help="Do not ask.")
@force_option()
@cause_options
def undo(run: Run, *, request: Request, event_id: str | None, is_sure: bool) -> int:
    """Undo what an event did, or your own last change.

    Restores the previous pauses, diverts, drains, flags and limits, with their author and expiry.
    What somebody has changed since stays as it is. A change of somebody else needs its id.
    """
    asking.check_reason(request)
    done = _undone(run, request, event_id) if event_id is not None else _last_undone(run, request, is_sure=is_sure)
    run.state = "it is undone"
    verb, receipt = done
    kind, view = _kind_and_view(verb, receipt)
    run.tell("undo/1", {"kind": kind, "receipt": receipt}, view(receipt, server=run.server_option))
    return 0


def _undone(run: Run, request: Request, event_id: str) -> tuple[str, Receipt]:
    event = run.shedder.event_to_undo(event_id)
    return _taken_back(run, asking.settle_reason(request, output.escaped(f"undo '{event.verb}'")), event)


def _last_undone(run: Run, request: Request, *, is_sure: bool) -> tuple[str, Receipt]:
    """The undo of the person's last change that can be undone still; of each that cannot it is said.

    Raises:
        NothingToUndo: there is none.
        CannotUndo: somebody built upon it, and nobody can be asked about the one before it.
    """

    def take_back(event: Event) -> tuple[str, Receipt]:
        _confirm(run, event, is_sure=is_sure)
        return _taken_back(run, asking.settle_reason(request, output.escaped(f"undo '{event.verb}'")), event)

    def goes_on(error: CannotUndo) -> bool:
        run.state = NOTHING_CHANGED
        is_asked = asking.is_asking_possible() and not is_sure
        if is_asked or isinstance(error, NothingToUndo):
            run.screen.warn(f"your change {error}")
        return is_asked or isinstance(error, NothingToUndo)

    return run.shedder.undo_last(take_back, goes_on=goes_on, by=request.by)


def _confirm(run: Run, event: Event, *, is_sure: bool) -> None:
    """Show what would be undone, and let the person at the terminal say yes."""
    if is_sure or not asking.is_asking_possible():
        return
    run.screen.remark(event_line(event, is_plain=True).plain)
    asking.confirm(f"Undo your last change? That {verb_of(event).undo}.", is_sure=False)


def _taken_back(run: Run, request: Request, event: Event) -> tuple[str, Receipt]:
    """The verb that was undone, and the receipt."""
    named = event.details.get("names")
    names = tuple(map(str, named)) if isinstance(named, list) else ()
    asking.warn_of_recent_changes(run, request, targets=event.lanes, names=names)
    run.unsure("whether it is undone", "events")
    return event.verb, run.shedder.undo(event.id, **request.cause)


def _kind_and_view(verb: str, receipt: Receipt) -> tuple[str, Callable[..., output.Parts]]:
    """Which verb has such a receipt, and how that shows it."""
    if isinstance(receipt, shedder.RestoreReceipt) and verb == "limit start":
        return "restore", starts.lift_receipt
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
    shedder.RetryTakenBack: ("retry", retry.taken_back_receipt),
}
