"""Memory of the test's process in huge pages, so that a fork of it costs half.

The kernel copies the table of pages at each fork, with an entry for each 4 kB: a process that has imported all tests
has seventy thousand of them, and a worker forks for each job.
"""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path

HUGE_BYTES = 2 << 20
MADV_HUGEPAGE, MADV_COLLAPSE = 14, 25
"""From Linux' `asm-generic/mman-common.h`; `MADV_COLLAPSE` came with 6.1."""

_WRITABLE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-p 0+ 00:00 0\s*(?:\[heap\])?$", re.MULTILINE)


def collapse() -> None:
    """Put what is in memory now into huge pages, where the kernel can."""
    if sys.platform != "linux":
        return
    advise = ctypes.CDLL(None).madvise
    for begin, end in _WRITABLE.findall(Path("/proc/self/maps").read_text()):
        first = -(-int(begin, 16) // HUGE_BYTES) * HUGE_BYTES
        size = int(end, 16) // HUGE_BYTES * HUGE_BYTES - first
        for advice in (MADV_HUGEPAGE, MADV_COLLAPSE) if size > 0 else ():
            advise(ctypes.c_void_p(first), ctypes.c_size_t(size), advice)  # a kernel that cannot, does nothing
