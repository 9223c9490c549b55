"""Somebody deletes or renames keys of ours by hand: what is lost by it is named and comes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from shedder.engine.names import rq_keys
from shedder.errors import ShedderError
from tests.faults.accounting import Wrong, wrong_places
from tests.faults.faults_records import Act, acts
from tests.faults.load import Load
from tests.faults.schedule import Fault
from tests.faults.verbs import end_all_controls, small_steps, wrong_when_idle

if TYPE_CHECKING:
    from tests.faults.snapshot import Snapshot
    from tests.faults.stage import Stage

ELSEWHERE = "stash-of-somebody"
"""Outside of our prefix and of RQ's: what stands there is in no place."""

DELETED, RENAMED, BACK, BESIDE, OTHER = (
    "deleted",
    "renamed away",
    "renamed and back",
    "renamed to another backlog",
    "of another type, then deleted",
)


def _choose_act(stage: Stage) -> Act:
    """Orders, and as often claims."""
    claims = [act for act in acts() if act[0].startswith("claims")]
    return stage.dice.choice(claims if stage.dice.random() < 0.5 else acts())


def _keys_of_ours(seen: Snapshot, stage: Stage) -> list[str]:
    return sorted(key for key in seen.keys if key.startswith(stage.keys.root))


@dataclass(frozen=True, slots=True)
class ByHand:
    """A key of ours is changed by hand just before an order or a claim, and the doctor is asked.

    Attributes:
        how: What is done to the key.
    """

    how: str

    def __call__(self, stage: Stage) -> None:
        """Play it."""
        with small_steps():
            for _ in range(stage.size):
                name, prepare, act = _choose_act(stage)
                stage.redis.flushall()
                stage.forget()
                prepare(stage)
                key = self._choose(stage)
                if key:
                    stage.outcome.injected += 1
                    self._play(stage, f"{name} with {key} {self.how}", key, act)

    def _choose(self, stage: Stage) -> str:
        found = _keys_of_ours(stage.snapshot(), stage)
        if self.how == BESIDE:
            found = [key for key in found if ":backlog:" in key]
        if self.how == OTHER:
            keys = stage.keys
            found += [keys.meters, keys.claims, keys.starting, keys.pauses, keys.diverts]
        # lists of jobs hold what can be lost, and are chosen more often
        lists = [key for key in found if stage.redis.type(key) in (b"list", b"zset")]
        some = lists if lists and stage.dice.random() < 0.6 else found
        return stage.dice.choice(some) if some else ""

    def _play(self, stage: Stage, what: str, key: str, act: Callable[[Stage], object]) -> None:
        gone = set(stage.snapshot().lists.get(key, ()))
        self._change(stage, key)
        before = len(stage.outcome.wrong)
        kept = dict(stage.book.sure)
        _forget(stage, gone)
        _try(stage, "the act", lambda: act(stage))
        if self.how == OTHER or stage.dice.random() < 0.3:
            _try(stage, "the doctor", lambda: stage.operator().check_up())
        self._change_back(stage, key)
        started = kept.keys() - gone - stage.book.sure.keys()
        stage.book.sure = {job: lane for job, lane in kept.items() if job not in started}
        _mend(stage, set() if self.how in (BACK, BESIDE) else gone)
        for wrong in stage.outcome.wrong[before:]:
            stage.outcome.wrong.append(Wrong("other", f"{what}: {wrong.what}"))

    def _change(self, stage: Stage, key: str) -> None:
        if self.how in (DELETED, OTHER):
            stage.redis.delete(key)
        elif self.how in (RENAMED, BACK):
            stage.redis.rename(key, ELSEWHERE)
        else:
            order, _, rest = key.removeprefix(stage.keys.backlogs).partition(":")
            stage.redis.rename(key, f"{stage.keys.backlogs}{order[::-1]}:{rest}")
        if self.how == OTHER:
            stage.redis.set(key, "x")

    def _change_back(self, stage: Stage, key: str) -> None:
        if self.how == OTHER:
            stage.redis.delete(key)
        if self.how == BACK and not stage.redis.renamenx(ELSEWHERE, key):
            while stage.redis.type(key) == b"list" and stage.redis.lmove(ELSEWHERE, key, "RIGHT", "LEFT"):
                continue
        stage.redis.delete(ELSEWHERE)


def _forget(stage: Stage, jobs: set[str]) -> None:
    for job in jobs:
        stage.book.sure.pop(job, None)


def _try(stage: Stage, what: str, act: Callable[[], object]) -> None:
    """Do something that may fail with an error of ours, and see that it lost no other job."""
    try:
        act()
    except ShedderError:
        pass
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        stage.outcome.wrong.append(Wrong("other", f"{what}: {error!r}"))
    seen = stage.snapshot()
    lost = wrong_places(seen, stage.book)
    # a segment beside is a list that no record names, and yet a place until the doctor comes
    stage.outcome.wrong += lost


def _mend(stage: Stage, gone: set[str]) -> None:
    """The doctor names what is in no place, and puts it back; then everything goes on."""
    try:
        seen = stage.snapshot()
        nowhere = {w.what.partition(" ")[0] for w in wrong_places(seen, stage.book)}
        doctor = stage.operator()
        checkup = doctor.check_up()
        named = set(checkup.audit.nowhere) if checkup.audit else set()
        if not nowhere <= named:
            stage.outcome.wrong.append(Wrong("lost", f"not named: {sorted(nowhere - named)}"))
        if not nowhere <= gone:
            stage.outcome.wrong.append(Wrong("lost", f"beside: {sorted(nowhere - gone)}"))
        doctor.repair(checkup, reason="a key was changed by hand")
        stage.check_now()
        end_all_controls(stage)
        # what stood beside an order that was at work could not be joined before it was over
        doctor.repair(doctor.check_up(), reason="and again when nothing is at work")
        stage.redis.delete(stage.keys.starting)
        _release_claims(stage)
        stage.outcome.jobs += len(stage.book.sure)
        # those that come back stand at the end, and what was in hand in front
        wrong = wrong_when_idle(stage)
        stage.outcome.wrong += [each for each in wrong if each.kind != "order"]
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        stage.outcome.wrong.append(Wrong("other", repr(error)))


def _release_claims(stage: Stage) -> None:
    from shedder.queues.claims import release_claim
    from shedder.store.store import Store

    for token in stage.redis.zrange(stage.keys.claims, 0, -1):
        Store(stage.redis, rq_keys()).run(release_claim(stage.keys, token))


def _under_load(stage: Stage) -> None:
    """Keys of ours vanish while everything is at work; a doctor brings back what was in them."""
    load = Load(stage)
    load.wait_for_progress()
    for _ in range(2 * stage.size):
        time.sleep(stage.dice.uniform(0.01, 0.05))
        found = _keys_of_ours(stage.snapshot(), stage)
        if found:
            key = stage.dice.choice(found)
            load.note_fault()
            if stage.dice.random() < 0.5:
                stage.redis.delete(key)
            else:
                # somebody at work may have taken the last of it since it was looked for
                with suppress(ResponseError):
                    stage.redis.rename(key, ELSEWHERE)
    _doctor(stage)
    load.wait_for_progress()
    load.finish(also=lambda: _doctor(stage))


def _doctor(stage: Stage) -> None:
    operator = stage.operator()
    operator.repair(operator.check_up(), reason="keys were changed by hand")


def faults() -> list[Fault]:
    """The rows of this family."""
    return [
        *[
            Fault(f"by hand: a key of ours {how}", "hand", ByHand(how))
            for how in (DELETED, RENAMED, BACK, BESIDE, OTHER)
        ],
        Fault("by hand under load", "hand", _under_load),
    ]
