"""Each role has one holder, whoever asks for it and when."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from shedder.api.shedder import Shedder
from shedder.errors import ConditionNotMet, InvalidInput, ShedderError
from shedder.incident.records import Role, is_same_person
from shedder.incident.roles import checked_person, role_text
from shedder.policy.model import IncidentPolicy, Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from shedder.embedded import EmbeddedServer
    from shedder.incident.roles import Roles


@pytest.fixture
def shedder(redis: Redis) -> Shedder:
    """An operator in an incident whose commander is ana."""
    shedder = Shedder(redis, by="ana@desk")
    shedder.incidents.open("late", severity=2, commander="ana@desk")
    return shedder


def holders(shedder: Shedder) -> dict[str, str]:
    return {role_text(e.role, e.task): e.person for e in shedder.incidents.read().roles}


def test_a_role_is_taken_given_and_left(shedder: Shedder) -> None:
    """Who has which role, and who had it, stands in the record."""
    given = shedder.incidents.roles
    given.take("operations", by="bob@desk")
    given.assign("communications", "eve@desk")
    given.take("investigator", task="database logs", by="dan@desk")
    expected = {
        "commander": "ana@desk", "operations": "bob@desk", "communications": "eve@desk",
        "investigator of database logs": "dan@desk",
    }  # fmt: skip
    assert expected == holders(shedder)
    assert ["commander", "operations", "communications", "investigator"] == [
        each.role for each in shedder.incidents.read().roles
    ]
    given.leave("operations", by="bob@desk")
    incident = shedder.incidents.read()
    assert "" == incident.holder(Role.OPERATIONS)
    (past,) = incident.past_roles
    assert ("bob@desk", "operations") == (past.person, past.role)
    assert past.since <= past.until


def test_a_hand_over_is_in_force_when_it_is_accepted(shedder: Shedder) -> None:
    """Until then who had the role has it."""
    given = shedder.incidents.roles
    given.hand_over("commander", "bob@desk")
    incident = shedder.incidents.read()
    assert ("ana@desk", "bob@desk") == (incident.commander, incident.roles[0].offered_to)
    given.accept(by="bob@desk")
    incident = shedder.incidents.read()
    assert ("bob@desk", "") == (incident.commander, incident.roles[0].offered_to)
    assert "ana@desk" == incident.past_roles[0].person
    verbs = [event.verb for event in shedder.events()]
    assert ["incident open", "role offer", "role accept"] == verbs


@pytest.mark.parametrize(
    ("act", "error", "says"),
    [
        (lambda it: it.take("king"), InvalidInput, "commander, operations"),
        (lambda it: it.take("comander"), InvalidInput, "did you mean commander"),
        (lambda it: it.assign("operations", ""), InvalidInput, "person"),
        (lambda it: it.assign("operations", "two words"), InvalidInput, "without spaces"),
        (lambda it: it.assign("operations", "\x1b[2J"), InvalidInput, "person"),
        (lambda it: it.take("commander", by="bob@desk"), ConditionNotMet, "ana@desk has the role commander"),
        (lambda it: it.take("operations"), ConditionNotMet, "ana@desk has the role commander already.*--also"),
        (lambda it: it.take("investigator", by="bob@desk"), InvalidInput, "what to look into"),
        (lambda it: it.take("operations", task="x", by="b@d"), InvalidInput, "only investigators"),
        (lambda it: it.hand_over("commander", "ana@desk"), InvalidInput, "to somebody else"),
        (lambda it: it.hand_over("commander", "b@d", by="eve@d"), ConditionNotMet, "ask ana@desk"),
        (
            lambda it: it.hand_over("operations", "b@d"),
            ConditionNotMet,
            "nobody has the role operations, not ana@desk.*incident take",
        ),
        (lambda it: it.accept(), ConditionNotMet, "nobody has offered a role to ana@desk"),
        (lambda it: it.leave("operations"), ConditionNotMet, "nobody"),
    ],
)
def test_what_is_refused_changes_nothing(
    shedder: Shedder, redis: Redis, act: Callable[[Roles], Any], error: type[ShedderError], says: str
) -> None:
    """Each refusal is one sentence; record and journal are as they were."""
    before = {key: redis.dump(key) for key in redis.keys("*") if b":operation:" not in key}
    with pytest.raises(error, match=says):
        act(shedder.incidents.roles)
    assert before == {key: redis.dump(key) for key in redis.keys("*") if b":operation:" not in key}


def test_only_who_it_was_offered_to_can_accept(shedder: Shedder) -> None:
    """The error says to whom, and nothing changes."""
    given = shedder.incidents.roles
    before = given.hand_over("commander", "bob@desk").incident
    with pytest.raises(ConditionNotMet, match=r"a role to eve@desk \(offered are: commander to bob@desk\)"):
        given.accept(by="eve@desk")
    with pytest.raises(ConditionNotMet, match="nobody has offered operations to bob@desk"):
        given.accept("operations", by="bob@desk")
    assert before == shedder.incidents.read()


def test_what_is_usually_refused_can_be_wanted(shedder: Shedder) -> None:
    """A second role with `also`; somebody else's with `instead`, who then had it."""
    given = shedder.incidents.roles
    given.take("operations", also=True)
    given.take("operations", instead=True, by="bob@desk")
    given.hand_over("operations", "ana@desk", by="bob@desk")
    with pytest.raises(ConditionNotMet, match="--also"):
        given.accept()
    given.accept(also=True)
    assert {"commander": "ana@desk", "operations": "ana@desk"} == holders(shedder)


def test_to_take_what_one_has_is_no_change(shedder: Shedder) -> None:
    """Said twice, it is written once."""
    assert "" == shedder.incidents.roles.take("commander").event
    assert 1 == len(shedder.events())


def test_of_two_who_take_a_role_at_once_one_gets_it(server: EmbeddedServer, shedder: Shedder) -> None:
    """Whoever is slower is told who has it."""
    outcomes: list[str] = []
    barrier = threading.Barrier(4)

    def work(name: str) -> None:
        with server.client() as client:
            given = Shedder(client, by=name).incidents.roles
            barrier.wait()
            try:
                given.take("operations")
                outcomes.append(f"{name} has the role operations")
            except ConditionNotMet as error:
                outcomes.append(error.found)

    threads = [threading.Thread(target=work, args=(f"{n}@desk",)) for n in "wxyz"]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    holder = shedder.incidents.read().holder(Role.OPERATIONS)
    assert 4 * [f"{holder} has the role operations"] == outcomes
    assert 1 == sum(event.verb == "role take" for event in shedder.events())


def test_roles_are_undone(shedder: Shedder) -> None:
    """Undo gives a role back to who had it, also when others took other roles since."""
    given = shedder.incidents.roles
    given.hand_over("commander", "bob@desk")
    accepted = given.accept(by="bob@desk")
    given.take("operations", by="dan@desk")
    shedder.undo(accepted.event, reason="wrong")
    assert {"commander": "ana@desk", "operations": "dan@desk"} == holders(shedder)
    assert () == shedder.incidents.read().past_roles


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [
        ("ana", "ana@desk", True), ("ana@desk", "ana@desk", True), ("ana@desk", "ana@home", False),
        ("ana", "anna@desk", False), ("", "", False), ("", "@desk", False),
    ],
)  # fmt: skip
def test_one_person_may_be_named_with_and_without_a_desk(one: str, other: str, are_same: bool) -> None:
    """`ana` is `ana@desk`; two desks are two people."""
    assert are_same is is_same_person(one, other) is is_same_person(other, one)


def test_people_whom_nobody_knows_are_refused_where_the_names_are_known() -> None:
    """With a list of people, only they can have roles, and the nearest is named."""
    people = ("ana@desk", "bob@desk")
    assert "ana" == checked_person("ana", people)
    with pytest.raises(InvalidInput, match="such as bob@desk"):
        checked_person("bub@desk", people)


def test_the_policy_in_force_says_who_can_have_a_role(shedder: Shedder) -> None:
    """Another name is refused with the nearest, wherever one is given, and nothing is changed."""
    incidents = shedder.incidents
    incidents.roles.take("operations", by="eve@home")  # while nobody has said who there is
    policy = Policy(incident=IncidentPolicy(people=("ana@desk", "bob")))
    shedder.policies.apply(policy, reason="who there is")
    before = incidents.read()
    given = incidents.roles
    refused: list[Callable[[], Any]] = [
        lambda: given.assign("communications", "bub@desk"),
        lambda: given.hand_over("commander", "bub@desk"),
        lambda: given.take("communications", by="bub@desk"),
        lambda: incidents.open("also", severity=2, commander="bub@desk", also=True),
    ]
    for act in refused:
        with pytest.raises(InvalidInput, match="such as bob"):
            act()
    assert (before, 1) == (incidents.read(), len(incidents.list()))
    given.assign("communications", "bob@desk")
    shedder.policies.apply(Policy(), reason="anybody")
    given.assign("investigator", "bub@desk", task="logs")
