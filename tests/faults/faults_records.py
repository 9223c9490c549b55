"""Somebody changed our keys by hand, or a newer shedder wrote them: a clear error, nothing lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rq.defaults import RQ_KEY_PREFIX

from shedder.engine.names import rq_keys
from shedder.errors import ShedderError
from tests.faults.accounting import Wrong
from tests.faults.faults_memory import take_all
from tests.faults.schedule import Fault
from tests.faults.verbs import VERBS, Verb, end_all_controls, fill_lanes, small_steps, wrong_when_idle

if TYPE_CHECKING:
    from tests.faults.stage import Stage

STASH = f"{RQ_KEY_PREFIX}:stash"
BAD_PAUSES = (
    "",
    "x",
    "null",
    "[]",
    '"text"',
    '{"v": 2, "by": "a", "why": "b", "since": 1, "new": true}',
    '{"v": "1"}',
    '{"v": 1, "until": "soon"}',
    '{"v": 1, "by": 7, "why": [], "since": {}}',
    "[" * 5000,
    '{"v": 1e400}',
)
BAD_ORDERS = (
    *BAD_PAUSES,
    "[1]",
    "[[]]",
    '[{"v": 1}]',
    '[{"v": 2, "id": "x"}]',
    '[{"v": 1, "id": "x", "whole": true}]',
    '[{"v": 1, "id": "x", "drain": {}}]',
    '[{"v": 1, "id": "x", "restoring": true}]',
    '[{"v": 1, "id": "x", "select": {"functions": 7}}]',
)
_LISTS = (":kept:", ":parked:", ":bell:", ":series:", ":backlog:", ":skipped:")
Act = tuple[str, Callable[["Stage"], object], Callable[["Stage"], object]]
BAD_CLAIMS = (b"x", b"", b"\x00\xff", b"\x90", b"\x01", b"\x93\x01\x02\x03", b"\xc1" * 40)


def _taking(stage: Stage) -> None:
    take_all(stage)


def acts() -> list[Act]:
    """Every order, and claims: a name, what makes the state, and what is done in it."""
    orders = [(verb.name, verb.prepare, _acting(verb)) for verb in VERBS]
    return [*orders, ("claims", fill_lanes, _taking), ("claims of a backlog", _drained, _taking)]


def _acting(verb: Verb) -> Callable[[Stage], object]:
    return lambda stage: verb.act(stage.operator())


def _drained(stage: Stage) -> None:
    next(verb for verb in VERBS if verb.name == "change of rate").prepare(stage)


def _keys_of_ours(stage: Stage) -> list[str]:
    keys = stage.keys
    fixed = [keys.pauses, keys.diverts, keys.claims, keys.starting, keys.meters, keys.events]
    lane = [keys.kept("mail"), keys.parked("mail"), keys.bell("mail"), keys.series("mail")]
    found = [key for key in stage.snapshot().keys if ":backlog:" in key or ":drain:" in key]
    return [*fixed, *lane, keys.sampled, keys.lane_lease("mail"), *sorted(found)]


@dataclass(frozen=True, slots=True)
class WrongType:
    """A key of ours is of another type, and what it held stands elsewhere."""

    def __call__(self, stage: Stage) -> None:
        """Play it."""
        with small_steps():
            for _ in range(4 * stage.size):
                name, prepare, act = stage.dice.choice(acts())
                stage.redis.flushall()
                stage.forget()
                prepare(stage)
                key = stage.dice.choice(_keys_of_ours(stage))
                is_list = any(part in key for part in _LISTS)
                value = stage.dice.choice(("string", "hash" if is_list else "list", "zset"))
                _replace(stage, key, value)
                stage.outcome.injected += 1
                try_it(stage, f"{name} with {key} as {value}", act)
                stage.redis.delete(key)
                if stage.redis.exists(STASH):
                    stage.redis.rename(STASH, key)
                _settle(stage, f"{name} after {key} was {value}")


def _replace(stage: Stage, key: str, value: str) -> None:
    right = stage.redis.type(key).decode()
    if right == value:
        value = "string"
    if right != "none":
        stage.redis.rename(key, STASH)
    if value == "string":
        stage.redis.set(key, "x")
    elif value == "list":
        stage.redis.rpush(key, "x")
    elif value == "hash":
        stage.redis.hset(key, "x", "y")
    else:
        stage.redis.zadd(key, {"x": 1})


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record is damaged, or of a version that is not known."""

    def __call__(self, stage: Stage) -> None:
        """Play it."""
        with small_steps():
            for _ in range(4 * stage.size):
                name, prepare, act = stage.dice.choice(acts())
                stage.redis.flushall()
                stage.forget()
                prepare(stage)
                lane = stage.dice.choice(("mail", "mail.low", "reports"))
                where = stage.dice.choice(("pauses", "diverts", "claims"))
                bad = self._spoil(stage, where, lane)
                stage.outcome.injected += 1
                try_it(stage, f"{name} with {bad!r:.60} in {where} of {lane}", act)
                self._mend(stage, where, lane, bad)
                _settle(stage, f"{name} after {bad!r:.60} in {where}")

    def _spoil(self, stage: Stage, where: str, lane: str) -> bytes:
        if where == "claims":
            claim = stage.dice.choice(BAD_CLAIMS)
            stage.redis.zadd(stage.keys.claims, {claim: 1})
            return claim
        bad = stage.dice.choice(BAD_PAUSES if where == "pauses" else BAD_ORDERS)
        key = getattr(stage.keys, where)
        before = stage.redis.hget(key, lane)
        if before is not None:
            stage.redis.hset(STASH, lane, before)
            if stage.dice.random() < 0.3:
                bad = _of_the_future(before)
        stage.redis.hset(key, lane, bad)
        return bad.encode()

    def _mend(self, stage: Stage, where: str, lane: str, bad: bytes) -> None:
        if where == "claims":
            stage.redis.zrem(stage.keys.claims, bad)
            return
        key = getattr(stage.keys, where)
        if stage.redis.hget(key, lane) == bad:
            stage.redis.hdel(key, lane)
        before = stage.redis.hget(STASH, lane)
        if before is not None and stage.redis.hget(key, lane) is None:
            stage.redis.hset(key, lane, before)
        stage.redis.delete(STASH)


def _of_the_future(record: bytes) -> str:
    value = json.loads(record)
    for each in value if isinstance(value, list) else [value]:
        each["v"] = 2
    return json.dumps(value)


def try_it(stage: Stage, what: str, act: Callable[[Stage], object]) -> None:
    """Do something that may fail with an error of ours, and see that no job was lost by it."""
    try:
        act(stage)
    except ShedderError:
        pass
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        stage.outcome.wrong.append(Wrong("other", f"{what}: {error!r}"))
    before = len(stage.outcome.wrong)
    stage.check_now(has_stock=False)
    for wrong in stage.outcome.wrong[before:]:
        stage.outcome.wrong.append(Wrong("other", f"{what}: {wrong.what}"))


def _settle(stage: Stage, what: str) -> None:
    """Mended, everything goes on."""
    before = len(stage.outcome.wrong)
    try:
        end_all_controls(stage)
        stage.redis.delete(stage.keys.starting)
        _give_all_back(stage)
        # what was started just before an error is started, and stands in no list
        seen = stage.snapshot()
        for job in [job for job in stage.book.sure if seen.status.get(job) == "started"]:
            del stage.book.sure[job]
        stage.outcome.jobs += len(stage.book.sure)
        wrong = wrong_when_idle(stage)
        # which of two mended halves stands in front is not told
        stage.outcome.wrong += [each for each in wrong if each.kind != "order"]
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        stage.outcome.wrong.append(Wrong("other", repr(error)))
    for wrong in stage.outcome.wrong[before:]:
        stage.outcome.wrong.append(Wrong("other", f"{what}: {wrong.what}"))


def _give_all_back(stage: Stage) -> None:
    from shedder.queues.claims import release_claim
    from shedder.store.store import Store

    for token in stage.redis.zrange(stage.keys.claims, 0, -1):
        Store(stage.redis, rq_keys()).run(release_claim(stage.keys, token))


def faults() -> list[Fault]:
    """The rows of this family."""
    return [
        Fault("records: a key of ours of another type", "records", WrongType()),
        Fault("records: damaged or of a newer version", "records", BadRecord()),
    ]
