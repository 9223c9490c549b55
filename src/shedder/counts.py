"""How is a number of things said?"""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """`1 job`, `12,000 jobs`; `many` where it is not `one` with an s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
