"""Which queues does a shell offer when somebody presses Tab?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shedder.cli.run import Run
from shedder.lanes import PRIORITIES

if TYPE_CHECKING:
    import click

_SECONDS = 0.5


def complete_targets(context: click.Context, _parameter: Any, incomplete: str) -> list[str]:
    """The queues on the server that begin with `incomplete`, or their lanes after a dot.

    Silent when anything goes wrong: nobody wants an error in the middle of a line.
    """
    try:
        queues = _queues(context)
    except Exception:  # noqa: BLE001
        return []
    return [name for name in _offered(queues, incomplete) if name.startswith(incomplete)]


def _queues(context: click.Context) -> tuple[str, ...]:
    from shedder.cli.connect import greet, server_for

    run = context.find_object(Run) or Run()
    server = server_for(url=run.url, config=run.config)
    greet(server, seconds=_SECONDS)
    from shedder import Shedder

    return Shedder(server.client).queues()


def _offered(queues: tuple[str, ...], incomplete: str) -> list[str]:
    named = [queue for queue in queues if incomplete.startswith(f"{queue}.")]
    lanes = [f"{queue}.{priority}" for queue in named for priority in PRIORITIES]
    return [*queues, *lanes]
