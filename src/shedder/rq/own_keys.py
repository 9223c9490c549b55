"""Which keys of shedder are on the server, and which of them are lists of jobs?"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from shedder.keys import Keys
from shedder.store import Store
from shedder.stored import text_of

KEYS_PER_STEP = 500
"""Keys that one step looks at or removes: below 1 ms of the server."""

_ASIDE = ("stale", "unseen")
_LISTS = ("backlog", "kept", "parked", *_ASIDE)
_PARTS = ("rest", "front", "slot")
"""The parts of a backlog, each before the one that is read before it."""


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """All keys under the root of `keys`, as they are while one looks, in bounded steps.

    Attributes:
        store: Where to look.
        keys: The names of the keys.
    """

    store: Store
    keys: Keys

    def __iter__(self) -> Iterator[str]:
        cursor, seen = -1, set()
        while cursor:
            cursor, names = self._scan(max(cursor, 0))
            for name in map(text_of, names):
                if name not in seen:
                    seen.add(name)
                    yield name

    def lists(self) -> list[str]:
        """The lists in which jobs stand; such a key goes by itself with its last job."""
        return [key for key in self if self._kind(key) in _LISTS]

    def backlogs(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that are parts of backlogs, the last part of each first."""
        return sorted((key for key in names if self._kind(key) == "backlog"), key=_from_the_end)

    def set_aside(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that hold jobs which were set aside."""
        return [key for key in names if self._kind(key) in _ASIDE]

    def name_in(self, key: str) -> str:
        """What stands behind the kind in `key`, such as the lane."""
        return key.removeprefix(self.keys.root).partition(":")[2]

    def remove(self, *, stays: Collection[str]) -> int:
        """Remove all but lists of jobs and those in `stays`; how many."""
        names = [key for key in self if key not in stays and self._kind(key) not in _LISTS]
        windows = range(0, len(names), KEYS_PER_STEP)
        return sum(self.unlink(names[first : first + KEYS_PER_STEP]) for first in windows)

    def unlink(self, names: Sequence[str]) -> int:
        """Remove `names`, whose memory the server frees when it has time; how many there were."""
        removed: int = self.store.read(lambda ask: ask.unlink(*names))[0]
        return removed

    def _scan(self, cursor: int) -> Any:
        pattern = re.sub(r"([\\*?\[\]])", r"\\\1", self.keys.root) + "*"
        return self.store.read(lambda ask: ask.scan(cursor, match=pattern, count=KEYS_PER_STEP))[0]

    def _kind(self, key: str) -> str:
        return key.removeprefix(self.keys.root).partition(":")[0]


def lane_in(key: str, lanes: Iterable[str]) -> str:
    """The lane in the `key` of a part of a backlog: order, lane and part. Each may hold `:`."""
    middle = key.rpartition(":")[0]
    known = [lane for lane in lanes if middle.endswith(f":{lane}")]
    if known:
        return max(known, key=len)
    return middle.partition("backlog:")[2].partition(":")[2]


def _from_the_end(key: str) -> tuple[str, int]:
    name, _, part = key.rpartition(":")
    return name, _PARTS.index(part) if part in _PARTS else 0
