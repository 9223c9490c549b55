"""A process knows a policy, whatever fails while it asks."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from rq.timeouts import JobTimeoutException

from shedder.errors import RedisUnreachable
from shedder.policy.applied import AppliedPolicy, PolicyCopy, applied_policy
from shedder.policy.model import Policy
from shedder.store.store import Store
from tests.features.policies import LOW, SHED, apply
from tests.features.scene import Scene
from tests.waiting import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import ServerFactory


def test_a_copy_follows_and_keeps_the_last_known_one(scene: Scene) -> None:
    """A process sees a change in its next half second, and a damaged record changes nothing."""
    copy = PolicyCopy(scene.shedder.store)
    assert Policy() == copy.policy
    apply(scene, LOW)
    wait_until(lambda: LOW == copy.policy)
    apply(scene, SHED)
    scene.redis.hset(scene.keys.policy, "2", "{")
    copy.refresh()
    assert LOW == copy.policy


class FailingStore(Store):
    """Fails at a read that is told to it, counted from now."""

    left: int = 0
    error: Exception

    def read(self, ask: Callable[[Any], Any]) -> list[Any]:
        self.left -= 1
        if self.left == 0:
            raise self.error
        return super().read(ask)


@pytest.mark.parametrize("error", [RedisUnreachable("x"), JobTimeoutException("late")])
@pytest.mark.parametrize("read", [1, 2])
def test_a_copy_that_failed_to_read_a_policy_reads_it_later(scene: Scene, error: Exception, read: int) -> None:
    """No error and no job's time-out between its reads leaves a number without its policy."""
    store = FailingStore(scene.redis, scene.keys)
    copy = PolicyCopy(store)
    assert (0, Policy()) == copy.known
    apply(scene, LOW)
    store.left, store.error = read, error
    with suppress(JobTimeoutException):
        copy.refresh()
    copy.refresh()
    assert (1, LOW) == copy.known


def test_threads_that_share_a_copy_leave_no_number_beside_another_policy(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was slow to read the policy before does not undo what another one has read since."""
    copy = PolicyCopy(scene.shedder.store)
    copy.refresh()
    apply(scene, LOW)
    has_read, goes_on = threading.Event(), threading.Event()

    def slow(store: Store, number: int | None = None) -> AppliedPolicy:
        found = applied_policy(store, number)
        if number == 1:
            has_read.set()
            assert goes_on.wait(PATIENCE_SECONDS)
        return found

    monkeypatch.setattr("shedder.policy.applied.applied_policy", slow)
    thread = threading.Thread(target=copy.refresh)
    thread.start()
    assert has_read.wait(PATIENCE_SECONDS)
    apply(scene, SHED)
    copy.refresh()
    goes_on.set()
    thread.join()
    copy.refresh()
    assert (2, SHED) == copy.known


def test_a_policy_that_a_claim_has_confirmed_is_not_asked_for(scene: Scene) -> None:
    """What a worker's claim has compared, a job of the worker that enqueues need not ask again."""
    store = FailingStore(scene.redis, scene.keys)
    copy = PolicyCopy(store)
    copy.refresh()
    copy._asked_at = -float("inf")
    copy.confirm()
    store.left, store.error = 1, AssertionError("asked again")
    assert Policy() == copy.policy


def test_a_copy_outlives_its_redis(server_factory: ServerFactory) -> None:
    """Without Redis the last known policy holds, and nothing is raised."""
    server = server_factory()
    with server.client(retry=None) as client:
        scene = Scene(client)
        apply(scene, LOW)
        copy = PolicyCopy(scene.shedder.store)
        assert LOW == copy.policy
        server.kill()
        copy.refresh()
        assert LOW == copy.policy


def test_of_a_newer_shedder_a_process_takes_what_it_knows(scene: Scene) -> None:
    """A rule with an unknown criterion is left out; the others, and unknown tables, do no harm."""
    rules = [{"queue": "a", "weekday": "monday", "shed": 1}, {"queue": "b", "shed": 2}]
    document = json.dumps({"version": 2, "rules": rules, "moods": {"x": 1}})
    record = {"v": 1, "number": 5, "by": "x", "why": "y", "since": 0, "document": document}
    scene.redis.hset(scene.keys.policy, mapping={"number": 5, "5": json.dumps(record)})
    assert ["b"] == [rule.queue for rule in applied_policy(scene.shedder.store)
                     .policy.rules]  # fmt: skip
