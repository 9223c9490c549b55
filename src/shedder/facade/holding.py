"""How does a lane stop and go on?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

from shedder.facade.wiring import Wiring
from shedder.records import PauseReceipt, ResumeReceipt, RunningJob
from shedder.rq import pausing


class Holding(Wiring):
    """Pauses."""

    def pause(
        self,
        *targets: str,
        reason: str,
        by: str | None = None,
        expires_in: timedelta | None = None,
    ) -> PauseReceipt:
        """Let no job of `targets` start any more.

        With workers of ours none starts after this has returned; `expires_in` ends it by the
        server's clock.
        """
        return pausing.pause(
            self.store,
            self.keys,
            self._lanes(targets),
            self._attributed(reason, by),
            operation=uuid4().hex,
            expires_in=expires_in,
        )

    def wait_until_idle(
        self,
        *targets: str,
        timeout: timedelta | None = None,
        on_change: Callable[[tuple[RunningJob, ...]], None] | None = None,
    ) -> tuple[RunningJob, ...]:
        """Wait until no job of `targets` runs; those that still do when `timeout` is over."""
        return pausing.wait_until_idle(
            self.store, self.keys, self._names(targets), timeout=timeout, on_change=on_change
        )

    def resume(self, *targets: str, reason: str, by: str | None = None) -> ResumeReceipt:
        """End the pause of `targets`."""
        return pausing.resume(
            self.store,
            self.keys,
            self._lanes(targets),
            self._attributed(reason, by),
            operation=uuid4().hex,
        )
