"""A plugin of pytest: the tests in another order, which the seed in `SHUFFLED_BY` decides.

Files are put in another order, and the tests within each, so that what a file sets up once is set up once.
"""

from __future__ import annotations

import os
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every process of pytest-xdist has the same seed, and so the same order."""
    dice = Random(os.environ["SHUFFLED_BY"])
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    order = [*files.values()]
    dice.shuffle(order)
    for each in order:
        dice.shuffle(each)
    items[:] = [item for each in order for item in each]
