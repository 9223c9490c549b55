"""Which keys of shedder are on the server, and which of them are lists of jobs?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from shedder.keys import Keys, in_order_of_return
from shedder.rq.places import scan_keys
from shedder.store import Store

KEYS_PER_STEP = 500
"""Keys that one step looks at or removes: below 1 ms of the server."""

_ASIDE = ("stale", "unseen")
_LISTS = ("backlog", "kept", "parked", *_ASIDE)


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
        seen = set()
        for page in scan_keys(self.store, self.keys.root, count=KEYS_PER_STEP):
            yield from (name for name in dict.fromkeys(page) if name not in seen)
            seen.update(page)

    def lists(self) -> list[str]:
        """The lists in which jobs stand; such a key goes by itself with its last job."""
        return [key for key in self if self._kind(key) in _LISTS]

    def backlogs(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that are parts of backlogs, as they go to the front of their lanes."""
        return in_order_of_return(key for key in names if self._kind(key) == "backlog")

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

    def _kind(self, key: str) -> str:
        return key.removeprefix(self.keys.root).partition(":")[0]
