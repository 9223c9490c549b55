"""What a person sees of the demo: steps, paragraphs, commands and what they print, tables, bars."""

from __future__ import annotations

import shlex
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.padding import Padding
from rich.text import Text

from shedder.cli import output
from shedder.cli.progress import scan_bar
from shedder.demo.fleet import StepWaits, WaitTime
from shedder.units import format_duration

_NARROWEST, _WIDEST = 40, 80
_INDENT = 4


class Teller:
    """Tells the story on `screen`: on standard error where standard output is for JSON.

    Attributes:
        width: columns that are used.
    """

    def __init__(self, screen: output.Screen) -> None:
        self._screen = screen
        self._console = screen.err if screen.is_json else screen.out
        self._began = time.monotonic()
        self._is_apart = True
        self.width = max(min(self._console.width, _WIDEST), _NARROWEST)

    @property
    def seconds(self) -> float:
        """Since the story began."""
        return time.monotonic() - self._began

    @property
    def quoted_width(self) -> int:
        """Columns that `quote` leaves to a line."""
        return self.width - _INDENT

    def head(self, title: str) -> None:
        """Begin a step of the story."""
        minutes, seconds = divmod(int(self.seconds), 60)
        self._apart()
        self._print(Text(f"[{minutes}:{seconds:02d}] {title}", style="bold"))
        self._apart()

    def say(self, text: str) -> None:
        """A paragraph."""
        self._print(Text(textwrap.fill(" ".join(text.split()), self.width)))

    def quote(self, text: str) -> None:
        """What a program printed, or lines to copy: indented, folded where they are too long."""
        # Folded by the terminal instead, what follows would stand left of the indent.
        lines = [part for line in text.strip("\n").split("\n") for part in _folded(line.rstrip(), self.quoted_width)]
        self._apart()
        self._print(Text(textwrap.indent("\n".join(lines), " " * _INDENT)))
        self._apart()

    def command(self, line: str) -> None:
        """A command line, as it would be typed."""
        self.quote(f"$ {folded_command(line, self.quoted_width - len('$ '))}")

    def waits(self, steps: Iterable[StepWaits]) -> None:
        """A table of waiting times, a line for each step."""
        made = output.table("charges sent while", "lane", ">sent", ">started", ">p50", ">p99", ">longest")
        for step in steps:
            times = [spoken_wait(wait) for wait in (step.p50, step.p99, step.longest)]
            output.row(made, step.step, step.lane, str(step.sent), str(step.started), *times)
        self._apart()
        self._print(Padding.indent(output.as_rich(made), _INDENT))
        self._apart()

    @contextmanager
    def bar(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """A bar for `what`, to be told how many of how many; only a terminal shows it."""
        with scan_bar(self._screen, what) as show:
            yield show or (lambda _done, _of: None)

    def _apart(self) -> None:
        """An empty line, unless there is one."""
        if not self._is_apart:
            self._print(Text(""))
            self._is_apart = True

    def _print(self, part: Text | Padding) -> None:
        is_text = isinstance(part, Text)
        self._console.print(part, soft_wrap=is_text, width=None if is_text else self.width)
        self._is_apart = False


def spoken_wait(wait: WaitTime | None) -> str:
    """`350ms`, `12s`; `> 12s` for a job that still waits, `-` for none."""
    return "-" if wait is None else f"{'' if wait.is_over else '> '}{format_duration(wait.seconds)}"


def folded_command(line: str, width: int) -> str:
    """`line` in lines of at most `width`, each option with its value, as a shell would take it."""
    first, *rest = _options(line)
    lines = [first]
    for option in rest:
        if len(lines[-1]) + len(option) + len("  \\") <= width:
            lines[-1] += f" {option}"
        else:
            lines.append(f"    {option}")
    return " \\\n".join(lines)


def _options(line: str) -> list[str]:
    """The words of `line`, each option with its value."""
    parts: list[str] = []
    for word in shlex.split(line):
        is_value = parts and parts[-1].startswith("-") and " " not in parts[-1]
        if is_value and not word.startswith("-"):
            parts[-1] += f" {shlex.quote(word)}"
        else:
            parts.append(shlex.quote(word))
    return parts


def _folded(line: str, width: int) -> list[str]:
    return textwrap.wrap(
        line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False,
        drop_whitespace=len(line) > width,
    ) or [""]  # fmt: skip
