"""Which policy holds for this call?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from shedder.cli.run import Run
    from shedder.policy import Policy


def policy_option(body: Callable[..., int]) -> Any:
    """The file with the policy, for what needs one that is in force."""
    return _option(body, "Use this policy, not the one in force.")


def near_policy_option(body: Callable[..., int]) -> Any:
    """The file with the policy, for what may use one that nobody has applied."""
    return _option(body, "Use this policy, not the one in force, nor shedder.toml near here.")


def policy_for(
    run: Run, file: str | None, *, or_near: bool = False, is_needed: bool = False
) -> Policy:
    """The policy in `file`; else the one in force; an empty one when there is none.

    While none was applied, `or_near` takes the file here or in a folder above.

    Raises:
        InvalidInput: it is needed and there is none, or it cannot be read.
        PolicyInvalid: it has problems.
        RecordUnreadable: the one in force is damaged or of a newer shedder.
    """
    from shedder.policy_file import find_policy_file, policy_file_near, read_policy

    if file is not None:
        return read_policy(Path(file))
    applied = run.shedder.policies.applied()
    if applied.number or not or_near:
        return applied.policy
    path = find_policy_file(Path.cwd()) if is_needed else policy_file_near(Path.cwd())
    return read_policy(path) if path else applied.policy


def _option(body: Callable[..., int], text: str) -> Any:
    return click.option("--policy", "policy_file", metavar="FILE", help=text)(body)
