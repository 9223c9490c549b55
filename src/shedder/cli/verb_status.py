"""`shedder status`: how all lanes are."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from shedder.cli.asking import warn_of_unknown
from shedder.cli.options import Wait, maybe_duration_option, targets_argument, verb

if TYPE_CHECKING:
    from shedder.cli.run import Run

WATCH_SECONDS = 2.0
SHORTEST_SECONDS = 0.1


_EXAMPLES = (
    "shedder status",
    "shedder status mail reports",
    "shedder status --watch 5s",
    "shedder status --json",
)


@verb("status", examples=_EXAMPLES)
@targets_argument
@maybe_duration_option("--watch", help="Look again and again, every 2s or DURATION.")
def status(run: Run, *, names: tuple[str, ...], watch: Wait | None) -> int:
    """Show how many jobs wait and run, what is paused or diverted, by whom and why."""
    if names:
        warn_of_unknown(run, names)
    if watch is None:
        _show_once(run, names)
        return 0
    _ = run.shedder  # a server that is away from the beginning is not waited for
    run.state = "nothing was changed by looking"
    seconds = watch.limit.total_seconds() if watch.limit else WATCH_SECONDS
    _watch(run, names, max(seconds, SHORTEST_SECONDS))
    return 0


def _show_once(run: Run, names: tuple[str, ...]) -> None:
    found = run.shedder.status(*names)
    if run.is_json:
        run.emit("status/1", found)
        return
    from shedder.cli.status_view import status_view

    run.screen.show(*status_view(found, address=run.address, named=names))


def _watch(run: Run, names: tuple[str, ...], seconds: float) -> None:
    if run.is_json or not run.screen.out.is_terminal:
        while True:
            _print_again(run, names)
            time.sleep(seconds)
    from rich.live import Live

    from shedder.cli.status_watch import status_or_trouble

    with Live(console=run.screen.out, screen=True, auto_refresh=False) as live:
        while True:
            live.update(status_or_trouble(run, names), refresh=True)
            time.sleep(seconds)


def _print_again(run: Run, names: tuple[str, ...]) -> None:
    from shedder.cli.failures import trouble
    from shedder.errors import RedisUnreachable

    try:
        found = run.shedder.status(*names)
    except RedisUnreachable as error:
        run.screen.warn(f"{trouble(error, run)}, trying again")
        return
    if run.is_json:
        run.emit("status/1", found, is_line=True)
        return
    from shedder.cli.status_view import status_view

    run.screen.show(*status_view(found, address=run.address, named=names), "")
