"""The watcher: the loop that leads, posts updates, reminds, and writes status page and copies.

`Watcher.watch` is a loop under any supervisor. One of several leads, by a lease in Redis; another
takes over when it ends or dies. What is due is decided from the record at each round, so a watcher
keeps nothing in its head that its end could lose.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

from shedder.api.shedder import Shedder
from shedder.errors import InvalidInput, RecordUnreadable, ShedderError
from shedder.events import Tail
from shedder.incident.records import Incident
from shedder.incident.timeline import belongs
from shedder.log_context import Troubles
from shedder.policy.model import Policy
from shedder.postmortem.writing import write_whole, writing_into
from shedder.queues.maintenance import end_silent
from shedder.queues.samples import sample_lanes
from shedder.store.keys import Keys
from shedder.store.store import Command
from shedder.updates.channels import Channels, Round, deliver
from shedder.updates.commands import is_told
from shedder.updates.messages import MAIN, NOTES, POST_AFTER, TOO_OLD, due_at, messages_of
from shedder.updates.posting import draft_update, post_automatic, write_page
from shedder.updates.situation import STAKEHOLDERS, read_situation

logger = logging.getLogger("shedder.watch")

ROUND_SECONDS = 5.0
LEASE_SECONDS = 40.0
PAGE_EVERY = timedelta(minutes=1)
SILENCE_EVERY = timedelta(seconds=15)
"""As often as a worker looks whether the process of a mitigation has fallen silent."""

INCIDENTS_LOOKED_AT = 5
"""Resolved ones are looked at for the reminders of their reviews."""

LANES_PER_SAMPLE = 100


@dataclass(slots=True)
class Report:
    """What one round did.

    Attributes:
        is_leading: This watcher leads; else it did nothing.
        posted: Ids of events of updates that it posted without an operator.
        failed: Messages that a channel did not take.
        troubles: What did not work, a line each.
    """

    is_leading: bool = False
    posted: list[str] = field(default_factory=list)
    failed: int = 0
    troubles: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Look:
    """What the parts of one round share."""

    policy: Policy
    channels: Channels | None
    now: datetime
    report: Report
    round: Round = field(default_factory=Round)


class Watcher:
    """Looks after the incidents on one Redis.

    Args:
        shed: The facade.
        policy: Gives the policy, asked at each round.
        channels: Where messages go, made of the policy; None sends none.
        clock: Gives the time (UTC); the server's unless a test says otherwise.
        who: Tells this watcher from others.
    """

    def __init__(
        self, shed: Shedder, policy: Callable[[], Policy], channels: Callable[[Policy], Channels | None], *,
        clock: Callable[[], datetime], who: str | None = None,
    ) -> None:  # fmt: skip
        self._shed = shed
        self._policy = policy
        self._channels = channels
        self._clock = clock
        self._who = who or f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self._written_at: datetime | None = None
        self._ended_silent_at: datetime | None = None
        self._journal = Tail(shed.store, span=TOO_OLD, wanted=is_told)
        self._last: tuple[Policy, Channels | None] | None = None
        self._away, self._troubles = Troubles(logger), Troubles(logger)

    def watch(self, *, sleep: Callable[[float], object], until: Callable[[], bool] = lambda: False) -> None:
        """Look after incidents until `until` gives true; Redis may come and go meanwhile."""
        try:
            while not until():
                self._safe_round()
                sleep(ROUND_SECONDS)
        finally:
            self.give_up()

    def look(self) -> Report:
        """One round.

        Raises:
            ShedderError: Redis cannot be asked, or no policy can be used and none could before.
        """
        report = Report()
        if not self._leads(report):
            return report
        self._sample()
        look = _Look(*self._chosen(report), self._clock(), report)
        for incident in self._latest():
            if incident.closed_at is None:
                self._look_after(incident, look)
        if report.is_leading:
            self._end_silent(look)
            self._write_files(look)
        return report

    def _leads(self, report: Report) -> bool:
        """Whether this watcher leads, for `LEASE_SECONDS` from now on."""
        report.is_leading = self._shed.store.run(hold_lease(self._shed.keys, self._who))
        return report.is_leading

    def give_up(self) -> None:
        """Let another lead at once."""
        try:
            self._shed.store.run(hold_lease(self._shed.keys, self._who, is_over=True))
        except ShedderError as error:
            logger.debug("the lead expires: %s", error)

    def _safe_round(self) -> None:
        try:
            report = self.look()
        except ShedderError as error:
            self._away.meet("Redis", "%s; trying again", error)
            return
        self._away.end("Redis", "incidents are looked after again")
        self._troubles.keep(report.troubles)
        for trouble in report.troubles:
            self._troubles.meet(trouble, "%s", trouble)

    def _chosen(self, report: Report) -> tuple[Policy, Channels | None]:
        """The policy and its channels; the last that could be used while one cannot."""
        try:
            policy = self._policy()
            self._last = policy, self._channels(policy)
        except (InvalidInput, RecordUnreadable) as error:
            if self._last is None:
                raise
            report.troubles.append(f"{error}; the policy before it holds")
        return self._last

    def _sample(self) -> None:
        queues = self._shed.queues()
        if queues:
            lanes = [lane.name for lane in self._shed.lanes(queues)]
            self._shed.store.run(sample_lanes(self._shed.keys, lanes[:LANES_PER_SAMPLE]))

    def _latest(self) -> tuple[Incident, ...]:
        latest = self._shed.incidents.list(limit=INCIDENTS_LOOKED_AT)
        known = {each.id for each in latest}
        others = (each for each in self._shed.incidents.open_ones() if each.id not in known)
        return (*others, *latest)

    def _look_after(self, incident: Incident, look: _Look) -> None:
        try:
            incident = self._post_if_late(incident, look)
            if look.channels is not None:
                self._tell(incident, look.channels, look)
        except ShedderError as error:  # the next incident is no worse for it
            look.report.troubles.append(f"incident {incident.id}: {error}")

    def _post_if_late(self, incident: Incident, look: _Look) -> Incident:
        policy, now = look.policy, look.now
        due = due_at(incident, policy.incident)
        if due is None or not policy.incident.posts_by_itself or now < due + POST_AFTER:
            return incident
        draft = draft_update(self._shed, policy, incident, audience=STAKEHOLDERS, now=now)
        every = policy.incident.update_every_for(incident.severity)
        receipt = post_automatic(self._shed, incident.id, draft, due=due, every=every, now=now)
        if receipt.event:
            look.report.posted.append(receipt.event)
        return receipt.incident

    def _tell(self, incident: Incident, channels: Channels, look: _Look) -> None:
        events = [each for each in self._journal.read(look.now) if belongs(each, incident)]
        told = messages_of(incident, events, look.policy.incident, look.now)
        # without a channel for notes the main one is left in peace
        reachable = [each for each in told if each.channel in channels.names & {MAIN, NOTES}]
        # what came before may have taken long
        if reachable and self._leads(look.report):
            look.report.failed += len(
                deliver(self._shed.store, incident.id, reachable, channels.send, who=self._who, within=look.round)
            )

    def _end_silent(self, look: _Look) -> None:
        last = self._ended_silent_at
        if last is not None and look.now - last < SILENCE_EVERY:
            return
        self._ended_silent_at = look.now
        try:
            end_silent(self._shed.store)
        except ShedderError as error:
            look.report.troubles.append(f"mitigations: {error}")

    def _write_files(self, look: _Look) -> None:
        if not (look.policy.incident.status_page or look.policy.incident.export):
            return
        if self._written_at is not None and look.now - self._written_at < PAGE_EVERY:
            return
        self._written_at = look.now
        for write in (self._write_page, self._write_copies):
            try:
                write(look.policy)
            except ShedderError as error:  # the other is no worse for it, and this is tried again
                self._written_at = None
                look.report.troubles.append(str(error))

    def _write_page(self, policy: Policy) -> None:
        wanted = policy.incident
        if wanted.status_page:
            current = self._shed.incidents.current()
            situation = read_situation(self._shed, policy, current)
            write_page(Path(wanted.status_page), situation, current, templates=wanted.templates or None)

    def _write_copies(self, policy: Policy) -> None:
        if policy.incident.export:
            # a closed one too: else its copy would stay as it was a minute before
            write_copies(self._shed, self._latest(), Path(policy.incident.export))


def hold_lease(keys: Keys, who: str, *, is_over: bool = False) -> Command[bool]:
    """Take or keep the lead for `who`, or give it up."""
    length = 0 if is_over else int(LEASE_SECONDS * 1000)
    return Command("hold_lease", (keys.watch_lease,), (who, length), bool)


def write_copies(shed: Shedder, incidents: Iterable[Incident], folder: Path) -> None:
    """Write a file for each of `incidents`, which `shedder incident import` reads.

    A Redis that has lost its data counts its incidents anew. The file of another incident that had
    the same id is kept beside, with the time at which it was opened in its name.

    Raises:
        ShedderError: the folder cannot be written.
    """
    with writing_into(folder):
        for each in incidents:
            copy = shed.incidents.export(each.id)
            file = folder / f"{each.id}.json"
            _keep_other(file, copy["incident"])
            write_whole(file, f"{json.dumps(copy)}\n".encode())


def _keep_other(file: Path, incident: object) -> None:
    try:
        standing = _written_down_at(json.loads(file.read_bytes())["incident"])
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return
    if standing and standing != _written_down_at(incident):
        file.rename(file.with_name(f"{file.stem}.{standing}.json"))


def _written_down_at(incident: object) -> int:
    """When it was opened, which no correction changes (ms since 1970); 0 when that is unknown."""
    try:
        return int(incident["severities"][0]["since"])  # type: ignore[index]
    except (IndexError, KeyError, TypeError, ValueError):
        return 0
