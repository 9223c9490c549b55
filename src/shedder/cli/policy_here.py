"""Which policy holds for this call?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shedder.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from shedder.policy import Policy


def policy_option(body: Callable[..., int]) -> Any:
    """The file with the policy."""
    return click.option(
        "--policy", metavar="FILE", help="The policy; shedder.toml here or above if absent."
    )(body)


def policy_here(file: str | None, *, is_needed: bool = False) -> Policy:
    """The policy in `file`, or the one here or above; an empty one when there is none.

    Raises:
        InvalidInput: it is needed and there is none, or it cannot be read.
        PolicyInvalid: it has problems.
    """
    from shedder.policy import Policy
    from shedder.policy_file import find_policy_file, read_policy

    try:
        path = Path(file) if file else find_policy_file(Path.cwd())
    except InvalidInput:
        if is_needed:
            raise
        return Policy()
    return read_policy(path)
