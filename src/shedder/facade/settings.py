"""How are flags and limits asked, and set for every process?"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from shedder.attribute import attribute
from shedder.degrading import degrade_flags, list_flags, restore_flags
from shedder.facade.wiring import Wiring
from shedder.limiting import ask_limit, clear_limit, list_limits, set_limit
from shedder.rates import Rate
from shedder.rq import skipping
from shedder.setting_records import FlagReceipt, FlagState, LimitAnswer, LimitReceipt, LimitState

if TYPE_CHECKING:
    from shedder.flags import Flags
    from shedder.limits import Limits
    from shedder.watch import SettingsWatch


class Settings(Wiring):
    """Flags and limits."""

    @attribute
    def flags(self) -> Flags:
        """The flags of this process: declare them, ask them."""
        from shedder.flags import Flags

        return Flags(self._watch, self.keys)

    @attribute
    def limits(self) -> Limits:
        """The limits of this process: declare them, hit them."""
        from shedder.limit_windows import SharedWindows
        from shedder.limits import Limits

        return Limits(self._watch, SharedWindows(self.store.connection, self.keys), self.keys)

    def degrade_flag(
        self,
        *names: str,
        reason: str,
        by: str | None = None,
        group: str = "",
        percent: float = 100.0,
        expires_in: timedelta | None = None,
        force: bool = False,
    ) -> FlagReceipt:
        """Degrade the flags `names`, and all of `group`, in every process within a second.

        Raises:
            InvalidInput: the percentage is not above 0 and up to 100, or a name cannot be one.
            NothingMatched: a flag or the group is not declared; `force` is for a flag that no
                process has declared yet.
        """
        receipt = degrade_flags(
            self.store, self.keys, names, self._attributed(reason, by), operation=uuid4().hex,
            group=group, percent=percent, expires_in=expires_in, is_forced=force,
        )  # fmt: skip
        return skipping.bring_back(self.store, self.keys, receipt)

    def restore_flag(
        self, *names: str, reason: str, by: str | None = None, group: str = ""
    ) -> FlagReceipt:
        """End the degradation of `names` and of `group`; jobs that waited for it are put back.

        Raises:
            NothingMatched: a flag or the group is not known.
        """
        receipt = restore_flags(
            self.store,
            self.keys,
            names,
            self._attributed(reason, by),
            operation=uuid4().hex,
            group=group,
        )
        return skipping.bring_back(self.store, self.keys, receipt)

    def flag_states(self) -> tuple[FlagState, ...]:
        """All flags that are declared or set, the degraded ones first."""
        return list_flags(self.store, self.keys)

    def set_limit(
        self,
        name: str,
        rate: Rate,
        *,
        reason: str,
        by: str | None = None,
        key: str = "",
        expires_in: timedelta | None = None,
        shadow: bool = False,
        force: bool = False,
    ) -> LimitReceipt:
        """Set a limit, for one `key` or for all without a setting of their own.

        It beats what the code says until it is cleared or `expires_in` is over. With `shadow` it
        only counts what it would refuse.

        Raises:
            NothingMatched: the limit is not declared; `force` is for one that no process has
                declared yet.
        """
        return set_limit(
            self.store, self.keys, name, rate, self._attributed(reason, by), operation=uuid4().hex,
            key=key, expires_in=expires_in, is_shadow=shadow, is_forced=force,
        )  # fmt: skip

    def clear_limit(
        self, name: str, *, reason: str, by: str | None = None, key: str = ""
    ) -> LimitReceipt:
        """End what an operator set: what the code says holds again.

        Raises:
            NothingMatched: the limit is neither declared nor set.
        """
        cause = self._attributed(reason, by)
        return clear_limit(self.store, self.keys, name, cause, operation=uuid4().hex, key=key)

    def limit_states(self) -> tuple[LimitState, ...]:
        """All limits that are declared or set, those that an operator set first."""
        return list_limits(self.store, self.keys)

    def test_limit(self, name: str, *, key: str = "") -> LimitAnswer:
        """What a hit would be told now; nothing is counted.

        Raises:
            NothingMatched: the limit is neither declared nor set.
        """
        return ask_limit(self.store, self.keys, name, key=key)

    def close(self) -> None:
        """End what follows flags and limits, if there is such; the given connection stays."""
        if "limits" in vars(self):
            self.limits.close()
        if "_watch" in vars(self):
            self._watch.close()

    @attribute
    def _watch(self) -> SettingsWatch:
        from shedder.watch import SettingsWatch

        return SettingsWatch(self.store.connection, self.keys)
