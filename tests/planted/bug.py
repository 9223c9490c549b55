"""A planted bug: where it is planted, and which test must find it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PAUSE = "tests/features/test_pause.py"
PARKED = "tests/features/test_pause_parked.py"
POLLER = "tests/rq/test_poller.py"
PICKUP = "tests/features/test_pause_pickup.py"
DIVERT = "tests/features/test_divert.py"
RUNS = "tests/features/test_divert_runs.py"
DRAIN = "tests/features/test_drain.py"
AT_ONCE = "tests/features/test_drain_at_once.py"
HALT = "tests/rq/test_drain_halt.py"
STOCK = "tests/features/test_drain_stock.py"
RETRY = "tests/features/test_retry.py"
UNDO = "tests/features/test_undo.py"
MEMORY = "tests/features/test_memory.py"
OPERATORS = "tests/features/test_operators.py"
SLOTS = "tests/features/test_limits_slots.py"
CLAIMS = "tests/rq/claims"
MANY_LANES = "tests/rq/claims/test_many_lanes.py"
MANY_QUEUES, SHED = "tests/features/test_many_queues.py", "tests/features/test_shed.py"
PATIENCE = "tests/rq/patience"
TWINS = "tests/rq/test_twins.py"
SERVER_CLOCK = "tests/faults/test_server_clock.py"
FOUND, DAMAGED = "tests/faults/test_found.py", "tests/faults/test_found_damage.py"
DAMAGED_VIEWS = "tests/cli/test_damaged.py"
ABSENCE = "tests/features/test_limits_absence.py"
OUTCOMES = "tests/rq/status/test_outcomes.py"
STALE, STALE_FOUND = "tests/features/test_stale.py", "tests/faults/test_found_stale.py"
POLICY = "tests/rq/test_policy.py"
LATE = "tests/rq/status/test_late.py"
OVERDUE = "tests/rq/status/test_overdue.py"
SECRETS, SPAWNED = "tests/cli/test_secrets.py", "tests/rq/test_spawned.py"
WAYS_IN = "tests/rq/ways_in"
NAMES = "tests/features/test_names.py"
SWEEP = "tests/features/test_sweep.py"
MODEL = "tests/model"


@dataclass(frozen=True, slots=True)
class Bug:
    """A mistake that somebody could make.

    Attributes:
        name: What goes wrong.
        path: The file, below `src/shedder`.
        old: Text that stands there exactly once.
        new: What the mistake makes of it.
        tests: The tests that ought to catch it.
    """

    name: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]

    def plant(self, source: Path) -> None:
        """Make the mistake in the copy of the package in `source`.

        Raises:
            ValueError: the text is not there, or more than once.
        """
        file = source / "shedder" / self.path
        text = file.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.path} has {text.count(self.old)} times: {self.old}")
        file.write_text(text.replace(self.old, self.new), encoding="utf-8")
