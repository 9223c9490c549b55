"""What does a person read after `undo`?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shedder.applied import PolicyReceipt
from shedder.cli import receipts_starts
from shedder.cli.incident_view import receipt_parts
from shedder.cli.policy_view import policy_receipt
from shedder.cli.receipts_backlog import divert_receipt, drain_receipt, restore_receipt
from shedder.cli.receipts_pause import pause_receipt, resume_receipt
from shedder.cli.receipts_settings import flag_receipt, limit_receipt
from shedder.incident.records import IncidentReceipt
from shedder.records import (
    DivertReceipt,
    DrainReceipt,
    PauseReceipt,
    ResumeReceipt,
)
from shedder.setting_records import FlagReceipt, LimitReceipt

if TYPE_CHECKING:
    from shedder.cli.parts import Parts
    from shedder.rq.undoing import Undone


def kind_of(receipt: Undone | IncidentReceipt) -> str:
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
        return receipts_starts.limit_receipt(receipt, server=server)
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
