"""The watcher posts each update in time, and only those that nobody posted."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING

import pytest

from shedder import Shedder
from shedder.errors import ConditionNotMet
from shedder.policy.model import Policy
from shedder.selection import Selection
from shedder.units import Rate
from shedder.updates.posting import Draft, draft_update, post_update
from shedder.updates.situation import STAKEHOLDERS, TEAM
from shedder.updates.watcher import ROUND_SECONDS
from tests.heartbeat.desk import MINUTE, POSTING, Desk

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from tests.features.scene import Scene
    from tests.heartbeat.sink import Sink

A_ROUND_TAKES = 0.37
"""Seconds of a simulated round, so that rounds do not fall on the very times that are due."""


def test_nothing_is_posted_before_its_time(desk: Desk) -> None:
    """Nobody is hurried: a person has five minutes after the due time."""
    for minutes in (0, 14, 15, 16, 19.9):
        assert [] == desk.look_at(minutes).posted
    assert [] == desk.updates()


def test_the_computed_part_is_posted_when_nobody_did(desk: Desk, scene: Scene) -> None:
    """Five minutes after the due time the update is in the record, in the journal and sent."""
    scene.fill("mail", "a")
    (event,) = desk.look_at(20).posted
    (update,) = desk.shed.incidents.read(desk.incident.id).updates
    assert (True, "shedder") == (update.is_automatic, update.by)
    assert "Receipt e-mails are not affected" in update.text
    desk.time.now = max(desk.time.now, update.at)
    desk.watcher.look()
    assert desk.sink is not None
    assert update.text in desk.sink.texts("main")
    assert ("incident update", "receipt e-mails") == (
        desk.shed.event(event).verb, desk.shed.event(event).details["works"][0]["noun"]
    )  # fmt: skip


def test_updates_keep_their_rhythm(desk: Desk) -> None:
    """What was posted late does not shift what comes after it."""
    for minutes in range(66):
        desk.look_at(minutes)
    found = desk.shed.incidents.read(desk.incident.id)
    assert 4 == len(found.updates)
    assert desk.incident.opened_at + 75 * MINUTE == found.next_update_at


def test_after_a_long_sleep_one_update_is_posted_not_many(desk: Desk) -> None:
    """A watcher that comes back after hours posts how things are, once."""
    desk.look_at(200)
    desk.look_at(200.1)
    found = desk.shed.incidents.read(desk.incident.id)
    assert 1 == len(found.updates)
    assert found.next_update_at == desk.incident.opened_at + 210 * MINUTE


def test_a_person_who_posts_is_not_followed_by_the_machine(desk: Desk) -> None:
    """An update in time moves the due time of the next."""
    draft = draft_update(
        desk.shed, POSTING, desk.incident, audience=STAKEHOLDERS,
        now=desk.incident.opened_at + 14 * MINUTE,
    )  # fmt: skip
    post_update(desk.shed, desk.incident.id, draft, text="We know more.", by="bob@desk")
    assert [] == desk.look_at(33.9).posted
    assert 1 == len(desk.look_at(34.1).posted)


def test_an_update_for_the_team_moves_nothing(desk: Desk) -> None:
    """Stakeholders are told in time, however much the team talks."""
    now = desk.incident.opened_at + 14 * MINUTE
    draft = draft_update(desk.shed, POSTING, desk.incident, audience=TEAM, now=now)
    post_update(desk.shed, desk.incident.id, draft)
    assert 1 == len(desk.look_at(20).posted)


def test_nothing_is_posted_by_itself_unless_the_policy_says_so(shed: Shedder, sink: Sink) -> None:
    """Without leave it only reminds."""
    desk = Desk(shed, Policy(), sink)
    for minutes in range(40):
        desk.look_at(minutes)
    assert [] == desk.updates()
    assert 3 == len(sink.texts("notes"))


def test_an_incident_that_is_over_gets_no_update(desk: Desk) -> None:
    """Not even by a draft that was made before it was resolved."""
    draft = draft_update(desk.shed, POSTING, desk.incident, audience=STAKEHOLDERS, now=desk.time.now)
    desk.shed.incidents.change(
        lambda it, now: replace(it, resolved_at=it.opened_at, next_update_at=None),
        verb="incident resolve", reason="over", incident=desk.incident.id,
    )  # fmt: skip
    with pytest.raises(ConditionNotMet):
        post_update(desk.shed, desk.incident.id, draft)
    assert [] == desk.look_at(60).posted


def test_files_are_written_every_minute(shed: Shedder, scene: Scene, tmp_path: Path) -> None:
    """The status page is there, whole, and renewed a minute later."""
    scene.fill("mail", "a")
    folder = tmp_path / "page"
    policy = replace(POSTING, incident=replace(POSTING.incident, status_page=str(folder)))
    desk = Desk(shed, policy, None)
    desk.look_at(1)
    first = (folder / "status.json").read_bytes()
    desk.look_at(1.5)
    assert first == (folder / "status.json").read_bytes()
    desk.look_at(2.1)
    found = json.loads((folder / "status.json").read_text())
    assert first != (folder / "status.json").read_bytes()
    assert ("mails are late", "fine") == (found["incident"]["title"], found["works"][0]["state"])
    assert "<h1>mails are late</h1>" in (folder / "index.html").read_text()
    assert ["index.html", "status.json"] == sorted(each.name for each in folder.iterdir())


def test_silent_mitigations_are_ended(desk: Desk, redis: Redis) -> None:
    """At the first round and each fifteen seconds, by the watcher where there is no worker."""
    found = {}
    for minutes in (1, 1.2, 1.3):
        redis.hset(desk.shed.keys.mitigations, f"{minutes}", "1 {}")
        desk.look_at(minutes)
        found[minutes] = redis.hlen(desk.shed.keys.mitigations)
    assert {1: 0, 1.2: 1, 1.3: 0} == found


def test_six_hours_of_an_incident(shed: Shedder, scene: Scene) -> None:
    """With rounds of five seconds no update is more than a minute late, and none is left out."""
    scene.fill("mail", "a")
    desk = Desk(shed, POSTING, None)
    lateness = six_hours(desk)
    print(f"late by {median(lateness):.1f} s (p50), {max(lateness):.1f} s (max)")  # pytest -s
    assert 23 == len(lateness)
    assert 0 <= min(lateness)
    assert max(lateness) <= ROUND_SECONDS + A_ROUND_TAKES


def six_hours(desk: Desk) -> list[float]:
    """By how many seconds each update that posted itself was late.

    The rounds are those of a watcher that never stops. Far from a time at which something is due
    only each sixth of them is done: one that posts too early is seen all the same.
    """
    due = desk.incident.opened_at + 20 * MINUTE
    end = desk.incident.opened_at + timedelta(hours=6)
    late = []
    while desk.time.now < end:
        if desk.watcher.look().posted:
            late.append((desk.time.now - due).total_seconds())
            due += 15 * MINUTE
        is_near = abs(due - desk.time.now) < MINUTE
        desk.time.sleep((1 if is_near else 6) * (ROUND_SECONDS + A_ROUND_TAKES))
    return late


def test_an_update_says_what_was_undone_since_the_one_before(desk: Desk) -> None:
    """What stakeholders were told and no longer holds is taken back once."""
    first = desk.shed.pause("mail", reason="r")
    said = desk.shed.incidents.mitigated()
    desk.shed.undo(first.event, reason="wrong queue")
    desk.shed.undo(said.event, reason="typo")

    def draft() -> Draft:
        found = desk.shed.incidents.read(desk.incident.id)
        return draft_update(desk.shed, POSTING, found, audience=STAKEHOLDERS, now=found.opened_at)

    assert "Taken back: the pause of receipt e-mails and that customers are helped." in draft().text
    post_update(desk.shed, desk.incident.id, draft())
    assert "Taken back" not in draft().text


def test_what_was_undone_is_never_told_as_done(desk: Desk) -> None:
    """The channel hears that nobody says so any more, and why; not that a typo has helped customers."""
    desk.shed.undo(desk.shed.incidents.mitigated().event, reason="typo")
    desk.look_at(1)
    assert desk.sink is not None
    texts = desk.sink.texts("main")
    assert any("took back that customers are helped, because typo" in each for each in texts)
    assert not any("said that customers are helped, because typo" in each for each in texts)


def test_each_command_on_a_queue_is_one_message(desk: Desk, scene: Scene) -> None:
    """A divert of a part, its undo, and a drain to its end: the queue, the jobs, the function, the rate."""
    scene.fill("mail", "a", "b")
    scene.fill("mail.low", "c", function="app.report.build")
    reports = Selection.parse(functions=["app.report.*"])
    diverted = desk.shed.divert("mail", selection=reports, reason="only receipts")
    desk.shed.undo(diverted.event, reason="wrong function")
    desk.shed.divert("mail", reason="database")
    desk.shed.drain("mail", rate=Rate(1e6), reason="it is back")
    scene.run_all("mail")
    scene.run_all("mail.low")
    desk.look_at(1)
    assert desk.sink is not None
    texts = [each for each in desk.sink.texts("main") if "opened the incident" not in each]
    assert [each.partition(": ")[2] for each in texts] == [
        "put aside jobs of mail (1 job to the backlog, function app.report.*), because only receipts (undone since)",
        "undid an earlier divert: put the backlog of mail back (1 job back in place), because wrong function",
        "put aside jobs of mail (3 jobs to the backlog, every job), because database",
        "let the backlog of mail start again (1000000/second, 3 jobs in the backlog), because it is back",
        "ended the drain of mail and mail.low, because the backlog is empty (3 jobs released)",
    ]
