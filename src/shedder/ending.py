"""Was this process asked to end, meanwhile?"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType
    from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class AskedToEnd:
    """Notes Ctrl-C, SIGTERM and SIGHUP instead of ending, for as long as this context lasts.

    What has a handler of its own keeps it, and what is ignored, as under nohup, stays ignored.
    Outside of the main thread, where Python knows no handlers, nothing is noted.
    """

    def __init__(self) -> None:
        self._came: list[signal.Signals] = []
        self._before: dict[signal.Signals, signal.Handlers] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            usual = (signal.SIG_DFL, signal.default_int_handler)
            self._before = {
                each: before  # type: ignore[misc]
                for each in SIGNALS
                if (before := signal.getsignal(each)) in usual
            }
        for each in self._before:
            signal.signal(each, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for each, before in self._before.items():
            signal.signal(each, before)

    @property
    def by(self) -> signal.Signals | None:
        """The first signal that came; None while none did."""
        return self._came[0] if self._came else None

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._came.append(signal.Signals(number))
