"""What becomes of jobs whose feature is degraded?

A function that was decorated with `@degradable(..., fallback=SKIP)` does not run while its flag is
degraded. The first worker that meets such a job sets a divert of exactly this function on the
job's lane; from then on the claim and the gate know it, and the jobs wait in the backlog. When the
flag is restored, they are put back where they were.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from shedder.backlog import divert_lanes
from shedder.flags import FLAG_ATTRIBUTE, Flags
from shedder.lanes import lane_of
from shedder.records import Cause
from shedder.rq.notes import function_of
from shedder.rq.restoring import restore_one
from shedder.selection import Selection
from shedder.setting_records import FlagReceipt
from shedder.stored import diverts_from, text_of

if TYPE_CHECKING:
    from rq.job import Job

    from shedder.keys import Keys
    from shedder.store import Store

ACTOR = "shedder"

_PREFIX = "flag-"


def order_of(flag: str) -> str:
    """The id of the diverts that stand because `flag` is degraded."""
    return _PREFIX + re.sub(r"[^A-Za-z0-9._-]", "-", flag)


def divert_if_degraded(store: Store, keys: Keys, job: Job, lane: str) -> None:
    """Let the gate divert `job` if its feature is degraded for it; the key is the job's id."""
    found = getattr(_function(job), FLAG_ATTRIBUTE, None)
    if found is None:
        return
    flags, name = found
    if flags.enabled(name, key=job.id):
        return
    set_divert(store, keys, lane, name, function_of(job))


def set_divert(store: Store, keys: Keys, lane: str, flag: str, function: str) -> None:
    """Set a divert of `function` on `lane`, unless it stands already."""
    cause = Cause(ACTOR, f"the flag {flag} is degraded")
    selection = Selection(functions=(function,))
    store.execute(
        divert_lanes(keys, [lane_of(lane)], selection, cause, order=order_of(flag))
    )


def bring_back(store: Store, keys: Keys, receipt: FlagReceipt, cause: Cause) -> FlagReceipt:
    """End the diverts of the flags that `receipt` restored, and put their backlogs back."""
    orders = {order_of(flag.name) for flag in receipt.flags if flag.percent == 0}
    records: dict[bytes, bytes] = store.read(lambda ask: ask.hgetall(keys.diverts))[0]
    restored = 0
    for lane, record in records.items():
        for each in diverts_from(text_of(lane), record):
            if each.divert.order in orders:
                restored += restore_one(store, keys, text_of(lane), each.divert.order, cause)[1]
    from dataclasses import replace

    return replace(receipt, restored=restored)


def _function(job: Job) -> Any:
    try:
        return job.func
    except Exception:  # noqa: BLE001 - what cannot be imported RQ reports when it performs the job
        return None
