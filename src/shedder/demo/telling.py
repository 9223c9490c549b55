"""How is the demo told to a person who watches it?"""

from __future__ import annotations

import shutil
import textwrap
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from shedder.demo.waits import Waits

_NARROWEST, _WIDEST = 40, 80
_INDENT = "    "
_HEADINGS = ("charges sent while", "lane", "sent", "started", "p50", "p99", "longest")


class Teller:
    """Writes the story, in plain text, to `stream`.

    Attributes:
        width: columns that are used.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._began = time.monotonic()
        self._is_terminal = stream.isatty()
        self._is_line_open = False
        self._is_apart = True
        columns = shutil.get_terminal_size((_WIDEST, 24)).columns
        self.width = max(min(columns, _WIDEST), _NARROWEST)

    @property
    def seconds(self) -> float:
        """Since the story began."""
        return time.monotonic() - self._began

    def head(self, title: str) -> None:
        """Begin a step of the story."""
        minutes, seconds = divmod(int(self.seconds), 60)
        self._apart()
        self._write(f"[{minutes}:{seconds:02d}] {title}\n")
        self._apart()

    def say(self, text: str) -> None:
        """A paragraph."""
        self._write(textwrap.fill(" ".join(text.split()), self.width) + "\n")

    def quote(self, text: str) -> None:
        """What a program printed, or lines to copy: indented, folded where they are too long."""
        lines = [part for line in text.strip("\n").split("\n") for part in self._folded(line)]
        self._apart()
        self._write(textwrap.indent("\n".join(lines), _INDENT) + "\n")
        self._apart()

    def progress(self, text: str) -> None:
        """A line that the next one replaces; only a terminal shows it."""
        if self._is_terminal:
            self._stream.write(f"\r\x1b[K  {text[: self.width - 3]}")
            self._stream.flush()
            self._is_line_open = True

    def waits(self, steps: Iterable[Waits]) -> None:
        """A table of waiting times, a line for each step."""
        rows = [_HEADINGS, *map(_cells, steps)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
        self.quote("\n".join(_aligned(row, widths) for row in rows))

    def _folded(self, line: str) -> list[str]:
        # Folded by the terminal instead, what follows would stand left of the indent.
        width = self.width - len(_INDENT)
        return textwrap.wrap(
            line.rstrip(),
            width,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
            drop_whitespace=len(line.rstrip()) > width,
        ) or [""]

    def _apart(self) -> None:
        """An empty line, unless there is one."""
        if not self._is_apart:
            self._write("\n")
            self._is_apart = True

    def _write(self, text: str) -> None:
        if self._is_line_open:
            self._stream.write("\r\x1b[K")
            self._is_line_open = False
        self._stream.write(text)
        self._stream.flush()
        self._is_apart = False


def columns_left(teller: Teller) -> str:
    """The width that a program has whose output `quote` will show."""
    return str(teller.width - len(_INDENT))


def number(count: float) -> str:
    """`41200` as `41,200`."""
    return f"{count:,.0f}"


def _cells(waits: Waits) -> tuple[str, ...]:
    times = [str(wait) if wait else "-" for wait in (waits.p50, waits.p99, waits.longest)]
    return (waits.step, waits.lane, str(waits.sent), str(waits.started), *times)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    texts = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
    numbers = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
    return "  ".join(texts + numbers)
