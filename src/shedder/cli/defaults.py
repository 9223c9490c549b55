"""What holds where a command does not say it? The defaults of the policy in force."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from shedder.cli.options import EVER

if TYPE_CHECKING:
    from shedder.cli.run import Run
    from shedder.policy import Defaults


def expiry(run: Run, said: timedelta | None, *, of: str) -> timedelta | None:
    """When something ends by itself: as `--for` says, else as the policy does; None for never.

    `of` is `pause`, `limit` or `flag`.
    """
    if said is not None:
        return None if said == EVER else said
    default: timedelta | None = getattr(defaults_in_force(run), f"{of}_for")
    return default


def defaults_in_force(run: Run) -> Defaults:
    """The defaults of the policy in force; one that cannot be read must not stop a command."""
    from shedder.errors import RecordUnreadable
    from shedder.policy import Defaults

    try:
        return run.shedder.policies.applied().policy.defaults
    except RecordUnreadable as error:
        run.screen.warn(f"{error}; its defaults do not hold")
        return Defaults()
