"""The policy in force: it is applied, undone, and followed by a copy in each process."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shedder.engine.names import rq_keys
from shedder.errors import CannotUndo, NothingToUndo, PolicyChanged, RecordUnreadable, ShedderError
from shedder.events import Cause, Event, event_head
from shedder.later import later
from shedder.log_context import Troubles
from shedder.policy.model import Policy
from shedder.store.codec import reading_record, text_of, time_from_ms, versioned_record
from shedder.store.keys import Keys
from shedder.store.store import AsyncStore, Command, Store, new_id

if TYPE_CHECKING:
    import redis
    import redis.asyncio

    from shedder.policy.document import document_of, policy_from
    from shedder.policy.explain import differences
else:
    globals().update(later((  # where no policy was applied there is nothing to read
        ("shedder.policy.document", "document_of policy_from"),
        ("shedder.policy.explain", "differences"),
    )))  # fmt: skip


logger = logging.getLogger("shedder.policy")

POLICIES_KEPT = 50
"""The number of policies that can be gone back to."""

FOLLOW_SECONDS = 0.5
"""The greatest age of a process's copy: a policy that is applied reaches it within twice that."""

MOST_DIFFERENCES = 50
"""The most lines of difference that an event tells."""


@dataclass(frozen=True, slots=True)
class AppliedPolicy:
    """A policy that was applied.

    Attributes:
        number: Which one it is, counted from 1; 0 while none was applied.
        policy: What it says.
        by: Who applied it.
        why: For which reason.
        since: When (server's clock, UTC); None while none was applied.
    """

    number: int = 0
    policy: Policy = field(default_factory=Policy)
    by: str = ""
    why: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class PolicyReceipt:
    """What the application of a policy did.

    Attributes:
        event: Id of its event; empty when the policy was in force already.
        at: When it was in force (server's clock, UTC).
        number: The number of the policy that is in force now.
        replaced: The number of the one before; 0 when there was none.
        changes: What is different, a line each, without what may be a secret.
        warnings: What it asks for that the workers of now do not keep, a sentence for each queue.
    """

    event: str
    at: datetime
    number: int
    replaced: int
    changes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def applied_policy(store: Store, number: int | None = None) -> AppliedPolicy:
    """The policy in force, or the one of that number.

    Raises:
        RecordUnreadable: it is damaged or of a newer shedder.
    """
    if number is None:
        number = _number(store.read(lambda ask: ask.hget(store.keys.policy, "number"))[0])
        if not number:
            return applied_from(None)
    return applied_from(store.read(lambda ask: ask.hget(store.keys.policy, str(number)))[0])


def apply_policy(
    store: Store, policy: Policy, cause: Cause, *, based_on: int | None, undoes: str = "", restores: int | None = None
) -> PolicyReceipt:
    """Put `policy` into force in every process within a second; an undo `restores` the one of that number.

    Raises:
        PolicyChanged: another one is in force than the number `based_on`; None for any.
    """
    current = _readable_or_none(store)
    changes = differences(document_of(current.policy), document_of(policy))
    head = event_head(
        "policy apply",
        cause,
        (),
        undoes=undoes,
        undid="policy apply" if undoes else None,
        changes=list(changes[:MOST_DIFFERENCES]),
    )
    state, event, at, number, before = store.run(
        policy_command(store.keys, policy, head, cause, operation=new_id(), based_on=based_on, restores=restores)
    )
    if state == "refused":
        winner = applied_from(before)
        since = winner.since.strftime("%H:%M:%SZ") if winner.since else ""
        raise PolicyChanged(based_on=based_on or 0, number=number, by=winner.by, since=since)
    replaced = _applied_number(before) if state == "applied" else number
    return PolicyReceipt(event, time_from_ms(at), number, replaced, changes)


def undo_policy(store: Store, event: Event, cause: Cause) -> PolicyReceipt:
    """Put the policy into force again that stood before `event`.

    Raises:
        CannotUndo: another one was applied since, or the one before is not kept any more.
        NothingToUndo: the one before says the same.
    """
    before, after = int(event.before.get("number", 0)), int(event.after.get("number", 0))
    earlier = applied_policy(store, before)
    if before and not earlier.number:
        reason = f"policy {before} is not kept any more"
        raise CannotUndo(event.id, reason=reason, try_instead="shedder policy apply")
    try:
        receipt = apply_policy(store, earlier.policy, cause, based_on=after, undoes=event.id, restores=before)
    except PolicyChanged as changed:
        reason = f"{changed.by} has applied policy {changed.number} since"
        raise CannotUndo(event.id, reason=reason, try_instead="shedder policy show") from changed
    if not receipt.event:
        reason = "the policy before it says the same"
        raise NothingToUndo(event.id, reason=reason, try_instead="shedder policy show")
    return receipt


def applied_from(text: bytes | str | None) -> AppliedPolicy:
    """The policy that a record describes; number 0 when there is no record.

    Raises:
        RecordUnreadable: it is damaged or of a newer shedder.
    """
    if not text:
        return AppliedPolicy()
    with reading_record("of the policy"):
        record = versioned_record(json.loads(text))
        return AppliedPolicy(
            number=int(record["number"]),
            policy=policy_from(json.loads(record["document"])),
            by=str(record.get("by", "")),
            why=str(record.get("why", "")),
            since=time_from_ms(record["since"]),
        )


def policy_command(
    keys: Keys,
    policy: Policy,
    head: str,
    cause: Cause,
    *,
    operation: str,
    based_on: int | None,
    restores: int | None = None,
) -> Command[tuple[str, str, int, int, Any]]:
    """Put `policy` into force, if the number `based_on` is; `head` is what its event says."""
    stale_ms = int(policy.stale_after.total_seconds() * 1000) if policy.stale_after else 0
    document = json.dumps(_for_older_readers(document_of(policy)), sort_keys=True)
    seen, brought_back = ("" if number is None else number for number in (based_on, restores))
    numbers = (seen, stale_ms, POLICIES_KEPT, brought_back)
    return Command(
        "apply_policy",
        (keys.policy, keys.events, keys.operation(operation)),
        ("apply", head, cause.by, cause.why, document, *numbers),
        lambda reply: (text_of(reply[0]), text_of(reply[1]), int(reply[2]), int(reply[3]), reply[4]),
    )


def _for_older_readers(document: dict[str, Any]) -> dict[str, Any]:
    # Workers of the version before know the key by its older name, and leave out a rule with a key
    # that they do not know: its jobs would lose their priority during a rolling upgrade.
    given = document.get("rules", ())
    rules = [{_OLD_NAMES.get(key, key): value for key, value in rule.items() if key != "retry"} for rule in given]
    retries = [[index, rule["retry"]] for index, rule in enumerate(given) if "retry" in rule]
    return {**document, **({"rules": rules} if rules else {}), **({"retries": retries} if retries else {})}


_OLD_NAMES = {"label": "noun"}


class PolicyCopy:
    """What a process knows of the policy in force.

    It decides in which lane a new job goes and which lane is looked at first, never whether a job
    may start. A Redis that does not answer leaves the last known one, and raises nothing.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._unread = Troubles(logger)
        # one value, since threads share a copy: a number beside another policy would stay for ever
        self._known: tuple[int | None, Policy] = (None, Policy())
        self._asked_at = -float("inf")

    @property
    def policy(self) -> Policy:
        """The policy in force: at most half a second old, while Redis answers."""
        self._follow()
        return self._known[1]

    @property
    def known(self) -> tuple[int | None, Policy]:
        """The last known one, however old, for a claim in which Redis compares its number.

        The number is None while none could be read; then the policy is as old as `policy` is.
        """
        if self._known[0] is None:
            self._follow()
        return self._known

    def confirm(self) -> None:
        """Redis has just said that the known one is in force."""
        if self._known[0] is not None:
            self._asked_at = self._clock()

    def refresh(self) -> None:
        """Ask for it now."""
        self._asked_at = self._clock()
        known, policy = self._known
        self._known = None, policy  # until all of the next one has been read
        try:
            found = self._store.read(lambda ask: ask.hget(self._store.keys.policy, "number"))[0]
            number = _number(found)
            self._known = number, policy if number == known else self._read(number, policy)
        except ShedderError as error:
            _note_unread(self._unread, error)
        else:
            _note_read(self._unread)

    def _follow(self) -> None:
        if self._clock() - self._asked_at >= FOLLOW_SECONDS:
            self.refresh()

    def _read(self, number: int, last: Policy) -> Policy:
        try:
            return applied_policy(self._store, number).policy
        except RecordUnreadable as error:  # and it stays so: not asked for again
            logger.warning(_UNREAD, error)
            return last


class AsyncPolicyCopy:
    """What the coroutines of a process know of the policy in force, as `PolicyCopy` for threads.

    Args:
        store: Has the client of their event loop.
    """

    def __init__(self, store: AsyncStore) -> None:
        self._store = store
        self._unread = Troubles(logger)
        self._known: tuple[int | None, Policy] = (None, Policy())
        self._asked_at = -float("inf")
        self._asking: asyncio.Task[None] | None = None

    async def follow(self) -> Policy:
        """The policy in force: at most half a second old, while Redis answers.

        One question serves all coroutines that wait meanwhile, and goes on when one of them ends.
        """
        asking = self._asking
        if asking is None or asking.done() or asking.get_loop() is not asyncio.get_running_loop():
            if time.monotonic() - self._asked_at < FOLLOW_SECONDS:
                return self._known[1]
            self._asking = asking = asyncio.create_task(self._refresh())
        await asyncio.shield(asking)
        return self._known[1]

    async def _refresh(self) -> None:
        self._asked_at = time.monotonic()
        known, policy = self._known
        try:
            number = _number(await self._store.field(self._store.keys.policy, "number"))
            self._known = number, policy if number == known else await self._read(number, policy)
        except ShedderError as error:
            _note_unread(self._unread, error)
        else:
            _note_read(self._unread)

    async def _read(self, number: int, last: Policy) -> Policy:
        found = await self._store.field(self._store.keys.policy, str(number))
        try:
            return applied_from(found).policy
        except RecordUnreadable as error:  # as in `PolicyCopy`
            logger.warning(_UNREAD, error)
            return last


_UNREAD = "the policy in force cannot be read; the last known holds: %s"


def _note_unread(unread: Troubles, error: ShedderError) -> None:
    unread.meet("policy", _UNREAD, error)


def _note_read(unread: Troubles) -> None:
    unread.end("policy", "the policy in force can be read again")


def _number(found: bytes | str | None) -> int:
    try:
        return int(found or 0)
    except ValueError as error:
        said = f"its number is {text_of(found or b'')!r:.50}; `shedder policy apply` begins anew"
        raise RecordUnreadable("of the policy in force", reason=said) from error


def _applied_number(text: bytes | str | None) -> int:
    try:
        return int(json.loads(text or "{}").get("number", 0))
    except (AttributeError, RecursionError, TypeError, ValueError):
        return 0


def _readable_or_none(store: Store) -> AppliedPolicy:
    # one that is damaged must be replaceable
    try:
        return applied_policy(store)
    except RecordUnreadable:
        return AppliedPolicy()


_COPY = "_shedder_policy"


def policy_in_force(connection: redis.Redis) -> Policy:
    """The policy in force where `connection` leads to, as its process knows it."""
    return policy_copy(connection).policy


def policy_copy(connection: redis.Redis) -> PolicyCopy:
    """What the process knows of the policy in force where `connection` leads to.

    The copy lives with the connection's pool: queues are made for a single call, pools are not.
    """
    pool = connection.connection_pool
    copy: PolicyCopy | None = getattr(pool, _COPY, None)
    if copy is None:
        copy = PolicyCopy(Store(connection, rq_keys()))
        setattr(pool, _COPY, copy)
    return copy


def async_policy_copy(connection: redis.asyncio.Redis) -> AsyncPolicyCopy:
    """As `policy_copy`, for the coroutines that use `connection`."""
    pool = connection.connection_pool
    copy: AsyncPolicyCopy | None = getattr(pool, _COPY, None)
    if copy is None:
        copy = AsyncPolicyCopy(AsyncStore(connection, rq_keys()))
        setattr(pool, _COPY, copy)
    return copy


def forget_policy(connection: redis.Redis) -> None:
    """Forget the copy, so that the process that applied a policy obeys it at once."""
    connection.connection_pool.__dict__.pop(_COPY, None)
