"""How does the demo use the product? As a person would: by its own commands, in a shell."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from dataclasses import dataclass

from shedder.demo.fleet import environment
from shedder.demo.telling import Teller, columns_left
from shedder.demo.trouble import DemoFailed

_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a command of shedder did.

    Attributes:
        command: the line, as typed.
        exit_code: 0 when it did what it should.
        seconds: how long it took, with the start of Python.
        ended: when it had returned, in nanoseconds since the epoch.
        text: what it printed.
    """

    command: str
    exit_code: int
    seconds: float
    ended: int
    text: str


class Commands:
    """Runs commands of shedder on one server, and shows them with what they print.

    Attributes:
        receipts: of all commands so far.
    """

    def __init__(self, url: str, teller: Teller, *, channel: str = "") -> None:
        self._teller = teller
        told = {"SHEDDER_CHANNEL_MAIN": channel} if channel else {}
        self._environment = {**environment(url), "COLUMNS": columns_left(teller), **told}
        self.receipts: list[Receipt] = []

    def run(self, *words: str, may_fail: bool = False) -> Receipt:
        """Run `shedder` with these words; its receipt is shown.

        Raises:
            DemoFailed: it did not exit with 0, and may not fail.
        """
        line = shlex.join(["shedder", *words])
        self._teller.quote(f"$ {folded(line, self._teller.width - 4)}")
        receipt = self._finished(line, words)
        self.receipts.append(receipt)
        self._teller.quote(receipt.text)
        if receipt.exit_code != 0 and not may_fail:
            raise DemoFailed(f"`{line}` exited with {receipt.exit_code}")
        return receipt

    def _finished(self, line: str, words: tuple[str, ...]) -> Receipt:
        began = time.monotonic()
        try:
            done = subprocess.run(
                [sys.executable, "-m", "shedder", *words],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=_PATIENCE_SECONDS,
                start_new_session=True,  # Ctrl-C is for the demo, which ends what it has started
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise DemoFailed(f"`{line}` took more than {_PATIENCE_SECONDS:g} s") from error
        seconds = time.monotonic() - began
        return Receipt(line, done.returncode, seconds, time.time_ns(), done.stdout)


def folded(line: str, width: int) -> str:
    """`line` in as many lines as `width` asks for, such that a shell would still take them."""
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
