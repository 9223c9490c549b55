"""Where do results and remarks go, and what does the terminal there understand?"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.text import Text

from shedder.cli.asjson import dumped
from shedder.cli.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

_PIPE_WIDTH = 200


class Verbatim(Text):
    """Text to be copied, such as a command: it gets no line breaks of ours."""


class Screen:
    """Results go to standard output, remarks and progress to standard error.

    Args:
        is_json: results are JSON, and nothing else goes to standard output.
    """

    def __init__(self, *, is_json: bool = False) -> None:
        self.is_json = is_json
        self.out = _console(sys.stdout)
        self.err = _console(sys.stderr)

    @property
    def shows_progress(self) -> bool:
        """Whether somebody may be looking at standard error."""
        return self.err.is_terminal

    @property
    def is_watched(self) -> bool:
        """Whether a person looks at all that is printed."""
        return self.out.is_terminal and self.err.is_terminal and not self.is_json

    def show(self, *parts: RenderableType) -> None:
        """Print results for a person; lines are broken where there is a width to fit into."""
        for part in parts:
            is_long = isinstance(part, Text) and self.out.width == _PIPE_WIDTH
            self.out.print(part, soft_wrap=is_long or isinstance(part, Verbatim))

    def emit(self, content: Mapping[str, Any], *, is_line: bool = False) -> None:
        """Print a JSON object."""
        sys.stdout.write(dumped(content, is_line=is_line) + "\n")
        sys.stdout.flush()

    def remark(self, text: str, *, style: str = "") -> None:
        """Print one line to standard error."""
        self.err.print(Text(one_line(text), style=style), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print one line to standard error that a person should not miss."""
        self.remark(f"warning: {text}", style="yellow")


def _console(stream: TextIO) -> Console:
    # What is no terminal has no width: a table that is cut at column 80 helps nobody there.
    is_free = not stream.isatty() and "COLUMNS" not in os.environ
    return Console(
        file=stream, width=_PIPE_WIDTH if is_free else None, markup=False, emoji=False,
        highlight=False, legacy_windows=False,
    )  # fmt: skip
