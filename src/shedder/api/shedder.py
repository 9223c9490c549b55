"""`Shedder`, what a program calls: it finds lanes and cause, and hands over to the feature."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from shedder.engine.names import rq_keys
from shedder.engine.workers import lanes_meant, queues_of, workers_of
from shedder.errors import CannotUndo, ConditionNotMet, NothingToUndo
from shedder.events import Cause, Event, find_event, follow, read_events, verb_of
from shedder.lanes import Lane, queues_in, why_refused
from shedder.later import later
from shedder.queues import claims, controls
from shedder.selection import Selection
from shedder.store.arguments import checks_arguments
from shedder.store.codec import server_time
from shedder.store.keys import Keys
from shedder.store.store import Progress, Store

if TYPE_CHECKING:
    from functools import cached_property as attribute

    import redis

    import shedder
    from shedder.api.policies import Policies
    from shedder.health import audit, doctor, repair, uninstall
    from shedder.incident.incidents import Incidents
    from shedder.incident.timeline import attributed, changes_by_others, last_own_change, own_changes, undo_last
    from shedder.queues import (
        breakdown,
        divert,
        drain,
        failed,
        maintenance,
        pause,
        preview,
        restore,
        retry,
        samples,
        skip,
        stale,
        starts,
        undo,
    )  # fmt: skip
    from shedder.queues.undo import Undone
    from shedder.response import triage
    from shedder.response.mitigation import run_mitigation
    from shedder.settings import flags, limits, watch, windows
    from shedder.settings.flags import Flags
    from shedder.settings.limits import Limits
    from shedder.status.status import read_status
else:
    globals().update(later((
        ("shedder.api.policies", "Policies"),
        ("shedder.health", "audit doctor repair uninstall"),
        ("shedder.incident.incidents", "Incidents"),
        ("shedder.incident.timeline", "attributed changes_by_others last_own_change own_changes undo_last"),
        ("shedder.queues", "breakdown divert drain failed maintenance pause preview restore retry samples"),
        ("shedder.queues", "skip stale starts undo"),
        ("shedder.response", "triage"),
        ("shedder.response.mitigation", "run_mitigation"),
        ("shedder.settings", "flags limits watch windows"),
        ("shedder.status.status", "read_status"),
    )))  # fmt: skip

    class attribute:  # noqa: N801 - used as a decorator, like `property`
        """A method that is called once, and whose result is an attribute from then on.

        `functools.cached_property` of Python 3.11 holds a lock meanwhile, which a fork of another
        thread then holds for ever.
        """

        def __init__(self, make: Callable[[Any], Any]) -> None:
            self._make = make
            self.__doc__ = make.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self._name = name

        def __get__(self, instance: object | None, owner: type) -> Any:
            if instance is None:
                return self
            # of two threads that make it at once, the first one's is kept
            return vars(instance).setdefault(self._name, self._make(instance))


T = TypeVar("T")

LOOKS_BACK = timedelta(hours=1)
"""How much of the journal a checklist reads while no incident is open."""

MOST_EVENTS = 5000

__all__ = ["Shedder"]


@checks_arguments
class Shedder:
    """Load shedding for the RQ queues on one Redis.

    A target is a queue (`mail`, all its lanes) or one lane (`mail.low`, `mail.normal`).

    Args:
        connection: The client that the application uses; it stays as it is.
        by: The actor, unless a call says otherwise; `SHEDDER_BY` or `user@host` when not given.

    Every method may raise `RedisUnreachable`, `ServerTooOld`, `RecordUnreadable` and
    `InvalidInput` (a target that is no name).
    """

    def __init__(self, connection: redis.Redis, *, by: str | None = None) -> None:
        self.keys: Keys = rq_keys()
        self.store = Store(connection, self.keys)
        self._by = by or default_actor()

    @property
    def by(self) -> str:
        """The actor, unless a call says otherwise."""
        return self._by

    # Its parts

    @attribute
    def policies(self) -> Policies:
        """The policy in force: apply one, ask what it says."""
        return Policies(self.store, self._change)

    @attribute
    def flags(self) -> Flags:
        """The flags of this process: declare them, ask them."""
        return flags.Flags(self._watch, self.keys)

    @attribute
    def limits(self) -> Limits:
        """The limits of this process: declare them, hit them."""
        return limits.Limits(self._watch, windows.SharedWindows(self.store.connection, self.keys), self.keys)

    @attribute
    def incidents(self) -> Incidents:
        """The incidents: open one, give roles, note findings, close it."""
        return Incidents(self.store, self._cause, self.queues, lambda: self.policies.applied().policy.incident.people)

    def close(self) -> None:
        """End what follows flags and limits, if there is such; the given connection stays."""
        if "limits" in vars(self):
            self.limits.close()
        if "_watch" in vars(self):
            self._watch.close()

    # Pauses

    def pause(
        self, *targets: str, reason: str, by: str | None = None, expires_in: timedelta | None = None
    ) -> shedder.PauseReceipt:
        """Let no job of `targets` start any more.

        With workers of ours none starts after this has returned; `expires_in` ends it by the
        server's clock.
        """
        return pause.pause(self.store, self._lanes(targets), self._change(reason, by), expires_in)

    def wait_until_idle(
        self,
        *targets: str,
        timeout: timedelta | None = None,
        on_change: Callable[[tuple[shedder.RunningJob, ...]], None] | None = None,
    ) -> tuple[shedder.RunningJob, ...]:
        """Wait until no job of `targets` runs; those that still do when `timeout` is over."""
        return pause.wait_until_idle(self.store, self._names(targets), timeout=timeout, on_change=on_change)

    def resume(self, *targets: str, reason: str, by: str | None = None) -> shedder.ResumeReceipt:
        """End the pause of `targets`."""
        return self._sampled(targets, pause.resume(self.store, self._lanes(targets), self._change(reason, by)))

    # Diverts and drains

    def divert(
        self,
        *targets: str,
        selection: Selection | None = None,
        reason: str,
        by: str | None = None,
        on_progress: Progress | None = None,
    ) -> shedder.DivertReceipt:
        """Move what `selection` takes to the backlog, and what still arrives too."""
        lanes, cause = self._lanes(targets), self._change(reason, by)
        receipt = divert.divert(self.store, lanes, selection or Selection(), cause, on_progress=on_progress)
        return self._sampled(targets, receipt)

    def preview_divert(
        self, *targets: str, selection: Selection | None = None, on_progress: Progress | None = None
    ) -> shedder.DivertPreview:
        """What `divert` would do; changes nothing."""
        return preview.preview_divert(self.store, self._lanes(targets), selection or Selection(), on_progress)

    def drain(
        self,
        *targets: str,
        rate: shedder.Rate | None = None,
        reason: str,
        by: str | None = None,
        stays: bool = False,
        halt_at: float | None = None,
    ) -> shedder.DrainReceipt:
        """Let the backlogs of `targets` start again, oldest first, each at most at `rate`.

        It is an order: it goes on when this process ends. Said again, it changes the rate. When a
        backlog is empty its divert ends, unless `stays`. Without a `rate` it is the policy's.

        It halts by itself, with what is left in the backlog in order, when the share `halt_at` of
        the last 50 jobs that it released and that ended failed, of the last 20 at least; 0 for
        never. Without it the policy's holds, else 0.5. Of jobs that stock workers run, RQ's
        registries tell how they ended.

        Raises:
            InvalidInput: there is no rate, neither here nor in the policy, or `halt_at` is no share.
        """
        rate, halt_at = drain.pace_of(self.policies.applied().policy.defaults, rate, halt_at)
        lanes, cause = self._lanes(targets), self._change(reason, by)
        return self._sampled(targets, drain.drain(self.store, lanes, rate, cause, stays=stays, halt_at=halt_at))

    def stop_drain(self, *targets: str, reason: str, by: str | None = None) -> shedder.DrainReceipt:
        """Stop draining; the diverts stay in force."""
        return self._sampled(targets, drain.drain(self.store, self._lanes(targets), None, self._change(reason, by)))

    def drain_at_once(
        self, *targets: str, reason: str, by: str | None = None, on_progress: Progress | None = None
    ) -> shedder.RestoreReceipt:
        """End the diverts of `targets` and put their backlogs back, in order, at no pace."""
        names, cause = self._names(targets), self._change(reason, by)
        return self._sampled(targets, restore.restore_lanes(self.store, names, cause, on_progress))

    def drain_progress(self, receipt: shedder.DrainReceipt) -> tuple[shedder.DrainProgress, ...]:
        """How far the drains of `receipt` are."""
        return drain.drain_progress(self.store, [(lane.lane, lane.order) for lane in receipt.lanes])

    def release_for_stock_workers(self, receipt: shedder.DrainReceipt) -> None:
        """Release the next jobs of lanes that only stock workers serve; to be called regularly."""
        if receipt.rate is not None:
            backlogs = [(lane.lane, lane.order, receipt.rate.per_second) for lane in receipt.lanes]
            drain.release_for_stock_workers(self.store, backlogs)

    # Failed jobs

    def preview_retry(
        self,
        *targets: str,
        selection: shedder.FailedSelection | None = None,
        first: int | None = None,
        force: bool = False,
        on_progress: Progress | None = None,
    ) -> shedder.RetryPreview:
        """What `retry` would bring back, and what cannot come back; changes nothing.

        Raises:
            InvalidInput: `first` is not from 1 to 1,000.
        """
        lanes, policy = self._lanes(targets), self.policies.applied().policy
        chosen = selection or failed.FailedSelection()
        return retry.preview_retry(
            self.store, lanes, chosen, policy, first=first, is_forced=force, on_progress=on_progress
        )

    def retry(
        self,
        *targets: str,
        selection: shedder.FailedSelection | None = None,
        rate: shedder.Rate | None = None,
        halt_at: float | None = None,
        first: int | None = None,
        reason: str,
        by: str | None = None,
        force: bool = False,
        on_progress: Progress | None = None,
    ) -> shedder.RetryReceipt:
        """Bring failed jobs of `targets` back: into the backlog of their lane, and from there at a pace.

        The lane is the one that the policy in force names. `rate` (for each lane) and `halt_at` are
        as in `drain`. With `first` only as many come back, those that failed first; each lane has
        its share. Jobs that somebody brings back, deletes or cancels meanwhile are skipped, and so
        are those of which the policy says `retry = false`, unless `force` takes them along.

        Raises:
            InvalidInput: there is no rate, neither here nor in the policy, `halt_at` is no share, or
                `first` is not from 1 to 1,000.
        """
        lanes, policy = self._lanes(targets), self.policies.applied().policy
        rate, halt_at = drain.pace_of(policy.defaults, rate, halt_at)
        receipt = retry.retry(
            self.store, lanes, selection or failed.FailedSelection(), self._change(reason, by), policy,
            rate=rate, halt_at=halt_at, first=first, is_forced=force, on_progress=on_progress,
        )  # fmt: skip
        return self._sampled(tuple(lane.lane for lane in receipt.lanes), receipt)

    def retry_ends(self, receipt: shedder.RetryReceipt) -> shedder.RetryEnds:
        """How the first jobs of a retry, those that `ids` of its receipt names, have ended so far."""
        return retry.ends_of(self.store, receipt.ids)

    def failed_lately(self, *targets: str) -> tuple[shedder.FailedGroup, ...]:
        """The last failed jobs of `targets`, or of all queues, by function and exception; 200 of a lane at most."""
        return retry.failed_lately(self.store, self.lanes(targets or self.queues()))

    def stop_retry(self, *targets: str, reason: str, by: str | None = None) -> shedder.DrainReceipt:
        """Stop the retries on `targets`; what has not started stays in their backlogs."""
        return self._sampled(targets, retry.stop_retry(self.store, self._lanes(targets), self._change(reason, by)))

    # Limits on starts

    def limit_starts(
        self,
        *targets: str,
        rate: shedder.Rate | None = None,
        most: int | None = None,
        selection: Selection | None = None,
        expires_in: timedelta | None = None,
        reason: str,
        by: str | None = None,
    ) -> shedder.DivertReceipt:
        """Let jobs of `targets` start at most at `rate`, and at most `most` of them run at once.

        One bound holds for all `targets` together. With a `selection` it is a limit of these jobs
        alone, and the others of the lane pass them. What has to wait does so outside the lane's
        list, in order. A divert beats a limit.

        Raises:
            InvalidInput: neither a rate nor a positive `most` is given.
        """
        terms = controls.LimitTerms(rate, most, expires_in).checked()
        lanes, cause = self._lanes(targets), self._change(reason, by)
        return self._sampled(targets, divert.divert(self.store, lanes, selection or Selection(), cause, terms=terms))

    def lift_limit(self, *targets: str, reason: str, by: str | None = None) -> shedder.RestoreReceipt:
        """End the limits on starts of `targets`; what waits under them is in the lanes again."""
        return self._sampled(targets, starts.lift_limits(self.store, self._names(targets), self._change(reason, by)))

    # Work that is too old

    def stale(self, *targets: str) -> tuple[shedder.StaleLane, ...]:
        """What was set aside of `targets`, or of all lanes, because the policy calls it stale."""
        return stale.stale_lanes(self.store, lanes_meant(self.store, targets))

    def replay_stale(
        self, *targets: str, reason: str, by: str | None = None, on_progress: Progress | None = None
    ) -> shedder.ReplayReceipt:
        """Put what was set aside of `targets` into its lanes, as if it were enqueued now."""
        lanes, cause = self._lanes(targets), self._change(reason, by)
        return self._sampled(targets, stale.replay_lanes(self.store, lanes, cause, on_progress))

    # Flags and limits in code

    def degrade_flag(
        self,
        *names: str,
        reason: str,
        by: str | None = None,
        group: str = "",
        percent: float = 100.0,
        expires_in: timedelta | None = None,
        force: bool = False,
    ) -> shedder.FlagReceipt:
        """Degrade the flags `names`, and all of `group`, in every process within a second.

        Raises:
            InvalidInput: the percentage is not above 0 and up to 100, or a name cannot be one.
            NothingMatched: a flag or the group is not declared; `force` is for a flag that no
                process has declared yet.
        """
        cause = self._change(reason, by)
        receipt = flags.degrade_flags(
            self.store, names, cause, group=group, percent=percent, expires_in=expires_in, is_forced=force
        )
        return skip.put_back(self.store, receipt)

    def restore_flag(self, *names: str, reason: str, by: str | None = None, group: str = "") -> shedder.FlagReceipt:
        """End the degradation of `names` and of `group`; jobs that waited for it are put back.

        Raises:
            NothingMatched: a flag or the group is not known.
        """
        receipt = flags.restore_flags(self.store, names, self._change(reason, by), group=group)
        return skip.put_back(self.store, receipt)

    def flag_states(self) -> tuple[shedder.FlagState, ...]:
        """All flags that are declared or set, the degraded ones first."""
        return flags.list_flags(self.store)

    def set_limit(
        self,
        name: str,
        rate: shedder.Rate,
        *,
        reason: str,
        by: str | None = None,
        key: str = "",
        expires_in: timedelta | None = None,
        shadow: bool = False,
        force: bool = False,
    ) -> shedder.LimitReceipt:
        """Set a limit, for one `key` or for all without a setting of their own.

        It beats what the code says until it is cleared or `expires_in` is over. With `shadow` it
        only counts what it would refuse.

        Raises:
            NothingMatched: the limit is not declared; `force` is for one that no process has
                declared yet.
        """
        cause = self._change(reason, by)
        return limits.set_limit(
            self.store, name, rate, cause, key=key, expires_in=expires_in, is_shadow=shadow, is_forced=force
        )

    def clear_limit(self, name: str, *, reason: str, by: str | None = None, key: str = "") -> shedder.LimitReceipt:
        """End what an operator set: what the code says holds again.

        Raises:
            NothingMatched: the limit is neither declared nor set.
        """
        return limits.clear_limit(self.store, name, self._change(reason, by), key=key)

    def limit_states(self) -> tuple[shedder.LimitState, ...]:
        """All limits that are declared or set, those that an operator set first."""
        return limits.list_limits(self.store)

    def test_limit(self, name: str, *, key: str = "") -> shedder.LimitAnswer:
        """What a hit would be told now; nothing is counted.

        Raises:
            NothingMatched: the limit is neither declared nor set.
        """
        return limits.ask_limit(self.store, name, key=key)

    # How lanes are, and how they were

    def lanes(self, targets: tuple[str, ...]) -> tuple[Lane, ...]:
        """The lanes that `targets` stand for."""
        return lanes_meant(self.store, targets)

    def queues(self) -> tuple[str, ...]:
        """The names of all queues that RQ knows, sorted; without those that are refused."""
        return queues_in(queues_of(self.store))

    def refused_queues(self) -> tuple[str, ...]:
        """The names of RQ's queues that are neither served nor controlled, since they could be meant for others."""
        return tuple(name for name in queues_of(self.store) if why_refused(name))

    def workers(self, *targets: str) -> tuple[shedder.WorkerSeen, ...]:
        """The workers that serve `targets`, stock ones among them."""
        return workers_of(self.store, self._names(targets))

    def running(self, *targets: str) -> tuple[shedder.RunningJob, ...]:
        """The jobs of `targets` that run now."""
        return claims.running_jobs(self.store, self._names(targets))

    def status(self, *targets: str, policy: shedder.Policy | None = None) -> shedder.Status:
        """How `targets` are, or all lanes; its cost does not depend on the length of queues.

        What is late is judged by `policy`, else by the policy in force.
        """
        return read_status(self.store, self._lanes(targets) if targets else None, policy=policy)

    def breakdown(
        self,
        *targets: str,
        by: str | Sequence[str],
        sample: int | None = None,
        top: int = 10,
        on_progress: Progress | None = None,
    ) -> shedder.Breakdown:
        """What `targets` hold, or all queues: by `function`, `priority` or `meta.FIELD`, or two of them."""
        lanes, several = self.lanes(targets or self.queues()), (by,) if isinstance(by, str) else tuple(by)
        return breakdown.break_down(self.store, lanes, several, sample=sample, top=top, on_progress=on_progress)

    def samples(
        self, *targets: str, since: datetime, until: datetime | None = None
    ) -> dict[str, tuple[shedder.Sample, ...]]:
        """How the lanes of `targets`, or all, were in a time, oldest first; at most 14 days back.

        A lane for which there is no sample is left out.
        """
        names = self._names(targets or self.queues())
        return samples.read_samples(self.store, names, since=since, until=until)

    # The journal, and the way back

    def events(self, *, limit: int = 50, after: str | None = None, targets: tuple[str, ...] = ()) -> tuple[Event, ...]:
        """The last `limit` events, oldest first, or the first `limit` after an id."""
        return read_events(self.store, limit=limit, after=after, lanes=self._names(targets))

    def follow_events(self, *, after: str = "$", until: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """The events that come, as they come, until `until` says so."""
        return follow(self.store, after=after, until=until)

    def event(self, event_id: str) -> Event:
        """One event.

        Raises:
            EventNotFound: there is none with this id.
        """
        return find_event(self.store, event_id)

    def changes_by_others(self, *targets: str, names: tuple[str, ...] = (), by: str | None = None) -> tuple[Event, ...]:
        """What others changed of `targets`, or of flags and limits `names`, in two minutes."""
        return changes_by_others(self.store, by=self._cause("", by).by, lanes=self._names(targets), names=names)

    def undo(
        self, event_id: str | None = None, *, reason: str, by: str | None = None
    ) -> Undone | shedder.IncidentReceipt:
        """Take back what an event did; without an id the last change of `by` of which something stands.

        Raises:
            EventNotFound: there is none with this id.
            CannotUndo: somebody has changed it since, or it has no way back; the error says what to do.
            NothingToUndo: it has ended; without an id, no change of `by` stands any more.
        """
        if event_id is not None:
            return self._undone(self.event_to_undo(event_id), reason, by)
        return self.undo_last(lambda event: self._undone(event, reason, by), by=by)

    def _undone(self, event: Event, reason: str, by: str | None) -> Undone | shedder.IncidentReceipt:
        if verb_of(event).is_of_incident:
            return self.incidents.undo(event, reason=reason, by=by)
        receipt = undo.undo(self.store, event, self._change(reason, by))
        samples.sample_after(self.store, event.lanes)
        return receipt

    def event_to_undo(self, event_id: str | None = None, *, by: str | None = None) -> Event:
        """The event that `undo` takes back, or without an id tries first.

        Raises:
            EventNotFound: there is none with this id.
            CannotUndo: there is no way back from it.
            NothingToUndo: without an id, `by` has changed nothing.
        """
        if event_id is not None:
            return undo.event_to_undo(self.store, event_id)
        return last_own_change(self.store, self._cause("", by).by)

    def undo_last(
        self, take_back: Callable[[Event], T], *, by: str | None = None,
        goes_on: Callable[[CannotUndo], bool] = lambda error: isinstance(error, NothingToUndo),
    ) -> T:  # fmt: skip
        """What `take_back` gives for the last change of `by` that it can take back.

        `goes_on` says of each refusal whether the change before it is tried.

        Raises:
            CannotUndo: one was refused; the error names the change before it.
            NothingToUndo: no change of `by` stands any more.
        """
        return undo_last(self.store, self._cause("", by).by, take_back, goes_on=goes_on)

    def changes_to_undo(self, *, by: str | None = None) -> Iterator[Event]:
        """The changes of `by` that have a way back and were not undone since, the last one first."""
        return own_changes(self.store, self._cause("", by).by)

    # Responding to an incident

    def triage(self, policy: shedder.Policy) -> shedder.Triage:
        """The checklist of an incident, with the next commands for the queues as they are."""
        maintenance.end_silent(self.store)
        incident = self.incidents.current_if_readable()
        if incident is not None:
            incident = self.incidents.measure_effects(incident.id)
            events = self.incidents.timeline(incident.id)
        else:
            events = self._lately()
        return triage.checklist(
            triage.Seen(self.status(policy=policy), self.flag_states(), self.limit_states(), policy, events, incident)
        )

    def mitigate(
        self,
        mitigation: shedder.Mitigation,
        command: tuple[str, ...],
        *,
        reason: str,
        by: str | None = None,
        say: Callable[[str], None] = lambda _line: None,
    ) -> shedder.MitigationReceipt:
        """Run `command`, which `mitigation.filled` made, and write down how it went.

        `say` is told each line of the output, secrets masked. At the time limit, and when Ctrl-C,
        SIGTERM or SIGHUP interrupts this, all processes of it end, and the journal says so.
        """
        cause = self._change(reason, by)
        maintenance.end_silent(self.store)
        return run_mitigation(self.store, mitigation, command, cause, say=say)

    # Check-up and uninstall

    def audit(self, on_progress: Progress | None = None) -> shedder.AuditReport:
        """Where every job is; reads only, in bounded steps."""
        return audit.audit(self.store, on_progress=on_progress)

    def check_up(self, on_progress: Progress | None = None) -> shedder.Checkup:
        """How server, workers, producers, records and every job are; reads only, as `audit`."""
        return doctor.check_up(self.store, on_progress=on_progress)

    def repair(self, checkup: shedder.Checkup, *, reason: str, by: str | None = None) -> tuple[shedder.Repair, ...]:
        """Repair what `checkup` found, where that is safe while everybody works on.

        Each repair looks again in the step that changes something, and writes its event.
        """
        return repair.repair(self.store, checkup, self._cause(reason, by))

    def preview_uninstall(self) -> shedder.UninstallReceipt:
        """What `uninstall` would do; changes nothing."""
        return uninstall.preview(self.store)

    def uninstall(
        self,
        *,
        reason: str,
        by: str | None = None,
        force: bool = False,
        on_event: Callable[[Event], None] | None = None,
        on_progress: Progress | None = None,
    ) -> shedder.UninstallReceipt:
        """Bring every job back to the lists of RQ, end all controls, remove all keys of shedder.

        It may be killed anywhere, and goes on when it is called again. Each line of the journal is
        handed to `on_event` before it goes. `force` is for workers that RQ still has on record
        and that are dead, and for records that cannot be read.

        Raises:
            NothingMatched: there is nothing of shedder on this server.
            ConditionNotMet: workers of shedder are alive.
            RecordUnreadable: a divert is damaged or of a newer shedder.
        """
        cause = self._cause(reason, by)
        return uninstall.uninstall(self.store, cause, is_forced=force, on_event=on_event, on_progress=on_progress)

    # What methods share

    @attribute
    def _watch(self) -> watch.SettingsWatch:
        return watch.SettingsWatch(self.store.connection, self.keys)

    def _cause(self, reason: str, by: str | None) -> Cause:
        return Cause(by=_clean(by or self._by), why=_clean(reason))

    def _change(self, reason: str, by: str | None) -> Cause:
        """The cause of a change, which belongs to the incident that is open, if one is."""
        return attributed(self.store, self._cause(reason, by))

    def _sampled(self, targets: tuple[str, ...], receipt: T) -> T:
        """`receipt`, once the lanes that it is about were sampled."""
        if targets:
            samples.sample_after(self.store, self._names(targets))
        return receipt

    def _lanes(self, targets: tuple[str, ...]) -> tuple[Lane, ...]:
        if not targets:
            raise ConditionNotMet("no queue or lane was named", try_instead="name at least one")
        return lanes_meant(self.store, targets)

    def _names(self, targets: tuple[str, ...]) -> list[str]:
        return [lane.name for lane in lanes_meant(self.store, targets)]

    def _lately(self) -> tuple[Event, ...]:
        since = server_time(self.store) - LOOKS_BACK
        return read_events(
            self.store, limit=MOST_EVENTS, since=since,
            wanted=lambda each: verb_of(each).is_decision or bool(each.undoes),
        )  # fmt: skip


def default_actor() -> str:
    """The actor when no call says one: `SHEDDER_BY` of the environment, else `user@host`."""
    if said := os.environ.get("SHEDDER_BY", "").strip():
        return said
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _clean(text: str) -> str:
    # half a character of UTF-16, as a shell may hand over, is nothing that Redis takes
    return text.encode("utf-8", "replace").decode()
