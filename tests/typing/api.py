"""Uses of the public API that only mypy reads: each public name has a line here."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, assert_type

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from rq.job import Job

import shedder
from shedder import (
    Action,
    AppliedPolicy,
    AuditReport,
    Breakdown,
    BreakdownGroup,
    Checkup,
    Defaults,
    DivertPreview,
    DivertReceipt,
    DrainProgress,
    DrainReceipt,
    Event,
    ExplainedJob,
    FailedGroup,
    FailedSelection,
    Finding,
    FlagReceipt,
    FlagState,
    Incident,
    IncidentPolicy,
    IncidentReceipt,
    Lane,
    LaneStatus,
    LimitAnswer,
    LimitReceipt,
    LimitState,
    Mitigation,
    MitigationReceipt,
    Pace,
    PauseReceipt,
    Policy,
    PolicyReceipt,
    Rate,
    Repair,
    ReplayReceipt,
    RestoreReceipt,
    ResumeReceipt,
    RetryEnds,
    RetryPreview,
    RetryReceipt,
    RoleHeld,
    Rule,
    RunningJob,
    Sample,
    Setting,
    ShedStep,
    StaleLane,
    Status,
    Triage,
    UninstallReceipt,
    WebPolicy,
    WorkerSeen,
)
from shedder.django import with_lanes
from shedder.embedded import EmbeddedServer
from shedder.flask import RQ, Worker
from shedder.queues.samples import paces_of
from shedder.response.runner import filled
from shedder.rq import Queue

if TYPE_CHECKING:
    from flask import Flask

assert_type(shedder.__version__, str)


def private_server() -> None:
    with EmbeddedServer(appendonly=True, config={"maxmemory": "50mb"}, port=0) as server:
        assert_type(server.url, str)
        assert_type(server.pid, int)
        assert_type(server.version, str)
        assert_type(server.port, int | None)
        assert_type(server.client(decode_responses=True), Redis)


def lanes(shed: shedder.Shedder) -> None:
    assert_type(shed.pause("mail", reason="why"), PauseReceipt)
    assert_type(shed.resume("mail", reason="why"), ResumeReceipt)
    assert_type(shed.wait_until_idle("mail"), tuple[RunningJob, ...])
    assert_type(shed.divert("mail", reason="why"), DivertReceipt)
    assert_type(shed.preview_divert("mail"), DivertPreview)
    found = shed.breakdown("mail", by=("function", "meta.tenant"), sample=5000)
    assert_type(found, Breakdown)
    assert_type(found.groups, tuple[BreakdownGroup, ...])
    receipt = shed.drain("mail", rate=Rate(5), reason="why")
    assert_type(receipt, DrainReceipt)
    assert_type(shed.drain_progress(receipt), tuple[DrainProgress, ...])
    assert_type(shed.drain_at_once("mail", reason="why"), RestoreReceipt)
    chosen = FailedSelection(exceptions=("*Timeout*",))
    assert_type(shed.preview_retry("mail", selection=chosen), RetryPreview)
    retried = shed.retry("mail", selection=chosen, rate=Rate(5), reason="why")
    assert_type(retried, RetryReceipt)
    assert_type(shed.retry_ends(retried), RetryEnds)
    assert_type(shed.failed_lately("mail"), tuple[FailedGroup, ...])
    assert_type(shed.stop_retry("mail", reason="why"), DrainReceipt)
    assert_type(shed.limit_starts("mail", most=2, reason="why"), DivertReceipt)
    assert_type(shed.lift_limit("mail", reason="why"), RestoreReceipt)
    status = shed.status("mail")
    assert_type(status, Status)
    assert_type(status.lanes, tuple[LaneStatus, ...])
    assert_type(shed.lanes(("mail",)), tuple[Lane, ...])
    assert_type(shed.workers("mail"), tuple[WorkerSeen, ...])
    assert_type(shed.audit(), AuditReport)


def samples(shed: shedder.Shedder) -> None:
    found = shed.samples("mail", since=datetime(2026, 11, 23, tzinfo=UTC))
    assert_type(found, dict[str, tuple[Sample, ...]])
    assert_type(paces_of(found["mail"]), tuple[Pace, ...])


def flags_and_limits(shed: shedder.Shedder) -> None:
    flags, limits = shed.flags, shed.limits
    assert_type(flags.enabled("search.hints", "user-7"), bool)
    assert_type(flags.percent("search.hints"), float)
    assert_type(limits.hit("reports", "tenant=acme", cost=2), bool)

    @limits.limited("reports", key=lambda tenant: tenant)
    @flags.degradable("charts", fallback="none")
    def charts(tenant: str) -> str:
        return tenant

    @flags.degradable("newsletter", fallback=shedder.SKIP)
    def newsletter(reader: int) -> None: ...

    assert_type(charts("acme"), str)
    newsletter(1)
    assert_type(shed.degrade_flag("charts", reason="why"), FlagReceipt)
    assert_type(shed.restore_flag("charts", reason="why"), FlagReceipt)
    assert_type(shed.flag_states(), tuple[FlagState, ...])
    assert_type(shed.flag_states()[0].setting, Setting | None)
    assert_type(shed.set_limit("reports", Rate(10), reason="why"), LimitReceipt)
    assert_type(shed.clear_limit("reports", reason="why"), LimitReceipt)
    assert_type(shed.limit_states(), tuple[LimitState, ...])
    assert_type(shed.test_limit("reports"), LimitAnswer)
    try:
        limits.require("reports")
    except shedder.LimitExceeded as error:
        assert_type(error.retry_after, float)
    shed.close()


def incidents(shed: shedder.Shedder) -> None:
    opened = shed.incidents.open("late", severity=2, commander="ana@desk")
    assert_type(opened, IncidentReceipt)
    assert_type(opened.incident, Incident)
    assert_type(opened.incident.roles, tuple[RoleHeld, ...])
    assert_type(shed.incidents.current(), Incident | None)
    assert_type(shed.incidents.open_ones(), tuple[Incident, ...])
    assert_type(shed.incidents.list(limit=3), tuple[Incident, ...])
    assert_type(shed.incidents.read("2026-11-25-1"), Incident)
    kept = shed.incidents.change(lambda incident, now: incident, verb="note", reason="why")
    assert_type(kept, IncidentReceipt)
    assert_type(shed.incidents.mitigated(), IncidentReceipt)
    assert_type(shed.incidents.resolve(), IncidentReceipt)
    assert_type(shed.incidents.reopen(), IncidentReceipt)
    assert_type(shed.incidents.correct(severity=3), IncidentReceipt)
    assert_type(shed.incidents.note("found"), IncidentReceipt)
    assert_type(shed.incidents.review({"well": "much"}), IncidentReceipt)
    assert_type(shed.incidents.close(), IncidentReceipt)
    assert_type(shed.incidents.timeline(), tuple[Event, ...])
    assert_type(shed.incidents.measure_effects(), Incident)
    assert_type(shed.incidents.bring_back(shed.incidents.export()), IncidentReceipt)
    assert_type(shed.incidents.roles.take("operations"), IncidentReceipt)
    assert_type(shed.incidents.roles.assign("operations", "bob@desk"), IncidentReceipt)
    assert_type(shed.incidents.roles.hand_over("operations", "bob@desk"), IncidentReceipt)
    assert_type(shed.incidents.roles.accept(), IncidentReceipt)
    assert_type(shed.incidents.roles.leave("operations"), IncidentReceipt)
    assert_type(shed.incidents.actions.add("alarm", type="detect"), IncidentReceipt)
    assert_type(shed.incidents.actions.set(1, owner="db"), IncidentReceipt)
    assert_type(shed.incidents.actions.done(1), IncidentReceipt)
    assert_type(shed.incidents.actions.list(), tuple[Action, ...])
    rollback = Mitigation("rollback", ("./deploy", "{release}"))
    command = filled(rollback, {"release": "41"})
    assert_type(shed.mitigate(rollback, command, reason="why"), MitigationReceipt)
    assert_type(shed.triage(Policy()), Triage)
    assert_type(shed.changes_by_others("mail"), tuple[Event, ...])
    assert_type(shed.event_to_undo(), Event)


def policies(shed: shedder.Shedder) -> None:
    policy = shed.policies.read("shedder.toml")
    assert_type(policy, Policy)
    assert_type(policy.rules, tuple[Rule, ...])
    assert_type(policy.defaults, Defaults)
    assert_type(policy.incident, IncidentPolicy)
    assert_type(policy.web, WebPolicy)
    assert_type(shed.policies.applied(), AppliedPolicy)
    assert_type(shed.policies.apply(policy, reason="why", based_on=3), PolicyReceipt)
    assert_type(shed.policies.explain("id"), ExplainedJob)
    assert_type(shed.policies.shed(reason="why"), tuple[ShedStep, ...])
    assert_type(shed.policies.sketch(), str)
    assert_type(shed.stale("mail"), tuple[StaleLane, ...])
    assert_type(shed.replay_stale("mail", reason="why"), ReplayReceipt)


def hosts(shed: shedder.Shedder, app: Flask) -> None:
    assert_type(shed.uninstall(reason="why", force=True, on_event=print), UninstallReceipt)
    assert_type(shed.preview_uninstall(), UninstallReceipt)
    assert_type(with_lanes({"mail": {}}, priorities=["low"]), dict[str, dict[str, Any]])
    extension = RQ(app)
    assert_type(extension.make_worker(["mail.low"]), Worker)


def check_ups(shed: shedder.Shedder) -> None:
    checkup = shed.check_up()
    assert_type(checkup, Checkup)
    assert_type(checkup.findings, tuple[Finding, ...])
    assert_type(shed.repair(checkup, reason="why", by="oncall@ops"), tuple[Repair, ...])


async def limits_of_coroutines(shed: shedder.Shedder) -> None:
    assert_type(await shed.limits.ahit("reports"), bool)
    async with shed.limits.awithin("reports"):
        await shed.limits.arequire("reports")


async def queues_of_coroutines(client: Redis, of_loop: AsyncRedis) -> None:
    mail = Queue("mail", connection=client, async_connection=of_loop)
    assert_type(mail.async_connection, AsyncRedis | None)
    assert_type(await mail.enqueue_async(print, 4711), Job)
    assert_type(await mail.low.enqueue_async("app.mail.send", job_id="4711", unique=True), Job)
    assert_type(await mail.enqueue_many_async([Queue.prepare_data(print)]), list[Job])


async def flags_of_coroutines(shed: shedder.Shedder) -> None:
    await shed.flags.arefresh()
    assert_type(shed.flags.enabled("search.hints"), bool)
