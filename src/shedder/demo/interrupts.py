"""How does Ctrl-C end the demo at any moment, and only once?"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType
    from typing import Self

    Handler = Callable[[int, FrameType | None], Any] | int | None

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """The polite ways to end this program: the first raises KeyboardInterrupt. Use as a context."""

    def __init__(self) -> None:
        self._came: list[int] = []
        self._before = {each: signal.getsignal(each) for each in SIGNALS}

    def __enter__(self) -> Self:
        # A signal that our parent has ignored (nohup) stays ignored.
        self._handle(
            {each: self._interrupt for each in SIGNALS if self._before[each] != signal.SIG_IGN}
        )
        return self

    def __exit__(self, *error: object) -> None:
        self._handle(self._before)

    @property
    def exit_code(self) -> int:
        """What a shell would make of the signal that came."""
        return 128 + (self._came[0] if self._came else signal.SIGINT)

    def check(self) -> None:
        """Nothing, as long as none came.

        Python drops an exception that a signal raises inside a hook, such as those around a fork.

        Raises:
            KeyboardInterrupt: one came.
        """
        if self._came:
            raise KeyboardInterrupt

    def ignore(self) -> None:
        """Let none disturb what follows."""
        self._handle(dict.fromkeys(SIGNALS, signal.SIG_IGN))

    def _interrupt(self, signum: int, _frame: FrameType | None) -> None:
        self._came.append(signum)
        if len(self._came) == 1:  # a second one must not disturb the end of things
            raise KeyboardInterrupt

    @staticmethod
    def _handle(handlers: Mapping[signal.Signals, Handler]) -> None:
        for each, handler in handlers.items():
            signal.signal(each, handler)


@contextmanager
def held_back() -> Iterator[None]:
    """Let signals wait meanwhile; what is forked meanwhile never gets them.

    Python runs its handlers for a signal that any of its threads takes, so each other thread has
    to be started in here: half a fork, interrupted, leaves a process that nobody knows of.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
