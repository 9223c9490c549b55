"""The server's memory is full: every order is carried out whole, and nothing of a push is left."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import redis.exceptions
from rq.worker import Worker as RQWorker

from shedder.engine.names import rq_keys
from shedder.errors import ShedderError
from shedder.queues.claims import Claimed, HeldClaim, claim_job, release_claim, start_job
from shedder.store.codec import text_of
from shedder.store.store import Store
from shedder.units import Rate
from tests.faults.accounting import Wrong
from tests.faults.faults_network import signature
from tests.faults.load import Load
from tests.faults.producers import fill, put
from tests.faults.schedule import Fault
from tests.faults.verbs import ALL_VERBS, Verb, end_all_controls, fill_lanes, small_steps, wrong_lists, wrong_when_idle

if TYPE_CHECKING:
    from tests.faults.stage import Stage

FULL = "1"
"""Bytes: less than any server uses."""

MAIL_JOBS = 12
"""What `fill_lanes` puts in `mail`."""


@dataclass(frozen=True, slots=True)
class FullInVerb:
    """An order is given while memory is full, and ends as it would with room."""

    verb: Verb

    def __call__(self, stage: Stage) -> None:
        """Play it."""
        stage.own_server()
        with small_steps():
            self._prepare(stage)
            self.verb.act(stage.operator())
            expected = signature(stage.snapshot())
            self._prepare(stage)
            stage.redis.config_set("maxmemory", FULL)
            stage.outcome.injected += 1
            try:
                self.verb.act(stage.operator())
            except ShedderError as error:
                stage.outcome.wrong.append(Wrong("other", f"refused: {error}"))
            if signature(stage.check_now()) != expected:
                stage.outcome.wrong.append(Wrong("other", "it ended elsewhere than with room"))
            self._push(stage)
            stage.redis.config_set("maxmemory", "0")
            end_all_controls(stage)
            stage.outcome.wrong += wrong_when_idle(stage)
            stage.outcome.jobs += len(stage.book.sure)

    def _prepare(self, stage: Stage) -> None:
        stage.redis.flushall()
        stage.forget()
        self.verb.prepare(stage)

    def _push(self, stage: Stage) -> None:
        """A push is refused, and leaves nothing behind."""
        for way in ("enqueue", "unique", "many"):
            try:
                put(stage.redis, "mail", ["refused"], way=way, seconds=0, marks=stage.marks_path)
                stage.outcome.wrong.append(Wrong("other", f"{way} was not refused"))
            except redis.exceptions.RedisError:
                stage.outcome.injected += 1
            if stage.redis.exists(f"{stage.keys.engine.jobs}refused"):
                stage.outcome.wrong.append(Wrong("other", f"{way} left a hash behind"))


def _full_at_claim(stage: Stage) -> None:
    """Claims, starts and returns of claims work when memory is full."""
    stage.own_server()
    fill_lanes(stage)
    stage.redis.config_set("maxmemory", FULL)
    stage.outcome.injected += 1
    started = take_all(stage)
    stage.redis.config_set("maxmemory", "0")
    if not started:
        stage.outcome.wrong.append(Wrong("other", "nothing could be started"))
    stage.outcome.jobs += len(stage.book.sure)


def _full_at_draining_claim(stage: Stage) -> None:
    """Claims and starts of a backlog that drains, with new jobs behind it, when memory is full."""
    stage.own_server()
    fill_lanes(stage)
    operator = stage.operator()
    operator.divert("mail", reason="x")
    fill(stage, "mail", 2)
    operator.drain("mail", rate=Rate(1000.0), reason="x")
    backlog = {job for job, places in stage.snapshot().places.items() if ":backlog:" in places[0]}
    time.sleep(0.05)  # so that the bucket holds a token for each
    stage.redis.config_set("maxmemory", FULL)
    stage.outcome.injected += 1
    started = take_all(stage)
    stage.redis.config_set("maxmemory", "0")
    if backlog.isdisjoint(started):
        stage.outcome.wrong.append(Wrong("other", f"no job of the backlog started: {started}"))
    end_all_controls(stage)
    stage.redis.delete(stage.keys.starting)
    wrong = wrong_when_idle(stage)
    # those that were started are not in the account, and whoever was in hand came back as it could
    stage.outcome.wrong += [each for each in wrong if each.kind != "order"]
    stage.outcome.jobs += len(stage.book.sure)


def _full_at_release(stage: Stage) -> None:
    """The releases of a drain for stock workers, down to the end of the divert, at full memory."""
    stage.own_server()
    fill_lanes(stage)
    operator = stage.operator()
    RQWorker(["mail"], connection=stage.redis).register_birth()
    operator.divert("mail.normal", reason="x")
    receipt = operator.drain("mail.normal", rate=Rate(1e6), reason="x")
    slow = replace(receipt, rate=Rate(1.0))
    stage.redis.config_set("maxmemory", FULL)
    taken: list[str] = []
    for _ in range(100):
        stage.outcome.injected += 1
        operator.release_for_stock_workers(slow)
        seen = stage.check_now()
        listed = seen.lists.get(stage.keys.lane("mail")[0], ())
        if not listed:
            break
        # a stock worker takes the first
        job = text_of(stage.redis.lpop(stage.keys.lane("mail")[0]) or b"")
        stage.book.sure.pop(job)
        taken.append(job)
    stage.redis.config_set("maxmemory", "0")
    if taken != sorted(taken) or len(taken) != MAIL_JOBS:
        stage.outcome.wrong.append(Wrong("other", f"the stock worker got {taken}"))
    end_all_controls(stage)
    stage.outcome.wrong += wrong_when_idle(stage)
    stage.outcome.jobs += len(stage.book.sure) + len(taken)


def take_all(stage: Stage) -> list[str]:
    """Claim all jobs as a worker does, start every other one, and give the rest back.

    Those that were started are told, and leave the account: no worker stands behind them.
    """
    store, keys = Store(stage.redis, rq_keys()), stage.keys
    held: list[HeldClaim] = []
    started = []
    for number in range(100):
        found = store.run(claim_job(keys, ["mail", "mail.low", "reports"], worker="w"))
        if not isinstance(found, Claimed):
            break
        claim = HeldClaim(found.token, found.job_id, found.lane)
        if number % 2:
            held.append(claim)
        elif _starts(stage, store, claim):
            started.append(claim.job_id)
            stage.book.sure.pop(claim.job_id)
        stage.check_now()
    for claim in held:
        store.run(release_claim(keys, claim.token))
    stage.outcome.wrong += wrong_lists(stage.check_now(), in_hand=len(held))
    return started


def _starts(stage: Stage, store: Store, claim: HeldClaim) -> bool:
    gate = store.run(start_job(stage.keys, claim, timestamp="2026-01-01T00:00:00.000000Z", function="x", meta={}))
    return gate.verdict == "started"


def _full_under_load(stage: Stage) -> None:
    """Memory fills up and empties while everything is at work."""
    stage.own_server()
    load = Load(stage)
    load.wait_for_progress()
    for _ in range(max(3, stage.size // 2)):
        load.note_fault()
        stage.redis.config_set("maxmemory", FULL)
        time.sleep(stage.dice.uniform(0.05, 0.3))
        stage.redis.config_set("maxmemory", "0")
        load.wait_for_progress()
    load.finish()


def _eviction_is_told(stage: Stage) -> None:
    """A policy that throws keys away is warned of."""
    server = stage.own_server(config={"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"})
    client: Any = server.client()
    stage.outcome.injected += 1
    warnings = stage.operator(client).status().warnings
    if not any("allkeys-lru" in warning for warning in warnings):
        stage.outcome.wrong.append(Wrong("other", f"no warning of the policy in {warnings}"))


def faults() -> list[Fault]:
    """The rows of this family."""
    return [
        *[Fault(f"memory full: {verb.name}", "memory", FullInVerb(verb)) for verb in ALL_VERBS],
        Fault("memory full: claim and start", "memory", _full_at_claim),
        Fault("memory full: claims of a backlog", "memory", _full_at_draining_claim),
        Fault("memory full: release to stock workers", "memory", _full_at_release),
        Fault("memory full under load", "memory", _full_under_load, _full_under_load),
        Fault("memory: a policy that evicts", "memory", _eviction_is_told),
    ]
