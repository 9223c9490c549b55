"""Names of queues, flags and limits that the shell completes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shedder.cli.run import Run
from shedder.lanes import PRIORITIES

if TYPE_CHECKING:
    import click

    from shedder import Shedder


_SECONDS = 0.5


def complete_targets(context: click.Context, _parameter: Any, incomplete: str) -> list[str]:
    """The queues on the server that begin with `incomplete`, or their lanes after a dot.

    Silent when anything goes wrong: nobody wants an error in the middle of a line.
    """
    try:
        queues = _connected(context).queues()
    except Exception:  # noqa: BLE001
        return []
    return [name for name in _offered(queues, incomplete) if name.startswith(incomplete)]


def complete_flags(context: click.Context, _parameter: Any, incomplete: str) -> list[str]:
    """The flags that are declared or set and begin with `incomplete`; silent as above."""
    try:
        flags = _connected(context).flag_states()
    except Exception:  # noqa: BLE001
        return []
    return sorted(flag.name for flag in flags if flag.name.startswith(incomplete))


def complete_groups(context: click.Context, _parameter: Any, incomplete: str) -> list[str]:
    """The groups of flags that begin with `incomplete`; silent as above."""
    try:
        groups = {flag.group for flag in _connected(context).flag_states()}
    except Exception:  # noqa: BLE001
        return []
    return sorted(group for group in groups if group and group.startswith(incomplete))


def complete_limits(context: click.Context, _parameter: Any, incomplete: str) -> list[str]:
    """The limits that are declared or set and begin with `incomplete`; silent as above."""
    try:
        names = {limit.name for limit in _connected(context).limit_states()}
    except Exception:  # noqa: BLE001
        return []
    return sorted(name for name in names if name.startswith(incomplete))


def _connected(context: click.Context) -> Shedder:
    from shedder.cli.connect import connect, server_for

    run = context.find_object(Run) or Run()
    return connect(server_for(url=run.url, config=run.config), seconds=_SECONDS)


def _offered(queues: tuple[str, ...], incomplete: str) -> list[str]:
    named = [queue for queue in queues if incomplete.startswith(f"{queue}.")]
    lanes = [f"{queue}.{priority}" for queue in named for priority in PRIORITIES]
    return [*queues, *lanes]
