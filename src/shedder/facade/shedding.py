"""How does work leave its lane, and come back?"""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from shedder.backlog import LimitTerms
from shedder.drain import order_drain
from shedder.errors import InvalidInput
from shedder.facade.wiring import Wiring
from shedder.lanes import lanes_of_targets
from shedder.rates import Rate
from shedder.records import (
    Cause,
    DivertPreview,
    DivertReceipt,
    DrainProgress,
    DrainReceipt,
    RestoreReceipt,
)
from shedder.rq import diverting, draining, fleet, preview, staleness, undoing
from shedder.rq.progress import Progress
from shedder.selection import Selection
from shedder.stale import ReplayReceipt, StaleLane


class Shedding(Wiring):
    """Diverts, drains, limits on starts, and what was set aside."""

    def divert(
        self,
        *targets: str,
        selection: Selection | None = None,
        reason: str,
        by: str | None = None,
        on_progress: Progress | None = None,
    ) -> DivertReceipt:
        """Move what `selection` takes to the backlog, and what still arrives too."""
        return diverting.divert(
            self.store,
            self.keys,
            self._lanes(targets),
            selection or Selection(),
            self._attributed(reason, by),
            order=uuid4().hex,
            on_progress=on_progress,
        )

    def preview_divert(
        self,
        *targets: str,
        selection: Selection | None = None,
        on_progress: Progress | None = None,
    ) -> DivertPreview:
        """What `divert` would do; changes nothing."""
        return preview.preview_divert(
            self.store,
            self.keys,
            self._lanes(targets),
            selection or Selection(),
            on_progress=on_progress,
        )

    def drain(
        self,
        *targets: str,
        rate: Rate | None = None,
        reason: str,
        by: str | None = None,
        stays: bool = False,
    ) -> DrainReceipt:
        """Let the backlogs of `targets` start again, oldest first, each at most at `rate`.

        It is an order: it goes on when this process ends. Said again, it changes the rate. When a
        backlog is empty its divert ends, unless `stays`. Without a `rate` it is the policy's.

        Raises:
            InvalidInput: there is no rate, neither here nor in the policy.
        """
        rate = rate or self.policies.applied().policy.defaults.drain_rate
        if rate is None:
            accepted = "a rate such as 200/second, here or as drain_rate in the policy"
            raise InvalidInput(name="rate", value=None, accepted=accepted)
        return self._order_drain(targets, rate, self._attributed(reason, by), stays=stays)

    def stop_drain(self, *targets: str, reason: str, by: str | None = None) -> DrainReceipt:
        """Stop draining; the diverts stay in force."""
        return self._order_drain(targets, None, self._attributed(reason, by))

    def drain_at_once(
        self,
        *targets: str,
        reason: str,
        by: str | None = None,
        on_progress: Progress | None = None,
    ) -> RestoreReceipt:
        """End the diverts of `targets` and put their backlogs back, in order, at no pace."""
        return undoing.restore_targets(
            self.store,
            self.keys,
            self._names(targets),
            self._attributed(reason, by),
            on_progress=on_progress,
        )

    def drain_progress(self, receipt: DrainReceipt) -> tuple[DrainProgress, ...]:
        """How far the drains of `receipt` are."""
        backlogs = [(lane.lane, lane.order) for lane in receipt.lanes]
        return draining.drain_progress(self.store, self.keys, backlogs)

    def release_for_stock_workers(self, receipt: DrainReceipt) -> None:
        """Release the next jobs of lanes that only stock workers serve; to be called regularly."""
        if receipt.rate is not None:
            pace = receipt.rate.per_second
            backlogs = [(lane.lane, lane.order, pace) for lane in receipt.lanes]
            draining.release_for_stock_workers(self.store, self.keys, backlogs)

    def limit_starts(
        self,
        *targets: str,
        rate: Rate | None = None,
        most: int | None = None,
        selection: Selection | None = None,
        expires_in: timedelta | None = None,
        reason: str,
        by: str | None = None,
    ) -> DivertReceipt:
        """Let jobs of `targets` start at most at `rate`, and at most `most` of them run at once.

        One bound holds for all `targets` together. With a `selection` it is a limit of these jobs
        alone, and the others of the lane pass them. What has to wait does so outside the lane's
        list, in order. A divert beats a limit.

        Raises:
            InvalidInput: neither a rate nor a positive `most` is given.
        """
        if (rate is None and most is None) or (most is not None and most < 1):
            raise InvalidInput(
                name="limit", value=most, accepted="a rate, or a number of jobs that run at once"
            )
        return diverting.divert(
            self.store,
            self.keys,
            self._lanes(targets),
            selection or Selection(),
            self._attributed(reason, by),
            order=uuid4().hex,
            terms=LimitTerms(rate, most, expires_in),
        )

    def lift_limit(self, *targets: str, reason: str, by: str | None = None) -> RestoreReceipt:
        """End the limits on starts of `targets`; what waits under them is in the lanes again."""
        return undoing.lift_limits(
            self.store, self.keys, self._names(targets), self._attributed(reason, by)
        )

    def stale(self, *targets: str) -> tuple[StaleLane, ...]:
        """What was set aside of `targets`, or of all lanes, because the policy calls it stale."""
        lanes = lanes_of_targets(targets)
        return staleness.stale_lanes(self.store, self.keys, lanes)

    def replay_stale(
        self,
        *targets: str,
        reason: str,
        by: str | None = None,
        on_progress: Progress | None = None,
    ) -> ReplayReceipt:
        """Put what was set aside of `targets` into its lanes, as if it were enqueued now."""
        return staleness.replay_lanes(
            self.store,
            self.keys,
            self._lanes(targets),
            self._attributed(reason, by),
            on_progress=on_progress,
        )

    def _order_drain(
        self, targets: tuple[str, ...], rate: Rate | None, cause: Cause, *, stays: bool = False
    ) -> DrainReceipt:
        lanes = self._lanes(targets)
        done = self.store.run(
            order_drain(self.keys, lanes, rate, cause, operation=uuid4().hex, stays=stays)
        )
        workers = fleet.workers_of(self.store, self.keys, [lane.name for lane in lanes])
        return DrainReceipt(done.event, done.at, rate, done.lanes, workers)
