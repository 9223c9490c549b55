"""A policy comes into force, and one wins when two operators apply one at once."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import redis as redis_py

from shedder.api.shedder import Shedder
from shedder.errors import CannotUndo, NothingMatched, PolicyChanged, RecordUnreadable
from shedder.policy.model import IncidentPolicy, Policy, Rule
from shedder.selection import Selection
from tests.features.policies import LOW, SHED, apply
from tests.features.scene import Scene
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import ServerFactory

SECRET = Policy(incident=IncidentPolicy(channels={"main": ("slack://s3cret/token",)}))


def test_none_was_applied(scene: Scene) -> None:
    """Without a policy there is number 0, which says nothing."""
    assert (0, Policy()) == (scene.shedder.policies.applied().number, scene.shedder.policies.applied().policy)


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


def test_undo_keeps_a_policy_that_was_applied_since(scene: Scene) -> None:
    """However it is like the one that an undo would bring back."""
    first, _ = apply(scene, LOW), apply(scene, SHED)
    with pytest.raises(CannotUndo, match="has applied policy 2 since"):
        scene.shedder.undo(first, reason="wrong")


def test_undo_puts_the_one_before_into_force(scene: Scene) -> None:
    """As a policy of its own, with the way back in the journal; the first leads back to none."""
    first, second = apply(scene, LOW), apply(scene, SHED)
    scene.shedder.undo(second, reason="wrong")
    assert (3, LOW) == (
        scene.shedder.policies.applied().number, scene.shedder.policies.applied().policy,
    )  # fmt: skip
    scene.shedder.undo(first, reason="wrong")
    assert Policy() == scene.shedder.policies.applied().policy


def test_what_is_not_kept_cannot_be_gone_back_to(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of policies that are kept is bounded."""
    monkeypatch.setattr("shedder.policy.applied.POLICIES_KEPT", 1)
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
        place = {"unix_socket_path": settings["path"], "db": settings.get("db", 0)}
        with redis_py.Redis(**place, socket_timeout=PATIENCE_SECONDS) as client:
            policies = Shedder(client, by=f"desk{number}").policies
            policy = Policy(rules=(Rule(queue=f"q{number}", shed=1),))
            start.wait(PATIENCE_SECONDS)
            try:
                told.append(policies.apply(policy, reason="r", based_on=0).number)
            except PolicyChanged as error:
                told.append(error.by)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
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


@pytest.mark.parametrize("how", ["ours", "stock"])
def test_a_job_is_explained(scene: Scene, how: str) -> None:
    """Which rule decided what, by whomever the job was enqueued."""
    apply(scene, Policy(rules=(
        Rule(queue="mail", tolerance=timedelta(minutes=10), label="mails"),
        Rule(selection=Selection(functions=("app.news.*",)), priority="low", label="news"),
    )))  # fmt: skip
    scene.fill("mail", "j", how=how, function="app.news.send")
    job = scene.shedder.policies.explain("j")
    lane = {"ours": "mail.low", "stock": "mail"}[how]
    assert (lane, "mail.low", "app.news.send") == (job.lane, job.lane_by_policy, job.function)
    assert {
        "priority": ("low", 2), "shed": ("", 0), "label": ("mails", 1), "tolerance": ("10m", 1), "retry": ("", 0),
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


def test_a_worker_of_the_version_before_reads_a_label(scene: Scene) -> None:
    """The record in Redis has the key's older name, without which it would leave out the rule."""
    rule = Rule(queue="mail", priority="high", label="mails")
    scene.shedder.policies.apply(Policy(rules=(rule,)), reason="r")
    (stored,) = json.loads(json.loads(scene.redis.hget(scene.keys.policy, "1"))["document"])["rules"]
    assert {"queue": "mail", "priority": "high", "noun": "mails"} == stored
    assert (rule,) == scene.shedder.policies.applied().policy.rules
