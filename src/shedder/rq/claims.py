"""Which commands take a job, start it, or give it back?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from shedder.keys import Keys
from shedder.lanes import lane_of
from shedder.store import Command
from shedder.stored import text_of

LEASE_MS = 30_000
"""A claim without a sign of life for so long goes back to the front of its lane."""

ON_LOOKOUT_MS = 1500
"""A worker on lookout that has not looked for so long is taken to be dead."""

RENEW_SECONDS = 5.0
"""A live worker that still prepares its job gives a sign of life this often."""

CRASHES_FIELD = "shedder_crashes"
"""Field of a job's hash: how many processes died with the job in hand before it started."""

JOBS_PER_CLAIM = 200
"""Jobs that one claim may look at before it lets others in: well below 5 ms of the server."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that is in this worker's hands and has not started.

    Attributes:
        lane: Name of the lane it came from.
        token: The claim, which fences: whoever holds another one has lost the job.
        job_id: The job's id.
        is_undecided: A divert of this lane depends on what only the job's data tells.
        running: Key of the set of what runs under a limit; empty when there is none.
        fields: The job's hash.
    """

    lane: str
    token: bytes
    job_id: str
    is_undecided: bool
    running: str
    fields: dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class HeldClaim:
    """What a process must know to pass the gate with a job.

    Attributes:
        token: The claim.
        job_id: The job's id.
        lane: Name of the lane it came from.
        crashes: How many processes died with this job in hand before it started.
        running: Key of the set of what runs under a limit; empty when there is none.
    """

    token: bytes
    job_id: str
    lane: str
    crashes: int = 0
    running: str = ""


@dataclass(frozen=True, slots=True)
class NothingClaimed:
    """No job may run now.

    Attributes:
        wait_ms: After how long a drain has its next token; 0 when none waits for one.
        is_again: The server ended the search early: ask again at once.
        is_suspended: RQ's own suspend is on.
        is_outdated: Another policy is in force than the one that the order of the lanes is from.
        is_upkeep_due: Nobody has done the upkeep lately.
        meanwhile: `lookout`: look often, for those that rest; `rest`: another worker of the same
            lanes does; `wait`: look yourself, since nobody shares the work.
    """

    wait_ms: int = 0
    is_again: bool = False
    is_suspended: bool = False
    is_outdated: bool = False
    is_upkeep_due: bool = False
    meanwhile: str = "wait"

    @property
    def is_final(self) -> bool:
        """The search has come to its end."""
        return not (self.is_again or self.is_outdated or self.is_suspended)


@dataclass(frozen=True, slots=True)
class Gate:
    """What the gate decided.

    Attributes:
        verdict: `started`, `kept`, `lost`, `paused`, `diverted` or `dropped`.
        detail: The order that took it, or the status for which it was dropped.
    """

    verdict: str
    detail: str = ""

    @property
    def is_open(self) -> bool:
        """The job runs now (or may still be started, when only diverts were asked)."""
        return self.verdict in ("started", "kept")


_remembered = lru_cache(maxsize=64)
"""A worker asks the same for ever, and what it asks stands between a job and its start."""


def claim_job(
    keys: Keys,
    lanes: Sequence[str],
    *,
    worker: str,
    is_staying: bool = False,
    policy: int | None = None,
) -> Command[Claimed | NothingClaimed]:
    """Take the first job that may run from `lanes`, most important first.

    A worker that `is_staying` when there is none may be put on lookout for others of these lanes.
    `policy` is the number of the one that says which lane is more important; None for any.
    """
    options = (LEASE_MS, JOBS_PER_CLAIM, ON_LOOKOUT_MS if is_staying else 0)
    return _claim_job(keys, tuple(lanes), (worker, *options, "" if policy is None else policy))


@_remembered
def _claim_job(
    keys: Keys, names: tuple[str, ...], options: tuple[str | int, ...]
) -> Command[Claimed | NothingClaimed]:
    lane_keys = tuple(key for lane in names for key in _lane_keys(keys, lane))
    return Command(
        "claim_job",
        (keys.claims, keys.pauses, keys.diverts, keys.meters, keys.events, keys.engine.suspended,
         keys.sampled, keys.policy, *lookout_keys(keys, names), *lane_keys),
        (*options, *keys.engine.script_prefixes, *names),
        lambda reply: _claimed(reply, names),
    )  # fmt: skip


def _lane_keys(keys: Keys, lane: str) -> tuple[str, ...]:
    return (*keys.lane(lane), keys.stale(lane), keys.unseen(lane))


def start_job(
    keys: Keys,
    held: HeldClaim,
    *,
    timestamp: str,
    function: str,
    meta: dict[str, str],
    registry: str = "",
    execution: str = "",
    to_fail: bool = False,
) -> Command[Gate]:
    """Let a claimed job through the gate, or learn why not.

    `registry` is the key of RQ's registry of started jobs, `execution` the id that this start has
    in it. With `to_fail` the job will not run, and no control is asked.
    """
    mode = "fail" if to_fail else "start"
    question = (mode, timestamp, function, json.dumps(meta), execution)
    return _gate(keys, held, question, registry)


def check_diverts(
    keys: Keys, held: HeldClaim, *, function: str, meta: dict[str, str]
) -> Command[Gate]:
    """Let a divert take a claimed job, now that its data was read; start nothing."""
    return _gate(keys, held, ("check", "", function, json.dumps(meta), ""))


def release_claim(keys: Keys, token: bytes, *, is_crash: bool = False) -> Command[bool]:
    """Give the job of `token` back to the front of its lane."""
    return Command(
        "release_claim",
        (keys.claims, keys.pauses, keys.diverts),
        (token, int(is_crash), keys.engine.jobs),
        bool,
    )


def renew_claim(keys: Keys, token: bytes) -> Command[bool]:
    """Say that the holder of `token` is alive."""
    return Command("renew_claim", (keys.claims,), (token,), bool)


def leave_lookout(keys: Keys, lanes: tuple[str, ...], *, worker: str) -> Command[bool]:
    """Call the next worker of `lanes` to the lookout, unless it is another one already."""
    return Command("leave_lookout", lookout_keys(keys, lanes), (worker,), bool)


@_remembered
def lookout_keys(keys: Keys, lanes: tuple[str, ...]) -> tuple[str, str]:
    """Who is on lookout for the workers of exactly these lanes, and what calls the next."""
    names = "\0".join(sorted(lanes)).encode("utf-8", "surrogateescape")
    group = hashlib.sha256(names).hexdigest()[:16]
    return keys.lookout(group), keys.relief(group)


@_remembered
def bells(keys: Keys, lanes: tuple[str, ...]) -> tuple[str, ...]:
    """What an idle worker of `lanes` waits for."""
    return tuple(dict.fromkeys(keys.bell(lane_of(lane).queue) for lane in lanes))


def _gate(
    keys: Keys, held: HeldClaim, question: tuple[str, ...], registry: str = ""
) -> Command[Gate]:
    return Command(
        "start_job",
        (keys.claims, keys.pauses, keys.diverts, keys.starting, keys.meters,
         keys.engine.jobs + held.job_id, *([registry] if registry else [])),
        (held.token, *question, *keys.engine.script_prefixes),
        lambda reply: Gate(*(_text(part) for part in reply)),
    )  # fmt: skip


def _claimed(reply: list[Any], lanes: tuple[str, ...]) -> Claimed | NothingClaimed:
    state = _text(reply[0])
    if state == "claimed":
        _, number, token, job_id, undecided, flat, running = reply
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        return Claimed(
            lanes[number - 1], token, text_of(job_id), bool(undecided), _text(running), fields
        )
    if state == "empty":
        return NothingClaimed(
            wait_ms=int(reply[1]), is_upkeep_due=bool(reply[2]), meanwhile=_text(reply[3])
        )
    return NothingClaimed(
        is_again=state == "again",
        is_suspended=state == "suspended",
        is_outdated=state == "outdated",
    )


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
