"""The journal has the beginning of a mitigation, its end, and an end that nobody told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from shedder.api.shedder import Shedder
from shedder.events import event_head
from shedder.queues.maintenance import Upkeep, end_silent
from shedder.response.mitigation import (
    OUTCOME_UNKNOWN,
    begin_mitigation,
    running_mitigations,
    without_known_end,
    without_outdated,
)
from shedder.response.runner import Interrupted, ProgramResult
from tests.features.mitigations import ROLLBACK, python
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis


def test_the_journal_says_that_it_began_and_how_it_ended(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the incident, with the role; secrets are nowhere in Redis."""
    monkeypatch.setenv("DEPLOY_TOKEN", "s3cret-of-env")
    shedder = Shedder(redis, by="bob@desk")
    incident = shedder.incidents.open("late", severity=2).incident.id
    shedder.incidents.roles.take("operations")
    code = "import os, sys; print('with', os.environ['DEPLOY_TOKEN']); sys.exit(int(sys.argv[1]))"
    receipt = shedder.mitigate(ROLLBACK, python(code, "4"), reason="errors since 42")
    assert ("failed", 4, "with ***") == (receipt.outcome, receipt.exit_code, receipt.output)
    began, ended = shedder.events()[-2:]
    assert ("mitigate started", "mitigate") == (began.verb, ended.verb)
    assert receipt.event == ended.id
    for event in (began, ended):
        assert (incident, "operations", "errors since 42") == (event.incident, event.role, event.why)
        assert "rollback" == event.details["mitigation"] == event.details["kind"]
    assert ("failed", 4) == (ended.details["outcome"], ended.details["exit_code"])
    assert 0 <= ended.details["seconds"]
    for key in redis.keys("*"):
        assert b"s3cret" not in (redis.dump(key) or b"")


def test_an_interrupted_mitigation_is_in_the_journal(redis: Redis) -> None:
    """Ctrl-C does not lose how it ended."""
    shedder = Shedder(redis, by="bob@desk")

    def carry(*_: Any, **__: Any) -> ProgramResult:
        raise Interrupted(ProgramResult("interrupted", -15, 2.0, "half"))

    from shedder.response.mitigation import run_mitigation

    with pytest.raises(KeyboardInterrupt):
        run_mitigation(shedder.store, ROLLBACK, ("x",), shedder._cause("r", None),
                 say=print, carry=carry)  # fmt: skip
    assert "interrupted" == shedder.events()[-1].details["outcome"]


def test_it_works_when_redis_is_full(server_factory: Any) -> None:
    """A roll-back may be what helps against that."""
    with server_factory().client() as client:
        shedder = Shedder(client, by="bob@desk")
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        assert "done" == shedder.mitigate(ROLLBACK, python("pass"), reason="r").outcome
        assert 2 == len(shedder.events())


def test_nothing_is_run_when_it_cannot_be_written_down(server_factory: Any, tmp_path: Path) -> None:
    """Without Redis there is no record, and so no deed."""
    from shedder.errors import RedisUnreachable

    server = server_factory()
    file = tmp_path / "ran"
    with server.client(retry=None) as client:
        shedder = Shedder(client, by="bob@desk")
        cause = shedder._cause("r", None)
        server.kill()
        from shedder.response.mitigation import run_mitigation

        command = python("open(__import__('sys').argv[1], 'w')", str(file))
        with pytest.raises(RedisUnreachable):
            run_mitigation(shedder.store, ROLLBACK, command, cause, say=print)
    assert not file.exists()


def test_a_process_that_lives_is_never_thought_gone(redis: Redis) -> None:
    """While it runs somebody looks, and nothing is written; its signs of life go on."""
    shedder = Shedder(redis, by="bob@desk")
    signs: set[bytes] = set()

    def carry(*_: Any, started: Any, **__: Any) -> ProgramResult:
        started(4711)
        while not any(b'"group": 4711' in each for each in signs):
            wait_until(lambda: not signs.issuperset(_signs(shedder)), what="a sign of life")
            signs.update(_signs(shedder))
            assert () == end_silent(shedder.store)
        return ProgramResult("done", 0, 1.0)

    _mitigate(shedder, carry)
    assert ["mitigate started", "mitigate"] == [each.verb for each in shedder.events()]
    assert not redis.exists(shedder.keys.mitigations)


def test_a_process_that_thaws_tells_the_end_after_all(redis: Redis) -> None:
    """Somebody thought it gone; what it says then is what triage and the post-mortem tell."""
    shedder = Shedder(redis, by="bob@desk")

    def is_thought_gone() -> bool:
        for event in redis.hkeys(shedder.keys.mitigations):
            head = {"v": 1, "verb": "mitigate", "by": "bob@desk", "why": "r", "lanes": []}
            unseen = json.dumps({**head, "outcome": OUTCOME_UNKNOWN, "began": event.decode()})
            redis.hset(shedder.keys.mitigations, event, f"1 {unseen}")
        return bool(end_silent(shedder.store))  # unless it said that it lives

    def carry(*_: Any, **__: Any) -> ProgramResult:
        wait_until(is_thought_gone, what="an unseen end")
        return ProgramResult("done", 0, 1.0)

    _mitigate(shedder, carry)
    events = shedder.events()
    assert [None, OUTCOME_UNKNOWN, "done"] == [each.details.get("outcome") for each in events]
    assert [None, "done"] == [each.details.get("outcome") for each in without_outdated(events)]
    assert () == running_mitigations(events) == without_known_end(events)


def test_workers_end_what_is_silent(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their upkeep looks, with an incident and without."""
    monkeypatch.setattr("shedder.queues.maintenance.SILENCE_SECONDS", 0.0)
    shedder = Shedder(redis, by="bob@desk")
    head = event_head("mitigate started", shedder._cause("r", None), (), mitigation="x")
    event = shedder.store.run(begin_mitigation(shedder.keys, head, head)).event
    redis.hset(shedder.keys.mitigations, event, f"1 {head}")
    assert Upkeep(shedder.store, ["mail"]).do()
    assert 2 == len(shedder.events())


def test_a_record_that_nobody_can_read_is_looked_at_once(redis: Redis) -> None:
    """Damaged by hand, it is removed; its beginning stays without an end."""
    shedder = Shedder(redis, by="bob@desk")
    redis.hset(shedder.keys.mitigations, "1-1", "nonsense")
    assert () == end_silent(shedder.store)
    assert not redis.exists(shedder.keys.mitigations)


def _signs(shedder: Shedder) -> list[bytes]:
    return list(shedder.store.connection.hvals(shedder.keys.mitigations))


def _mitigate(shedder: Shedder, carry: Any) -> None:
    from shedder.response.mitigation import run_mitigation

    run_mitigation(shedder.store, ROLLBACK, ("x",), shedder._cause("r", None),
             say=print, carry=carry)  # fmt: skip
