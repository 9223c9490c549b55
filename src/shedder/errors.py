"""What can go wrong, one class for each sentence that a user needs, with the exit code it earns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

SERVER_FLOOR = "Redis 7.0 or Valkey 7.2"

FLOORS = {"redis": (7, 0), "valkey": (7, 2)}
"""The oldest versions that know script flags, as numbers."""


LONGEST_SHOWN = 300
"""Characters that a message shows of a value."""


class ShedderError(Exception):
    """shedder could not do what it was asked to do; the message says why.

    The class attribute `exit_code` is what the command line exits with: 1 for a failure, 2 for
    input that is not accepted, 3 for an answer of "no", 4 for a server that cannot be reached.
    """

    exit_code: ClassVar[int] = 1

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own way calls the class with the message, which keyword-only arguments refuse.
        return _revived, (type(self), self.args), self.__dict__


class InvalidInput(ShedderError):
    """A value that was given is not accepted; the message says which would be.

    `says` is the message where the usual one would not be a sentence.
    """

    exit_code = 2

    def __init__(self, *, name: str, value: object, accepted: str, says: str = "") -> None:
        super().__init__(says or f"{name}: {_shown(value)} is not accepted; use {accepted}")
        self.name = name
        self.value = value
        self.accepted = accepted


def _shown(value: object) -> str:
    """A value in a sentence: on one line, and no megabytes of it."""
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


class EventNotFound(InvalidInput):
    """No event with this id is in the journal."""

    def __init__(self, event_id: str) -> None:
        named = event_id or "without an id"
        says = f"the journal has no event {named}; use an id that it lists"
        super().__init__(name="event", value=event_id, accepted="an id that the journal lists", says=says)
        self.event_id = event_id


@dataclass(frozen=True, slots=True)
class PolicyProblem:
    """One thing that is wrong with a policy.

    Attributes:
        place: Where: `rules[2].tolerance` is the tolerance of the second rule.
        value: What stands there, in short; empty where it may hold a secret or nothing stands.
        accepted: What is accepted there.
    """

    place: str
    value: str
    accepted: str

    def __str__(self) -> str:
        found = f"{self.value} is not accepted; use " if self.value else "use "
        return f"{self.place}: {found}{self.accepted}"


class PolicyInvalid(InvalidInput):
    """A policy has problems, all of which `problems` lists; nothing was changed."""

    def __init__(self, source: str, *, problems: tuple[PolicyProblem, ...]) -> None:
        ShedderError.__init__(self, f"{source}: {'; '.join(map(str, problems))}")
        self.source = source
        self.problems = problems


class PolicyTooNew(InvalidInput):
    """A policy is of a version that only a newer shedder reads; nothing was changed."""

    def __init__(self, source: str, *, version: int, known: int) -> None:
        ShedderError.__init__(self, f"{source} is of version {version}; this shedder reads version {known}")
        self.source = source
        self.version = version
        self.known = known


class NothingMatched(ShedderError):
    """`what` was named and does not exist here; the message lists what does (`found`)."""

    exit_code = 3

    def __init__(self, what: str, *, found: tuple[str, ...] = ()) -> None:
        super().__init__(f"there is no {what}{f'; known: {_listed(found)}' if found else ''}")
        self.what = what
        self.found = found


class ConditionNotMet(ShedderError):
    """Things are not as the caller needs them, so nothing was changed.

    `found` says how they are, `try_instead` what to do now.
    """

    exit_code = 3

    def __init__(self, found: str, *, try_instead: str) -> None:
        super().__init__(f"{found}; nothing was changed; {try_instead}")
        self.found = found
        self.try_instead = try_instead


class PolicyChanged(ConditionNotMet):
    """Somebody has applied another policy than the one that this one is based on."""

    def __init__(self, *, based_on: int, number: int, by: str, since: str) -> None:
        applied = f"{by} applied policy {number} at {since}" if number else "no policy is in force any more"
        super().__init__(
            f"{applied}, and yours is based on {f'policy {based_on}' if based_on else 'none'}",
            try_instead="look at `shedder policy diff`, then apply yours again",
        )
        self.based_on = based_on
        self.number = number
        self.by = by


class LimitExceeded(ShedderError):
    """This is over the limit now; `retry_after` says in how many seconds to come again."""

    exit_code = 3

    def __init__(self, limit: str, *, key: str, retry_after: float) -> None:
        of = f" for {key}" if key else ""
        super().__init__(f"the limit {limit} is reached{of}; try again in {retry_after:.1f} s")
        self.limit = limit
        self.key = key
        self.retry_after = retry_after


class CannotUndo(ShedderError):
    """This event cannot be undone any more; the message says what to do instead."""

    exit_code = 3

    def __init__(self, event_id: str, *, reason: str, try_instead: str) -> None:
        super().__init__(f"event {event_id} cannot be undone: {reason}; try {try_instead}")
        self.event_id = event_id
        self.reason = reason
        self.try_instead = try_instead


class NothingToUndo(CannotUndo):
    """Nothing of what this event changed stands any more; `undo` without an id goes on to the one before."""


class RedisUnreachable(ShedderError):
    """Redis does not answer at this address, so it is not known whether anything was changed."""

    exit_code = 4

    def __init__(self, address: str) -> None:
        self.address = _without_credentials(address)
        super().__init__(f"Redis at {self.address} cannot be reached")


class ServerBusy(RedisUnreachable):
    """Redis answers, but serves nobody while it runs somebody's script; ours are bounded."""

    def __init__(self, address: str, *, ends_with: str = "SCRIPT KILL") -> None:
        self.address = _without_credentials(address)
        self.ends_with = ends_with
        ShedderError.__init__(
            self,
            f"Redis at {self.address} runs a script that blocks everybody else (it is none of shedder's); "
            f"wait until it ends and try again, or stop it with `redis-cli {ends_with}`, which works "
            "as long as the script has written nothing",
        )


class WrongClusterNode(ShedderError):
    """This node of a cluster cannot serve RQ's keys; the message says which can, or what to set."""

    def __init__(self, node: str) -> None:
        advice = (
            f"this node of the cluster does not have RQ's keys; connect to {node}, which has them"
            if node
            else "RQ's keys are on several nodes of the cluster; set RQ_KEY_PREFIX={rq} for producers, workers "
            "and shedder, so that one node has them all"
        )
        super().__init__(advice)
        self.node = node


class ServerTooOld(ShedderError):
    """The server is too old: only newer ones let a script run when memory is full."""

    def __init__(self, found: str) -> None:
        super().__init__(f"the server is too old ({found}); shedder needs at least {SERVER_FLOOR}")
        self.found = found


class RecordUnreadable(ShedderError):
    """A stored record is damaged or was written by a newer shedder; it was left as it is."""

    def __init__(self, key: str, *, reason: str) -> None:
        super().__init__(f"the record {key} cannot be read: {reason}")
        self.key = key
        self.reason = reason


class ServerNotFound(ShedderError):
    """No server program to start was found on this machine."""

    def __init__(self, *, looked_in: tuple[str, ...]) -> None:
        super().__init__(f"found no valkey-server and no redis-server in {_listed(looked_in)}; install one")
        self.looked_in = looked_in


def _revived(kind: type[ShedderError], args: tuple[object, ...]) -> ShedderError:
    return kind.__new__(kind, *args)


def _listed(names: tuple[str, ...], *, most: int = 10) -> str:
    shown = ", ".join(names[:most]) or "nothing"
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _without_credentials(address: str) -> str:
    # A query can hold a password too, and a socket's path may hold an "@" of its own.
    scheme, place, rest = _SPLIT.fullmatch(address).groups()  # type: ignore[union-attr]  # it matches any text
    if scheme and "@" in rest:  # where the password ends nobody can tell: it was not percent-encoded
        return f"{scheme}..."
    shown = re.sub(r"^(?!/).*@", "", place, flags=re.DOTALL)
    # without a host what is left may be the beginning of a password
    return f"{scheme or ''}{shown}" if not scheme or _PLACE.fullmatch(shown) else f"{scheme}..."


_SPLIT = re.compile(r"(\w+://)?([^?#]*)(.*)", re.DOTALL)
_PLACE = re.compile(r"/.*|[^/:]+(:\d*)?(/\d*)?|\[[^\]/]+\](:\d*)?(/\d*)?", re.DOTALL)
