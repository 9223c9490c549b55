"""How did a declared mitigation go?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class MitigationReceipt:
    """How a declared mitigation went.

    Attributes:
        event: Id of the event that says how it ended.
        at: When it had ended (server's clock, UTC).
        name: Its name in the policy.
        command: The program and its arguments, secrets masked.
        outcome: `done`, `failed`, `timed out` or `not started`.
        exit_code: What it exited with; minus the signal that ended it; None when it never began.
        seconds: How long it ran, in seconds.
        output: The end of what it printed, secrets masked.
    """

    event: str
    at: datetime
    name: str
    command: tuple[str, ...]
    outcome: str
    exit_code: int | None
    seconds: float
    output: str = ""
