"""The short form of `make faults`: one row of the matrix for each thing that can happen, with few faults.

The others, which repeat it with other workers or at another step, or wait for a minute, are `long`.

One class for each family, so that several processes share the work.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.faults.schedule import FAMILIES, Fault, all_faults, play

if TYPE_CHECKING:
    from shedder.embedded import EmbeddedServer

SEED = os.environ.get("FAULTS_SEED", "short")
SIZE = 2
SLOW = ("upgrade", "cluster", "sentinel")
"""Families whose rows start many programs."""


class _Matrix:
    def test_nothing_goes_wrong(self, server: EmbeddedServer, fault: Fault) -> None:
        """A fault of the matrix loses no job, doubles none, and leaves nothing behind."""
        outcome, folder = play(fault, server, seed=SEED, size=SIZE)
        if outcome.skipped:
            pytest.skip(outcome.skipped)
        assert [] == outcome.wrong, f"seed {SEED}, logs in {folder}"
        assert outcome.injected > 0


def _class_of(family: str) -> type[_Matrix]:
    faults = [
        pytest.param(fault, id=fault.name, marks=() if fault.is_short else pytest.mark.long)
        for fault in all_faults([family])
    ]
    marked = pytest.mark.parametrize("fault", faults)(_Matrix)
    marks = [*marked.pytestmark, *([pytest.mark.slow] if family in SLOW else [])]
    return type(f"Test{family.title()}", (_Matrix,), {"pytestmark": marks})


for _family in FAMILIES:
    globals()[f"Test{_family.title()}"] = _class_of(_family)
    del _Matrix.pytestmark  # type: ignore[attr-defined]
