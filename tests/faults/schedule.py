"""The faults that are injected, and their order. A seed decides all that is left to chance."""

from __future__ import annotations

import importlib
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from shedder.embedded import EmbeddedServer
from tests.faults.accounting import Wrong
from tests.faults.stage import Outcome, Stage

FAMILIES = (
    "workers",
    "pause",
    "operators",
    "server",
    "network",
    "memory",
    "records",
    "scripts",
    "hand",
    "settings",
    "frozen",
    "producers",
    "pairs",
    "rq",
    "clock",
    "hostile",
    "upgrade",
    "cluster",
    "sentinel",
)


@dataclass(frozen=True, slots=True)
class Fault:
    """A row of the matrix.

    Attributes:
        name: What happens, and where.
        family: The module that knows it.
        trial: Plays it once.
        beside: Plays the same with stock RQ, for comparison; what is under load may be `trial`.
        is_short: It belongs to the short form.
    """

    name: str
    family: str
    trial: Callable[[Stage], None]
    beside: Callable[[Stage], None] | None = None
    is_short: bool = True


def all_faults(families: Sequence[str] = FAMILIES) -> list[Fault]:
    """All rows, family by family."""
    modules = (importlib.import_module(f"tests.faults.faults_{name}") for name in families)
    return [fault for module in modules for fault in module.faults()]


def chosen(faults: Sequence[Fault], only: str) -> list[Fault]:
    """Those whose name or family holds one of the words in `only`, separated by commas."""
    words = [word.strip() for word in only.split(",") if word.strip()]
    if not words:
        return list(faults)
    return [f for f in faults if any(word in f.name or word == f.family for word in words)]


def play(
    fault: Fault, server: EmbeddedServer, *, seed: str, size: int, beside: bool = False
) -> tuple[Outcome, Path | None]:
    """Play a trial; its outcome, and the folder with its logs when something was wrong."""
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    dice = Random(f"{seed} {fault.name}")
    trial = fault.beside if beside else fault.trial
    assert trial is not None
    stage = Stage(server, folder, dice=dice, size=size, is_stock=beside)
    try:
        with stage:
            trial(stage)
    except Exception:  # noqa: BLE001 - a trial that breaks is told like one that finds something
        stage.outcome.wrong.append(Wrong("broken", traceback.format_exc()))
    if stage.outcome.wrong and not beside:
        return stage.outcome, folder
    shutil.rmtree(folder, ignore_errors=True)
    return stage.outcome, None


def rounds(faults: Sequence[Fault], *, seed: str, minutes: float) -> Iterator[tuple[Fault, str]]:
    """One trial of each fault after the other, in a new order each round, until time is over.

    Each comes with the seed that plays it again. There is at least one whole round.
    """
    end = time.monotonic() + minutes * 60
    number = 0
    while number == 0 or time.monotonic() < end:
        number += 1
        order = list(faults)
        Random(f"{seed} {number}").shuffle(order)
        for fault in order:
            if number > 1 and time.monotonic() > end:
                return
            yield fault, f"{seed}.{number}"
