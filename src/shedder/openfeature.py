"""An OpenFeature provider over the flags; the extra `openfeature` brings its SDK.

```python
from openfeature import api

api.set_provider_and_wait(ShedderProvider(shed.flags), "shedder")
client = api.get_client("shedder")
client.get_boolean_value("search.hints", True)
```

A boolean flag is true while its feature is on. A flag of another type has the default that the
caller gives while its feature is on, and the value that the provider was given in `degraded` while
it is degraded. Nothing here raises or waits: when Redis is away, the last known answer is given
with the reason STALE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata

from shedder.settings.flags import Flags

if TYPE_CHECKING:
    from openfeature.evaluation_context import EvaluationContext


T = TypeVar("T")
Object = Sequence[FlagValueType] | Mapping[str, FlagValueType]


class ShedderProvider(AbstractProvider):
    """The flags of this process as an OpenFeature provider; set it under a domain.

    Args:
        flags: The flags, `Shedder.flags`.
        degraded: What flags of another type than boolean give while they are degraded, by name.
    """

    def __init__(self, flags: Flags, *, degraded: Mapping[str, FlagValueType] | None = None) -> None:
        super().__init__()
        self._flags = flags
        self._degraded = dict(degraded or {})
        self._percents: Mapping[str, float] = {}
        self._was_stale = False
        self._is_attached = False

    def get_metadata(self) -> Metadata:
        """The name of the provider."""
        return Metadata(name="shedder")

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Learn what holds, and tell the SDK of changes from now on; waits 100 ms at most."""
        del evaluation_context
        self._flags.refresh()
        self._percents = self._flags.percents()
        if not self._is_attached:
            self._is_attached = True
            self._flags.on_change(self._note_change)

    def resolve_boolean_details(
        self,
        flag_key: str,
        default_value: bool,  # noqa: FBT001 - the SDK's signature
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[bool]:
        """True while the feature is on, false while it is degraded."""
        degraded: Mapping[str, bool] = {flag_key: False}
        on = True if self._flags.is_known(flag_key) else default_value
        return self._resolve(flag_key, on, degraded, evaluation_context)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """The default, or a text while the feature is degraded."""
        return self._resolve_typed(flag_key, default_value, str, evaluation_context)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """The default, or a whole number while the feature is degraded."""
        return self._resolve_typed(flag_key, default_value, int, evaluation_context)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """The default, or a number while the feature is degraded."""
        return self._resolve_typed(flag_key, default_value, (float, int), evaluation_context)

    def resolve_object_details(
        self, flag_key: str, default_value: Object, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[Object]:
        """The default, or a list or a mapping while the feature is degraded."""
        return self._resolve_typed(flag_key, default_value, (Sequence, Mapping), evaluation_context)

    def _resolve_typed(
        self, name: str, default: T, kind: type | tuple[type, ...], context: EvaluationContext | None
    ) -> FlagResolutionDetails[T]:
        value = self._degraded.get(name)
        is_of_kind = isinstance(value, kind) and (kind is str or not isinstance(value, bool | str))
        if value is not None and not is_of_kind:
            return FlagResolutionDetails(default, ErrorCode.TYPE_MISMATCH, f"degraded it is {value!r}", Reason.ERROR)
        return self._resolve(name, default, self._degraded, context)

    def _resolve(
        self, name: str, on: T, degraded: Mapping[str, FlagValueType], context: EvaluationContext | None
    ) -> FlagResolutionDetails[T]:
        key = context.targeting_key if context else None
        percent = self._flags.percent(name)
        is_on = percent == 0 or self._flags.enabled(name, key)
        value: T = on if is_on or name not in degraded else degraded[name]  # type: ignore[assignment]
        return FlagResolutionDetails(value, reason=self._reason(name, percent), variant="on" if is_on else "degraded")

    def _reason(self, name: str, percent: float) -> Reason:
        if self._flags.is_stale:
            return Reason.STALE
        if 0 < percent < 100:
            return Reason.SPLIT
        if percent:
            return Reason.DISABLED
        return Reason.STATIC if self._flags.is_known(name) else Reason.DEFAULT

    def _note_change(self) -> None:
        before, self._percents = self._percents, self._flags.percents()
        names = {name for name in before.keys() | self._percents.keys() if before.get(name) != self._percents.get(name)}
        if names:
            self._tell(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, sorted(names))
        was_stale, self._was_stale = self._was_stale, self._flags.is_stale
        if self._was_stale and not was_stale:
            self._tell(ProviderEvent.PROVIDER_STALE)
        elif was_stale and not self._was_stale:
            self._tell(ProviderEvent.PROVIDER_READY)

    def _tell(self, event: ProviderEvent, names: list[str] | None = None) -> None:
        emit = getattr(self, "_on_emit", None)  # none while it is not the provider of a domain
        if emit is not None:
            emit(self, event, ProviderEventDetails(flags_changed=names))
