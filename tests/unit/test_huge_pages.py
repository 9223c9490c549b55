"""Huge pages hold what was in memory before."""

from __future__ import annotations

import platform
import re
import sys
from pathlib import Path

import pytest

from tests import huge_pages

MEGABYTES = 16


def huge() -> int:
    """Kilobytes of this process in huge pages."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("AnonHugePages"))


def has_huge_pages() -> bool:
    """Whether this kernel has `MADV_COLLAPSE`, and its administrator has not turned huge pages off."""
    said = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    release = tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2])
    return release >= (6, 1) and said.exists() and "[never]" not in said.read_text()


@pytest.mark.skipif(sys.platform != "linux" or not has_huge_pages(), reason="a kernel without")
def test_what_is_in_memory_stays_and_takes_fewer_pages() -> None:
    """Nothing is changed by it, and the kernel has done it."""
    kept = bytearray(range(256)) * (MEGABYTES << 12)
    before = huge()
    huge_pages.collapse()
    assert kept == bytearray(range(256)) * (MEGABYTES << 12)
    assert huge() > before
