"""How an idle worker gets its next job.

It claims; when there is nothing it waits for a bell, which is not a job, and claims again. Our own
producers ring it, stock producers do not. So of the idle workers of the same lanes one is the
poller: it claims after a short wait. The others rest until a bell rings, or there is no poller.
"""

from __future__ import annotations

import math
import random
import time
from typing import Any

import rq.exceptions
import rq.job
import rq.serializers
from redis import exceptions

from shedder.engine.jobs import function_of, texts_of
from shedder.lanes import PRIORITIES
from shedder.policy.applied import policy_copy
from shedder.policy.model import Policy
from shedder.queues.claims import Claimed, NothingClaimed, bells, check_diverts, claim_from, claim_job, poller_keys
from shedder.rq.lease import HoldingMixin
from shedder.store.codec import is_held

SLICE_SECONDS = 0.9
"""The longest wait for a bell of a worker that shares the work with nobody."""

POLL_SECONDS = 0.45
"""The longest wait of the poller, which finds a job of a stock producer within half a second."""

REST_SECONDS = (2.0, 4.0)
"""After how long a worker that rests asks whether there is a poller; not all at once."""

SHORT_REST_SECONDS = (0.5, 1.0)
"""The same while a drain goes on, whose pace must not stand still when a poller was killed."""

SHORTEST_WAIT_SECONDS = 0.001

_DICE = random.SystemRandom()
"""Workers that are forks of one process would else rest and wake in step."""

IDLE_HEARTBEAT_SECONDS = 30.0
"""An idle worker says that it lives this often; RQ forgets it after eight minutes."""


class Fetch:
    """Fetches the next job of a worker: claims, and waits while there is none.

    One is made for each call of `dequeue_job_and_maintain_ttl`; it ends with a job, or when a burst
    is done or the idle time is over.
    """

    def __init__(self, worker: HoldingMixin, *, is_burst: bool, max_idle_seconds: float | None) -> None:
        self._worker = worker
        self._is_burst = is_burst
        self._max_idle = math.inf if max_idle_seconds is None else max_idle_seconds
        self._since = time.monotonic()
        self._lanes: list[rq.Queue] = []
        self._names: tuple[str, ...] = ()
        self._poller = ("", "")
        self._policy: Policy | None = None
        self._policy_number: int | None = None

    def next_job(self) -> tuple[rq.job.Job, rq.Queue] | None:
        """The next job and its lane; None when a burst is done or the idle time is over."""
        if self._worker.upkeep.is_late:
            self._worker.upkeep.do()
        while True:
            answer = self._claim()
            if isinstance(answer, Claimed):
                found = self._receive(answer)
                if found is not None:
                    return found
            elif answer.is_outdated:
                policy_copy(self._worker.connection).refresh()
            elif answer.is_suspended:
                self._worker.wait_while_suspended(self._is_burst)
            elif not answer.is_again and not self._idle(answer):
                return None

    def _idle(self, nothing: NothingClaimed) -> bool:
        """Do what is due and wait; False when this search is over.

        Before the wait and not after it, where it would delay the job that ended the wait.
        """
        self._do_chores()
        if nothing.is_upkeep_due and self._worker.upkeep.do():
            return True
        while not self._is_over(nothing):
            if self._worker._stop_requested:  # and the exception that says so was caught
                return True
            if self._wait(nothing) or nothing.meanwhile != "rest":
                return True
            if not is_held(self._worker.connection.pttl(self._poller[0])):
                return True
            self._do_chores()
        return False

    def _do_chores(self) -> None:
        worker = self._worker
        if worker.is_silent_for(IDLE_HEARTBEAT_SECONDS):
            worker.heartbeat()
        if worker.should_run_maintenance_tasks:
            worker.run_maintenance_tasks()

    def _claim(self) -> Claimed | NothingClaimed:
        worker = self._worker
        failures = worker._patience.failures
        policy = policy_copy(worker.connection)
        self._sort(*policy.known)
        if not self._is_burst:
            worker.note_polled(self._names)
        with worker._renewer.claiming():
            answer = self._ask()
            if isinstance(answer, Claimed):
                worker.hold(answer)
            if isinstance(answer, Claimed) or answer.is_final:
                policy.confirm()
            is_lost = worker._patience.failures > failures and worker.give_back_unheard() > 0
        if worker._stop_requested:
            worker.give_back()
            raise rq.exceptions.StopRequested
        if is_lost and isinstance(answer, NothingClaimed):
            return NothingClaimed(is_again=True)
        return answer

    def _ask(self) -> Claimed | NothingClaimed:
        """What the server says; a key that somebody made another type is waited for.

        RQ's worker would end, and so would every one that is started in its place.
        """
        worker = self._worker
        try:
            answer = claim_from(self._ask_from)
        except exceptions.ResponseError as error:
            if self._is_burst or "WRONGTYPE" not in str(error):
                raise
            worker.troubles.meet("claim", "Worker %s takes no job: a key is of another type than it should be; "
                                 "`shedder doctor` names it", worker.name)  # fmt: skip
            if worker.is_silent_for(IDLE_HEARTBEAT_SECONDS):
                worker.heartbeat()
            time.sleep(SLICE_SECONDS)
            return NothingClaimed(is_again=True)
        worker.troubles.end("claim", "Worker %s takes jobs again", worker.name)
        return answer

    def _ask_from(self, first: int) -> Claimed | NothingClaimed:
        """What the server says of the lanes from `first` on, as far as one claim goes."""
        worker = self._worker
        command = claim_job(
            worker.keys,
            self._names,
            worker=worker.name,
            is_staying=not self._is_burst,
            policy=self._policy_number,
            first=first,
        )
        return worker.store.execute(command)

    def _sort(self, number: int | None, policy: Policy) -> None:
        """Look at the lanes in the order that `policy` says, strictly by priority."""
        self._policy_number = number
        if policy is self._policy:
            return
        self._policy = policy
        self._lanes = sorted(
            self._worker._ordered_queues, key=lambda lane: PRIORITIES.index(policy.served_as(lane.name))
        )
        self._names = tuple(lane.name for lane in self._lanes)
        self._poller = poller_keys(self._worker.keys, self._names)

    def _receive(self, claimed: Claimed) -> tuple[rq.job.Job, rq.Queue] | None:
        lane = next(lane for lane in self._lanes if lane.name == claimed.lane)
        job = self._read_job(claimed, lane)
        if job is None or (claimed.is_undecided and not self._may_keep(job, claimed)):
            self._worker.hold(None)
            return None
        return job, lane

    def _read_job(self, claimed: Claimed, lane: rq.Queue) -> rq.job.Job | None:
        worker = self._worker
        try:
            # RQ checks a serializer for each job unless it is left to take its own
            is_usual = worker.serializer is rq.serializers.DefaultSerializer
            job = worker.job_class(
                claimed.job_id, connection=worker.connection, serializer=None if is_usual else worker.serializer
            )
            job.restore(claimed.fields)
        except rq.exceptions.NoSuchJobError:
            worker.give_back()
            return None
        except Exception as error:
            # RQ's worker stops at a hash that it cannot read, and loses the job; ours fails it
            worker.log.exception("Worker %s: job %s cannot be read", worker.name, claimed.job_id)
            worker.fail_unreadable(claimed.job_id, lane, error)
            return None
        return job

    def _may_keep(self, job: rq.job.Job, claimed: Claimed) -> bool:
        worker = self._worker
        gate = worker.store.execute(check_diverts(worker.keys, claimed, function=function_of(job), meta=texts_of(job)))
        return gate.is_open

    @property
    def _idle_seconds(self) -> float:
        return time.monotonic() - self._since

    def _is_over(self, nothing: NothingClaimed) -> bool:
        if nothing.wait_ms:
            return False
        return self._is_burst or self._idle_seconds >= self._max_idle

    def _wait(self, nothing: NothingClaimed) -> bool:
        """Wait for a bell; whether one rang."""
        longest = max(self._max_idle - self._idle_seconds, SHORTEST_WAIT_SECONDS)
        # one that outlasts the connection's patience would be given up, and begun again, for ever
        patience = self._worker.connection_timeout / 3
        seconds = min(_seconds_of_wait(nothing), longest, patience)
        waited_for = (*bells(self._worker.keys, self._names), self._poller[1])
        connection: Any = self._worker.connection
        return connection.blpop(waited_for, timeout=seconds) is not None


def _seconds_of_wait(nothing: NothingClaimed) -> float:
    if nothing.meanwhile == "rest":
        return _DICE.uniform(*(SHORT_REST_SECONDS if nothing.wait_ms else REST_SECONDS))
    longest = POLL_SECONDS if nothing.meanwhile == "poll" else SLICE_SECONDS
    if nothing.wait_ms:
        return min(longest, max(nothing.wait_ms / 1000, SHORTEST_WAIT_SECONDS))
    return longest
