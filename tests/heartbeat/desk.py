"""A watcher that looks after an incident, by a clock that the test sets."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from shedder import Shedder
from shedder.policy.model import IncidentPolicy, Policy, Rule
from shedder.updates.channels import Channels
from shedder.updates.watcher import Watcher

if TYPE_CHECKING:
    from tests.heartbeat.sink import Sink

MINUTE = timedelta(minutes=1)

POSTING = Policy(
    rules=(Rule(queue="mail", label="receipt e-mails", tolerance=10 * MINUTE),),
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
        return Watcher(shed or self.shed, lambda: self.policy, lambda _: channels, clock=self.time, who=who)

    def updates(self) -> list[str]:
        return [each.text for each in self.shed.incidents.read(self.incident.id).updates]

    def look_at(self, minutes: float, watcher: Watcher | None = None) -> Any:
        self.time.now = self.incident.opened_at + minutes * MINUTE
        return (watcher or self.watcher).look()
