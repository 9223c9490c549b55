"""What is still to be asked, or refused, before a command changes something?"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

import click

from shedder.cli.failures import Refused
from shedder.cli.text import escaped, listed
from shedder.errors import NothingMatched, ShedderError
from shedder.lanes import lane_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shedder.cli.options import Asked
    from shedder.cli.run import Run


@dataclass(frozen=True, slots=True)
class Order:
    """A command that can be given.

    Attributes:
        targets: Queues and lanes, at least one.
        reason: For which reason.
        by: Who acts; None for `user@host`.
    """

    targets: tuple[str, ...]
    reason: str
    by: str | None


def order_of(run: Run, asked: Asked, verb: str, *, note: str = "") -> Order:
    """The order that `asked` stands for, whatever others have just changed.

    Raises:
        Refused: no queue is named, or no reason is given and nobody can be asked.
        NothingMatched: all queues are meant and there are none.
    """
    _check_targets(run, asked, verb)
    _check_reason(asked)
    targets = settle_targets(run, asked, verb, note=note)
    return Order(targets, reason_of(asked, f"{verb} {listed(targets)}"), asked.by)


def settle_targets(run: Run, asked: Asked, verb: str, *, note: str = "") -> tuple[str, ...]:
    """The queues and lanes that `asked` stands for, for a command that needs no reason.

    Raises:
        Refused: no queue is named.
        NothingMatched: all queues are meant and there are none.
    """
    _check_targets(run, asked, verb)
    warn_of_unknown(run, asked.names, note=note)
    return asked.names or _all_queues(run)


def reason_of(asked: Asked, deed: str) -> str:
    """The reason that was given, or that the person at the terminal types now.

    Raises:
        Refused: none was given and nobody can be asked.
    """
    _check_reason(asked)
    if asked.reason is not None:
        return asked.reason
    said = ""
    while not said.strip():
        said = click.prompt(
            f"Why {deed}?", err=True, default="", show_default=False, prompt_suffix=" "
        )
    return str(said).strip()


def confirm(question: str, *, is_sure: bool) -> None:
    """Let the person at the terminal say yes; without a terminal nobody is asked.

    Raises:
        ShedderError: they said no.
    """
    if is_sure or not is_asking_possible():
        return
    if not click.confirm(escaped(question), err=True):
        raise ShedderError("nothing was changed, because you said no")


def is_asking_possible() -> bool:
    """Whether somebody can answer a question."""
    return sys.stdin is not None and sys.stdin.isatty()


def warn_of_unknown(run: Run, names: Sequence[str], *, note: str = "") -> None:
    """Say on standard error which of `names` no producer has used yet, and what is like it."""
    known = run.shedder.queues()
    for name in names:
        queue = lane_of(name).queue
        if queue not in known:
            near = get_close_matches(queue, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there is {_there_is(known)}"
            run.screen.warn(f"no queue is called {queue} ({hint}){f'; {note}' if note else ''}")


def _check_targets(run: Run, asked: Asked, verb: str) -> None:
    if asked.names and asked.is_all:
        raise Refused(f"{listed(asked.names)} and --all exclude each other; name queues, or all")
    if not asked.names and not asked.is_all:
        raise Refused(
            f"say what to {verb}: a queue, a lane such as mail.low, or --all; {_what(run)}"
        )


def _what(run: Run) -> str:
    try:
        return f"there is {_there_is(run.shedder.queues())}"
    except ShedderError as error:
        return f"which queues there are is not known: {error}"


def _there_is(queues: Sequence[str]) -> str:
    return listed(queues, most=10) or "no queue yet"


def _check_reason(asked: Asked) -> None:
    if asked.reason is None and not is_asking_possible():
        raise Refused('say why: -r "database at 99 %"; the journal keeps it')


def _all_queues(run: Run) -> tuple[str, ...]:
    queues = run.shedder.queues()
    if not queues:
        raise NothingMatched("--all (is this the right Redis? see -u and RQ_KEY_PREFIX)")
    return queues
