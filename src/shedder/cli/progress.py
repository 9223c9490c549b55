"""Progress bars and live lines on standard error."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Self

from shedder.cli.output import Screen, Text, age, as_rich, escaped, listed, number, per_second
from shedder.later import later
from shedder.queues.outcomes import in_all
from shedder.units import format_duration
from shedder.wording import counted

if TYPE_CHECKING:
    from rich.live import Live
    from rich.progress import BarColumn, Progress, TextColumn

    from shedder import DrainProgress, RunningJob, Shedder

else:
    globals().update(later((("rich.live", "Live"), ("rich.progress", "BarColumn Progress TextColumn"))))


JOBS_NAMED = 2
PACE_SECONDS = 10.0
FAILING_SECONDS = 2.0


@contextlib.contextmanager
def scan_bar(
    screen: Screen, what: str, *, note: Callable[[], str] = str
) -> Iterator[Callable[[int, int], None] | None]:
    """A bar for `on_progress` of a long scan, with `note` behind the numbers; None when nobody looks."""
    if not screen.shows_progress:
        yield None
        return
    columns = (TextColumn("{task.fields[said]}", markup=False), BarColumn(bar_width=20))
    with Progress(*columns, console=screen.err, transient=True) as bars:
        task = bars.add_task("", total=None, said=escaped(what))

        def show(looked_at: int, of: int) -> None:
            said = f"{escaped(what)}: {number(looked_at)} of {number(of)}{note()}"
            bars.update(task, completed=looked_at, total=of, said=said)

        yield show


class Failing:
    """What fails in lanes meanwhile, for the bar of something else; asked for every two seconds."""

    def __init__(self, shed: Shedder, targets: Sequence[str]) -> None:
        self._shed, self._targets = shed, targets
        self._asked_at = float("-inf")
        self._known = ""

    def said(self) -> str:
        """`, 48/s fail: OperationalError`; empty when nothing does."""
        if time.monotonic() - self._asked_at >= FAILING_SECONDS:
            found = in_all([lane.outcomes for lane in self._shed.status(*self._targets).lanes])
            self._known = f", {_fails(found.failing, found.exception)}" if found.failing else ""
            self._asked_at = time.monotonic()
        return self._known


def _fails(pace: float | None, exception: str) -> str:
    name = escaped(exception.rpartition(".")[2])
    return f"{per_second(pace)}/s fail{f': {name}' if name else ''}"


@contextlib.contextmanager
def live_line(screen: Screen) -> Iterator[Callable[[str], None]]:
    """Shows one line that changes in place; on what is no terminal, each new line once."""
    if screen.shows_progress:
        with Live(console=screen.err, transient=True, refresh_per_second=8) as live:
            yield lambda line: live.update(as_rich(Text(line)))
        return
    last = ""

    def print_new(line: str) -> None:
        nonlocal last
        if line != last:
            screen.remark(line)
        last = line

    yield print_new


def still_running_line(jobs: tuple[RunningJob, ...], now: datetime) -> str:
    """Which jobs a pause still waits for."""
    named = [f"{job.function or job.job_id} ({age(job.since, now)})" for job in jobs]
    return f"waiting for {counted(len(jobs), 'running job')}: {listed(named, most=JOBS_NAMED)}"


class DrainBar:
    """The bar of a drain: its pace, what is left, and when it ends at this pace.

    Args:
        screen: Where it is shown.
        backlog: Jobs that the drain has to release.
        rate: The most that it may release, for all backlogs together.
    """

    def __init__(self, screen: Screen, *, backlog: int, rate: float) -> None:
        self._rate = rate
        self._samples: deque[tuple[float, int, int]] = deque()
        columns = (BarColumn(bar_width=20), TextColumn("{task.fields[said]}", markup=False))
        self._bars = Progress(*columns, console=screen.err, transient=True, disable=not screen.shows_progress)
        self._task = self._bars.add_task("", total=max(backlog, 1), said="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, progress: tuple[DrainProgress, ...], *, note: str = "") -> None:
        """Show how far the drain is now, and a note behind the numbers."""
        released = sum(each.released for each in progress)
        left = sum(each.backlog for each in progress)
        failed = sum(each.failed for each in progress)
        exception = max(progress, key=lambda each: each.failed).exception if progress else ""
        pace, failing = self._paces(released, failed)
        said = drain_line(pace, left=left, rate=self._rate, failing=failing, exception=exception)
        said += f"; {note}" if note else ""
        self._bars.update(self._task, completed=released, total=max(released + left, 1), said=said)

    def say(self, text: str) -> None:
        """Show a remark in place of the numbers."""
        self._bars.update(self._task, said=text)

    def _paces(self, released: int, failed: int) -> tuple[float | None, float | None]:
        """Jobs released and jobs failed a second; None while too little has been seen."""
        now = time.monotonic()
        self._samples.append((now, released, failed))
        while now - self._samples[0][0] > PACE_SECONDS:
            self._samples.popleft()
        since, *before = self._samples[0]
        if now - since < 1:
            return None, None
        return (released - before[0]) / (now - since), (failed - before[1]) / (now - since)


def drain_line(pace: float | None, *, left: int, rate: float, failing: float | None = None, exception: str = "") -> str:
    """`49/s of 50/s, 48/s fail: OperationalError, 31,000 left, ends in 2m 48s`."""
    parts = [f"{per_second(pace)}/s of {per_second(rate)}/s"]
    if failing:
        parts.append(_fails(failing, exception))
    parts.append(f"{number(left)} left")
    if pace:
        parts.append(f"ends in {format_duration(left / pace // 1)}")
    return ", ".join(parts)
