"""What helps whoever answers an incident?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from shedder import journal
from shedder.attribute import attribute
from shedder.facade.looking import Looking
from shedder.facade.settings import Settings
from shedder.incident.records import IncidentReceipt
from shedder.mitigating import mitigate
from shedder.policy import Mitigation, Policy
from shedder.records import Event, MitigationReceipt
from shedder.rq import undoing
from shedder.stored import server_time
from shedder.triage import Triage
from shedder.triage_findings import LOOKS_BACK, MOST_EVENTS, Seen
from shedder.triaging import triage
from shedder.verbs import verb_of

if TYPE_CHECKING:
    from shedder.incidents import Incidents


class Responding(Looking, Settings):
    """Incidents, the checklist, mitigations, and the way back."""

    @attribute
    def incidents(self) -> Incidents:
        """The incidents: open one, give roles, note findings, close it."""
        from shedder.incidents import Incidents

        return Incidents(
            self.store, self.keys, self._cause, self.queues,
            lambda: self.policies.applied().policy.incident.people,
        )  # fmt: skip

    def triage(self, policy: Policy) -> Triage:
        """The checklist of an incident, with the next commands for the queues as they are."""
        journal.end_silent(self.store, self.keys)
        incident = self.incidents.current()
        if incident is not None:
            incident = self.incidents.measure_effects(incident.id)
            events = self.incidents.timeline(incident.id)
        else:
            events = self._lately()
        return triage(Seen(
            self.status(), self.flag_states(), self.limit_states(), policy, events, incident
        ))  # fmt: skip

    def mitigate(
        self,
        mitigation: Mitigation,
        command: tuple[str, ...],
        *,
        reason: str,
        by: str | None = None,
        say: Callable[[str], None] = lambda _line: None,
    ) -> MitigationReceipt:
        """Run `command`, which `mitigation.filled` made, and write down how it went.

        `say` is told each line of the output, secrets masked. At the time limit, and when Ctrl-C,
        SIGTERM or SIGHUP interrupts this, all processes of it end, and the journal says so.
        """
        cause = self._attributed(reason, by)
        journal.end_silent(self.store, self.keys)
        return mitigate(self.store, self.keys, mitigation, command, cause, say=say)

    def undo(
        self, event_id: str | None = None, *, reason: str, by: str | None = None
    ) -> undoing.Undone | IncidentReceipt:
        """Take back what an event did, or the last one that can be taken back.

        Raises:
            EventNotFound: there is none with this id.
            CannotUndo: it was undone, has ended, or has no way back; the error says what to do.
        """
        event = undoing.event_to_undo(self.store, self.keys, event_id)
        if verb_of(event).is_of_incident:
            return self.incidents.undo(event, reason=reason, by=by)
        return undoing.undo(self.store, self.keys, event, self._attributed(reason, by))

    def event_to_undo(self, event_id: str | None = None) -> Event:
        """The event that `undo` would take back.

        Raises:
            EventNotFound: there is none with this id.
            CannotUndo: there is nothing to undo.
        """
        return undoing.event_to_undo(self.store, self.keys, event_id)

    def _lately(self) -> tuple[Event, ...]:
        since = server_time(self.store) - LOOKS_BACK
        return journal.read_events(
            self.store, self.keys, limit=MOST_EVENTS, since=since,
            wanted=lambda each: verb_of(each).is_decision or bool(each.undoes),
        )  # fmt: skip
