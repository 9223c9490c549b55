"""The name and type of every key; the page `docs/reference/keys.md` describes each of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from shedder.lanes import Lane, lane_of

SAMPLE_STEPS = (2, 10, 60, 600)
"""Seconds between two samples of a lane, in each of the lists that they are kept in."""

OUTCOME_STEPS = (2, 10, 60, 600)
"""Seconds between two moments at which it is kept how many jobs had ended and failed."""

BACKLOG_PARTS = ("slot", "front", "rest")
"""The lists of a backlog, in reading order: claims, restores and repairs take them so."""

_PARTS_OF_SCRIPTS = ("front", "rest", "slot")

FLAG_ORDER = "flag-"
"""The id of a divert that stands because of a flag begins so: `flag-<flag>/<function>`."""

_ORDER_AND_LANE = re.compile(f"(?:{FLAG_ORDER}.*/)?[^:]*:(.*)")
"""A flag's name may hold `:`, the function behind its last `/` holds none, nor has any other id."""

_KINDS = {
    "hash": "pauses diverts starting drain limit-bucket operation meters deliveries policy flags "
    "flag-declarations limits limit-declarations limit-hits mitigations outcomes outcome-draft event-counts",
    "list": "kept parked backlog stale unseen skipped failures series samples bell relief limit-window",
    "stream": "events incident-events",
    "string": "mark drain-ends at-work watch-lease sampled sweep lookout incident settings-version web-secret "
    "web-token",
    "set": "open-incidents",
    "zset": "claims running incidents outcome-samples",
}
_KIND_OF = {part: kind for kind, parts in _KINDS.items() for part in parts.split()}


def kind_of(key: str) -> str:
    """The type that Redis names for a key of ours, such as `zset`; empty for a key of others."""
    return _KIND_OF.get(key.partition(":shedder:")[2].partition(":")[0], "")


def in_order_of_return(parts: Iterable[str]) -> list[str]:
    """Keys of parts of backlogs, as they go to the front of a lane: the first to be read last."""
    return sorted(parts, key=_return_rank)


def _return_rank(key: str) -> tuple[str, int]:
    backlog, _, part = key.rpartition(":")
    return backlog, -BACKLOG_PARTS.index(part) if part in BACKLOG_PARTS else 0


@dataclass(frozen=True, slots=True)
class EngineKeys:
    """The names that the job queue itself gives its keys; `engine.names` has them from RQ.

    Attributes:
        prefix: RQ's key prefix (`rq` unless `RQ_KEY_PREFIX` says otherwise). With a hash tag in
            it, such as `{rq}`, all keys share one slot of a cluster.
        lists: What the key of a queue's list begins with.
        jobs: What the key of a job's hash begins with.
        executions: What the key of a job's live executions begins with.
        limits: What the keys of RQ's own rate limits begin with.
        limit_keys: Set of the keys of RQ's own rate limits.
        queues: Set of all queues.
        suspended: Exists while `rq suspend` is on.
    """

    prefix: str
    lists: str
    jobs: str
    executions: str
    limits: str
    limit_keys: str
    queues: str
    suspended: str

    @property
    def script_prefixes(self) -> tuple[str, str, str, str]:
        """The prefixes that scripts build a popped job's keys from, in their order."""
        return self.jobs, self.executions, self.limits, self.lists


class _Key(property):
    """The name of a key that stands alone; a `property`, so that it cannot be set."""

    def __init__(self, name: str) -> None:
        super().__init__(lambda keys: f"{keys.engine.prefix}:shedder:{name}")

    def __get__(self, keys: Any, owner: type | None = None, /) -> str:  # type: ignore[override]
        return super().__get__(keys, owner)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of all keys that shedder owns, under RQ's own prefix.

    Attributes:
        engine: The names of RQ's keys.
    """

    engine: EngineKeys

    def _key(self, *parts: str) -> str:
        return ":".join((self.engine.prefix, "shedder", *parts))

    def lane(self, name: str) -> tuple[str, str, str, str]:
        """The keys of a lane as scripts take them: list, kept, parked, bell."""
        bell = self.bell(lane_of(name).queue)
        return self.engine.lists + name, self.kept(name), self.parked(name), bell

    def lanes(self, lanes: Iterable[Lane]) -> tuple[str, ...]:
        """The keys of several lanes, one after the other."""
        return tuple(key for lane in lanes for key in self.lane(lane.name))

    root = _Key("")
    """What every key of ours begins with."""

    pauses = _Key("pauses")
    """Hash: lane -> record of the pause in force."""

    diverts = _Key("diverts")
    """Hash: lane -> records of the diverts in force, oldest first."""

    claims = _Key("claims")
    """Sorted set: claim -> server's time of its last sign of life, in milliseconds."""

    starting = _Key("starting")
    """Hash: claim that has passed the gate and not yet reported that the function runs."""

    meters = _Key("meters")
    """Hash: counters, such as the number of starts of each lane."""

    outcomes = _Key("outcomes")
    """Hash: how many jobs of each lane failed, and how many of each label ended and failed."""

    events = _Key("events")
    """Stream: the journal."""

    event_counts = _Key("event-counts")
    """Hash: how many events of each verb were written, by people and by shedder itself."""

    sampled = _Key("sampled")
    """String: exists while the last upkeep (and the sample of all lanes) is fresh."""

    sweep = _Key("sweep")
    """String: where the search for what is left of deleted queues goes on, or that it rests."""

    policy = _Key("policy")
    """Hash: the number of the policy in force, and the last policies by their numbers."""

    flags = _Key("flags")
    """Hash: flag -> the operator's setting of it."""

    flag_declarations = _Key("flag-declarations")
    """Hash: flag -> what the code that uses it says of it."""

    limits = _Key("limits")
    """Hash: limit, or limit and key -> the operator's setting of it."""

    limit_declarations = _Key("limit-declarations")
    """Hash: limit -> what the code that uses it says of it."""

    limit_hits = _Key("limit-hits")
    """Hash: counts of hits and refusals of each limit."""

    settings_version = _Key("settings-version")
    """String: grows with each change of a flag or a limit."""

    settings_channel = _Key("settings-changed")
    """Channel: tells that a flag or a limit was changed."""

    incidents = _Key("incidents")
    """Sorted set: id of an incident -> when it was opened, in milliseconds."""

    open_incidents = _Key("open-incidents")
    """Set: ids of the incidents that are not resolved."""

    def incident(self, incident: str) -> str:
        """String: the record of an incident."""
        return self._key("incident", incident)

    def incident_events(self, incident: str) -> str:
        """Stream: events of an incident that a copy of its record brought back."""
        return self._key("incident-events", incident)

    mitigations = _Key("mitigations")
    """Hash: event with which a mitigation began -> until when its process is thought alive."""

    watch_lease = _Key("watch-lease")
    """String: the watcher that leads; expires when it does not say that it lives."""

    web_secret = _Key("web-secret")
    """String: signs what is confirmed on pages; the same for all processes that show them."""

    def deliveries(self, incident: str) -> str:
        """Hash: message of an incident -> whether it was sent."""
        return self._key("deliveries", incident)

    def limit_window(self, counter: str) -> str:
        """List: when the hits were that count; `counter` is a limit, or a limit and a key."""
        return self._key("limit-window", counter)

    def operation(self, identifier: str) -> str:
        """Hash: last step of one operation and what it returned; expires after an hour."""
        return self._key("operation", identifier)

    def mark(self, identifier: str) -> str:
        """String: a transaction that pushes was carried out; expires after two minutes."""
        return self._key("mark", identifier)

    def web_token(self, preview: str) -> str:
        """String: a confirmed preview of the control room was carried out; expires with its token."""
        return self._key("web-token", preview)

    def kept(self, lane: str) -> str:
        """List: the front of a lane while a scan or a restore goes through it."""
        return self._key("kept", lane)

    def lane_lease(self, lane: str) -> str:
        """String: held for three seconds by each step of a scan or a restore of the lane."""
        return self._key("at-work", lane)

    def parked(self, lane: str) -> str:
        """List: jobs of a paused lane that were taken out of the reach of stock workers."""
        return self._key("parked", lane)

    def stale(self, lane: str) -> str:
        """List: jobs of a backlog that were set aside because they are old, oldest first."""
        return self._key("stale", lane)

    def unseen(self, lane: str) -> str:
        """List: ids under which no job was seen when it was their turn, newest last."""
        return self._key("unseen", lane)

    def bell(self, queue: str) -> str:
        """List: what idle workers of a queue wait for. It never holds a job."""
        return self._key("bell", queue)

    def poller(self, group: str) -> str:
        """String: the worker of a group that polls while the others rest. Expires."""
        return self._key("lookout", group)

    def poller_handoff(self, group: str) -> str:
        """List: calls the next poller of a group. It never holds a job."""
        return self._key("relief", group)

    def series(self, lane: str) -> str:
        """List: a lane's counters in the last seconds, one entry for each."""
        return self._key("series", lane)

    def samples(self, lane: str) -> tuple[str, ...]:
        """Lists: how a lane was, one sample every 2 s, 10 s, minute, and ten minutes."""
        return tuple(self._key("samples", str(step), lane) for step in SAMPLE_STEPS)

    @property
    def outcome_samples(self) -> tuple[str, ...]:
        """Sorted sets: what the counts of ended and failed jobs were, for each of `OUTCOME_STEPS`."""
        return tuple(self._key("outcome-samples", str(step)) for step in OUTCOME_STEPS)

    @property
    def outcome_draft(self) -> str:
        """Hash: the next of these moments, where it takes several calls to write it."""
        return self._key("outcome-draft")

    def failures(self, lane: str) -> str:
        """List: the last failures of a lane, newest first: when, function, exception, label."""
        return self._key("failures", lane)

    @property
    def backlogs(self) -> str:
        """What the keys of all backlogs begin with."""
        return self._key("backlog", "")

    def backlog(self, order: str, lane: str) -> tuple[str, str, str]:
        """Lists: the backlog of one divert in one lane, as scripts take them.

        The first holds what came back to its front or stood in `kept`, the second what was in the
        lane and all that arrived since, the third (`slot`) those that wait for a slot of RQ's own
        rate limit while the backlog drains. They are read in the order of `BACKLOG_PARTS`.
        """
        front, rest, slot = (self._key("backlog", order, lane, part) for part in _PARTS_OF_SCRIPTS)
        return front, rest, slot

    def drain(self, order: str, lane: str) -> str:
        """Hash: token bucket and counts of a drain."""
        return self._key("drain", order, lane)

    def drain_ends(self, event: str) -> str:
        """String: a letter for each of the last jobs that the drain of `event` released and that ended."""
        return self._key("drain-ends", event)

    def running(self, order: str) -> str:
        """Sorted set: claims that run under a limit of what runs at once -> ms when forgotten."""
        return self._key("running", order)

    def limit_bucket(self, order: str) -> str:
        """Hash: token bucket of a limit on starts, one for all lanes of its target."""
        return self._key("limit-bucket", order)

    def skipped(self, order: str, lane: str) -> str:
        """List: the first jobs that a drain skipped, each with its cause."""
        return self._key("skipped", order, lane)


def split_backlog(keys: Keys, key: str, lanes: Iterable[str] = ()) -> tuple[str, str]:
    """The order and the lane that the `key` of a part of a backlog names.

    Both may hold `:`, but only the order that is set for a flag. Of that one the longest fitting of
    `lanes` is taken; where none fits, the key alone must tell.
    """
    name = key.removeprefix(keys.backlogs).rpartition(":")[0]
    if not name.startswith(FLAG_ORDER):
        order, _, lane = name.partition(":")
        return order, lane
    lane = max((each for each in lanes if name.endswith(f":{each}")), key=len, default="")
    if not lane and (found := _ORDER_AND_LANE.fullmatch(name)):
        lane = found[1]
    return name[: -len(lane) - 1], lane


def flag_of_order(order: str, function: str) -> str:
    """The flag because of which a divert of `function` stands; empty when somebody ordered it."""
    end = f"/{function}"
    is_of_flag = function and order.startswith(FLAG_ORDER) and order.endswith(end)
    return order.removeprefix(FLAG_ORDER).removesuffix(end) if is_of_flag else ""
