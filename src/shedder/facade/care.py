"""How is shedder itself checked, mended and removed?"""

from __future__ import annotations

from collections.abc import Callable

from shedder.checkup import Checkup, Repair
from shedder.facade.wiring import Wiring
from shedder.leaving import UninstallReceipt
from shedder.records import Event
from shedder.rq import doctor, mending, uninstalling
from shedder.rq.progress import Progress


class Care(Wiring):
    """Check-up and uninstall."""

    def check_up(self, on_progress: Progress | None = None) -> Checkup:
        """How server, workers, producers, records and every job are; reads only, as `audit`."""
        return doctor.check_up(self.store, self.keys, on_progress=on_progress)

    def repair(self, checkup: Checkup, *, reason: str, by: str | None = None) -> tuple[Repair, ...]:
        """Mend what `checkup` found, where that is safe while everybody works on.

        Each repair looks again in the step that changes something, and writes its event.
        """
        return mending.repair(self.store, self.keys, checkup, self._cause(reason, by))

    def preview_uninstall(self) -> UninstallReceipt:
        """What `uninstall` would do; changes nothing."""
        return uninstalling.preview(self.store, self.keys)

    def uninstall(
        self,
        *,
        reason: str,
        by: str | None = None,
        force: bool = False,
        on_event: Callable[[Event], None] | None = None,
        on_progress: Progress | None = None,
    ) -> UninstallReceipt:
        """Bring every job back to the lists of RQ, end all controls, remove all keys of shedder.

        It may be killed anywhere, and goes on when it is called again. Each line of the journal is
        handed to `on_event` before it goes. `force` is for workers that RQ still has on record
        and that are dead, and for records that cannot be read.

        Raises:
            NothingMatched: there is nothing of shedder on this server.
            ConditionNotMet: workers of shedder are alive.
            RecordUnreadable: a divert is damaged or of a newer shedder.
        """
        cause = self._cause(reason, by)
        return uninstalling.uninstall(
            self.store, self.keys, cause, is_forced=force, on_event=on_event,
            on_progress=on_progress,
        )  # fmt: skip
