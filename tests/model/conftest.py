"""The machine's own comparisons tell what differs, as those of a test do."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.model.machine", "tests.model.job_steps", "tests.model.stale_steps")
pytest.register_assert_rewrite("tests.model.pause_steps", "tests.model.divert_steps", "tests.model.drain_steps")
