"""Is an update posted in time, once, whatever happens to the watcher and to Redis?"""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest

from shedder import Shedder
from shedder.errors import ConditionNotMet, InvalidInput, RecordUnreadable, RedisUnreachable
from shedder.heartbeat import delivering
from shedder.heartbeat.channels import Channels
from shedder.heartbeat.drafting import draft_update
from shedder.heartbeat.posting import post_update
from shedder.heartbeat.watching import LEASE_SECONDS, ROUND_SECONDS, Watcher
from shedder.incident import effects
from shedder.policy import IncidentPolicy, Policy, Rule
from shedder.situation import STAKEHOLDERS, TEAM

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from tests.conftest import ServerFactory
    from tests.features.scene import Scene
    from tests.heartbeat.sink import Sink

MINUTE = timedelta(minutes=1)

A_ROUND_TAKES = 0.37
"""Seconds of a simulated round, so that rounds do not fall on the very times that are due."""

POSTING = Policy(
    rules=(Rule(queue="mail", noun="receipt e-mails", tolerance=10 * MINUTE),),
    incident=IncidentPolicy(posts_by_itself=True),
)


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Desk:
    """An open incident, and watchers that look after it."""

    def __init__(self, shed: Shedder, policy: Policy, sink: Sink | None) -> None:
        self.shed = shed
        self.policy = policy
        self.sink = sink
        self.incident = shed.incidents.open("mails are late", severity=2).incident
        self.time = Time(self.incident.opened_at)
        self.watcher = self.new_watcher("first")

    def new_watcher(self, who: str, shed: Shedder | None = None) -> Watcher:
        channels = None
        if self.sink is not None:
            urls = {"main": [self.sink.url("main")], "notes": [self.sink.url("notes")]}
            channels = Channels(urls)
        return Watcher(
            shed or self.shed, lambda: self.policy, lambda _: channels, clock=self.time, who=who
        )

    def updates(self) -> list[str]:
        return [each.text for each in self.shed.incidents.read(self.incident.id).updates]

    def look_at(self, minutes: float, watcher: Watcher | None = None) -> Any:
        self.time.now = self.incident.opened_at + minutes * MINUTE
        return (watcher or self.watcher).look()


@pytest.fixture
def desk(shed: Shedder, sink: Sink) -> Desk:
    return Desk(shed, POSTING, sink)


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
    draft = draft_update(
        desk.shed, POSTING, desk.incident, audience=STAKEHOLDERS, now=desk.time.now
    )
    desk.shed.incidents.change(
        lambda it, now: replace(it, resolved_at=it.opened_at, next_update_at=None),
        verb="incident resolve", reason="over", incident=desk.incident.id,
    )  # fmt: skip
    with pytest.raises(ConditionNotMet):
        post_update(desk.shed, desk.incident.id, draft)
    assert [] == desk.look_at(60).posted


def test_one_watcher_leads_and_another_takes_over(desk: Desk, redis: Redis) -> None:
    """While one leads the other does nothing; when it gives up or dies the other goes on."""
    other = desk.new_watcher("second")
    assert [True, False] == [desk.watcher.look().is_leading, other.look().is_leading]
    desk.watcher.give_up()
    assert other.look().is_leading
    assert 0 < redis.pttl(desk.shed.keys.watch_lease) <= LEASE_SECONDS * 1000
    redis.delete(desk.shed.keys.watch_lease)  # the second has died
    assert desk.watcher.look().is_leading


def test_two_that_both_believe_to_lead_post_once(desk: Desk, redis: Redis) -> None:
    """The record decides, not the lease: an update that was posted is not posted again."""
    other = desk.new_watcher("second")
    desk.look_at(20)
    redis.delete(desk.shed.keys.watch_lease)
    desk.look_at(20, other)
    assert 1 == len(desk.updates())
    assert desk.sink is not None
    assert len(desk.sink.texts("main")) == len(set(desk.sink.texts("main")))


class Died(BaseException):
    """SIGKILL, as far as what comes after is concerned."""


@pytest.mark.parametrize("step", range(1, 40))
def test_killed_at_each_step_no_update_is_lost_or_doubled(
    desk: Desk, redis: Redis, scene: Scene, step: int
) -> None:
    """After any command of a round the watcher may end for good, and the next does the rest."""
    scene.fill("mail", "a")
    count = 0
    own = desk.new_watcher("dies", Shedder(redis, by="oncall@ops"))
    run = own._shed.store.run

    def dying_run(command: Any) -> Any:
        nonlocal count
        count += 1
        result = run(command)
        if count == step:
            raise Died
        return result

    own._shed.store.run = dying_run  # type: ignore[method-assign]
    with suppress(Died):
        desk.look_at(20, own)
    redis.delete(desk.shed.keys.watch_lease)
    _make_takings_old(desk, redis)
    for minutes in (20.2, 20.4):
        desk.look_at(minutes)
    (text,) = desk.updates()
    assert desk.sink is not None
    arrived = desk.sink.texts("main")
    marked = [each for each in arrived if each.startswith(delivering.REPEATED)]
    plain = [each for each in arrived if each not in marked]
    assert text in arrived or delivering.REPEATED + text in arrived
    assert len(plain) == len(set(plain)), "what may be there twice says so"
    assert len(marked) <= 1


def _make_takings_old(desk: Desk, redis: Redis) -> None:
    """As if what the dead watcher has in hand were in hand for long."""
    key = desk.shed.keys.deliveries(desk.incident.id)
    for name, note in redis.hgetall(key).items():
        words = note.decode().split(" ")
        if len(words) == 3:
            redis.hset(key, name, f"{words[0]} 1 {words[2]}")


def test_a_watcher_that_is_killed_for_real_is_followed_by_another(desk: Desk, redis: Redis) -> None:
    """SIGKILL of the process leaves a lease that ends by itself, and nothing else."""
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            from shedder.embedded import EmbeddedServer  # noqa: F401

            client = type(redis)(
                connection_pool=type(redis.connection_pool)(
                    connection_class=redis.connection_pool.connection_class,
                    **redis.connection_pool.connection_kwargs,
                )
            )
            watcher = desk.new_watcher("child", Shedder(client, by="oncall@ops"))
            desk.look_at(20, watcher)
            os.write(told, b"x")
            signal.pause()
        os._exit(0)
    assert b"x" == os.read(ready, 1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(ready)
    os.close(told)
    assert not desk.look_at(20.1).is_leading
    redis.delete(desk.shed.keys.watch_lease)
    assert desk.look_at(21).is_leading
    assert 1 == len(desk.updates())


def test_redis_may_restart_meanwhile(server_factory: ServerFactory, sink: Sink) -> None:
    """While Redis is away the loop waits and says so; afterwards it goes on where it was."""
    server = server_factory(appendonly=True)
    with server.client() as client:
        desk = Desk(Shedder(client, by="oncall@ops"), POSTING, sink)
        desk.look_at(20)
        server.kill()
        with pytest.raises(RedisUnreachable):
            desk.look_at(21)
        rounds = 0

        def sleep(seconds: float) -> None:
            nonlocal rounds
            rounds += 1
            if rounds == 2:
                server.start()
                client.delete(desk.shed.keys.watch_lease)
            desk.time.now = desk.incident.opened_at + (34 + rounds) * MINUTE

        desk.watcher.watch(sleep=sleep, until=lambda: rounds >= 4)
        assert 2 == len(desk.updates())


@pytest.mark.parametrize("mood", ["error", "hang"])
def test_a_dead_channel_makes_no_update_late(
    desk: Desk, sink: Sink, mood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record and the other channel go on; the dead one is tried again and gets all."""
    monkeypatch.setattr("shedder.heartbeat.channels.SEND_SECONDS", 0.2)
    sink.mood["main"] = mood
    desk.look_at(16)
    assert 2 == len(sink.texts("notes"))
    assert 1 == sink.asked.count("main")
    assert 1 == len(desk.look_at(20).posted)
    sink.mood.clear()
    monkeypatch.setattr(delivering, "PAUSE_MS", 0)
    desk.look_at(21)
    assert desk.updates()[0] in sink.texts("main")


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


@pytest.mark.parametrize(
    "error", [InvalidInput(name="policy", value="x", accepted="TOML"),
              RecordUnreadable("of the policy", reason="damaged")],
)  # fmt: skip
def test_a_policy_that_becomes_unreadable_stops_no_update(shed: Shedder, error: Exception) -> None:
    """The last one that could be used holds, and each round says so; without one it is refused."""

    def broken() -> Policy:
        raise error

    desk = Desk(shed, POSTING, None)
    desk.look_at(1)
    desk.watcher._policy = broken
    report = desk.look_at(20)
    assert (1, True) == (len(report.posted), "the policy before it holds" in report.troubles[0])
    other = desk.new_watcher("other")
    other._policy = broken
    desk.watcher.give_up()
    with pytest.raises(type(error)):
        other.look()


def test_a_page_that_cannot_be_written_stops_nothing(shed: Shedder, tmp_path: Path) -> None:
    """It is told, and the update is posted all the same."""
    (tmp_path / "file").write_text("")
    page = str(tmp_path / "file" / "page")
    policy = replace(POSTING, incident=replace(POSTING.incident, status_page=page))
    report = Desk(shed, policy, None).look_at(20)
    assert (1, True) == (len(report.posted), "cannot be written" in report.troubles[0])


def test_effects_are_measured_and_silent_mitigations_ended(
    desk: Desk, scene: Scene, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first round and each fifteen seconds, by the watcher where there is no worker."""
    monkeypatch.setattr(effects, "AFTER", timedelta(0))
    scene.fill("mail", "a")
    act = {1: desk.shed.pause, 1.2: desk.shed.resume, 1.3: desk.shed.pause}
    found = {}
    for minutes, change in act.items():
        change("mail", reason="r")
        redis.hset(desk.shed.keys.mitigations, f"{minutes}", "1 {}")
        desk.look_at(minutes)
        measured = desk.shed.incidents.read(desk.incident.id).effects
        found[minutes] = len(measured), redis.hlen(desk.shed.keys.mitigations)
    assert {1: (1, 0), 1.2: (1, 1), 1.3: (3, 0)} == found


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
