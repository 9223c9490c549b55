"""A plugin of pytest: a property test that has failed once has failed, and need not be shrunk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import Phase, settings

if TYPE_CHECKING:
    import pytest


def pytest_collection(session: pytest.Session) -> None:
    """After the profiles of the tests are loaded, take the same without shrinking."""
    phases = (Phase.explicit, Phase.generate)
    current = settings.get_profile(settings.get_current_profile_name())
    settings.register_profile("hasty", current, phases=phases)
    settings.load_profile("hasty")
