"""The record survives the loss of Redis by the copies that the watcher writes to disk."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from shedder.policy.model import IncidentPolicy, Policy
from shedder.updates.posting import draft_update, post_update
from shedder.updates.situation import STAKEHOLDERS
from tests.heartbeat.desk import MINUTE, Desk

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from shedder import Shedder
    from tests.features.scene import Scene


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "made" / "copies"


@pytest.fixture
def desk(shed: Shedder, folder: Path) -> Desk:
    policy = Policy(incident=IncidentPolicy(export=str(folder)))
    return Desk(shed, policy, None)


def copies(folder: Path) -> dict[str, Any]:
    return {each.name: json.loads(each.read_bytes()) for each in folder.iterdir()}


def test_a_copy_is_written_each_minute(desk: Desk, folder: Path) -> None:
    """Whole, one file for each incident, and not at each round."""
    desk.look_at(1)
    (copy,) = copies(folder).values()
    assert desk.shed.incidents.export() == copy
    desk.shed.incidents.note("replica lags")
    desk.look_at(1.9)
    assert [copy] == list(copies(folder).values())
    desk.look_at(2)
    found = copies(folder)
    assert {f"{desk.incident.id}.json": desk.shed.incidents.export()} == found
    assert "replica lags" == found[f"{desk.incident.id}.json"]["incident"]["notes"][0]["text"]


def test_what_the_watcher_wrote_restores_the_incident_on_an_empty_redis(
    desk: Desk, scene: Scene, folder: Path, redis: Redis
) -> None:
    """Record, roles, notes, updates, effects and timeline; the next update is due as it was."""
    scene.fill("mail", "a", "b")
    incidents = desk.shed.incidents
    incidents.roles.take("operations")
    desk.shed.pause("mail", reason="database", expires_in=timedelta(hours=1))
    incidents.note("replica lags")
    draft = draft_update(desk.shed, desk.policy, desk.incident, audience=STAKEHOLDERS, now=desk.time.now)
    post_update(desk.shed, desk.incident.id, draft)
    incidents.actions.add("Alarm at 80 %", type="detect", priority=1, owner="db")
    desk.look_at(1)
    before, timeline = incidents.read(), incidents.timeline()
    redis.flushall()  # its own data: the server is the test's
    desk.look_at(3)  # a watcher that finds nothing leaves the copies as they are
    (copy,) = copies(folder).values()
    receipt = incidents.bring_back(copy)
    assert before == incidents.current()
    assert (*timeline, desk.shed.event(receipt.event)) == incidents.timeline()
    assert before.next_update_at == incidents.read().next_update_at
    assert "" == incidents.bring_back(copy).event


def test_the_copy_of_a_closed_incident_says_so(desk: Desk, folder: Path) -> None:
    """It does not stay as it was a minute before its end."""
    incidents = desk.shed.incidents
    incidents.resolve()
    desk.look_at(1)
    incidents.review(dict.fromkeys(("well", "badly", "luck", "factors"), "text"))
    incidents.close()
    desk.look_at(3)
    (copy,) = copies(folder).values()
    assert "closed_at" in copy["incident"]


def test_another_incident_of_the_same_id_overwrites_nothing(desk: Desk, folder: Path, redis: Redis) -> None:
    """After Redis lost its data ids begin anew; what stood on disk is kept beside."""
    desk.look_at(1)
    (lost,) = copies(folder).values()
    redis.flushall()
    other = desk.shed.incidents.open("another", severity=1).incident
    assert desk.incident.id == other.id
    desk.shed.incidents.correct(times={"opened": other.opened_at - MINUTE})
    for minutes in (3, 5):
        desk.look_at(minutes)
        found = copies(folder)
        assert "another" == found.pop(f"{other.id}.json")["incident"]["title"]
        assert [lost] == list(found.values())


@pytest.mark.parametrize("damage", ["", "[", "[]", '{"incident": {"severities": []}}'])
def test_a_damaged_copy_is_written_anew(desk: Desk, folder: Path, damage: str) -> None:
    """Whatever somebody made of the file."""
    folder.mkdir(parents=True)
    (folder / f"{desk.incident.id}.json").write_text(damage)
    assert [] == desk.look_at(1).troubles
    assert [desk.shed.incidents.export()] == list(copies(folder).values())


def test_a_folder_that_cannot_be_written_stops_nothing(desk: Desk, tmp_path: Path) -> None:
    """It is told at each round, and updates are posted all the same."""
    (tmp_path / "file").write_text("")
    policy = IncidentPolicy(export=str(tmp_path / "file" / "copies"), posts_by_itself=True)
    desk.policy = replace(desk.policy, incident=policy)
    report = desk.look_at(20)
    assert (1, True) == (len(report.posted), "cannot be written" in report.troubles[0])


def test_a_broken_page_keeps_no_copy_from_being_written(desk: Desk, tmp_path: Path) -> None:
    """Each of the two is written, whatever is the matter with the other; what failed is retried."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "status.html.j2").write_text("{% if %}")
    page, folder = tmp_path / "page", tmp_path / "made" / "copies"
    policy = IncidentPolicy(export=str(folder), status_page=str(page), templates=str(own))
    desk.policy = replace(desk.policy, incident=policy)
    assert ["the template status.html.j2"] == [each.partition(",")[0] for each in desk.look_at(1).troubles]
    assert [desk.shed.incidents.export()] == list(copies(folder).values())
    (own / "status.html.j2").unlink()
    assert [] == desk.look_at(1.1).troubles
    assert (page / "index.html").exists()
