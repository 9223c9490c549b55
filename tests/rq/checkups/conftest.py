"""What the tests of check-ups, audits and repairs share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shedder.health.audit.SECONDS_BETWEEN_LOOKS", 0.01)
