"""Where every job is at one instant.

One script reads everything at once and relies on nothing that shedder wrote down: it looks at each
list there is, so that it also sees a list which no record names any more.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rq.defaults import RQ_KEY_PREFIX

from shedder.store.codec import text_of
from tests.faults.accounting import CLAIM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis import Redis

_READ_ALL = """
local found, cursor = {}, '0'
local function claims(key)
  local ids = {}
  for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do
    local readable, claim = pcall(cmsgpack.unpack, member)
    ids[#ids + 1] = readable and type(claim) == 'table' and claim[3] or '(unreadable)'
  end
  return ids
end
repeat
  local page = redis.call('SCAN', cursor, 'MATCH', ARGV[1] .. '*', 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    local kind, content = redis.call('TYPE', key).ok, {}
    if key == ARGV[1] .. ':shedder:claims' and kind == 'zset' then
      kind, content = 'claims', claims(key)
    elseif kind == 'list' then
      content = redis.call('LRANGE', key, 0, -1)
    elseif kind == 'zset' then
      content = redis.call('ZRANGE', key, 0, -1)
    elseif kind == 'hash' and string.find(key, ARGV[1] .. ':job:', 1, true) == 1 then
      kind, content = 'job', redis.call('HMGET', key, 'status', 'created_at', 'description')
    elseif kind == 'hash' then
      content = redis.call('HKEYS', key)
    end
    found[#found + 1] = {kind, key, redis.call('PTTL', key), content}
  end
until cursor == '0'
return found
"""

_NO_JOBS = tuple(f":shedder:{name}:" for name in ("bell", "relief", "series", "samples", "skipped", "failures"))
_UNSEEN = ":shedder:unseen:"
_REGISTRIES = {
    ":wip:": "started",
    ":deferred:": "deferred",
    ":scheduled:": "scheduled",
    ":ready:": "ready",
    ":failed:": "failed",
    ":finished:": "finished",
    ":canceled:": "canceled",
}
_FLEETING = (
    ":events", ":meters", ":bell:", ":series:", ":samples:", ":settings-version", ":sampled", ":sweep", _UNSEEN,
    ":outcomes", ":event-counts", ":outcome-samples:", ":outcome-draft", ":failures:", ":drain-ends:", ":mark:",
    ":web-secret",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one instant.

    Attributes:
        places: For each job the places in which it waits or is claimed, as often as it is there.
        status: The status in the hash of each job.
        registries: For each job the registries of RQ that have it.
        lists: The jobs in each list, in reading order.
        keys: How long each key still lives, in milliseconds; -1 for ever.
        unseen: Ids that were set aside because there was no job under them: in no place.
        calls: What RQ says that each job calls.
    """

    places: Mapping[str, tuple[str, ...]]
    status: Mapping[str, str]
    registries: Mapping[str, frozenset[str]]
    lists: Mapping[str, tuple[str, ...]]
    keys: Mapping[str, int]
    unseen: frozenset[str] = frozenset()
    calls: Mapping[str, str] = field(default_factory=dict)

    def waiting(self) -> int:
        """How many entries wait or are claimed."""
        return sum(map(len, self.places.values()))

    def left_over(self) -> list[str]:
        """Keys of ours that hold something though no job and no control is left."""
        root = f"{RQ_KEY_PREFIX}:shedder:"
        ours = [key for key, lives in self.keys.items() if key.startswith(root) and lives < 0]
        return sorted(key for key in ours if not any(each in key for each in _FLEETING))


def take_snapshot(redis: Redis, prefix: str = RQ_KEY_PREFIX) -> Snapshot:
    """Read everything under `prefix` in one step."""
    found: Any = redis.eval(_READ_ALL, 0, prefix)
    places: dict[str, list[str]] = defaultdict(list)
    registries: dict[str, set[str]] = defaultdict(set)
    status, calls, lists, keys = {}, {}, {}, {}
    unseen: set[str] = set()
    rows = {text_of(key): (text_of(kind), lives, content) for kind, key, lives, content in found}
    for key, (kind, lives, content) in rows.items():
        keys[key] = lives
        if kind == "job":
            # a hash that has no creation is what a late heartbeat left, and no job
            if content[1] is not None:
                job = key.removeprefix(f"{prefix}:job:")
                status[job], calls[job] = text_of(content[0] or b""), text_of(content[2] or b"")
        elif _UNSEEN in key:
            unseen.update(map(text_of, content))
        elif kind in ("list", "claims") and not any(each in key for each in _NO_JOBS):
            ids = tuple(map(text_of, content))
            lists[key] = ids
            for job in ids:
                places[job].append(CLAIM if kind == "claims" else key)
        elif kind == "zset":
            _note_registry(registries, key, [text_of(member) for member in content])
    return Snapshot(
        places={job: tuple(where) for job, where in places.items()},
        status=status,
        registries={job: frozenset(where) for job, where in registries.items()},
        lists=lists,
        keys=keys,
        unseen=frozenset(unseen),
        calls=calls,
    )


def _note_registry(registries: dict[str, set[str]], key: str, members: list[str]) -> None:
    if key.endswith(":rate_limited"):
        for job in members:
            registries[job].add("rate_limited")
    for part, name in _REGISTRIES.items():
        if part in key and ":shedder:" not in key:
            for member in members:
                registries[member.rpartition(":")[0] if name == "started" else member].add(name)
