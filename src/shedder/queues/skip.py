"""Jobs of a degraded feature, into a backlog and back.

A function that was decorated with `@degradable(..., fallback=SKIP)` does not run while its flag is
degraded for the job's id. The worker that meets such a job sets a divert on the job's lane, and the
gate then takes the job to the backlog. Of a flag that is degraded as a whole it is a divert of the
function, so that the claim takes the next ones without a worker's help. Of one that is degraded in
part it is a divert of a name that no function has, which the worker tells the gate.

When the flag is restored, or its time is over, the jobs are put back where they were.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shedder.engine.jobs import function_of
from shedder.errors import ShedderError
from shedder.events import SYSTEM, Cause
from shedder.lanes import lane_of
from shedder.log_context import ids_of
from shedder.queues.controls import Divert, diverts_from
from shedder.queues.divert import divert_lanes
from shedder.queues.restore import restore_one
from shedder.selection import Selection
from shedder.settings.flags import FLAG_ATTRIBUTE, FlagReceipt, list_flags
from shedder.store.codec import text_of
from shedder.store.keys import FLAG_ORDER, flag_of_order
from shedder.store.store import Store, new_id

if TYPE_CHECKING:
    from rq.job import Job


logger = logging.getLogger("shedder.flags")

_IN_PART = "degraded/"


def name_for_gate(store: Store, job: Job, lane: str) -> str:
    """The function that the gate is told of; if its feature is degraded, a divert stands for it."""
    function = function_of(job)
    found = getattr(_callable(job), FLAG_ATTRIBUTE, None)
    if found is None:
        return function
    flags, flag = found
    if flags.enabled(flag, key=job.id):
        return function
    name = function if flags.percent(flag) >= 100 else f"{_IN_PART}{function}"
    try:
        _set_divert(store, lane, flag, name)
    except ShedderError as error:
        ids = ids_of(lane=lane, job=job.id)
        logger.warning("the job %s of the degraded feature %s runs: %s", job.id, flag, error, extra=ids)
        return function
    return name


def put_back(store: Store, receipt: FlagReceipt) -> FlagReceipt:
    """Put back the jobs that the flags of `receipt` do not keep from running any more."""
    standing = store.read(lambda ask: ask.hgetall(store.keys.diverts))[0]
    return replace(receipt, restored=end_needless_diverts(store, standing))


def end_needless_diverts(store: Store, standing: Mapping[bytes, bytes]) -> int:
    """Put back the jobs of all flags that are not degraded any more; how many.

    A backlog that drains already goes on at its pace.
    """
    diverts = list(_of_flags(standing))
    percents = {flag.name: flag.percent for flag in list_flags(store)} if diverts else {}
    restored = 0
    for divert, flag, function in diverts:
        percent = percents.get(flag, 0.0)
        is_needed = percent > 0 if function.startswith(_IN_PART) else percent >= 100
        if not is_needed and divert.drain is None:
            cause = Cause(SYSTEM, f"the flag {flag} is degraded at {percent:g} % now")
            restored += restore_one(store, divert.lane, divert.order, cause)[1]
    return restored


def _set_divert(store: Store, lane: str, flag: str, function: str) -> None:
    order = f"{FLAG_ORDER}{flag}/{function}"
    standing = store.read(lambda ask: ask.hget(store.keys.diverts, lane))[0]
    if any(each.divert.order == order for each in diverts_from(lane, standing)):
        return
    cause = Cause(SYSTEM, f"the flag {flag} is degraded")
    selection = Selection(functions=(function,))
    lanes, operation = [lane_of(lane)], new_id()
    store.run(divert_lanes(store.keys, lanes, selection, cause, order=order, operation=operation))


def _of_flags(standing: Mapping[bytes, bytes]) -> Iterator[tuple[Divert, str, str]]:
    """The diverts that stand because of flags, each with the flag and what it takes."""
    for lane, record in standing.items():
        for each in diverts_from(text_of(lane), record):
            function = next(iter(each.divert.selection.functions), "")
            if flag := flag_of_order(each.divert.order, function):
                yield each.divert, flag, function


def _callable(job: Job) -> Any:
    try:
        return job.func
    except Exception:  # noqa: BLE001 - what cannot be imported RQ reports when it performs the job
        return None
