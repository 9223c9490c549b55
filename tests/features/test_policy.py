"""How does a policy come into force, and who wins when two apply one at once?"""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis as redis_py
from rq.timeouts import JobTimeoutException

from shedder import applied
from shedder.applied import AppliedPolicy, PolicyCopy, applied_policy
from shedder.errors import (
    CannotUndo,
    NothingMatched,
    PolicyChanged,
    RecordUnreadable,
    RedisUnreachable,
)
from shedder.facade import Shedder
from shedder.policy import IncidentPolicy, Policy, Rule
from shedder.selection import Selection
from shedder.store import Store
from tests.features.scene import Scene
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis import Redis

    from shedder.keys import Keys
    from tests.conftest import ServerFactory

LOW = Policy(rules=(Rule(queue="reports", priority="low"),))
SHED = Policy(rules=(Rule(queue="reports", priority="low", shed=1),))
SECRET = Policy(incident=IncidentPolicy(channels={"main": ("slack://s3cret/token",)}))


@pytest.fixture
def scene(redis: Redis) -> Scene:
    return Scene(redis)


def apply(scene: Scene, policy: Policy, based_on: int | None = None) -> str:
    return scene.shedder.policies.apply(policy, reason="why", based_on=based_on).event


def test_none_was_applied(scene: Scene) -> None:
    """Without a policy there is number 0, which says nothing."""
    assert (0, Policy()) == (
        scene.shedder.policies.applied().number,
        scene.shedder.policies.applied().policy,
    )


def test_a_policy_is_applied_with_its_event(scene: Scene) -> None:
    """It has a number, who, why and when; the event says what is different."""
    receipt = scene.shedder.policies.apply(LOW, reason="why", by="ana@desk", based_on=0)
    found = scene.shedder.policies.applied()
    assert (1, LOW, "ana@desk", "why") == (found.number, found.policy, found.by, found.why)
    event = scene.shedder.event(receipt.event)
    assert ("policy apply", {"number": 0}, {"number": 1}) == (
        event.verb, event.before, event.after,
    )  # fmt: skip
    assert ['+ rules[1] { queue = "reports", priority = "low" }'] == event.details["changes"]
    assert (1, 0, event.at) == (receipt.number, receipt.replaced, found.since)


def test_the_same_policy_again_changes_nothing(scene: Scene) -> None:
    """There is no second number and no second event."""
    apply(scene, LOW)
    assert "" == apply(scene, LOW)
    assert ["policy apply"] == scene.verbs()


def test_undo_puts_the_one_before_into_force(scene: Scene) -> None:
    """As a policy of its own, with the way back in the journal; the first leads back to none."""
    first, second = apply(scene, LOW), apply(scene, SHED)
    scene.shedder.undo(second, reason="wrong")
    assert (3, LOW) == (
        scene.shedder.policies.applied().number, scene.shedder.policies.applied().policy,
    )  # fmt: skip
    with pytest.raises(CannotUndo, match="has applied policy 3 since"):
        scene.shedder.undo(first, reason="wrong")
    scene.redis.flushdb()
    scene.shedder.undo(apply(scene, LOW), reason="wrong")
    assert Policy() == scene.shedder.policies.applied().policy


def test_what_is_not_kept_cannot_be_gone_back_to(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of policies that are kept is bounded."""
    monkeypatch.setattr(applied, "POLICIES_KEPT", 1)
    apply(scene, LOW)
    second = apply(scene, SHED)
    with pytest.raises(CannotUndo, match="policy 1 is not kept any more"):
        scene.shedder.undo(second, reason="wrong")


def test_of_two_who_apply_at_once_the_second_is_told(scene: Scene) -> None:
    """Eight people start from the same policy; one wins, and the others learn who it was."""
    start = threading.Barrier(8)
    told: list[object] = []

    def one(number: int) -> None:
        settings = scene.redis.connection_pool.connection_kwargs
        with redis_py.Redis(unix_socket_path=settings["path"], db=settings.get("db", 0)) as client:
            policies = Shedder(client, by=f"desk{number}").policies
            policy = Policy(rules=(Rule(queue=f"q{number}", shed=1),))
            start.wait(10)
            try:
                told.append(policies.apply(policy, reason="r", based_on=0).number)
            except PolicyChanged as error:
                told.append(error.by)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    winner = scene.shedder.policies.applied()
    assert 8 == len(told)
    assert [1] == [each for each in told if isinstance(each, int)]
    assert {winner.by} == {each for each in told if isinstance(each, str)}


def test_who_forces_replaces_whatever_there_is(scene: Scene) -> None:
    """Without a number that it is based on, a policy is applied in any case."""
    apply(scene, LOW)
    with pytest.raises(PolicyChanged):
        apply(scene, SHED, based_on=0)
    assert LOW == scene.shedder.policies.applied().policy
    apply(scene, SHED)
    assert SHED == scene.shedder.policies.applied().policy


def test_secrets_are_in_no_event(scene: Scene) -> None:
    """Of a channel's URL the journal has only the scheme."""
    apply(scene, SECRET)
    apply(scene, Policy())
    entries = json.dumps(str(scene.redis.xrange(scene.keys.events)))
    assert "s3cret" not in entries
    assert "slack://..." in entries


def test_a_damaged_record_is_refused_and_can_be_replaced(scene: Scene) -> None:
    """Nobody acts on half a policy; a new one takes its place."""
    apply(scene, LOW)
    scene.redis.hset(scene.keys.policy, "1", "{")
    with pytest.raises(RecordUnreadable):
        scene.shedder.policies.applied()
    apply(scene, SHED)
    assert SHED == scene.shedder.policies.applied().policy


def test_a_copy_follows_and_keeps_the_last_known_one(scene: Scene) -> None:
    """A process sees a change in its next half second, and a damaged record changes nothing."""
    copy = PolicyCopy(scene.shedder.store, scene.keys)
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
def test_a_copy_that_failed_to_read_a_policy_reads_it_later(
    scene: Scene, error: Exception, read: int
) -> None:
    """No error and no job's time-out between its reads leaves a number without its policy."""
    store = FailingStore(scene.redis)
    copy = PolicyCopy(store, scene.keys)
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
    copy = PolicyCopy(scene.shedder.store, scene.keys)
    copy.refresh()
    apply(scene, LOW)
    has_read, goes_on = threading.Event(), threading.Event()

    def slow(store: Store, keys: Keys, number: int | None = None) -> AppliedPolicy:
        found = applied_policy(store, keys, number)
        if number == 1:
            has_read.set()
            assert goes_on.wait(10)
        return found

    monkeypatch.setattr("shedder.applied.applied_policy", slow)
    thread = threading.Thread(target=copy.refresh)
    thread.start()
    assert has_read.wait(10)
    apply(scene, SHED)
    copy.refresh()
    goes_on.set()
    thread.join()
    copy.refresh()
    assert (2, SHED) == copy.known


def test_a_policy_that_a_claim_has_confirmed_is_not_asked_for(scene: Scene) -> None:
    """What a worker's claim has compared, a job of the worker that enqueues need not ask again."""
    store = FailingStore(scene.redis)
    copy = PolicyCopy(store, scene.keys)
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
        copy = PolicyCopy(scene.shedder.store, scene.keys)
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
    assert ["b"] == [rule.queue for rule in applied_policy(scene.shedder.store, scene.keys)
                     .policy.rules]  # fmt: skip


@pytest.mark.parametrize("how", ["ours", "stock"])
def test_a_job_is_explained(scene: Scene, how: str) -> None:
    """Which rule decided what, by whomever the job was enqueued."""
    apply(scene, Policy(rules=(
        Rule(queue="mail", tolerance=timedelta(minutes=10), noun="mails"),
        Rule(selection=Selection(functions=("app.news.*",)), priority="low", noun="news"),
    )))  # fmt: skip
    scene.fill("mail", "j", how=how, function="app.news.send")
    job = scene.shedder.policies.explain("j")
    lane = {"ours": "mail.low", "stock": "mail"}[how]
    assert (lane, "mail.low", "app.news.send") == (job.lane, job.lane_by_policy, job.function)
    assert {
        "priority": ("low", 2), "shed": ("", 0), "noun": ("mails", 1), "tolerance": ("10m", 1),
    } == {each.saying: (each.value, each.rule) for each in job.decisions}  # fmt: skip
    with pytest.raises(NothingMatched):
        scene.shedder.policies.explain("nobody")


@pytest.fixture
def full(server_factory: ServerFactory) -> Iterator[Scene]:
    """A server that takes no more."""
    with server_factory().client() as client:
        scene = Scene(client)
        apply(scene, LOW)
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        with pytest.raises(redis_py.exceptions.OutOfMemoryError):
            client.set("x", 1)
        yield scene


def test_a_policy_is_applied_and_undone_on_a_full_server(full: Scene) -> None:
    """What may be shed is decided on the quiet day, and changed in the bad hour."""
    event = apply(full, SHED, based_on=1)
    assert SHED == full.shedder.policies.applied().policy
    full.shedder.undo(event, reason="r")
    assert LOW == full.shedder.policies.applied().policy
