"""Names of queues, flags and limits that the shell completes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from shedder.cli.run import Run
from shedder.lanes import PRIORITIES

if TYPE_CHECKING:
    import click

    from shedder import Shedder


_SECONDS = 0.5

_BY = ("function", "priority", "meta.")
_SHARES = ("10%", "20%", "50%", "never")


def _completion(names: Callable[[Shedder, str], Iterable[str]]) -> Callable[[click.Context, Any, str], list[str]]:
    """Offers those of `names` that begin with what is typed.

    Silent when anything goes wrong: nobody wants an error in the middle of a line.
    """

    def complete(context: click.Context, _parameter: Any, incomplete: str) -> list[str]:
        try:
            return [name for name in names(_connected(context), incomplete) if name.startswith(incomplete)]
        except Exception:  # noqa: BLE001
            return []

    return complete


@_completion
def complete_targets(shedder: Shedder, incomplete: str) -> Iterable[str]:
    """The queues on the server, and the lanes of one that is followed by a dot."""
    queues = shedder.queues()
    named = [queue for queue in queues if incomplete.startswith(f"{queue}.")]
    return [*queues, *(f"{queue}.{priority}" for queue in named for priority in PRIORITIES)]


def complete_by(_context: click.Context, _parameter: Any, incomplete: str) -> list[str]:
    """By what the jobs of a queue can be told apart."""
    return [each for each in _BY if each.startswith(incomplete)]


def complete_shares(_context: click.Context, _parameter: Any, incomplete: str) -> list[str]:
    """Shares of jobs that make sense, and `never`."""
    return [share for share in _SHARES if share.startswith(incomplete)]


@_completion
def complete_failed_functions(shedder: Shedder, _incomplete: str) -> Iterable[str]:
    """The functions of the last failed jobs."""
    return sorted({each.function for each in shedder.failed_lately()})


@_completion
def complete_exceptions(shedder: Shedder, _incomplete: str) -> Iterable[str]:
    """The exceptions of the last failed jobs, with their modules and without."""
    names = {each.exception for each in shedder.failed_lately()}
    return sorted(names | {name.rpartition(".")[2] for name in names})


@_completion
def complete_flags(shedder: Shedder, _incomplete: str) -> Iterable[str]:
    """The flags that are declared or set."""
    return sorted(flag.name for flag in shedder.flag_states())


@_completion
def complete_groups(shedder: Shedder, _incomplete: str) -> Iterable[str]:
    """The groups of flags."""
    return sorted({flag.group for flag in shedder.flag_states() if flag.group})


@_completion
def complete_limits(shedder: Shedder, _incomplete: str) -> Iterable[str]:
    """The limits that are declared or set."""
    return sorted({limit.name for limit in shedder.limit_states()})


def _connected(context: click.Context) -> Shedder:
    from shedder.cli.connect import connect, server_for

    run = context.find_object(Run) or Run()
    return connect(server_for(url=run.url, config=run.config), seconds=_SECONDS)
