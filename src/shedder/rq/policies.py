"""How does an operator apply a policy, and learn what it says of a job?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from shedder.applied import AppliedPolicy, PolicyReceipt, applied_policy, apply_policy
from shedder.errors import NothingMatched
from shedder.keys import Keys
from shedder.policy import Policy
from shedder.policy_explained import ExplainedJob, explained
from shedder.policy_sketch import sketched_policy
from shedder.records import Cause
from shedder.rq.following import forget_policy
from shedder.rq.notes import NOTE_FIELD, function_of_note
from shedder.rq.payload import function_name, meta_texts
from shedder.rq.policy_reach import out_of_reach
from shedder.rq.shedding import ShedStep, preview_shed, shed
from shedder.rq.sketching import seen_queues
from shedder.store import Store
from shedder.stored import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping


class Policies:
    """The policy in force, and what follows from it; `Shedder.policies`.

    Every method may raise `RedisUnreachable`, `ServerTooOld` and `RecordUnreadable`.
    """

    def __init__(self, store: Store, keys: Keys, cause: Callable[[str, str | None], Cause]) -> None:
        self._store = store
        self._keys = keys
        self._cause = cause

    def read(self, path: str | Path) -> Policy:
        """The policy in a file, checked as a whole; changes nothing.

        Raises:
            PolicyInvalid: it has problems; the error lists all of them.
            PolicyTooNew: it is of a newer version.
            InvalidInput: the file cannot be read.
        """
        from shedder.policy_file import read_policy

        return read_policy(Path(path))

    def applied(self) -> AppliedPolicy:
        """The policy in force; number 0 and empty while none was applied."""
        return applied_policy(self._store, self._keys)

    def apply(
        self, policy: Policy, *, reason: str, by: str | None = None, based_on: int | None = None
    ) -> PolicyReceipt:
        """Put a policy into force, in every producer and worker of ours within a second.

        `based_on` is the number of the policy that was in force when this one was written; without
        it whatever is in force is replaced.

        Raises:
            PolicyChanged: another one than `based_on` is in force; nothing was changed.
        """
        warnings = out_of_reach(self._store, self._keys, policy)
        receipt = apply_policy(
            self._store, self._keys, policy, self._cause(reason, by), operation=uuid4().hex,
            based_on=based_on,
        )  # fmt: skip
        forget_policy(self._store.connection)
        return replace(receipt, warnings=warnings)

    def sketch(self) -> str:
        """A first policy file, from the queues, functions and rates that can be seen now."""
        return sketched_policy(seen_queues(self._store, self._keys))

    def shed(
        self,
        *,
        reason: str,
        by: str | None = None,
        on_step: Callable[[ShedStep], None] | None = None,
    ) -> tuple[ShedStep, ...]:
        """Divert all that the policy in force says may be shed, in its order.

        Each rule is a divert of its own, which is drained and undone like any other.
        """
        policy, cause = self.applied().policy, self._cause(reason, by)
        return shed(self._store, self._keys, policy, cause, on_step=on_step)

    def preview_shed(self) -> tuple[ShedStep, ...]:
        """What `shed` would do; changes nothing."""
        return preview_shed(self._store, self._keys, self.applied().policy)

    def explain(self, job_id: str) -> ExplainedJob:
        """What the policy in force says of a job, and which rule decided it.

        Raises:
            NothingMatched: there is no such job.
        """
        fields = (NOTE_FIELD, "created_at", "origin", "data", "meta")
        key = self._keys.engine.jobs + job_id
        found = dict(
            zip(fields, self._store.read(lambda ask: ask.hmget(key, fields))[0], strict=True)
        )
        if found["created_at"] is None:
            raise NothingMatched(f"the job {job_id}")
        applied = self.applied()
        return explained(
            applied.policy, applied.number, job=job_id, lane=text_of(found["origin"] or b""),
            function=_function(found), meta=meta_texts(found["meta"]) or {},
        )  # fmt: skip


def _function(found: Mapping[str, bytes | None]) -> str | None:
    noted = function_of_note(found[NOTE_FIELD], found["created_at"])
    return noted or function_name(found["data"] or b"")
