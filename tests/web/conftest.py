"""Pages that wait for Redis as long as a busy machine needs."""

from __future__ import annotations

import pytest

from tests.waiting import PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def _redis_is_not_away_because_the_machine_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test for which a server hangs sets the patience itself."""
    monkeypatch.setattr("shedder.web.reading.PATIENCE_SECONDS", PATIENCE_SECONDS)
