"""What do commands on flags and limits return? Plain facts, frozen, like those of `records`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shedder.rates import Rate


@dataclass(frozen=True, slots=True)
class Setting:
    """What an operator set.

    Attributes:
        name: Of the flag or the limit; a limit for one key has it behind a space.
        by: Who set it.
        why: For which reason.
        since: Since when (server's clock, UTC).
        until: When it ends by itself; None when somebody must end it.
        body: What it says, such as a percentage or a rate.
    """

    name: str
    by: str
    why: str
    since: datetime
    until: datetime | None = None
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FlagState:
    """How a flag is.

    Attributes:
        name: Its name.
        percent: How much of it is degraded, 0 to 100.
        setting: What an operator set; None when the code decides.
        description: What the customer notices when it is degraded.
        owner: Who answers for it.
        group: The group that it is degraded with.
        is_declared: A process that uses it has been seen.
    """

    name: str
    percent: float
    setting: Setting | None = None
    description: str = ""
    owner: str = ""
    group: str = ""
    is_declared: bool = True


@dataclass(frozen=True, slots=True)
class FlagReceipt:
    """What a change of flags did.

    Attributes:
        event: Id of its event; empty when there was nothing to change.
        at: When it was in force (server's clock, UTC).
        flags: The flags, as they are now.
        replaced: What stood before, for those that had been set.
        restored: Jobs that had been sent to the backlog because of these flags, and are back.
    """

    event: str
    at: datetime
    flags: tuple[FlagState, ...]
    replaced: tuple[Setting, ...] = ()
    restored: int = 0


@dataclass(frozen=True, slots=True)
class LimitState:
    """How a limit is.

    Attributes:
        name: Its name.
        key: The key that it is set for; empty for all keys that have no setting of their own.
        rate: What is in force; None when it is off.
        default: What the code says; None when it says nothing.
        setting: What an operator set; None when the code decides.
        is_shadow: It counts what it would refuse, and refuses nothing.
        without_redis: What it says while Redis is away: `open`, `closed` or `local`.
        hits: How many it let through since it is counted, all keys together.
        refusals: How many it refused, or would have refused, all keys together.
        description: What it protects.
        owner: Who answers for it.
        is_declared: A process that uses it has been seen.
    """

    name: str
    key: str = ""
    rate: Rate | None = None
    default: Rate | None = None
    setting: Setting | None = None
    is_shadow: bool = False
    without_redis: str = "open"
    hits: int = 0
    refusals: int = 0
    description: str = ""
    owner: str = ""
    is_declared: bool = True


@dataclass(frozen=True, slots=True)
class LimitReceipt:
    """What a change of a limit did.

    Attributes:
        event: Id of its event; empty when there was nothing to change.
        at: When it was in force (server's clock, UTC).
        limits: The limits, as they are now.
        replaced: What stood before, for those that had been set.
    """

    event: str
    at: datetime
    limits: tuple[LimitState, ...]
    replaced: tuple[Setting, ...] = ()


@dataclass(frozen=True, slots=True)
class LimitAnswer:
    """What a hit on a limit would be told now; nothing was counted.

    Attributes:
        name: Name of the limit.
        key: The key that was asked for.
        rate: What is in force for it; None when it is off.
        is_within: A hit would be let through.
        used: Hits that count now.
        left: Hits that would be let through at once; None when it is off.
        retry_after: In how many seconds one hit would be within the rate.
        is_shadow: It would be let through all the same.
    """

    name: str
    key: str
    rate: Rate | None
    is_within: bool
    used: int = 0
    left: int | None = None
    retry_after: float = 0.0
    is_shadow: bool = False
