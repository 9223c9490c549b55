"""The record is whole when two operators, real processes, change it at the same moment."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from shedder import Shedder
from shedder.incident.records import Role
from tests.cli.programs import end, started
from tests.cli.racing import RACE
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from redis import Redis

    from shedder.embedded import EmbeddedServer

Race = Callable[..., "list[Done]"]
"""From two command lines to what each came to."""

TIMES = 8
"""So often each pair meets, so that now one is first and now the other."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a command line came to: its exit code, and what it printed."""

    code: int
    output: str


@pytest.fixture(scope="module")
def racers(server: EmbeddedServer) -> Iterator[list[str]]:
    """Two processes that have imported all and wait for a line, so that both start at once."""
    names = ["left", "right"]
    processes = [started(("tests.cli.racing", server.url, name), env=os.environ) for name in names]
    try:
        with server.client(socket_timeout=None) as client:
            run(client, names, ["incident list", "incident list"])
            yield names
    finally:
        for each in processes:
            end(each)


def run(redis: Redis, racers: list[str], lines: list[str]) -> list[Done]:
    with redis.pipeline() as pipeline:  # one transaction wakes both
        for name, line in zip(racers, lines, strict=True):
            pipeline.rpush(f"{RACE}:line:{name}", line)
        pipeline.execute()
    found = {}
    for _ in racers:
        said = redis.blpop([f"{RACE}:done"], timeout=PATIENCE_SECONDS)
        assert said is not None, "a racer comes to an end"
        name, code, output = json.loads(said[1])
        found[name] = Done(code, output)
    return [found[name] for name in racers]


@pytest.fixture
def race(server: EmbeddedServer, redis: Redis, racers: list[str]) -> Iterator[Race]:
    """Runs two command lines at the same moment."""
    with server.client(socket_timeout=None) as client:
        yield lambda *lines: run(client, racers, list(lines))


@pytest.fixture
def shed(redis: Redis) -> Shedder:
    return Shedder(redis, by="ana@desk")


def winner_of(done: list[Done], *names: str) -> str:
    """Who of two got it: the other is refused in one line that says what is in the way."""
    assert [0, 3] == sorted(each.code for each in done), done
    (refused,) = (each for each in done if each.code)
    _, *more = refused.output.splitlines()
    assert all(line.startswith("  ") for line in more), "one sentence, which a terminal shows in lines"
    return next(name for name, each in zip(names, done, strict=True) if not each.code)


def verbs(shed: Shedder, incident: str | None = None) -> list[str]:
    return [each.verb for each in shed.incidents.timeline(incident)]


@pytest.mark.parametrize("time", range(TIMES))
def test_of_two_that_open_one_is_first(race: Race, shed: Shedder, time: int) -> None:
    """There is one incident; who comes second is told of it, and of --also."""
    words = "-s 2 --by {0} --commander {0}"
    done = race(*(f"incident open late {words.format(who)}" for who in ("ana@desk", "bob@desk")))
    who = winner_of(done, "ana@desk", "bob@desk")
    (incident,) = shed.incidents.list()
    assert (who, who) == (incident.opened_by, incident.commander)
    assert ["incident open"] == [each.verb for each in shed.events()]
    assert any("--also" in each.output for each in done)


@pytest.mark.parametrize("time", range(TIMES))
def test_of_two_that_take_a_role_one_has_it(race: Race, shed: Shedder, time: int) -> None:
    """The other is told who has it."""
    shed.incidents.open("late", severity=2)
    done = race(*(f"incident take operations --by {who}" for who in ("bob@desk", "eve@desk")))
    who = winner_of(done, "bob@desk", "eve@desk")
    assert who == shed.incidents.read().holder(Role.OPERATIONS)
    assert () == shed.incidents.read().past_roles
    assert ["incident open", "role take"] == verbs(shed)
    assert any(f"{who} has the role" in each.output for each in done)


@pytest.mark.parametrize("time", range(TIMES))
def test_an_offer_that_changes_while_it_is_accepted(race: Race, shed: Shedder, time: int) -> None:
    """Either it was accepted in time, or it went to somebody else: never both, never neither."""
    shed.incidents.open("late", severity=2, commander="ana@desk")
    shed.incidents.roles.hand_over("commander", "dan@desk")
    done = race("incident accept --by dan@desk", "incident hand-over commander bob@desk --by ana@desk")
    won = winner_of(done, "accept", "offer")
    (held,) = shed.incidents.read().roles
    expected = ("dan@desk", "") if won == "accept" else ("ana@desk", "bob@desk")
    assert expected == (held.person, held.offered_to)
    assert f"role {won}" == verbs(shed)[-1]
    assert 3 == len(verbs(shed))


@pytest.mark.parametrize("time", range(TIMES))
def test_an_offer_that_is_accepted_twice(race: Race, shed: Shedder, time: int) -> None:
    """From two terminals of one person: it is theirs once."""
    shed.incidents.open("late", severity=2, commander="ana@desk")
    shed.incidents.roles.hand_over("commander", "dan@desk")
    winner_of(race(*2 * ["incident accept --by dan@desk"]), "first", "second")
    record = shed.incidents.read()
    assert (1, 1, "dan@desk") == (len(record.roles), len(record.past_roles), record.commander)
    assert 1 == verbs(shed).count("role accept")


@pytest.mark.parametrize("time", range(TIMES))
def test_a_resolve_and_a_close(race: Race, shed: Shedder, time: int) -> None:
    """It is closed after it was resolved, or the close is refused and can be said again."""
    incident = shed.incidents.open("late", severity=2).incident.id
    shed.incidents.resolve()
    shed.incidents.review(dict.fromkeys(("well", "badly", "luck", "factors"), "text"))
    shed.incidents.reopen()
    resolved, closed = race("incident resolve", f"incident close --incident {incident}")
    assert 0 == resolved.code
    record = shed.incidents.read(incident)
    assert record.review_due_at is not None
    if closed.code:
        assert (3, "resolved") == (closed.code, record.state)
        assert "not resolved" in closed.output
    else:
        assert ["incident resolve", "incident close"] == verbs(shed, incident)[-2:]
        assert "closed" == record.state
        assert record.resolved_at is not None
        assert record.closed_at is not None
        assert record.resolved_at <= record.closed_at
    assert () == shed.incidents.open_ones()


@pytest.mark.parametrize("time", range(TIMES))
def test_a_resolve_and_a_pause(race: Race, shed: Shedder, time: int) -> None:
    """Both are done, whoever was first; the pause is of that incident or of none."""
    incident = shed.incidents.open("late", severity=2).incident.id
    done = race("incident resolve --by ana@desk", "pause mail -r r --by bob@desk")
    assert [0, 0] == [each.code for each in done]
    assert "resolved" == shed.incidents.read(incident).state
    (paused,) = (each for each in shed.events() if each.verb == "pause")
    assert paused.incident in ("", incident)


@pytest.mark.parametrize("time", range(TIMES))
def test_two_notes_and_two_actions_are_all_kept(race: Race, shed: Shedder, time: int) -> None:
    """Nobody's words are overwritten by somebody else's."""
    shed.incidents.open("late", severity=2)
    for command in ("incident note {}", "incident action add {} --type detect"):
        done = race(*(command.format(text) for text in ("one", "two")))
        assert [0, 0] == [each.code for each in done]
    record = shed.incidents.read()
    assert [{"one", "two"}, {"one", "two"}] == [
        {each.text for each in record.notes}, {each.title for each in record.actions}
    ]  # fmt: skip
    assert [[1, 2], [1, 2]] == [
        [each.number for each in record.notes], [each.number for each in record.actions]
    ]  # fmt: skip
